//! Requests to language models: [`KeyPreset`] makes keys for the APIs of some providers, and [`alternate()`] makes the
//! roles of a conversation alternate.
//!
//! Nothing else in the crate depends on this module.

mod alternate;
pub use self::alternate::{AlternateError, Trailing, alternate};

mod preset;
pub use self::preset::KeyPreset;
