//! Two rules never meet, and one is the same however it was put together.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::json;
use sync_coalesce::key::{KeyError, KeyErrorKind, KeyFields};
use sync_coalesce::{Key, KeyRule};

fn rule() -> KeyRule {
    KeyRule::new("tenant").unwrap()
}

fn pick(request: &BTreeMap<&str, u8>, key: &mut KeyFields<'_>) -> Result<(), KeyError> {
    request.iter().try_for_each(|(name, value)| key.field(name, value))
}

#[test]
fn rules_that_leave_the_same_of_a_request_still_differ() {
    let request = BTreeMap::from([("a", 1_u8)]);
    let other = KeyRule::new("other").unwrap();
    let rules = [
        KeyRule::new(&()).unwrap(),
        rule(),
        rule().drop("/b").unwrap(),
        rule().drop("/c").unwrap(),
        rule().drop("/b").unwrap().drop("/c").unwrap(),
        rule().drop("/b/c").unwrap(),
        rule().drop("/~2/b").unwrap(),
        rule().drop("/*/b").unwrap(),
        rule().keep_only(["/a"]).unwrap(),
        rule().keep_only(["/a", "/b"]).unwrap(),
        rule().keep_only(["/a"]).unwrap().drop("/b").unwrap(),
        rule().salt(&1).unwrap(),
        rule().salt("1").unwrap(),
        rule().salt(&()).unwrap(),
        rule().salt(&json!({"drop": ["/b"]})).unwrap(),
        rule().drop("/b").unwrap().salt(&1).unwrap(),
        rule().secret(&[0; 32]),
        rule().secret(&[1; 32]),
        rule().salt(&1).unwrap().secret(&[0; 32]),
        other,
    ];
    let mut keys: Vec<Key> = rules.iter().map(|rule| rule.key(&request).unwrap()).collect();
    keys.push(KeyRule::fields("tenant", pick).unwrap().key(&request).unwrap());
    keys.push(KeyRule::fields("tenant", pick).unwrap().drop("/b").unwrap().key(&request).unwrap());
    for (index, key) in keys.iter().enumerate() {
        let twin = keys.iter().position(|other| other == key);
        assert_eq!(twin, Some(index));
    }
    assert_eq!(keys[0], Key::of(&request).unwrap());
}

#[test]
fn the_order_of_its_parts_makes_no_difference() {
    let one = rule().drop("/b").unwrap().drop("/c").unwrap().keep_only(["/a", "/d"]).unwrap().salt(&1).unwrap();
    let other = rule().salt(&2).unwrap().keep_only(["/d"]).unwrap().drop("/c").unwrap().keep_only(["/a"]).unwrap();
    let other = other.drop("/b").unwrap().drop("/c").unwrap().salt(&1).unwrap();
    let request = json!({"a": 1, "b": 2, "d": 3});
    assert_eq!(one.clone().secret(&[3; 32]).key(&request), other.clone().secret(&[3; 32]).key(&request));
    assert_eq!(one.key(&request), other.key(&request));
}

#[test]
fn namespaces_do_not_run_into_each_other_or_into_the_request() {
    let key = |namespace: &str, request: &str| KeyRule::new(namespace).unwrap().key(request).unwrap();
    assert_ne!(key("a|b", "c"), key("a", "b|c"));
    assert_ne!(key("a\",\"b", "c"), key("a", "b"));
    assert_ne!(key("a", ""), key("", "a"));
    let of = |namespace: &dyn Fn() -> Result<KeyRule, KeyError>| namespace().unwrap().key("r").unwrap();
    assert_ne!(of(&|| KeyRule::new(&("a|b", "c"))), of(&|| KeyRule::new(&("a", "b|c"))));
    assert_ne!(of(&|| KeyRule::new(&["a", "b"])), of(&|| KeyRule::new("a\",\"b")));
    assert_eq!(
        of(&|| KeyRule::new(&HashMap::from([("a", 1), ("b", 2)]))),
        of(&|| KeyRule::new(&json!({"b": 2.0, "a": 1})))
    );
}

#[test]
fn a_namespace_or_a_salt_without_a_text_is_an_error() {
    let error = KeyRule::new(&("tenant", f64::NAN)).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&KeyErrorKind::NotFinite, "/1"));
    let error = rule().salt(&[u128::MAX]).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&KeyErrorKind::IntegerOutOfRange, "/0"));
}

#[test]
fn a_namespace_and_a_salt_are_as_deep_as_a_request_may_be() {
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    rule().salt(&nested(127)).unwrap().key(&nested(127)).unwrap();
    KeyRule::new(&nested(127)).unwrap().key(&nested(127)).unwrap();
    assert_eq!(rule().salt(&nested(128)).unwrap_err().kind(), &KeyErrorKind::TooDeep);
    assert_eq!(KeyRule::new(&nested(128)).unwrap_err().kind(), &KeyErrorKind::TooDeep);
}

#[test]
fn the_same_errors_have_the_same_places_by_a_rule() {
    #[derive(Serialize)]
    struct Request {
        id: u8,
        parts: Vec<BTreeMap<&'static str, f64>>,
    }
    let rule = rule().drop("/id").unwrap().drop("/parts/*/x").unwrap();
    let request =
        |name| Request { id: 1, parts: vec![BTreeMap::new(), BTreeMap::from([("a", 1.0), (name, f64::NAN)])] };
    rule.key(&request("x")).unwrap();
    let error = rule.key(&request("y")).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&KeyErrorKind::NotFinite, "/parts/1/y"));
}

#[test]
fn a_rule_can_be_shared_and_tells_no_secret() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug + std::panic::RefUnwindSafe>(_: &T) {}
    let rule =
        KeyRule::new("sk-credential").unwrap().salt("pepper").unwrap().secret(b"0123456789abcdef0123456789abcdef");
    let rule = rule.drop("/b").unwrap().keep_only(["/a"]).unwrap();
    check(&rule);
    check(&KeyRule::fields("tenant", pick).unwrap());
    assert_eq!(
        format!("{rule:?}"),
        r#"KeyRule { drop: ["/b"], keep_only: ["/a"], fields: false, salted: true, secret: true, .. }"#
    );
}

#[test]
fn a_copy_goes_its_own_way() {
    let request = json!({"a": 1, "b": 2});
    let rule = rule().drop("/a").unwrap();
    let key = rule.key(&request).unwrap();
    let copy = rule.clone().drop("/b").unwrap();
    assert_ne!(copy.key(&request).unwrap(), key);
    assert_eq!(rule.key(&request).unwrap(), key);
}
