//! Rules that pick fields.

use serde_json::json;
use sync_coalesce::key::{KeyErrorKind, KeyFields};
use sync_coalesce::{Key, KeyRule};

/// No JSON itself.
struct Query {
    sql: &'static str,
    weight: f64,
    trace: u64,
}

const QUERY: Query = Query { sql: "select", weight: 0.5, trace: 1 };

#[test]
fn what_is_picked_counts_and_nothing_else() {
    let rule = KeyRule::fields("db", |query: &Query, key| {
        key.field("sql", query.sql)?;
        key.field("weight", &query.weight)
    });
    let rule = rule.unwrap();
    let key = rule.key(&QUERY).unwrap();
    assert_eq!(rule.key(&Query { trace: 2, ..QUERY }).unwrap(), key);
    assert_ne!(rule.key(&Query { sql: "selecT", ..QUERY }).unwrap(), key);
    assert_ne!(rule.key(&Query { weight: 0.25, ..QUERY }).unwrap(), key);
    // The order in which it was picked does not count.
    let turned = KeyRule::fields("db", |query: &Query, key| {
        key.field("weight", &query.weight)?;
        key.field("sql", query.sql)
    });
    assert_eq!(turned.unwrap().key(&QUERY).unwrap(), key);
}

#[test]
fn errors_have_the_name_of_the_field_in_their_path() {
    let rule = KeyRule::fields("db", |query: &Query, key| key.field("weight", &[query.weight])).unwrap();
    let error = rule.key(&Query { weight: f64::NAN, ..QUERY }).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&KeyErrorKind::NotFinite, "/weight/0"));
    let twice = |query: &Query, key: &mut KeyFields<'_>| {
        key.field("sql", query.sql)?;
        key.field("sql", &query.trace)
    };
    let error = KeyRule::fields("db", twice).unwrap().key(&QUERY).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&KeyErrorKind::DuplicateMember, "/sql"));
}

#[test]
fn an_error_that_is_kept_back_is_still_an_error() {
    let rule = KeyRule::fields("db", |query: &Query, key| {
        let _: Result<(), _> = key.field("weight", &f64::NAN);
        key.field("sql", query.sql)
    });
    let error = rule.unwrap().key(&QUERY).unwrap_err();
    assert!(matches!(error.kind(), KeyErrorKind::Failed(_)), "{error}");
}

#[test]
fn pointers_lead_into_what_is_picked() {
    let rule = KeyRule::fields("db", |request: &serde_json::Value, key| key.field("messages", &request["m"]));
    let rule = rule.unwrap().drop("/messages/*/id").unwrap();
    let key = |id: u8, text: &str| rule.key(&json!({"m": [{"id": id, "text": text}]})).unwrap();
    assert_eq!(key(1, "a"), key(2, "a"));
    assert_ne!(key(1, "a"), key(1, "b"));
}

#[test]
fn a_closure_may_make_keys_itself_or_panic() {
    let rule = KeyRule::fields("db", |request: &u8, key| {
        assert_ne!(*request, 0, "asked to");
        key.field("inner", &Key::of(request).unwrap())
    });
    let rule = rule.unwrap();
    let expected = rule.key(&1).unwrap();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rule.key(&0))).unwrap_err();
    assert_eq!(rule.key(&1).unwrap(), expected);
}
