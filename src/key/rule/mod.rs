//! [`KeyRule`]: what counts in a request, and what counts besides it.

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

/// How keys are made of requests: in which namespace, and by which part of each request.
///
/// It is made once and used by any number of threads: [`key`](KeyRule::key) makes a key by it,
/// [`Builder::key_rule`](crate::Builder::key_rule) has [`try_call_for`](crate::SyncCoalesce::try_call_for) do so, and
/// [`wrap`](crate::SyncCoalesce::wrap) takes one. `F` is the closure of [`fields`](KeyRule::fields); rules for whole
/// requests have none. For the requests of some providers there are rules ready made: [`KeyPreset`](crate::KeyPreset).
///
/// What a rule leaves out is itself part of the key, so two rules give two keys to one request, whatever they leave of
/// it. The order in which a rule is put together makes no difference.
///
/// # Pointers
///
/// A pointer is a JSON pointer (RFC 6901), such as `/metadata`, in which a step `*` stands for any one member or
/// element: `/messages/*/content/*/cache_control`. There is no step for any number of levels, because a tool's argument
/// may have any name. In names, `~0` is `~`, `~1` is `/` and `~2` is `*`.
///
/// A pointer ends in the name of a member, and a number is a name like any other: elements are not left out, because
/// those behind them would move up and be taken for them. A pointer that leads nowhere in a request does nothing.
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
    /// In canonical form, as is the salt.
    namespace: String,
    salt: Option<String>,
    paths: Paths,
    /// What is hashed with, if not with the context of request keys.
    secret: Option<[u8; 32]>,
    is_of_fields: bool,
    fields: F,
    /// What the text of each key begins with.
    prefix: String,
}

impl KeyRule {
    /// A rule by which the whole request counts, in this namespace.
    ///
    /// The namespace says what the request's body does not: the provider, the endpoint and its version, the base URL,
    /// the organisation, and above all **the tenant or the credential**. Without that, one customer gets another's
    /// answer. A tuple holds them all. It is hashed into each key and kept nowhere else in it; a credential that may
    /// leak through a guessed key needs a [`secret`](KeyRule::secret) too. `&()` is no namespace, and then the keys
    /// are those of [`Key::of`].
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind`] lists what cannot be part of a key. The path is one into the namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{Key, KeyRule};
    ///
    /// let request = "what time is it?";
    /// assert_ne!(KeyRule::new("tenant a")?.key(request)?, KeyRule::new("tenant b")?.key(request)?);
    /// // There is no separator that a text may hold.
    /// assert_ne!(KeyRule::new(&("a|b", "c"))?.key(request)?, KeyRule::new(&("a", "b|c"))?.key(request)?);
    /// assert_eq!(KeyRule::new(&())?.key(request)?, Key::of(request)?);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn new<N: Serialize + ?Sized>(namespace: &N) -> Result<Self, KeyError> {
        Self::with_fields(namespace, false, ())
    }

    /// A rule by which that counts which `fields` picks, in this namespace, for requests that are no JSON themselves or
    /// of which little counts.
    ///
    /// What is picked is keyed as an object with a member for each field. Pointers lead into that object.
    ///
    /// **Whatever is not picked does not count**: a request of which the temperature was forgotten gets the answer to
    /// another one.
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

    /// The same rule, and the member that `pointer` leads to does not count. Nothing of it is serialised.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind::BadRule`] if the pointer is none, or one more than 64.
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
    /// assert_eq!(error.to_string(), "a rule's pointer does not begin with `/`, at `metadata`");
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn drop(mut self, pointer: &str) -> Result<Self, KeyError> {
        self.paths.add(pointer, Verdict::Drop)?;
        self.settled()
    }

    /// The same rule, and nothing counts but the members that one of the pointers leads to, with all that is in them.
    ///
    /// **This is dangerous.** What is not listed is taken not to matter: a parameter that the provider adds tomorrow, or
    /// that was forgotten today, makes two requests share one answer. [`drop`](KeyRule::drop) errs to the other side.
    ///
    /// It may be given several times, and adds to what is kept. A member that is kept and dropped is dropped. The
    /// elements of an array always count; below them only a step `*` picks members.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind::BadRule`] if a pointer is none, or one more than 64, or if nothing is kept.
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
            return Err(KeyError::new(KeyErrorKind::BadRule("a rule keeps nothing of a request")));
        }
        self.settled()
    }

    /// The same rule with a salt: the requests of one salt coalesce with each other and with no others. A salt given
    /// before is replaced.
    ///
    /// It is for samples that should differ: ten answers to one question are ten salts, and each of them is still
    /// shared by all who ask for that one.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind`] lists what cannot be part of a key. The path is one into the salt.
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

    /// The same rule, and nobody finds a key by guessing the request who does not have these 32 bytes.
    ///
    /// Whoever sees the key of a guessable request, in a log or a shared store, can otherwise make the keys of all the
    /// guesses and compare. Take the bytes from a generator of random numbers fit for secrets, or from a store of
    /// secrets, not from a password. All processes that share keys share them; with others, all keys are others.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{Key, KeyRule};
    ///
    /// let secret = [7; 32]; // in earnest, 32 random bytes
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
    /// As [`Key::of`], and what the closure of [`fields`](KeyRule::fields) returns. What is left out is not looked at,
    /// so there are no errors in it.
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

    /// The key of the text that `write` appends.
    fn make(&self, write: impl FnOnce(&mut Tape) -> Result<(), KeyError>) -> Result<Key, KeyError> {
        Tape::with(&self.prefix, Some(self.paths.filter()), write, |text| {
            text.push(b']');
            Key::from_bytes(match &self.secret {
                None => digest::request_key(text),
                Some(secret) => digest::keyed(secret, text),
            })
        })
    }

    /// The same rule with the prefix that goes with it.
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

/// Tells what the rule makes of requests, and neither the namespace nor the salt, which may be credentials.
impl<F> Debug for KeyRule<F> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("KeyRule");
        shown.field("drop", &self.paths.sorted(Verdict::Drop));
        shown.field("keep_only", &self.paths.sorted(Verdict::Keep));
        shown.field("fields", &self.is_of_fields);
        shown.field("salted", &self.salt.is_some()).field("secret", &self.secret.is_some()).finish_non_exhaustive()
    }
}
