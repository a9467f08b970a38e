//! What has no key, and what the error says.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sync_coalesce::Key;
use sync_coalesce::key::{KeyError, KeyErrorKind};

use super::round_trip::KeptAsText;
use super::{key, key_of_json};

#[track_caller]
fn refused<R: Serialize>(request: &R, kind: &KeyErrorKind, path: &str) {
    let error = Key::of(request).unwrap_err();
    assert_eq!((error.kind(), error.path()), (kind, path));
}

#[test]
fn an_error_can_be_passed_around() {
    fn assert_traits<T: Clone + Send + Sync + std::error::Error + PartialEq + 'static>(_: &T) {}
    let error: KeyError = Key::of(&f64::NAN).unwrap_err();
    assert_traits(&error);
    assert_eq!(error.to_string(), "number is not finite or too large for a double");
    assert_eq!(format!("{error:?}"), r#"KeyError { kind: NotFinite, path: "" }"#);
    assert_eq!(size_of::<KeyError>(), size_of::<usize>());
}

#[test]
fn numbers_that_json_lacks() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(&[0.0, value], &KeyErrorKind::NotFinite, "/1");
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refused(&[0.0, value], &KeyErrorKind::NotFinite, "/1");
    }
}

#[test]
fn integers_that_a_reader_would_round() {
    for value in [u128::from(u64::MAX) + 1, u128::MAX] {
        refused(&[value], &KeyErrorKind::IntegerOutOfRange, "/0");
    }
    for value in [i128::from(u64::MAX) + 1, i128::from(i64::MIN) - 1, i128::MIN] {
        refused(&[value], &KeyErrorKind::IntegerOutOfRange, "/0");
    }
    assert_eq!(key(&u128::from(u64::MAX)), key(&u64::MAX));
    assert_eq!(key(&i128::from(u64::MAX)), key(&u64::MAX));
    assert_eq!(key(&i128::from(i64::MIN)), key(&i64::MIN));
}

