//! [`KeyRule`]: which parts of a request its key covers, and in which namespace.

mod fields;
mod key_fn;
mod paths;
mod prefix;

use std::fmt::{self, Debug, Formatter};

use serde::Serialize;

pub use self::fields::KeyFields;
pub use self::key_fn::KeyFn;
use self::paths::Paths;
use super::canonical::filter::Verdict;
use super::canonical::tape::Tape;
use super::error::{KeyError, KeyErrorKind};
use super::{Key, canonical, digest};

/// How keys are made of requests: in which namespace, and of which parts of each request.
///
/// A rule is made once and used by any number of threads. [`key`](KeyRule::key) makes a key,
/// [`Builder::key_rule`](crate::Builder::key_rule) sets the rule for
/// [`try_call_for`](crate::SyncCoalesce::try_call_for), and [`wrap`](crate::SyncCoalesce::wrap) takes a rule as it is.
/// `F` is the closure of [`fields`](KeyRule::fields); rules for whole requests have none.
/// [`KeyPreset`](crate::chat::KeyPreset) has ready-made rules for some providers.
///
/// The list of what a rule leaves out is part of each key, so different rules give different keys to the same request,
/// even where they leave the same parts of it. The order in which a rule is built makes no difference.
///
/// # Pointers
///
/// A pointer is a JSON pointer (RFC 6901), such as `/metadata`, in which a step `*` stands for any one member or
/// element: `/messages/*/content/*/cache_control`. No step matches several levels, because an argument of a tool may
/// have any name. In names, `~0` is `~`, `~1` is `/` and `~2` is `*`.
///
/// A pointer ends in the name of a member, and a number is a name like any other. The elements of an array cannot be
/// left out, because the following elements would move up and be taken for them. A pointer that matches nothing in a
/// request has no effect.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use sync_coalesce::{Key, KeyRule};
///
/// let tenant = "tenant a";
/// let rule = KeyRule::new(&("https://api.example.com/v1/chat", tenant))?.drop("/metadata")?;
///
/// let one = json!({"model": "m", "metadata": {"trace": 1}});
/// let other = json!({"model": "m", "metadata": {"trace": 2}});
/// assert_eq!(rule.key(&one)?, rule.key(&other)?);
///
/// let elsewhere = KeyRule::new(&("https://api.example.com/v1/chat", "tenant b"))?.drop("/metadata")?;
/// assert_ne!(rule.key(&one)?, elsewhere.key(&one)?);
/// # Ok::<(), sync_coalesce::key::KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyRule<F = ()> {
    /// As canonical text, like the salt.
    namespace: String,
    salt: Option<String>,
    paths: Paths,
    /// The key of the keyed hash, if the rule has a secret.
    secret: Option<[u8; 32]>,
    is_of_fields: bool,
    fields: F,
    /// The beginning of every key's text.
    prefix: String,
}

