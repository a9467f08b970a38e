//! [`SharedText`]: a long text that is hashed once.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest;
use crate::sync::spare_per_thread;

spare_per_thread! {
    /// The text that this thread is passing to a serializer right now.
    Offered: SharedText
}

/// A text that is hashed once, however many keys are made of requests that hold it.
///
/// It is for long texts that many requests have in common: a system prompt, a document, a conversation so far. It
/// serializes as a plain string, and **a request has the same key with it as with the plain string**. It adds less than
/// a microsecond to the time for a key, where a plain string of a few million bytes adds a millisecond. Texts of up to
/// 4,096 bytes gain nothing.
///
/// Clones share the text and its digest, and cost as much as those of an [`Arc`]. It compares and hashes like a `str`.
///
/// The digest is lost where the text is copied before it reaches the key, for example by `serde_json::to_value`, or by
/// serde in some internally tagged enums. The key is then the same but takes longer.
///
/// # Examples
///
/// ```
/// use std::sync::LazyLock;
/// use sync_coalesce::Key;
/// use sync_coalesce::key::SharedText;
///
/// static MANUAL: LazyLock<SharedText> = LazyLock::new(|| SharedText::from("Turn it off and on again. ".repeat(10_000)));
///
/// #[derive(serde::Serialize)]
/// struct Request<'a, S> {
///     system: S,
///     question: &'a str,
/// }
///
/// let question = "why is the light red?";
/// let shared = Key::of(&Request { system: MANUAL.clone(), question })?;
/// assert_eq!(shared, Key::of(&Request { system: MANUAL.as_str(), question })?);
/// # Ok::<(), sync_coalesce::key::KeyError>(())
/// ```
#[derive(Clone)]
pub struct SharedText {
    text: Arc<str>,
    /// The digest that stands in for the text, if it is folded. Computed before the text is shared, so that no thread
    /// waits for it.
    fold: Option<blake3::Hash>,
}

impl SharedText {
    /// The text, hashed if it is longer than 4,096 bytes, which takes about a millisecond for a few million bytes.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let fold = digest::folds(&text).then(|| digest::long_string(&text));
        Self { text, fold }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The digest of a text that its `SharedText` is serializing right now. The text is recognized by its address.
///
/// No other text can have that address, because the offer keeps its text alive.
pub(super) fn remembered(text: &str) -> Option<blake3::Hash> {
    let offered = Offered::take()?;
    let fold = offered.fold.filter(|_| std::ptr::eq(offered.as_str(), text));
    Offered::put(offered);
    fold
}

/// Withdraws the offer, whether the serializer returned or panicked.
struct Withdraw;

impl Drop for Withdraw {
    fn drop(&mut self) {
        let _: Option<SharedText> = Offered::take();
    }
}

impl Serialize for SharedText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.fold.is_none() {
            return serializer.serialize_str(self);
        }
        // The writer of a key's text looks here before it hashes a long string. Other serializers just see a string.
        Offered::put(self.clone());
        let _withdraw = Withdraw;
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for SharedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl<T: Into<Arc<str>>> From<T> for SharedText {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for SharedText {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for SharedText {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for SharedText {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SharedText {}

impl PartialOrd for SharedText {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedText {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for SharedText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Display for SharedText {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&**self, formatter)
    }
}

impl Debug for SharedText {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{Offered, SharedText, remembered};
    use crate::key::Key;

    #[test]
    fn the_digest_that_is_remembered_is_the_one_that_is_used() {
        let mut shared = SharedText::from("x".repeat(5000));
        shared.fold = Some(blake3::Hash::from_bytes([1; 32]));
        let wrong = Key::of(&shared).unwrap();
        assert_ne!(wrong, Key::of(shared.as_str()).unwrap());
        shared.fold = Some(blake3::Hash::from_bytes([2; 32]));
        assert_ne!(wrong, Key::of(&shared).unwrap());
        assert!(Offered::take().is_none());
    }

    #[test]
    fn an_offer_is_for_this_very_text() {
        let shared = SharedText::from("x".repeat(10_000));
        let equal = SharedText::from("x".repeat(10_000));
        Offered::put(shared.clone());
        for other in [&shared[1..], &shared[..9999], &equal, "", &shared[..0]] {
            assert_eq!(remembered(other), None);
        }
        assert_eq!(remembered(&shared.clone()), shared.fold);
        Offered::take().unwrap();
        assert_eq!(remembered(&shared), None);
    }

    #[test]
    fn no_offer_stays_behind_a_panic() {
        struct Panics;
        impl std::io::Write for Panics {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                assert!(Offered::take().is_some(), "the offer is made");
                Offered::put(SharedText::from("y".repeat(5000)));
                panic!("in the middle")
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let shared = SharedText::from("x".repeat(5000));
        let panicked = catch_unwind(AssertUnwindSafe(|| serde_json::to_writer(Panics, &shared))).unwrap_err();
        assert_eq!(panicked.downcast_ref(), Some(&"in the middle"));
        assert!(Offered::take().is_none());
    }

    #[test]
    fn a_text_that_does_not_fold_is_not_offered() {
        assert!(SharedText::from("x".repeat(4096)).fold.is_none());
        assert!(SharedText::from("x".repeat(4097)).fold.is_some());
        assert!(SharedText::from("\0").fold.is_some());
    }
}
