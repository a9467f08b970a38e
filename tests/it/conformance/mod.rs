//! Test suites of others, each carried over whole and under its own names. Tests of ours go elsewhere.

mod golang;
