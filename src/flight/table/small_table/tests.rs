//! When a table shrinks, which cannot be seen from outside.

use hashbrown::HashTable;

use super::Hashed;
use crate::shrink::shrink;

impl Hashed for u64 {
    fn hash(&self) -> u64 {
        self.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A table from which values are removed one by one, until this many are left.
fn cut_down(table: &mut HashTable<u64>, left: usize) {
    while table.len() > left {
        let value = table.len() as u64 - 1;
        table.find_entry(value.hash(), |&other| other == value).unwrap().remove();
        shrink(table, Hashed::hash);
    }
}

#[test]
fn a_table_is_cut_to_twice_what_it_holds_when_seven_eighths_are_empty() {
    let mut table = HashTable::new();
    for value in 0..1_000_u64 {
        table.insert_unique(value.hash(), value, Hashed::hash);
    }
    let full = table.capacity();
    cut_down(&mut table, full / 8);
    assert_eq!(table.capacity(), full);
    cut_down(&mut table, full / 8 - 1);
    let fitting: HashTable<u64> = HashTable::with_capacity(2 * table.len());
    assert_eq!(table.capacity(), fitting.capacity());

    cut_down(&mut table, 0);
    assert!((1..8).contains(&table.capacity()), "a small one stays: {}", table.capacity());
}
