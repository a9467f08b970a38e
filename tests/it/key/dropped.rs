//! What a rule drops is not there; all else is.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::{Value, json};
use sync_coalesce::key::KeyErrorKind;
use sync_coalesce::{Key, KeyRule};

/// Must never be serialized.
struct Untouchable;

impl Serialize for Untouchable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("serialized although it is dropped")
    }
}

/// What a `serde_json::value::RawValue` is.
#[derive(serde::Serialize)]
#[serde(rename = "$serde_json::private::RawValue")]
struct RawValue<'j> {
    #[serde(rename = "$serde_json::private::RawValue")]
    json: &'j str,
}

fn dropping(pointers: &[&str]) -> KeyRule {
    let rule = KeyRule::new("tenant").unwrap();
    pointers.iter().try_fold(rule, |rule, pointer| rule.drop(pointer)).unwrap()
}

#[track_caller]
fn same(pointers: &[&str], left: &impl Serialize, right: &impl Serialize) {
    let rule = dropping(pointers);
    assert_eq!(rule.key(left).unwrap(), rule.key(right).unwrap());
}

#[track_caller]
fn differ(pointers: &[&str], left: &impl Serialize, right: &impl Serialize) {
    let rule = dropping(pointers);
    assert_ne!(rule.key(left).unwrap(), rule.key(right).unwrap());
}

#[test]
fn what_is_dropped_is_not_serialized() {
    #[derive(serde::Serialize)]
    struct Request {
        a: u8,
        metadata: Untouchable,
        b: u8,
    }
    same(&["/metadata"], &Request { a: 1, metadata: Untouchable, b: 2 }, &json!({"a": 1, "b": 2}));
    // First, last and alone, and as a map's member.
    for names in [&["x", "a", "b"] as &[_], &["a", "b", "x"], &["b", "x", "a"], &["x"]] {
        struct Map<'n>(&'n [&'n str]);
        impl Serialize for Map<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                for name in self.0 {
                    map.serialize_key(name)?;
                    if *name == "x" { map.serialize_value(&Untouchable)? } else { map.serialize_value(name)? }
                }
                map.end()
            }
        }
        let rest: BTreeMap<_, _> = names.iter().filter(|name| **name != "x").map(|name| (name, name)).collect();
        same(&["/x"], &Map(names), &rest);
        same(&["/o/*/x"], &json!({"o": [1]}), &json!({"o": [1]}));
        same(&["/*/x"], &[Map(names)], &[&rest]);
    }
}

#[test]
fn the_variant_of_an_enum_is_a_member_like_any_other() {
    #[derive(serde::Serialize)]
    enum Shape {
        Newtype(Untouchable),
        Tuple(Untouchable, Untouchable),
        Struct { a: Untouchable, b: Untouchable },
    }
    #[derive(serde::Serialize)]
    enum Kept {
        Tuple(u8, Member),
        Struct { a: u8, x: Untouchable },
        Deep(Vec<Member>),
    }
    #[derive(serde::Serialize)]
    struct Member {
        id: Untouchable,
        b: u8,
    }
    same(&["/Newtype"], &Shape::Newtype(Untouchable), &json!({}));
    same(&["/*/Tuple"], &[Shape::Tuple(Untouchable, Untouchable)], &json!([{}]));
    let shape = [("k", (1, Shape::Struct { a: Untouchable, b: Untouchable }, 2))];
    same(&["/*/*/1/Struct", "/*/*/*/*/Struct"], &[shape], &json!([[["k", [1, {}, 2]]]]));
    let member = || Member { id: Untouchable, b: 2 };
    same(&["/Tuple/*/id"], &Kept::Tuple(1, member()), &json!({"Tuple": [1, {"b": 2}]}));
    same(&["/Struct/x"], &Kept::Struct { a: 1, x: Untouchable }, &json!({"Struct": {"a": 1}}));
    same(&["/Deep/*/id"], &Kept::Deep(vec![member(), member()]), &json!({"Deep": [{"b": 2}, {"b": 2}]}));
    differ(&["/Tuple/*/id"], &Kept::Tuple(1, member()), &json!({"Tuple": [1, {"b": 3}]}));
}

