//! [`KeyFn`]: a function from requests to keys.

use crate::key::error::KeyError;

/// A function from requests to keys, for [`wrap`](crate::SyncCoalesce::wrap): a closure `Fn(&R) -> K`, a
/// [`KeyRule`](super::KeyRule), or a type of your own.
///
/// # Examples
///
/// A function that refuses some requests:
///
/// ```
/// use sync_coalesce::key::{KeyError, KeyFn};
/// use sync_coalesce::{CallError, SyncCoalesce};
///
/// struct Absolute;
///
/// impl KeyFn<str, String> for Absolute {
///     fn key(&self, path: &str) -> Result<String, KeyError> {
///         match path.strip_prefix('/') {
///             Some(path) => Ok(path.to_owned()),
///             None => Err(serde::ser::Error::custom("a relative path")),
///         }
///     }
/// }
///
/// let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
/// let length = coalesce.wrap(Absolute, |path: &str| Ok(path.len()));
/// assert_eq!(*length("/etc").unwrap(), 4);
/// assert!(matches!(length("etc"), Err(CallError::BadKey(_))));
/// ```
pub trait KeyFn<R: ?Sized, K> {
    /// The key of a request.
    ///
    /// # Errors
    ///
    /// If the request has no key. Closures never fail.
    fn key(&self, request: &R) -> Result<K, KeyError>;
}

impl<R: ?Sized, K, F: Fn(&R) -> K> KeyFn<R, K> for F {
    fn key(&self, request: &R) -> Result<K, KeyError> {
        Ok(self(request))
    }
}
