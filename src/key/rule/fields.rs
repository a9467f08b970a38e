//! [`KeyFields`]: the fields that a rule's closure adds to a key.

use serde::Serialize;

use crate::key::canonical::object::Object;
use crate::key::canonical::tape::Tape;
use crate::key::error::KeyError;

/// Takes the fields that a key covers, from the closure of [`KeyRule::fields`](super::KeyRule::fields).
///
/// # Examples
///
/// ```
/// use sync_coalesce::KeyRule;
/// use sync_coalesce::key::{KeyError, KeyFields};
///
/// fn by_name_and_size(file: &(String, u64, [u8; 4]), key: &mut KeyFields<'_>) -> Result<(), KeyError> {
///     key.field("name", &file.0)?;
///     key.field("size", &file.1)
/// }
///
/// let rule = KeyRule::fields("volume 1", by_name_and_size)?;
/// let file = |mode| ("a".to_owned(), 10, mode);
/// assert_eq!(rule.key(&file([6, 4, 4, 0]))?, rule.key(&file([7, 5, 5, 0]))?);
/// # Ok::<(), KeyError>(())
/// ```
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

    /// Adds a field to the key. The order of fields makes no difference.
    ///
    /// # Errors
    ///
    /// As [`Key::of`](crate::key::Key::of); the path begins with the field's name. After an error there is no key, even
    /// if the closure ignores it. Two fields with the same name are an error too, which is found when the closure has
    /// returned.
    pub fn field<V: Serialize + ?Sized>(&mut self, name: &str, value: &V) -> Result<(), KeyError> {
        self.object.member(name, value)
    }
}

impl std::fmt::Debug for KeyFields<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyFields").finish_non_exhaustive()
    }
}
