//! What is special about requests to language models. Nothing in the rest of the crate knows of it.

mod preset;

pub use preset::KeyPreset;
