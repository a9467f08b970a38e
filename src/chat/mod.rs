//! What is special about requests to language models. Nothing in the rest of the crate knows of it.

mod alternate;
pub use self::alternate::{AlternateError, Trailing, alternate};

mod preset;
pub use self::preset::KeyPreset;
