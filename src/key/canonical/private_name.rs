//! The names by which `serde_json` marks its own structs.

use crate::key::error::{KeyError, KeyErrorKind};

/// What all of them begin with.
pub(super) const PREFIX: &str = "$serde_json::private::";

/// The struct of a `serde_json::Number` under `arbitrary_precision`, and the name of its one field.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

/// The struct of a `serde_json::value::RawValue`, and the name of its one field.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// An error if a type's name is one that must mean something, and it is not known here what.
pub(super) fn refuse(name: &'static str) -> Result<(), KeyError> {
    if name.starts_with(PREFIX) {
        return Err(KeyError::new(KeyErrorKind::PrivateName(name)));
    }
    Ok(())
}