#[test]
fn documents_kept_as_text_are_not_spared() {
    let json = r#"{"a": {"id": [1, {"deep": 1e999}], "b": [{"id": 1, "c": 2}]}, "id": 0}"#;
    same(
        &["/r/a/id", "/r/a/b/*/id"],
        &BTreeMap::from([("r", RawValue { json })]),
        &json!({
            "r": {"a": {"b": [{"c": 2}]}, "id": 0}
        }),
    );
    // What is dropped must still be JSON, for else nobody knows where it ends.
    let error = dropping(&["/id"]).key(&RawValue { json: r#"{"id": [1, }"# }).unwrap_err();
    assert!(matches!(error.kind(), KeyErrorKind::NotJson(_)), "{error}");
}

#[test]
fn the_same_name_elsewhere_counts() {
    let pointers = ["/id", "/messages/*/id"];
    let request = |top: u8, message: u8, tool: u8| json!({"id": top, "messages": [{"id": message, "input": {"id": tool}}, [{"id": tool}]], "schema": {"id": tool}});
    same(&pointers, &request(1, 1, 1), &request(2, 2, 1));
    differ(&pointers, &request(1, 1, 1), &request(1, 1, 2));
    for (left, right) in [
        (json!({"a": {"id": 1}}), json!({"a": {"id": 2}})),
        (json!([{"id": 1}]), json!([{"id": 2}])),
        (json!({"messages": {"id": 1}}), json!({"messages": {"id": 2}})),
        (json!({"messages": [{"x": {"id": 1}}]}), json!({"messages": [{"x": {"id": 2}}]})),
        (json!({"messages": [[{"id": 1}]]}), json!({"messages": [[{"id": 2}]]})),
    ] {
        differ(&pointers, &left, &right);
    }
}

#[test]
fn a_star_stands_for_one_member_or_element() {
    same(
        &["/*/*/x"],
        &json!({"a": [{"x": 1}], "b": {"c": {"x": 2, "y": 3}}}),
        &json!({"a": [{}], "b": {"c": {"y": 3}}}),
    );
    differ(&["/*/*/x"], &json!({"a": {"x": 1}}), &json!({"a": {"x": 2}}));
    differ(&["/*/*/x"], &json!({"x": 1}), &json!({"x": 2}));
}

#[test]
fn elements_are_never_left_out() {
    // A number is the name of a member, and in an array there are none.
    differ(&["/0"], &json!([1, 2]), &json!([2]));
    differ(&["/0"], &json!([1, 2]), &json!([3, 2]));
    differ(&["/a/0/x"], &json!({"a": [{"x": 1}]}), &json!({"a": [{"x": 2}]}));
    same(&["/a/0"], &json!({"a": {"0": 1, "1": 2}}), &json!({"a": {"1": 2}}));
}

#[test]
fn names_are_escaped_as_in_rfc_6901_and_a_star_besides() {
    let all = "/a~1b~0c/~2/~01/\n\"\\/é/ /~2~2";
    let nested = |x: u8| json!({"a/b~c": {"*": {"~1": {"\n\"\\": {"é": {" ": {"**": x, "*": 1}}}}}}});
    same(&[all], &nested(1), &nested(2));
    differ(&[all], &nested(1), &json!({"a/b~c": {"x": {"~1": {"\n\"\\": {"é": {" ": {"**": 1, "*": 1}}}}}}}));
    same(&["/"], &json!({"": 1, "a": 2}), &json!({"a": 2}));
    differ(&["/~2"], &json!({"a": 1}), &json!({}));
    same(&["/~2"], &json!({"*": 1}), &json!({}));
}

#[test]
fn nothing_of_what_is_dropped_is_looked_at() {
    // Neither twins nor depth nor numbers that have no key.
    struct Twins;
    impl Serialize for Twins {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut object = serializer.serialize_struct("Twins", 3)?;
            object.serialize_field("a", &1)?;
            object.serialize_field("x", &f64::NAN)?;
            object.serialize_field("x", &Untouchable)?;
            object.end()
        }
    }
    same(&["/x"], &Twins, &json!({"a": 1}));
    let error =
        dropping(&["/x"]).key(&json!([1])).map(|_| ()).and_then(|()| dropping(&["/y"]).key(&Twins)).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&KeyErrorKind::NotFinite, "/x"));
}

