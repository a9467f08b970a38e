//! When a table shrinks, which cannot be seen from outside, and which hashes a filter forgets.

use hashbrown::HashTable;

use super::{BloomFilter, CountingBloomFilter, Hashed};
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

#[test]
fn a_filter_lacks_what_shares_no_bit_with_what_it_holds() {
    let mut counting = CountingBloomFilter::EMPTY;
    for hash in [0, 63, 1 << 40 | 5] {
        counting.insert(hash);
    }
    let held: Vec<u64> = (0..64).filter(|&hash| !counting.filter().definitely_absent(hash)).collect();
    assert_eq!(held, [0, 5, 63]);
    assert!(!counting.filter().definitely_absent(64), "the bit of 0");
    assert!(
        (0..64).all(|hash| BloomFilter::EMPTY.definitely_absent(hash) && !BloomFilter::FULL.definitely_absent(hash))
    );
}

#[test]
fn a_bit_is_there_as_long_as_a_hash_of_it_is() {
    let mut counting = CountingBloomFilter::EMPTY;
    counting.insert(3);
    counting.insert(3 + 64);
    counting.remove(3);
    assert!(!counting.filter().definitely_absent(3 + 64));
    counting.remove(3 + 64);
    assert_eq!(counting.filter(), BloomFilter::EMPTY);
}

#[test]
fn a_bit_of_which_there_are_more_than_can_be_counted_stays() {
    let many = u32::from(u16::MAX) + 2;
    let mut counting = CountingBloomFilter::EMPTY;
    (0..many).for_each(|_| counting.insert(3));
    (0..many).for_each(|_| counting.remove(3));
    assert!(!counting.filter().definitely_absent(3));
}
