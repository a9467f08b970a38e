//! [`KeyFn`]: what makes a key of a request.

use serde::Serialize;

use super::{Key, KeyError, KeyFields, KeyRule};

/// What makes keys of requests, for [`wrap`](crate::SyncCoalesce::wrap): a closure `Fn(&R) -> K`, or a
/// [`KeyRule`](crate::KeyRule).
pub trait KeyFn<R: ?Sized, K> {
    /// The key of a request.
    ///
    /// # Errors
    ///
    /// If the request has no key. Closures always have one.
    fn key(&self, request: &R) -> Result<K, KeyError>;
}

impl<R: ?Sized, K, F: Fn(&R) -> K> KeyFn<R, K> for F {
    fn key(&self, request: &R) -> Result<K, KeyError> {
        Ok(self(request))
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
