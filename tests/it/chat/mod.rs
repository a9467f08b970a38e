//! What is special about chat requests.

mod alternate;