impl KeyRule {
    /// A rule for whole requests, in this namespace.
    ///
    /// The namespace says what the request's body does not: the provider, the endpoint and its version, the base URL,
    /// the organisation, and above all **the tenant or the credential**. Without it, one customer gets another's
    /// answer. A tuple can hold all of these. A key holds the namespace only as part of its hash; if a credential could
    /// leak because somebody guesses it and compares keys, use a [`secret`](KeyRule::secret) too. `&()` stands for no
    /// namespace: the keys are then those of [`Key::of`].
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind`] lists what cannot be part of a key. The error's path points into the namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{Key, KeyRule};
    ///
    /// let request = "what time is it?";
    /// assert_ne!(KeyRule::new("tenant a")?.key(request)?, KeyRule::new("tenant b")?.key(request)?);
    /// // No separator is used that a text could contain.
    /// assert_ne!(KeyRule::new(&("a|b", "c"))?.key(request)?, KeyRule::new(&("a", "b|c"))?.key(request)?);
    /// assert_eq!(KeyRule::new(&())?.key(request)?, Key::of(request)?);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn new<N: Serialize + ?Sized>(namespace: &N) -> Result<Self, KeyError> {
        Self::with_fields(namespace, false, ())
    }

    /// A rule whose key covers only the fields that `fields` adds, in this namespace. For requests that are not JSON,
    /// or of which only a few fields matter.
    ///
    /// The key is that of an object with one member per field. Pointers start at that object.
    ///
    /// **A field that is not added makes no difference**: if the temperature is forgotten, a request gets the answer to
    /// one with another temperature.
    ///
    /// # Errors
    ///
    /// As [`new`](KeyRule::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::KeyRule;
    ///
    /// struct Query {
    ///     sql: String,
    ///     arguments: Vec<i64>,
    ///     trace: u64,
    /// }
    ///
    /// let rule = KeyRule::fields("replica 1", |query: &Query, key| {
    ///     key.field("sql", &query.sql)?;
    ///     key.field("arguments", &query.arguments)
    /// })?;
    /// let query = |trace| Query { sql: "select ?".to_owned(), arguments: vec![1], trace };
    /// assert_eq!(rule.key(&query(1))?, rule.key(&query(2))?);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn fields<R, F, N>(namespace: &N, fields: F) -> Result<KeyRule<F>, KeyError>
    where
        R: ?Sized,
        F: Fn(&R, &mut KeyFields<'_>) -> Result<(), KeyError>,
        N: Serialize + ?Sized,
    {
        KeyRule::with_fields(namespace, true, fields)
    }
}

impl<F> KeyRule<F> {
    fn with_fields<N: Serialize + ?Sized>(namespace: &N, is_of_fields: bool, fields: F) -> Result<Self, KeyError> {
        let namespace = canonical::text_of(namespace)?;
        let (salt, secret, paths, prefix) = (None, None, Paths::default(), String::new());
        Self { namespace, salt, paths, secret, is_of_fields, fields, prefix }.settled()
    }

    /// The same rule without the member that `pointer` leads to. Its value is not serialized.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind::BadRule`] if the pointer is invalid, or if the rule has 64 pointers already.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use sync_coalesce::KeyRule;
    ///
    /// let rule = KeyRule::new("tenant a")?.drop("/messages/*/id")?;
    /// let request = |id, argument| json!({"messages": [{"id": id, "tool": {"id": argument}}]});
    /// assert_eq!(rule.key(&request(1, 1))?, rule.key(&request(2, 1))?);
    /// assert_ne!(rule.key(&request(1, 1))?, rule.key(&request(1, 2))?);
    ///
    /// let error = rule.drop("metadata").unwrap_err();
    /// assert_eq!(error.to_string(), "invalid rule: pointer does not start with `/`, at `metadata`");
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn drop(mut self, pointer: &str) -> Result<Self, KeyError> {
        self.paths.add(pointer, Verdict::Drop)?;
        self.settled()
    }

    /// The same rule with only the members that the pointers lead to, and everything in them.
    ///
    /// **This is dangerous.** Whatever is not listed makes no difference: if the provider adds a parameter tomorrow, or
    /// one was forgotten today, two requests share one answer. [`drop`](KeyRule::drop) errs on the safe side.
    ///
    /// Further calls add to what is kept. A member that is both kept and dropped is dropped. The elements of an array
    /// are always kept; inside them, only a step `*` leads to members.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind::BadRule`] if a pointer is invalid, there are more than 64, or nothing is kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use sync_coalesce::KeyRule;
    ///
    /// let rule = KeyRule::new("tenant a")?.keep_only(["/model", "/messages/*/content"])?;
    /// let request = |id, content| json!({"model": "m", "n": id, "messages": [{"id": id, "content": content}]});
    /// assert_eq!(rule.key(&request(1, "a"))?, rule.key(&request(2, "a"))?);
    /// assert_ne!(rule.key(&request(1, "a"))?, rule.key(&request(1, "b"))?);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn keep_only<P: AsRef<str>>(mut self, pointers: impl IntoIterator<Item = P>) -> Result<Self, KeyError> {
        pointers.into_iter().try_for_each(|pointer| self.paths.add(pointer.as_ref(), Verdict::Keep))?;
        if self.paths.sorted(Verdict::Keep).is_empty() {
            return Err(KeyError::new(KeyErrorKind::BadRule("nothing to keep")));
        }
        self.settled()
    }

    /// The same rule with a salt: requests coalesce only with requests of the same salt. Replaces an earlier salt.
    ///
    /// It is for samples that should differ: ten answers to one question take ten salts. Each answer is still shared by
    /// all callers with its salt.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind`] lists what cannot be part of a key. The error's path points into the salt.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::KeyRule;
    ///
    /// let rule = KeyRule::new("tenant a")?;
    /// let sample = |number: u32| rule.clone().salt(&number)?.key("write a poem");
    /// assert_ne!(sample(1)?, sample(2)?);
    /// assert_eq!(sample(1)?, sample(1)?);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn salt<X: Serialize + ?Sized>(mut self, salt: &X) -> Result<Self, KeyError> {
        self.salt = Some(canonical::text_of(salt)?);
        self.settled()
    }

    /// The same rule with a secret: without these 32 bytes, nobody can tell whether a key is that of a guessed request.
    ///
    /// Otherwise, anyone who sees the key of a guessable request, in a log or a shared store, can make the keys of all
    /// guesses and compare. Take the bytes from a cryptographically secure random number generator or from a secret
    /// store, not from a password. Processes that share keys must share the secret; another secret gives other keys.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{Key, KeyRule};
    ///
    /// let secret = [7; 32]; // in production, 32 random bytes
    /// let rule = KeyRule::new("tenant a")?.secret(&secret);
    /// assert_ne!(rule.key("diagnosis?")?, KeyRule::new("tenant a")?.key("diagnosis?")?);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    #[must_use]
    pub fn secret(mut self, secret: &[u8; 32]) -> Self {
        self.secret = Some(digest::secret_key(secret));
        self
    }

    /// The key of a request by this rule.
    ///
    /// # Blocking
    ///
    /// As [`Key::of`]: never.
    ///
    /// # Errors
    ///
    /// As [`Key::of`], and any error that the closure of [`fields`](KeyRule::fields) returns. Members that are left out
    /// are not checked, so they cause no errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use sync_coalesce::KeyRule;
    ///
    /// let rule = KeyRule::new("tenant a")?.drop("/age")?;
    /// rule.key(&BTreeMap::from([("age", f64::NAN)]))?;
    /// assert_eq!(rule.key(&BTreeMap::from([("weight", f64::NAN)])).unwrap_err().path(), "/weight");
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn key<R: ?Sized>(&self, request: &R) -> Result<Key, KeyError>
    where
        Self: KeyFn<R, Key>,
    {
        KeyFn::key(self, request)
    }

    /// The key of the text that `write` writes.
    fn make(&self, write: impl FnOnce(&mut Tape) -> Result<(), KeyError>) -> Result<Key, KeyError> {
        Tape::with(&self.prefix, Some(self.paths.filter()), write, |text| {
            text.push(b']');
            Key::from_bytes(match &self.secret {
                None => digest::request_key(text),
                Some(secret) => digest::keyed(secret, text),
            })
        })
    }

    /// The same rule with its prefix brought up to date.
    fn settled(mut self) -> Result<Self, KeyError> {
        self.prefix = prefix::of(&self.namespace, &self.paths, self.is_of_fields, self.salt.as_deref())?;
        Ok(self)
    }
}

impl<R: Serialize + ?Sized> KeyFn<R, Key> for KeyRule {
    fn key(&self, request: &R) -> Result<Key, KeyError> {
        self.make(|tape| request.serialize(tape))
    }
}

impl<R: ?Sized, F> KeyFn<R, Key> for KeyRule<F>
where
    F: Fn(&R, &mut KeyFields<'_>) -> Result<(), KeyError>,
{
    fn key(&self, request: &R) -> Result<Key, KeyError> {
        self.make(|tape| {
            let mut fields = KeyFields::open(tape)?;
            (self.fields)(request, &mut fields)?;
            fields.close()
        })
    }
}

/// Shows which parts of a request the rule covers, but not the namespace or the salt, which may be credentials.
impl<F> Debug for KeyRule<F> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("KeyRule");
        shown.field("drop", &self.paths.sorted(Verdict::Drop));
        shown.field("keep_only", &self.paths.sorted(Verdict::Keep));
        shown.field("fields", &self.is_of_fields);
        shown.field("salted", &self.salt.is_some()).field("secret", &self.secret.is_some()).finish_non_exhaustive()
    }
}
