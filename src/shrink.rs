//! Tables whose memory follows what is in them.

use hashbrown::HashTable;

/// Memory follows what is there: a table that is mostly empty is cut to twice what it holds. One for up to seven values
/// never is.
pub(crate) fn shrink<V>(table: &mut HashTable<V>, hash: impl Fn(&V) -> u64) {
    if table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, hash);
    }
}
