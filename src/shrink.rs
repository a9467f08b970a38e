//! [`shrink`]: tables whose memory follows their contents.

use hashbrown::HashTable;

/// Shrinks a table that is mostly empty to twice the number of its values. One for up to seven values never shrinks.
pub(crate) fn shrink<V>(table: &mut HashTable<V>, hash: impl Fn(&V) -> u64) {
    if table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, hash);
    }
}
