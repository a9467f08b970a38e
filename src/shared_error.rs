//! [`SharedError`]: an error that many callers share, for an `E` that is not an [`Error`] itself.

use std::error::Error;
use std::fmt;
use std::iter;
use std::sync::Arc;

/// An error that many callers share, as an [`Error`].
///
/// `anyhow::Error` and `Box<dyn Error + Send + Sync>` do not implement [`Error`], so neither does a
/// [`CallError`](crate::CallError) of them. With `SharedError` in their place it does: by `?` in a function that
/// returns `CallError<SharedError>`, and by [`into_shared`](crate::CallError::into_shared) in one that returns any
/// other error. It prints as the error that it was made from, and has the same [`source`](Error::source).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use sync_coalesce::{CallError, SharedError, SyncCoalesce};
///
/// type Coalesce = SyncCoalesce<String, String, anyhow::Error>;
///
/// fn ask(coalesce: &Coalesce) -> Result<Arc<String>, CallError<SharedError>> {
///     Ok(coalesce.try_call("question", || anyhow::bail!("no route to the provider"))?)
/// }
///
/// fn run(coalesce: &Coalesce) -> anyhow::Result<()> {
///     coalesce.try_call("question", || anyhow::bail!("no route to the provider")).map_err(CallError::into_shared)?;
///     Ok(())
/// }
///
/// let coalesce = Coalesce::new();
/// assert_eq!(ask(&coalesce).unwrap_err().to_string(), "the shared call failed: no route to the provider");
/// assert_eq!(format!("{:#}", run(&coalesce).unwrap_err()), "the shared call failed: no route to the provider");
/// ```
#[derive(Clone)]
pub struct SharedError(Arc<dyn AsRef<dyn Error + Send + Sync + 'static> + Send + Sync>);

impl SharedError {
    /// The first error of type `T` among the error that this was made from and its sources.
    #[must_use]
    pub fn downcast_ref<T: Error + 'static>(&self) -> Option<&T> {
        iter::successors(Some(self.inner()), |&error| error.source()).find_map(|error| error.downcast_ref())
    }

    fn inner(&self) -> &(dyn Error + 'static) {
        (*self.0).as_ref()
    }
}

impl<E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static> From<Arc<E>> for SharedError {
    fn from(error: Arc<E>) -> Self {
        Self(error)
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.inner(), f)
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner().source()
    }
}
