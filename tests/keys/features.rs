//! The keys of documents under the features of `serde_json` that this program is built with (`ci/keys-features`).

use std::collections::{BTreeMap, HashMap};
use std::{env, fs};

use serde::Serialize;
use serde_json::{Number, Value};
use sync_coalesce::Key;

mod round_trip;
mod row;

/// A typed request, of whatever a document has to offer.
#[derive(Serialize, Default)]
struct Typed<'v> {
    zeta: Vec<&'v str>,
    numbers: Vec<&'v Number>,
    doubles: Vec<f64>,
    singles: Vec<f32>,
    unsigned: Vec<(u64, u128)>,
    signed: Vec<(i64, i128)>,
    by_number: HashMap<i64, Shape<'v>>,
    by_name: BTreeMap<&'v str, usize>,
    whole: Option<&'v Value>,
    #[serde(flatten)]
    flat: BTreeMap<&'static str, bool>,
}

#[derive(Serialize)]
enum Shape<'v> {
    Unit,
    Newtype(i64),
    Tuple(&'v Number, bool),
    Struct { z: &'v Number, a: () },
}

impl<'v> Typed<'v> {
    fn collect(&mut self, value: &'v Value) {
        match value {
            Value::String(string) => self.zeta.push(string),
            Value::Number(number) => self.number(number),
            Value::Array(elements) => elements.iter().for_each(|element| self.collect(element)),
            Value::Object(members) => {
                for (name, member) in members {
                    self.by_name.insert(name, self.by_name.len());
                    self.collect(member);
                }
            }
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn number(&mut self, number: &'v Number) {
        self.numbers.push(number);
        if let Some(double) = number.as_f64().filter(|double| double.is_finite()) {
            self.doubles.push(double);
            self.singles.extend(Some(double as f32).filter(|single| single.is_finite()));
        }
        if let Some(integer) = number.as_u64() {
            self.unsigned.push((integer, integer.into()));
        }
        if let Some(integer) = number.as_i64() {
            self.signed.push((integer, integer.into()));
            let shape = match integer.rem_euclid(4) {
                0 => Shape::Unit,
                1 => Shape::Newtype(integer),
                2 => Shape::Tuple(number, true),
                _ => Shape::Struct { z: number, a: () },
            };
            self.by_number.insert(integer, shape);
        }
    }
}

/// The key, which is that of the JSON that would be sent.
fn key(request: &impl Serialize) -> Key {
    let key = Key::of(request).unwrap();
    let sent = serde_json::to_vec(request).unwrap();
    let read: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(Key::of(&read).unwrap(), key, "{}", String::from_utf8_lossy(&sent));
    key
}

/// That the features of `serde_json` are those that this program thinks it has.
fn features_are_as_asked() {
    let value: Value = serde_json::from_str(r#"{"b":1.10,"a":2}"#).unwrap();
    assert_eq!(value.as_object().unwrap().keys().next().unwrap() == "b", cfg!(feature = "preserve_order"));
    assert_eq!(value["b"].to_string() == "1.10", cfg!(feature = "arbitrary_precision"));
}

fn main() {
    features_are_as_asked();
    let (mut count, mut refused) = (0, 0);
    for path in env::args().skip(1) {
        for line in fs::read_to_string(path).unwrap().lines() {
            let row: row::Row = serde_json::from_str(line).unwrap();
            let json = row.document();
            assert_eq!(row.key_of(&round_trip::KeptAsText { json: &json }).ok(), row.key, "{row:?}, kept as text");
            #[cfg(feature = "raw_value")]
            if let Ok(raw) = serde_json::from_str::<&serde_json::value::RawValue>(&json) {
                assert_eq!(row.key_of(&raw).ok(), row.key, "{row:?}, as a RawValue");
            }
            count += 1;
            if row.key.is_none() {
                refused += 1;
                continue;
            }
            let value: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(row.key_of(&value).ok(), row.key, "{row:?}");
            if row.is_plain() {
                assert_eq!(Some(key(&value)), row.key, "{json}");
            }
            round_trip::check(json.as_bytes());
            let mut typed = Typed { flat: BTreeMap::from([("zz", true), ("aa", false)]), ..Typed::default() };
            typed.collect(&value);
            // One level more than the document has, which may be the last that there is.
            typed.whole = Some(&value).filter(|value| Key::of(&[value]).is_ok());
            key(&typed);
        }
    }
    println!("{count} documents, {refused} of them without a key");
    assert!(count > refused && refused > 0);
}