#[test]
fn two_members_of_one_name() {
    #[derive(Serialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: BTreeMap<&'static str, u8>,
    }
    #[derive(Serialize, PartialEq, Eq, Hash)]
    #[serde(untagged)]
    enum Name {
        Number(u64),
        Text(&'static str),
    }
    #[derive(Serialize)]
    enum Tagged {
        #[serde(rename = "v")]
        Variant {
            #[serde(rename = "a\n")]
            a: u8,
            b: u8,
            #[serde(rename = "a\n")]
            c: u8,
        },
    }
    let rest = |names: &[&'static str]| names.iter().map(|name| (*name, 2)).collect();
    key(&Flat { id: 1, rest: rest(&["a", "z"]) });
    refused(&[Flat { id: 1, rest: rest(&["a", "id", "z"]) }], &KeyErrorKind::DuplicateMember, "/0/id");
    refused(&Flat { id: 1, rest: rest(&["id"]) }, &KeyErrorKind::DuplicateMember, "/id");
    refused(&HashMap::from([(Name::Number(1), 1), (Name::Text("1"), 2)]), &KeyErrorKind::DuplicateMember, "/1");
    refused(&Tagged::Variant { a: 1, b: 1, c: 1 }, &KeyErrorKind::DuplicateMember, "/v/a\n");
}

#[test]
fn map_keys_without_a_text() {
    #[derive(Serialize, PartialEq, Eq, Hash)]
    enum Shape {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }
    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Unit;

    fn in_map<K: Serialize>(name: K) -> impl Serialize {
        struct Map<K>(K);
        impl<K: Serialize> Serialize for Map<K> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([(&self.0, 1)])
            }
        }
        BTreeMap::from([("m", Map(name))])
    }
    let kind = &KeyErrorKind::MemberName;
    refused(&in_map(1.5), kind, "/m");
    refused(&in_map(1.5_f32), kind, "/m");
    refused(&in_map(()), kind, "/m");
    refused(&in_map(Unit), kind, "/m");
    refused(&in_map(None::<u8>), kind, "/m");
    refused(&in_map([1]), kind, "/m");
    refused(&in_map((1, "a")), kind, "/m");
    refused(&in_map(BTreeMap::from([(1, 1)])), kind, "/m");
    refused(&in_map(Shape::Newtype(1)), kind, "/m");
    refused(&in_map(Shape::Tuple(1, 2)), kind, "/m");
    refused(&in_map(Shape::Struct { a: 1 }), kind, "/m");
    assert_eq!(key(&in_map(Shape::Unit)), key_of_json(r#"{"m":{"Unit":1}}"#));
    assert_eq!(key(&in_map(Some(true))), key_of_json(r#"{"m":{"true":1}}"#));
    assert_eq!(key(&in_map('\u{0}')), key_of_json(r#"{"m":{"\u0000":1}}"#));
    assert_eq!(key(&in_map(u64::MAX)), key_of_json(r#"{"m":{"18446744073709551615":1}}"#));
    assert_eq!(key(&in_map(i8::MIN)), key_of_json(r#"{"m":{"-128":1}}"#));
    // A name is a text, which rounds nothing.
    assert_eq!(key(&in_map(i128::MIN)), key_of_json(r#"{"m":{"-170141183460469231731687303715884105728":1}}"#));
}

#[test]
fn names_that_serde_json_keeps_to_itself() {
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::Later")]
    struct Later {
        a: u8,
    }
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::Number")]
    struct Newtype(u8);
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::RawValue")]
    struct OtherField {
        json: &'static str,
    }
    refused(&[Later { a: 1 }], &KeyErrorKind::PrivateName("$serde_json::private::Later"), "/0");
    refused(&[Newtype(1)], &KeyErrorKind::PrivateName("$serde_json::private::Number"), "/0");
    refused(&[OtherField { json: "1" }], &KeyErrorKind::PrivateName("$serde_json::private::RawValue"), "/0");
}

/// What a `serde_json::Number` is under `arbitrary_precision`.
#[derive(Serialize)]
#[serde(rename = "$serde_json::private::Number")]
struct Number<T> {
    #[serde(rename = "$serde_json::private::Number")]
    number: T,
}

#[test]
fn numbers_kept_as_text_are_numbers() {
    for number in ["1", "1.0", "-0.0", "1e2", "9007199254740993", "18446744073709551616", "0.1000000000000000055511"] {
        assert_eq!(key(&[Number { number }]), key_of_json(&format!("[{number}]")), "{number}");
    }
    refused(&[Number { number: "1e400" }], &KeyErrorKind::NotFinite, "/0");
    refused(&[Number { number: "1,2" }], &KeyErrorKind::NotJson("`1,2` is not a number".to_owned()), "/0");
    refused(&[Number { number: 1 }], &KeyErrorKind::PrivateName("$serde_json::private::Number"), "/0");
    // A document cannot pass for one.
    assert_ne!(key_of_json(r#"{"$serde_json::private::Number":"1"}"#), key(&1));
}

#[test]
fn documents_kept_as_text_are_what_they_say() {
    let json = r#" { "b" : [ 1.0, -1, 1e2, 9007199254740993, "\u0062\u0000", null, true ] , "a":{"":{}, "\n":[]} } "#;
    assert_eq!(key(&[KeptAsText { json }]), key_of_json(&format!("[{json}]")));
    let long = format!("\"{}\"", "x".repeat(5000));
    assert_eq!(key(&KeptAsText { json: &long }), key_of_json(&long));
    let private = r#"{"$serde_json::private::Number":"1"}"#;
    assert_ne!(key(&KeptAsText { json: private }), key(&1));
    assert_ne!(key(&KeptAsText { json: private }), key(&KeptAsText { json: "1" }));
    assert_eq!(key(&KeptAsText { json: private }), key(&HashMap::from([("$serde_json::private::Number", "1")])));

    let twins = r#"{"a":[0,{"b":1,"c":2,"b":3}]}"#;
    refused(&[KeptAsText { json: twins }], &KeyErrorKind::DuplicateMember, "/0/a/1/b");
    refused(&KeptAsText { json: 1 }, &KeyErrorKind::PrivateName("$serde_json::private::RawValue"), "");
    for json in ["", "[1,", "nul", "1 2", "\"\u{1}\"", "[1]]"] {
        let error = Key::of(&[KeptAsText { json }]).unwrap_err();
        assert!(matches!(error.kind(), KeyErrorKind::NotJson(_)), "{json}: {error}");
        assert_eq!(error.path(), "/0");
    }
    for (inside, outside) in [(127, 0), (126, 1), (1, 126), (0, 127)] {
        let json = |inside: usize| format!("{}1{}", "[".repeat(inside), "]".repeat(inside));
        let deepest = KeptAsText { json: json(inside) };
        key(&Nested { value: &deepest, arrays: outside });
        let deeper = KeptAsText { json: json(inside + 1) };
        let error = Key::of(&Nested { value: &deeper, arrays: outside }).unwrap_err();
        assert_eq!(error.kind(), &KeyErrorKind::TooDeep, "{inside} in {outside}");
    }
}

/// A value with so many arrays around it.
struct Nested<T> {
    value: T,
    arrays: usize,
}

impl<T: Serialize + Copy> Serialize for Nested<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.arrays {
            0 => self.value.serialize(serializer),
            arrays => serializer.collect_seq([Nested { value: self.value, arrays: arrays - 1 }]),
        }
    }
}
