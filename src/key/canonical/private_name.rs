//! The names by which `serde_json` marks its own structs.

use crate::key::error::{KeyError, KeyErrorKind};

/// The beginning of all of them.
pub(super) const PREFIX: &str = "$serde_json::private::";

/// The struct of a `serde_json::Number` under `arbitrary_precision`, and the name of its one field.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

/// The struct of a `serde_json::value::RawValue`, and the name of its one field.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Refuses a type whose name says that it is one of `serde_json`'s own.
pub(super) fn refuse(name: &'static str) -> Result<(), KeyError> {
    if name.starts_with(PREFIX) {
        return Err(KeyError::new(KeyErrorKind::PrivateName(name)));
    }
    Ok(())
}
