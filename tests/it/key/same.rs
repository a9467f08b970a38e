//! What is the same and what is not, trap by trap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::json;

use super::{key, key_of_json};

#[test]
fn a_number_is_its_value() {
    assert_eq!(key_of_json("1"), key_of_json("1.0"));
    assert_eq!(key_of_json("1"), key_of_json("10e-1"));
    assert_eq!(key_of_json("0"), key_of_json("-0.0"));
    assert_eq!(key_of_json("-0"), key_of_json("0.0"));
    assert_eq!(key(&1_u8), key(&1.0_f64));
    assert_eq!(key(&-1_i8), key(&-1_i128));
    assert_eq!(key(&(1_u64 << 63)), key(&2_f64.powi(63)));
    assert_eq!(key(&100_000_000_000_000_000_000_f64), key_of_json("1e20"));
    assert_ne!(key(&1), key(&"1"));
    assert_ne!(key(&1), key(&true));
}

#[test]
fn big_integers_do_not_collide() {
    // Each rounds to a double that another one is, or has the text of that double.
    let values: BTreeSet<u64> = [1 << 53, 1 << 54, 1 << 60, 1 << 63, 9_223_372_036_854_776_000, u64::MAX - 1]
        .into_iter()
        .flat_map(|value| value - 3..=value.saturating_add(3))
        .collect();
    let mut keys: Vec<_> = values.iter().map(key).collect();
    keys.push(key_of_json("18446744073709551616"));
    let distinct: BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(key(&9_007_199_254_740_993_u64), key_of_json("9007199254740993"));
    assert_eq!(key(&9_007_199_254_740_992_f64), key_of_json("9007199254740993.0"));
}

#[test]
fn a_single_is_what_its_text_says() {
    assert_eq!(key(&0.7_f32), key(&0.7_f64));
    // `to_value` widens it first, which is then another number on the wire as well.
    assert_ne!(key(&0.7_f32), key(&f64::from(0.7_f32)));
}

#[test]
fn doubles_are_read_exactly() {
    // Without serde_json's `float_roundtrip` the last digit comes back as 8 units less.
    assert_eq!(key(&0.907_303_832_202_868_9_f64), key_of_json("0.9073038322028689"));
}

#[test]
fn the_order_of_members_does_not_count_and_that_of_elements_does() {
    #[derive(Serialize)]
    struct Unordered {
        b: u8,
        a: u8,
    }
    assert_eq!(key(&Unordered { b: 1, a: 2 }), key(&BTreeMap::from([("a", 2), ("b", 1)])));
    let names =
        ["\u{1f600}", "\u{fb33}", "é", "a", "", "\n", "\"", "a\u{0}", "aa", "longer than eight", "longer than nine"];
    let forwards: HashMap<_, _> = names.iter().zip(0..).collect();
    let text = |names: &mut dyn Iterator<Item = (&str, usize)>| {
        let members: Vec<_> = names.map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        format!("{{{}}}", members.join(","))
    };
    let there = text(&mut names.into_iter().zip(0..names.len()));
    let back = text(&mut names.into_iter().zip(0..names.len()).rev());
    assert_eq!(key_of_json(&there), key(&forwards));
    assert_eq!(key_of_json(&back), key(&forwards));
    assert_ne!(key(&[1, 2]), key(&[2, 1]));
}

#[test]
fn null_is_not_missing() {
    #[derive(Serialize)]
    struct Optional {
        #[serde(skip_serializing_if = "Option::is_none")]
        skipped: Option<u8>,
        kept: Option<u8>,
    }
    let request = key(&Optional { skipped: None, kept: None });
    assert_eq!(request, key(&json!({"kept": null})));
    assert_ne!(request, key(&json!({})));
    assert_eq!(key(&Some(Some(1))), key(&1));
    assert_eq!(key(&None::<u8>), key(&()));
}

#[test]
fn text_is_neither_normalised_nor_trimmed() {
    assert_ne!(key("é"), key("e\u{301}"));
    assert_ne!(key("a"), key("A"));
    assert_ne!(key("a"), key("a "));
    assert_eq!(key_of_json(r#""\u00e9\u002f""#), key("é/"));
    assert_eq!(key("é"), key(&'é'));
}

#[test]
fn concatenations_do_not_meet() {
    assert_ne!(key(&("a|b", "c")), key(&("a", "b|c")));
    assert_ne!(key(&("a\",\"b", "c")), key(&("a", "b", "c")));
    assert_ne!(key(&[["a"], ["b"]]), key(&[["a", "b"]]));
    assert_ne!(key(&json!([null, null, 1])), key(&1));
}

#[test]
fn a_fold_meets_neither_its_own_text_nor_another_fold() {
    let long = "x".repeat(4097);
    let digest = blake3::Hash::from_bytes(blake3::derive_key("sync-coalesce 2026-11 long string v1", long.as_bytes()));
    let fake = format!("\0b3:{digest}");
    assert_ne!(key(&fake), key(&long));
    assert_ne!(key(&fake[1..]), key(&long));
    assert_ne!(key("\0i:9007199254740993"), key(&9_007_199_254_740_993_u64));
    assert_ne!(key("\0"), key(""));
    assert_ne!(key(&long), key(&"x".repeat(4098)));
    assert_ne!(key(&("y".to_owned() + &long[1..])), key(&long));
    // The escaped text may be longer than what folds; the names of members never fold.
    assert_ne!(key(&"\n".repeat(4096)), key(&"\n".repeat(4097)));
    let named = |name: &str| key(&HashMap::from([(name.to_owned(), 1)]));
    assert_ne!(named(&long), named(&fake));
}

#[test]
fn forms_are_those_of_serde_json() {
    #[derive(Serialize)]
    enum Shape {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Empty(),
        Struct { b: u8, a: u8 },
    }
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Newtype(u8);
    #[derive(Serialize)]
    struct Pair(u8, u8);
    assert_eq!(key(&Shape::Unit), key("Unit"));
    assert_eq!(key(&Shape::Newtype(1)), key(&json!({"Newtype": 1})));
    assert_eq!(key(&Shape::Tuple(1, 2)), key(&json!({"Tuple": [1, 2]})));
    assert_eq!(key(&Shape::Empty()), key(&json!({"Empty": []})));
    assert_eq!(key(&Shape::Struct { b: 1, a: 2 }), key(&json!({"Struct": {"a": 2, "b": 1}})));
    assert_eq!(key(&Unit), key(&()));
    assert_eq!(key(&Newtype(1)), key(&1));
    assert_eq!(key(&Pair(1, 2)), key(&[1, 2]));
    assert_eq!(key(&std::time::Duration::new(1, 2)), key(&json!({"secs": 1, "nanos": 2})));
    // A human-readable format: an address is its text.
    assert_eq!(key(&std::net::Ipv6Addr::LOCALHOST), key("::1"));
}

#[test]
fn bytes_are_an_array_of_numbers() {
    struct Bytes(Vec<u8>);
    impl Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    assert_eq!(key(&Bytes((0..=255).collect())), key(&(0..=255).collect::<Vec<u32>>()));
    assert_eq!(key(&Bytes(Vec::new())), key(&json!([])));
}
