//! Requests to language models: keys for the APIs of some providers, and conversations whose roles alternate.
//!
//! Nothing else in the crate depends on this module.

mod alternate;
pub use self::alternate::{AlternateError, Trailing, alternate};

mod preset;
pub use self::preset::KeyPreset;
