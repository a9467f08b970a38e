//! Where a rule keeps only some members, the others are not there.

use serde_json::{Value, json};
use sync_coalesce::KeyRule;
use sync_coalesce::key::KeyErrorKind;

fn keeping(pointers: &[&str]) -> KeyRule {
    KeyRule::new("tenant").unwrap().keep_only(pointers).unwrap()
}

#[track_caller]
fn check(rule: &KeyRule, request: &Value, same: &[Value], other: &[Value]) {
    let key = rule.key(request).unwrap();
    for request in same {
        assert_eq!(rule.key(request).unwrap(), key, "{request}");
    }
    for request in other {
        assert_ne!(rule.key(request).unwrap(), key, "{request}");
    }
}

#[test]
fn nothing_but_what_is_kept_counts() {
    check(
        &keeping(&["/model", "/input/text"]),
        &json!({"model": "m", "input": {"text": {"a": [1]}}}),
        &[
            json!({"model": "m", "input": {"text": {"a": [1]}, "model": 1}, "n": 3}),
            json!({"n": {"model": "x"}, "input": {"text": {"a": [1]}}, "model": "m"}),
        ],
        &[
            json!({"model": "m", "input": {"text": {"a": [1], "n": 1}}}),
            json!({"model": "m", "input": {"text": {"a": [2]}}}),
            json!({"model": "m", "input": {}}),
            json!({"model": "m"}),
            json!({"input": {"text": {"a": [1]}}}),
        ],
    );
}

#[test]
fn elements_count_and_a_star_picks_below_them() {
    check(
        &keeping(&["/messages/*/content"]),
        &json!({"messages": [{"content": "a", "id": 1}, {"content": "b"}]}),
        &[json!({"messages": [{"content": "a"}, {"content": "b", "id": 2}]})],
        &[
            json!({"messages": [{"content": "a"}]}),
            json!({"messages": [{"content": "a"}, {}]}),
            json!({"messages": [{"content": "b"}, {"content": "a"}]}),
            json!({"messages": [{"content": "a"}, {"content": "b"}, {"id": 1}]}),
            // Where there is no object, there is nothing to leave out.
            json!({"messages": "a"}),
        ],
    );
    // No step of this pointer is for elements, so they are whole.
    check(
        &keeping(&["/messages/0"]),
        &json!({"messages": [{"id": 1}, {"id": 2}]}),
        &[json!({"messages": [{"id": 1}, {"id": 2}], "model": "m"})],
        &[json!({"messages": [{"id": 1}, {"id": 3}]}), json!({"messages": [{"id": 3}, {"id": 2}]})],
    );
}

#[test]
fn a_request_that_is_no_object_is_whole() {
    check(&keeping(&["/a"]), &json!([{"b": 1}]), &[], &[json!([{"b": 2}]), json!([]), json!(null)]);
}

#[test]
fn what_is_kept_and_dropped_is_dropped() {
    let rule = keeping(&["/a"]).drop("/a/x").unwrap().keep_only(["/b/c"]).unwrap().drop("/b").unwrap();
    check(
        &rule,
        &json!({"a": {"y": 1}}),
        &[json!({"a": {"x": 1, "y": 1}, "b": {"c": 1}, "d": 1})],
        &[json!({"a": {"y": 2}}), json!({})],
    );
}

#[test]
fn a_pointer_to_the_whole_outweighs_one_to_a_part() {
    for pointers in [["/a", "/a/b"], ["/a/b", "/a"]] {
        check(&keeping(&pointers), &json!({"a": {"b": 1, "c": 2}}), &[], &[json!({"a": {"b": 1, "c": 3}})]);
    }
}

#[test]
fn a_variant_that_is_not_kept_is_not_there() {
    #[derive(serde::Serialize)]
    enum Shape {
        Tuple(u8, u8),
        Struct { a: u8, b: u8 },
    }
    let rule = keeping(&["/Struct/a", "/z"]);
    assert_eq!(rule.key(&Shape::Tuple(1, 2)), rule.key(&json!({})));
    assert_eq!(rule.key(&Shape::Struct { a: 1, b: 2 }), rule.key(&json!({"Struct": {"a": 1}})));
}

#[test]
fn keeping_nothing_is_an_error() {
    let error = KeyRule::new("tenant").unwrap().keep_only::<&str>([]).unwrap_err();
    assert_eq!(error.kind(), &KeyErrorKind::BadRule("nothing to keep"));
    keeping(&["/a"]).keep_only(Vec::<String>::new()).unwrap();
}
