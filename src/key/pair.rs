//! [`Pair`]: the borrowed form of a key of two parts.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The borrowed form of a key of two parts: `&*Pair("tenant a", "question")` looks up a `(String, String)`.
///
/// A tuple of references cannot stand for a tuple of owned values, because it is its own owned form
/// ([`ToOwned::Owned`]). A `Pair` can: it allocates nothing, and the owned key is made only if its caller leads. The
/// parts may be any borrowed forms, such as `&str` for a `String` and `&7` for a number. Pairs nest, for keys of three
/// parts and more.
///
/// # Examples
///
/// ```
/// use sync_coalesce::SyncCoalesce;
/// use sync_coalesce::key::Pair;
///
/// let coalesce: SyncCoalesce<(String, String), usize> = SyncCoalesce::new();
/// let (tenant, question) = ("tenant a", "why is the sky blue?");
/// assert_eq!(*coalesce.call(&*Pair(tenant, question), || question.len()).unwrap(), 20);
///
/// let coalesce: SyncCoalesce<(String, (String, u64)), u64> = SyncCoalesce::new();
/// assert_eq!(*coalesce.call(&*Pair(tenant, &*Pair("page", &7)), || 7).unwrap(), 7);
/// ```
pub struct Pair<'a, A: ?Sized, B: ?Sized>(pub &'a A, pub &'a B);

/// What a [`Pair`] and the tuple that it stands for have in common. `dyn PairKey` is the type that a lookup takes;
/// there is no need to name it.
pub trait PairKey<A: ?Sized, B: ?Sized> {
    /// Both parts, borrowed.
    fn parts(&self) -> (&A, &B);
}

impl<A: ?Sized, B: ?Sized> PairKey<A, B> for Pair<'_, A, B> {
    fn parts(&self) -> (&A, &B) {
        (self.0, self.1)
    }
}

impl<A: ?Sized, B: ?Sized, X: Borrow<A>, Y: Borrow<B>> PairKey<A, B> for (X, Y) {
    fn parts(&self) -> (&A, &B) {
        (self.0.borrow(), self.1.borrow())
    }
}

impl<'a, A: ?Sized, B: ?Sized> Deref for Pair<'a, A, B> {
    type Target = dyn PairKey<A, B> + 'a;

    fn deref(&self) -> &Self::Target {
        self
    }
}

impl<'a, A: ?Sized, B: ?Sized, X: Borrow<A> + 'a, Y: Borrow<B> + 'a> Borrow<dyn PairKey<A, B> + 'a> for (X, Y) {
    fn borrow(&self) -> &(dyn PairKey<A, B> + 'a) {
        self
    }
}

impl<'a, A, B> ToOwned for dyn PairKey<A, B> + 'a
where
    A: ToOwned<Owned: 'a> + ?Sized,
    B: ToOwned<Owned: 'a> + ?Sized,
{
    type Owned = (A::Owned, B::Owned);

    fn to_owned(&self) -> Self::Owned {
        let (first, second) = self.parts();
        (first.to_owned(), second.to_owned())
    }
}

/// Hashes as the tuple does, which hashes one part after the other.
impl<A: Hash + ?Sized, B: Hash + ?Sized> Hash for dyn PairKey<A, B> + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl<A: PartialEq + ?Sized, B: PartialEq + ?Sized> PartialEq for dyn PairKey<A, B> + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl<A: Eq + ?Sized, B: Eq + ?Sized> Eq for dyn PairKey<A, B> + '_ {}

impl<A: ?Sized, B: ?Sized> Clone for Pair<'_, A, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: ?Sized, B: ?Sized> Copy for Pair<'_, A, B> {}

impl<A: Debug + ?Sized, B: Debug + ?Sized> Debug for Pair<'_, A, B> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Pair").field(&self.0).field(&self.1).finish()
    }
}
