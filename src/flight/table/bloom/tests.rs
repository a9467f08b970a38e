//! Which hashes a filter forgets, and which it does not.

use super::{BloomFilter, CountingBloomFilter};

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
