//! The promise: the key is the key of the JSON that would be sent.

use std::collections::{BTreeMap, HashMap};

use proptest::collection::{btree_map, hash_map, vec};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value;
use sync_coalesce::Key;

use super::key;
use super::round_trip::Shuffled;

/// Checks the promise for a request that has a key.
#[track_caller]
fn keeps_the_promise<R: Serialize + std::fmt::Debug>(request: &R) -> Key {
    let sent = serde_json::to_vec(request).unwrap();
    let read: Value = serde_json::from_slice(&sent).unwrap();
    let key = key(request);
    assert_eq!(key, super::key(&read), "{request:?} {}", String::from_utf8_lossy(&sent));
    key
}

fn finite() -> impl Strategy<Value = f64> {
    let near = prop::sample::select(vec![
        0.0,
        1.0,
        0.1,
        1e-6,
        1e-7,
        1e20,
        1e21,
        2_f64.powi(53),
        2_f64.powi(63),
        2_f64.powi(64),
        f64::MAX,
        f64::MIN_POSITIVE,
    ]);
    let neighbour =
        (near, -4_i64..5).prop_map(|(near, step)| f64::from_bits(near.to_bits().saturating_add_signed(step)));
    let any = any::<u64>().prop_map(f64::from_bits);
    let short = (-100_000_i32..100_000, 0..8).prop_map(|(digits, scale)| f64::from(digits) / 10_f64.powi(scale));
    prop_oneof![neighbour, any, short].prop_filter("JSON has no others", |value| value.is_finite())
}

fn integer() -> impl Strategy<Value = u64> {
    let near = prop::sample::select(vec![0, 1 << 53, 1 << 54, 1 << 63, u64::MAX]);
    prop_oneof![any::<u64>(), (near, -4_i64..5).prop_map(|(near, step)| near.saturating_add_signed(step)), 0..1000_u64]
}

/// Texts of all planes, with what is escaped and what folds.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~]{0,12}",
        1 => "[\\x00-\\x1f\"\\\\]{1,3}",
        1 => "[\u{80}-\u{d7ff}]{1,3}",
        1 => "[\u{e000}-\u{ffff}]{1,2}",
        1 => "[\u{10000}-\u{10ffff}]{1,2}",
    ];
    let whole = vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    prop_oneof![
        8 => whole,
        1 => (4090_usize..4100).prop_map(|length| "x".repeat(length)),
        1 => "\\x00(b3:|i:)?[0-9]{0,4}",
    ]
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        finite().prop_map(Value::from),
        integer().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            btree_map(text(), inner, 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[derive(Clone, Debug, Serialize)]
struct Request {
    model: String,
    zeta: Option<Box<Part>>,
    parts: Vec<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpha: Option<f32>,
    limits: (u8, i16, u128, i128),
    by_number: HashMap<i64, Part>,
    by_letter: BTreeMap<char, Option<u8>>,
    #[serde(flatten)]
    more: Flat,
}

#[derive(Clone, Debug, Serialize)]
struct Flat {
    #[serde(rename = "limit")]
    limit: u64,
    address: std::net::IpAddr,
}

#[derive(Clone, Debug, Serialize)]
enum Part {
    Nothing,
    Text(String),
    Pair(f64, f32),
    Fields { role: Tagged, content: char },
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "z")]
enum Tagged {
    User { name: String, id: i64 },
    System,
    Number(i64),
}

fn single() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("JSON has no others", |value| value.is_finite())
}

fn part() -> impl Strategy<Value = Part> {
    let tagged = prop_oneof![
        (text(), any::<i64>()).prop_map(|(name, id)| Tagged::User { name, id }),
        Just(Tagged::System),
        any::<i64>().prop_map(Tagged::Number),
    ];
    prop_oneof![
        Just(Part::Nothing),
        text().prop_map(Part::Text),
        (finite(), single()).prop_map(|(double, single)| Part::Pair(double, single)),
        (tagged, any::<char>()).prop_map(|(role, content)| Part::Fields { role, content }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let limits = (any::<u8>(), any::<i16>(), integer().prop_map(u128::from), any::<i64>().prop_map(i128::from));
    let more = (integer(), any::<std::net::IpAddr>()).prop_map(|(limit, address)| Flat { limit, address });
    let maps = (hash_map(any::<i64>(), part(), 0..5), btree_map(any::<char>(), any::<Option<u8>>(), 0..5));
    let options = (prop::option::of(part().prop_map(Box::new)), prop::option::of(single()));
    (text(), options, vec(part(), 0..4), limits, maps, more).prop_map(
        |(model, (zeta, alpha), parts, limits, (by_number, by_letter), more)| Request {
            model,
            zeta,
            parts,
            alpha,
            limits,
            by_number,
            by_letter,
            more,
        },
    )
}

proptest! {
    #[test]
    fn untyped_requests_have_the_key_of_what_is_sent(request in value(), seed in any::<u64>()) {
        let plain = keeps_the_promise(&request);
        prop_assert_eq!(key(&Shuffled(&request, seed)), plain);
    }

    #[test]
    fn typed_requests_have_the_key_of_what_is_sent(request in request()) {
        keeps_the_promise(&request);
    }

    #[test]
    fn another_leaf_is_another_key(request in value(), leaf in 0..64_usize) {
        let mut changed = request.clone();
        replace_leaf(&mut changed, &mut leaf.clone());
        prop_assert_eq!(key(&changed) == key(&request), changed == request);
    }

    #[test]
    fn numbers_share_a_key_just_when_they_are_equal(integer in integer(), double in finite()) {
        for double in [double, { #[expect(clippy::cast_precision_loss, reason = "wanted")] { integer as f64 } }] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only whole ones from 0 up are compared")]
            let equal = double >= 0.0 && double.fract() == 0.0 && double < 2_f64.powi(64) && double as u64 == integer;
            prop_assert_eq!(key(&integer) == key(&double), equal);
        }
    }
}

/// Puts another value in the place of one leaf, counted from the front, if there are that many.
fn replace_leaf(value: &mut Value, leaf: &mut usize) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| replace_leaf(element, leaf)),
        Value::Object(members) => members.values_mut().for_each(|member| replace_leaf(member, leaf)),
        other => {
            if *leaf == 0 {
                *other = Value::from("another leaf");
            }
            *leaf = leaf.wrapping_sub(1);
        }
    }
}