#[test]
fn keys_and_values_that_do_not_pair_are_an_error_even_if_they_are_dropped() {
    struct Steps(&'static [bool]);
    impl Serialize for Steps {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut members = serializer.serialize_map(None)?;
            for is_key in self.0 {
                if *is_key { members.serialize_key("x")? } else { members.serialize_value(&Untouchable)? }
            }
            members.end()
        }
    }
    let rule = dropping(&["/x"]);
    assert_eq!(rule.key(&Steps(&[true, false, true, false])).unwrap(), rule.key(&json!({})).unwrap());
    for steps in [&[true] as &[_], &[false], &[true, true], &[true, false, false]] {
        let error = rule.key(&Steps(steps)).unwrap_err();
        assert!(matches!(error.kind(), KeyErrorKind::Failed(_)), "{steps:?}: {error}");
    }
}

#[test]
fn a_rule_is_gone_with_its_key() {
    let request = json!({"x": 1, "a": [{"x": 2}]});
    let expected = Key::of(&request).unwrap();
    dropping(&["/x", "/a/*/x"]).key(&request).unwrap();
    assert_eq!(Key::of(&request).unwrap(), expected);
    // Also where the key was not made.
    dropping(&["/x"]).key(&[f64::NAN]).unwrap_err();
    assert_eq!(Key::of(&request).unwrap(), expected);
}

#[test]
fn keys_by_other_rules_may_be_made_in_between() {
    struct Keyed;
    impl Serialize for Keyed {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            dropping(&["/b"]).key(&json!({"a": 1, "b": 2})).unwrap().serialize(serializer)
        }
    }
    let inner = dropping(&["/b"]).key(&json!({"a": 1})).unwrap();
    let request = BTreeMap::from([("k", (Keyed, Keyed, 1))]);
    same(&["/a", "/k/*/z"], &request, &json!({"k": [inner, inner, 1]}));
}

#[test]
fn the_second_key_by_a_rule_allocates_nothing() {
    let rule = dropping(&["/metadata", "/messages/*/id"]);
    let message = json!({"role": "user", "id": 7, "content": "text ".repeat(2000)});
    let request = json!({"model": "m", "messages": vec![message; 20], "metadata": {"a": [1, 2]}});
    let first = rule.key(&request).unwrap();
    let mut second = None;
    let info = allocation_counter::measure(|| second = Some(rule.key(&request)));
    assert_eq!(second, Some(Ok(first)));
    assert_eq!(info.count_total, 0);
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..3_u8).prop_map(Value::from)];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-c0*]", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn pointer() -> impl Strategy<Value = String> {
    let step = prop_oneof![Just("*"), Just("a"), Just("b"), Just("c"), Just("0"), Just("~2")];
    let last = prop_oneof![Just("a"), Just("b"), Just("c"), Just("0"), Just("~2")];
    (vec(step, 0..4), last).prop_map(|(steps, last)| format!("/{}", [steps, vec![last]].concat().join("/")))
}

/// The document without what one pointer leads to.
fn without(value: &Value, steps: &[&str]) -> Value {
    let [step, rest @ ..] = steps else { return value.clone() };
    match value {
        Value::Array(elements) if *step == "*" => elements.iter().map(|element| without(element, rest)).collect(),
        Value::Object(members) => {
            let name = if *step == "~2" { "*" } else { step };
            let members = members.iter().filter_map(|(member, value)| {
                let matches = *step == "*" || member == name;
                let value = if matches { without(value, rest) } else { value.clone() };
                (!matches || !rest.is_empty()).then_some((member.clone(), value))
            });
            Value::Object(members.collect())
        }
        leaf => leaf.clone(),
    }
}

proptest! {
    #[test]
    fn dropping_is_the_same_as_not_having(
        left in document(), right in document(), pointers in vec(pointer(), 1..4)
    ) {
        let texts: Vec<_> = pointers.iter().map(String::as_str).collect();
        let rule = dropping(&texts);
        let pruned = |document: &Value| texts.iter().fold(document.clone(), |document, pointer| {
            without(&document, &pointer[1..].split('/').collect::<Vec<_>>())
        });
        let key = rule.key(&left).unwrap();
        prop_assert_eq!(rule.key(&pruned(&left)).unwrap(), key);
        prop_assert_eq!(rule.key(&RawValue { json: &left.to_string() }).unwrap(), key);
        prop_assert_eq!(rule.key(&right).unwrap() == key, pruned(&right) == pruned(&left));
    }
}
