//! [`KeyFields`]: what a rule's closure picks.

use serde::Serialize;

use super::compound::Object;
use super::error::KeyError;
use super::tape::Tape;

/// Takes the fields of a request that count; given to the closure of [`KeyRule::fields`](crate::KeyRule::fields).
pub struct KeyFields<'k> {
    object: Object<'k>,
}

impl<'k> KeyFields<'k> {
    pub(super) fn open(tape: &'k mut Tape) -> Result<Self, KeyError> {
        Object::open(tape, None).map(|object| Self { object })
    }

    pub(super) fn close(self) -> Result<(), KeyError> {
        self.object.close()
    }

    /// Adds a field. The order of fields makes no difference.
    ///
    /// # Errors
    ///
    /// As [`Key::of`](crate::Key::of). The path begins with the field's name. After an error there is no key, even if
    /// the closure keeps it to itself. A second field of one name is an error when the closure has returned.
    pub fn field<V: Serialize + ?Sized>(&mut self, name: &str, value: &V) -> Result<(), KeyError> {
        self.object.member(name, value)
    }
}

impl std::fmt::Debug for KeyFields<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyFields").finish_non_exhaustive()
    }
}
