//! [`KeyError`]: why a request has no key, and where in the request the reason is.

use std::fmt::{self, Display, Formatter};

/// Why a request has no key, and where in it the reason is.
///
/// There is no fallback: a key is made of the whole request or not at all. Asking again with the same request gives the
/// same error, unless the request's own `Serialize` behaves differently.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
/// use sync_coalesce::Key;
/// use sync_coalesce::key::KeyErrorKind;
///
/// let request = BTreeMap::from([("temperature", vec![0.7, f64::NAN])]);
/// let error = Key::of(&request).unwrap_err();
/// assert_eq!(error.kind(), &KeyErrorKind::NotFinite);
/// assert_eq!(error.path(), "/temperature/1");
/// assert_eq!(error.to_string(), "number is not finite or too large for a double, at `/temperature/1`");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KeyError {
    // Boxed, because every call of the serializer returns it: so a result is one pointer, and null means success.
    fault: Box<Fault>,
}

#[derive(Clone, PartialEq, Eq)]
struct Fault {
    kind: KeyErrorKind,
    path: String,
}

/// What is wrong with a request that has no key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyErrorKind {
    /// A number is NaN, infinite, or too large for a double.
    NotFinite,
    /// An integer is below `i64::MIN` or above `u64::MAX`. A reader of the JSON would round it to a double.
    IntegerOutOfRange,
    /// An object has two members with the same name. `#[serde(flatten)]` can cause this, or a map with the keys `1` and
    /// `"1"`.
    DuplicateMember,
    /// A map's key cannot be the name of a JSON member: it is a float, null, bytes, a sequence, a map or a struct.
    MemberName,
    /// More than 127 arrays and objects are nested, which is more than `serde_json` itself would read.
    TooDeep,
    /// A type's name begins with `$serde_json::private::`, and this crate does not know the type.
    PrivateName(&'static str),
    /// A `serde_json::value::RawValue`, or a `serde_json::Number` of arbitrary precision, holds text that is not JSON.
    /// The message says what is wrong with it.
    NotJson(String),
    /// A type's `Serialize` failed, or broke serde's rules. The message is its own.
    Failed(String),
    /// A [`KeyRule`](super::KeyRule) was given an invalid pointer, more than 64 pointers, or nothing to keep. The
    /// message says what is wrong, and the error's path is the pointer as it was given.
    BadRule(&'static str),
}

impl KeyError {
    #[cold]
    pub(super) fn new(kind: KeyErrorKind) -> Self {
        let path = String::new();
        Self { fault: Box::new(Fault { kind, path }) }
    }

    /// What is wrong with the request.
    #[must_use]
    pub fn kind(&self) -> &KeyErrorKind {
        &self.fault.kind
    }

    /// A JSON pointer (RFC 6901) to the place in the request, namespace or salt; empty if the error is about all of it.
    /// For [`KeyErrorKind::BadRule`] it is the rule's own pointer.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.fault.path
    }

    /// The same error, with another path.
    pub(super) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.fault.path);
        self
    }

    /// The same error, as seen from the array or object around it.
    ///
    /// The path is built on the way out, so that a request without a fault pays nothing for it.
    #[cold]
    pub(super) fn within(mut self, step: impl Display) -> Self {
        let step = step.to_string().replace('~', "~0").replace('/', "~1");
        self.fault.path = format!("/{step}{}", self.fault.path);
        self
    }
}

impl Display for KeyErrorKind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => formatter.write_str("number is not finite or too large for a double"),
            Self::IntegerOutOfRange => {
                formatter.write_str("integer is out of range: not between i64::MIN and u64::MAX")
            }
            Self::DuplicateMember => formatter.write_str("object has two members with the same name"),
            Self::MemberName => formatter.write_str("map key cannot be a JSON member's name"),
            Self::TooDeep => formatter.write_str("more than 127 nested arrays and objects"),
            Self::PrivateName(name) => write!(formatter, "unknown private type `{name}`"),
            Self::NotJson(message) => write!(formatter, "invalid JSON text: {message}"),
            Self::Failed(message) => write!(formatter, "serialization failed: {message}"),
            Self::BadRule(why) => write!(formatter, "invalid rule: {why}"),
        }
    }
}

impl Display for KeyError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.path() {
            "" => write!(formatter, "{}", self.kind()),
            path => write!(formatter, "{}, at `{path}`", self.kind()),
        }
    }
}

impl fmt::Debug for KeyError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyError").field("kind", self.kind()).field("path", &self.path()).finish()
    }
}

impl std::error::Error for KeyError {}

impl serde::ser::Error for KeyError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(KeyErrorKind::Failed(message.to_string()))
    }
}
