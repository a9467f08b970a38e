//! Why a request has no key, and where in the request the reason is.

use std::fmt::{self, Display, Formatter};

/// Why a request has no key, and where.
///
/// There is no fallback: a key is made of the whole request or not at all. Asking again with the same request gives the
/// same error, unless the request's own `Serialize` gives another answer.
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
/// assert_eq!(error.to_string(), "a number is not finite, or too large for a double, at `/temperature/1`");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KeyError {
    // Boxed, because it is the error of every call that the serializer makes: one pointer, and null means success.
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
    /// A number is NaN or infinite, or written with so large an exponent that a double cannot hold it.
    NotFinite,
    /// A typed integer is below `i64::MIN` or above `u64::MAX`. What reads the JSON would round it to a double.
    IntegerOutOfRange,
    /// An object has two members of one name, as `#[serde(flatten)]` or a map with the keys `1` and `"1"` can make.
    DuplicateMember,
    /// A map's key has no text in JSON: a float, null, bytes, a sequence, a map or a struct.
    MemberName,
    /// More than 127 arrays and objects are open at once, which is more than `serde_json` itself would read.
    TooDeep,
    /// A type's name begins with `$serde_json::private::` and is not one that this crate knows.
    PrivateName(&'static str),
    /// A `serde_json::value::RawValue`, or a `serde_json::Number` of arbitrary precision, holds text that is not JSON.
    /// The text says what is wrong with it.
    NotJson(String),
    /// A type's `Serialize` failed, or broke serde's rules. The text is its own message.
    Failed(String),
    /// A [`KeyRule`](crate::KeyRule) was given a pointer that is none, more than 64 of them, or nothing to keep. The
    /// text says what is wrong, and the path is the pointer as it was given.
    BadRule(&'static str),
}

impl KeyError {
    #[cold]
    pub(super) fn new(kind: KeyErrorKind) -> Self {
        let path = String::new();
        Self { fault: Box::new(Fault { kind, path }) }
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &KeyErrorKind {
        &self.fault.kind
    }

    /// Where it is, as a JSON pointer (RFC 6901) into the request, or into whatever else was to be serialised;
    /// empty when all of it is meant. Of [`KeyErrorKind::BadRule`] it is the rule's own pointer.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.fault.path
    }

    /// The same error, with another path.
    pub(super) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.fault.path);
        self
    }

    /// The same error, seen from one array or object further out.
    ///
    /// The path is put together on the way out, so that a request without a fault pays nothing for it.
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
            Self::NotFinite => formatter.write_str("a number is not finite, or too large for a double"),
            Self::IntegerOutOfRange => formatter.write_str("an integer is outside the range of i64 to u64"),
            Self::DuplicateMember => formatter.write_str("an object has two members of the same name"),
            Self::MemberName => formatter.write_str("a map's key has no text in JSON"),
            Self::TooDeep => formatter.write_str("more than 127 arrays and objects are open at once"),
            Self::PrivateName(name) => write!(formatter, "the type name `{name}` is not understood"),
            Self::NotJson(message) => write!(formatter, "text that should be JSON is not: {message}"),
            Self::Failed(message) => write!(formatter, "the request cannot be serialized: {message}"),
            Self::BadRule(why) => formatter.write_str(why),
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
