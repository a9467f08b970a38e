//! Keys of several parts, looked up by borrowed parts.

use std::hash::{BuildHasher, Hash, RandomState};

use sync_coalesce::key::Pair;
use sync_coalesce::{CallError, Equivalent, SyncCoalesce};

fn owned(tenant: &str, question: &str) -> (String, String) {
    (tenant.to_owned(), question.to_owned())
}

#[test]
fn a_call_for_the_borrowed_parts_meets_the_flight_of_the_owned_key() {
    let coalesce: SyncCoalesce<(String, String), u32> = SyncCoalesce::new();
    // A second call for the same key would wait for itself, and is refused; one for another key runs.
    let value = coalesce.call(&owned("tenant", "question"), || {
        let same = coalesce.call(&*Pair("tenant", "question"), || 0);
        assert!(matches!(same, Err(CallError::Deadlock { .. })), "{same:?}");
        for other in [Pair("question", "tenant"), Pair("tenant", ""), Pair("tenantq", "uestion")] {
            assert_eq!(*coalesce.call(&*other, || 1).unwrap(), 1, "{other:?}");
        }
        2
    });
    assert_eq!(*value.unwrap(), 2);
    let value = coalesce.call(&*Pair("tenant", "question"), || {
        assert_eq!(coalesce.flights()[0].key, owned("tenant", "question"));
        assert!(coalesce.call(&owned("tenant", "question"), || 0).is_err());
        assert!(coalesce.forget(&*Pair("tenant", "question")));
        3
    });
    assert_eq!(*value.unwrap(), 3);
    assert_eq!(coalesce.in_flight(), 0);
}

#[test]
fn parts_may_be_of_any_type_and_pairs_may_nest() {
    let coalesce: SyncCoalesce<(Vec<u8>, (u64, String)), u64> = SyncCoalesce::new();
    let key = || (vec![1, 2], (7, "page".to_owned()));
    let value = coalesce.call(&key(), || {
        assert!(coalesce.call(&*Pair(&[1, 2][..], &*Pair(&7, "page")), || 0).is_err());
        *coalesce.call(&*Pair(&[1, 2][..], &*Pair(&8, "page")), || 8).unwrap()
    });
    assert_eq!(*value.unwrap(), 8);
    assert_eq!(coalesce.in_flight(), 0);
}

#[test]
fn a_batch_takes_pairs() {
    let coalesce: SyncCoalesce<(String, String), usize> = SyncCoalesce::new();
    let pairs = [Pair("a", "x"), Pair("a", "y"), Pair("a", "x")];
    let lengths = coalesce.call_many(pairs.iter().map(|pair| &**pair), |missing| {
        assert_eq!(missing.len(), 2);
        missing.iter().map(|key| key.parts().1.len()).collect()
    });
    assert!(lengths.iter().all(|length| *length.as_ref().unwrap().as_ref() == 1));
    assert_eq!(coalesce.in_flight(), 0);
}

#[test]
fn a_pair_hashes_and_compares_as_its_tuple() {
    fn same<K, Q>(hasher: &RandomState, key: &K, pair: &Q) -> bool
    where
        K: Hash + PartialEq,
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let equal = pair.equivalent(key);
        assert_eq!(equal, pair.to_owned() == *key);
        assert!(!equal || hasher.hash_one(pair) == hasher.hash_one(key));
        equal
    }
    let hasher = RandomState::new();
    let parts = ["", "a", "b", "ab", "\0"];
    for first in parts {
        for second in parts {
            for (one, other) in parts.iter().flat_map(|one| parts.map(|other| (*one, other))) {
                let expected = (first, second) == (one, other);
                assert_eq!(same(&hasher, &owned(first, second), &*Pair(one, other)), expected);
            }
        }
    }
    assert_eq!(format!("{:?}", Pair("a", &7)), r#"Pair("a", 7)"#);
}
