//! Keys by rules, of format `2026-11`, frozen. Like those in `golden.rs` they were made by another implementation.

use serde_json::{Value, json};
use sync_coalesce::{Key, KeyPreset, KeyRule};

fn request() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
}

fn in_tenant() -> KeyRule {
    KeyRule::new("tenant a").unwrap()
}

#[track_caller]
fn check(key: Result<Key, sync_coalesce::KeyError>, expected: &str) {
    assert_eq!(key.unwrap().to_string(), expected);
}

#[test]
fn keys_by_rules_are_what_they_always_were() {
    let rule = KeyRule::new(&("https://api.example.com/v1", "tenant a")).unwrap();
    check(rule.key(&request()), "eba753b62648485d31e2617224e3e31db23ce6e16ccb3ace1ce0499eb60a606a");

    let rule = in_tenant().drop("/metadata").unwrap().drop("/messages/*/id").unwrap();
    check(rule.key(&request()), "bbd601dc21d6f641acc6ee7fad7ac7e03f8045952f50c9095954ae84cd70b370");

    // Sorted as UTF-16 sorts them.
    let rule = in_tenant().drop("/\u{fb33}").unwrap().drop("/\u{1f600}").unwrap();
    check(rule.key(&request()), "cc6206d5b99ff42004e2e8782c004730a28ae8505668055ec6d0e11cf1d6440a");

    let rule = in_tenant().keep_only(["/model", "/messages"]).unwrap();
    check(rule.key(&request()), "73215b58230316b6e1ff2f0d5fc52e940d2635236ecb7f4a1b2aae73590d5573");

    let rule = KeyRule::fields("tenant a", |model: &str, key| key.field("model", model)).unwrap();
    check(rule.key("m"), "b34350497252a2f465ea092d1a75ed63baab0c6974c279a2fdf438d72dceae57");

    let rule = in_tenant().salt(&(3, 9_007_199_254_740_993_u64)).unwrap();
    check(rule.key(&request()), "a98fa59e353190f2ac10b3eb5fc7dee5686d01a2eec6126d8577b60d8f4c8c5c");

    let rule = in_tenant().secret(&std::array::from_fn(|index| u8::try_from(index).unwrap()));
    check(rule.key(&request()), "4f4cc6b4918cda135a3ea8f05db4d0f243395d3345eaf5dfd5a969c2c7dfb534");

    let rule = KeyPreset::openai_chat().rule("tenant a").unwrap();
    check(rule.key(&request()), "e7db2d94a213a98f906a69feccf985338eb881dd9cb3b54d2e9848f91364ddb0");
}

#[test]
fn whatever_is_long_in_a_rule_folds() {
    let long = "n".repeat(5000);
    let pick = |model: &str, key: &mut sync_coalesce::KeyFields<'_>| key.field("model", model);
    let rule = KeyRule::fields(&(&long, 9_007_199_254_740_993_u64), pick).unwrap();
    let rule = rule.keep_only(["/model"]).unwrap().drop("/x").unwrap().drop("/a~1b/~2").unwrap();
    let rule = rule.salt(&long).unwrap();
    check(rule.key("m"), "0303a1037576058d7a1a897f084d43385b2ae620de272f1e966cc5d79a2b2d4f");

    let rule = in_tenant().drop(&format!("/{long}")).unwrap();
    check(rule.key(&request()), "8e178abdbb085c933e2a3b1cb612d4cdd2150416de827c57dbca7bede1a880bd");

    let secret = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let rule = KeyRule::new(&[&long]).unwrap().secret(&secret).salt("\0").unwrap();
    check(rule.key(&json!({"p": long})), "0d623e08d7db5369d4dd15125c825b59b4a726ae4b05120d6714fe1e228a9d51");
}
