//! A hash table that keeps its first value beside the table: most shards hold one flight at a time, or none.

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use hashbrown::HashTable;

/// A table this small is not worth shrinking.
const SHRINK_ABOVE: usize = 64;

/// Values by a hash that each of them knows.
pub(super) struct Few<V> {
    first: Option<V>,
    others: HashTable<V>,
}

pub(super) trait Hashed {
    fn hash(&self) -> u64;
}

impl<V: Hashed> Few<V> {
    pub(super) fn new() -> Self {
        Self { first: None, others: HashTable::new() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    #[cfg(all(test, not(sync_coalesce_shuttle)))]
    pub(super) fn capacity(&self) -> usize {
        self.others.capacity()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        self.first.iter().chain(&self.others)
    }

    /// The value with this hash that is the one; `is_it` is asked about no other hash.
    #[inline]
    pub(super) fn find(&mut self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<&mut V> {
        let is_it = |value: &V| value.hash() == hash && is_it(value);
        if self.first.as_ref().is_some_and(&is_it) {
            return self.first.as_mut();
        }
        if self.others.is_empty() { None } else { self.others.find_mut(hash, is_it) }
    }

    /// Puts in a value that is not there.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(super) fn insert(&mut self, value: V) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.others.insert_unique(value.hash(), value, V::hash);
        }
    }

    /// Takes out what [`find`](Few::find) would find.
    #[inline]
    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<V> {
        let is_it = |value: &V| value.hash() == hash && is_it(value);
        let first = self.first.take_if(|first| is_it(first));
        if first.is_some() || self.others.is_empty() { first } else { self.remove_other(hash, is_it) }
    }

    /// Takes out the first value, if it is the one.
    #[inline]
    pub(super) fn take_first(&mut self, is_it: impl Fn(&V) -> bool) -> Option<V> {
        self.first.take_if(|first| is_it(first))
    }

    fn remove_other(&mut self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<V> {
        let (value, _) = self.others.find_entry(hash, is_it).ok()?.remove();
        shrink(&mut self.others);
        Some(value)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = V> {
        self.first.take().into_iter().chain(std::mem::take(&mut self.others))
    }
}

/// Memory follows what is there: a table that is mostly empty is cut to twice what it holds.
pub(super) fn shrink<V: Hashed>(table: &mut HashTable<V>) {
    if table.capacity() > SHRINK_ABOVE && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, V::hash);
    }
}
