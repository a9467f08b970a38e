//! The canonical request key. The form itself is specified in this folder's `README.md`.

use std::hash::{Hash, Hasher};

use serde::Serialize;

mod canonical;
mod digest;
mod error;
mod hex;
mod rule;
mod shared_text;

pub use self::error::{KeyError, KeyErrorKind};
pub use self::hex::ParseKeyError;
pub use self::rule::{KeyFields, KeyFn, KeyRule};
pub use self::shared_text::SharedText;

use self::canonical::tape::Tape;

/// What makes two requests the same: 32 bytes, equal in every process, on every machine and in every language.
///
/// **A key without a namespace is shared by all tenants.** [`Key::of`] sees the request's body and nothing else. What
/// the body does not say (the provider, the endpoint, the base URL, the organisation, and above all the tenant or the
/// credential) must go in beside it, or one customer gets another's answer: that is what the namespace of a [`KeyRule`]
/// is for, which can also leave out of a request what does not count.
///
/// A key is a BLAKE3 digest of the request's canonical JSON (RFC 8785), so the order of members, the type that was
/// serialized and how a number was written make no difference, and everything else does. All 32 bytes count.
///
/// Its text is 64 lower-case hexadecimal digits, in `Display`, `FromStr` and human-readable serde formats; other serde
/// formats get the 32 bytes. The key of a guessable request tells who sees it which request it was, unless its rule has
/// a [`secret`](KeyRule::secret).
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use sync_coalesce::{Key, KeyRule};
///
/// let key = Key::of(&json!({"model": "m", "temperature": 1.0}))?;
/// assert_eq!(key, Key::of(&json!({"temperature": 1, "model": "m"}))?);
/// assert_ne!(key, Key::of(&json!({"temperature": 2, "model": "m"}))?);
///
/// // The namespace parts what the body does not.
/// let request = json!({"model": "m"});
/// assert_ne!(KeyRule::new("tenant a")?.key(&request)?, KeyRule::new("tenant b")?.key(&request)?);
///
/// let text = key.to_string();
/// assert_eq!(text.len(), 64);
/// assert_eq!(text.parse::<Key>()?, key);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// The bytes of a digest need no more mixing, so they are folded into eight, for which a hasher such as std's takes half
/// as long; by products, as wyhash does it, so that keys made of other bytes spread too. Who would make keys of requests
/// whose folds agree has to find digests by trying.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| self.0[at + byte]));
        let product = |one: u64, other: u64| {
            let product = u128::from(one) * u128::from(other);
            #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
            let halves = (product as u64, (product >> 64) as u64);
            halves.0 ^ halves.1
        };
        let first = product(word(0) ^ 0xA076_1D64_78BD_642F, word(8) ^ 0xE703_7ED1_A0B4_28DB);
        let second = product(word(16) ^ 0x8EBC_6AF0_9C88_C6E3, word(24) ^ 0x5899_65CC_7537_4CC3);
        state.write_u64(first ^ second.rotate_left(32));
    }
}

impl Key {
    /// The key of a request by its body alone, **which all tenants share**: see [`Key`].
    ///
    /// The key is that of the JSON that `serde_json::to_vec(request)` would send: wherever both succeed, the request
    /// and the `serde_json::Value` read back from that JSON have one key. So two types of equal JSON share keys, `null`
    /// and a missing member differ, and an array's order counts: a `HashSet` has another key in each process, a
    /// `BTreeSet` does not.
    ///
    /// # Blocking
    ///
    /// Never; it takes no lock. `cargo bench --bench keys` measures what it costs: 1.8 to 3.5 times a BLAKE3 over the
    /// request's text for chats of 1 to 100 KB, 1.1 to 1.6 times for chats of 5 MB in long messages, and 12 to 14 times
    /// for many small objects. From the second key on a thread it allocates nothing, unless the request is large
    /// (buffers above 262,144 bytes are not kept) or holds a `serde_json::value::RawValue`. The request's own
    /// `Serialize` runs once, on this thread, and may panic or make keys itself.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind`] lists what has no key: among others NaN, two members of one name, integers beyond 64 bits, and
    /// more than 127 open arrays and objects. The error says where it is. There is no key of part of a request.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use sync_coalesce::Key;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Request<'a> {
    ///     model: &'a str,
    ///     max_tokens: u32,
    /// }
    ///
    /// let typed = Key::of(&Request { model: "m", max_tokens: 9 })?;
    /// let parsed: serde_json::Value = serde_json::from_str(r#"{ "max_tokens": 9.0, "model": "\u006d" }"#)?;
    /// assert_eq!(typed, Key::of(&parsed)?);
    ///
    /// assert!(Key::of(&BTreeMap::from([("temperature", f64::NAN)])).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of<R: Serialize + ?Sized>(request: &R) -> Result<Self, KeyError> {
        // Neither a namespace nor a rule.
        Tape::with(
            "[null,null,",
            None,
            |tape| request.serialize(tape),
            |text| {
                text.push(b']');
                Self(digest::request_key(text))
            },
        )
    }

    /// A key made elsewhere. The 32 bytes should come from a cryptographic hash, for nothing but these bytes will tell
    /// two requests apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::Key;
    ///
    /// let key = Key::from_bytes([0xab; 32]);
    /// assert_eq!(key.to_string(), "ab".repeat(32));
    /// ```
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, in the order of their digits in the text.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::Key;
    ///
    /// let key = Key::of("a request")?;
    /// assert_eq!(Key::from_bytes(*key.as_bytes()), key);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
