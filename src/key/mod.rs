//! Keys: what makes two calls the same.
//!
//! Any type with `Hash + Eq + Clone` is a key. Where the request itself says what is asked for, a [`Key`] is made of
//! it: 32 bytes that are equal for equal JSON.
//!
//! # Which key do I need?
//!
//! | You have | Use | What it does |
//! |---|---|---|
//! | a name, a number or an id | that type, such as `String` or `u64` | is looked up in its borrowed form: a `String` by `&str` |
//! | two or more of them | a tuple, such as `(String, String)` | is looked up by a [`Pair`] of borrowed parts |
//! | a request that implements `Serialize` | [`Key::of`] | hashes the whole request. **All tenants share it** |
//! | the same, for several tenants or endpoints | [`KeyRule::new`] | adds a namespace; can also leave out members that make no difference, add a salt, or protect keys against guessing |
//! | a request to OpenAI, Anthropic or Perplexity | [`KeyPreset`] | makes a [`KeyRule`] that leaves out what cannot change the answer |
//! | a request that is not JSON, or of which only a few fields matter | [`KeyRule::fields`] | hashes the fields that a closure adds to a [`KeyFields`] |
//! | long texts that many requests have in common | [`SharedText`] in the request | hashes such a text once, for all keys |
//! | a function that should coalesce by itself | [`KeyFn`] | is what [`wrap`](crate::SyncCoalesce::wrap) makes keys with: a closure, a [`KeyRule`], or a type of your own |
//!
//! The form of a [`Key`] is specified in `src/key/README.md`, with test vectors and references in Python and
//! JavaScript.
//!
//! [`KeyPreset`]: crate::chat::KeyPreset
//!
//! # Examples
//!
//! A service for several tenants, whose requests carry a trace id:
//!
//! ```
//! use serde_json::json;
//! use sync_coalesce::{KeyRule, SyncCoalesce};
//!
//! let rule = |tenant| KeyRule::new(&("https://api.example.com/v1/chat", tenant))?.drop("/metadata/trace");
//! let (ours, theirs) = (rule("tenant a")?, rule("tenant b")?);
//! let request = |trace| json!({"model": "m", "messages": [], "metadata": {"trace": trace}});
//! assert_eq!(ours.key(&request(1))?, ours.key(&request(2))?);
//! assert_ne!(ours.key(&request(1))?, theirs.key(&request(1))?);
//!
//! let coalesce: SyncCoalesce<_, &str> = SyncCoalesce::new();
//! let answer = coalesce.call(&ours.key(&request(1))?, || "an answer");
//! assert_eq!(*answer.unwrap(), "an answer");
//! # Ok::<(), sync_coalesce::key::KeyError>(())
//! ```

use std::hash::{Hash, Hasher};

use serde::Serialize;

mod canonical;
mod digest;
mod error;
mod hex;
mod pair;
mod rule;
mod shared_text;

use self::canonical::tape::Tape;
pub use self::error::{KeyError, KeyErrorKind};
pub use self::hex::ParseKeyError;
pub use self::pair::{Pair, PairKey};
pub use self::rule::{KeyFields, KeyFn, KeyRule};
pub use self::shared_text::SharedText;

/// What makes two requests the same: 32 bytes, equal in every process, on every machine and in every language.
///
/// **A key without a namespace is shared by all tenants.** [`Key::of`] sees only the request's body. Whatever the body
/// does not say (the provider, the endpoint, the base URL, the organisation, and above all the tenant or the
/// credential) must be added, or one customer gets another's answer: that is what the namespace of a [`KeyRule`] is
/// for. A rule can also leave out members that make no difference.
///
/// A key is a BLAKE3 digest of the request's canonical JSON (RFC 8785). The order of members, the type that was
/// serialized and the way a number was written make no difference; everything else does. All 32 bytes count.
///
/// As text, in `Display`, `FromStr` and human-readable serde formats, it is 64 lowercase hexadecimal digits; other
/// serde formats get the 32 bytes. Anyone who sees the key of a guessable request can find out which request it was,
/// unless the rule has a [`secret`](KeyRule::secret).
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
/// // The namespace separates what the body does not.
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

/// A digest needs no more mixing, so its 32 bytes are folded into eight, which halves the time of a hasher such as
/// std's. They are folded by products, as in wyhash, so that keys from [`Key::from_bytes`] spread too. Finding two keys
/// with equal folds takes brute force over BLAKE3.
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
    /// The key of a request's body, **shared by all tenants**: see [`Key`].
    ///
    /// It is the key of the JSON that `serde_json::to_vec(request)` would send: where both succeed, the request and the
    /// `serde_json::Value` read back from that JSON have the same key. So two types with equal JSON share keys, `null`
    /// differs from a missing member, and the order of an array counts: the key of a `HashSet` differs from process to
    /// process, that of a `BTreeSet` does not.
    ///
    /// # Blocking
    ///
    /// Never; it takes no lock. By `cargo benches --bench keys` it costs 1.8 to 3.5 times a BLAKE3 over the request's
    /// text for chats of 1 to 100 KB, 1.1 to 1.6 times for chats of 5 MB in long messages, and 12 to 14 times for many
    /// small objects. From a thread's second key on it allocates nothing, unless the request is large (buffers above
    /// 262,144 bytes are not kept) or holds a `serde_json::value::RawValue`. The request's own `Serialize` runs once,
    /// on this thread; it may panic or make keys itself.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind`] lists what has no key: among others NaN, two members with the same name, integers beyond 64
    /// bits, and more than 127 nested arrays and objects. The error says where in the request it is. There is never a
    /// key for part of a request.
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

    /// A key that was made elsewhere. The 32 bytes should come from a cryptographic hash, because nothing else tells
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

    /// The 32 bytes, in the order in which the text has their digits.
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
