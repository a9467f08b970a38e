//! Keys that cannot be guessed without a secret.

use serde_json::json;
use sync_coalesce::key::SharedText;
use sync_coalesce::{Key, KeyRule};

#[test]
fn a_key_is_one_of_its_secret() {
    let request = json!({"prompt": "yes or no?"});
    let rule = |secret| KeyRule::new("tenant").unwrap().secret(&secret);
    let key = rule([1; 32]).key(&request).unwrap();
    assert_eq!(rule([1; 32]).key(&request).unwrap(), key);
    let mut close = [1; 32];
    close[31] ^= 1;
    assert_ne!(rule(close).key(&request).unwrap(), key);
    assert_ne!(KeyRule::new("tenant").unwrap().key(&request).unwrap(), key);
    assert_ne!(rule([1; 32]).key(&json!({"prompt": "no or yes?"})).unwrap(), key);
    // The last secret given is the one.
    assert_eq!(rule(close).secret(&[1; 32]).key(&request).unwrap(), key);
}

#[test]
fn the_form_is_what_the_specification_says() {
    let secret = [9; 32];
    let hash = blake3::derive_key("sync-coalesce 2026-11 secret key v1", &secret);
    let long = "x".repeat(5000);
    let fold = blake3::derive_key("sync-coalesce 2026-11 long string v1", long.as_bytes());
    let fold = blake3::Hash::from_bytes(fold);
    let rule = KeyRule::new("t").unwrap().drop("/a").unwrap().secret(&secret);
    let text = format!(r#"["t",{{"drop":["/a"]}},{{"p":"\u0000b3:{fold}"}}]"#);
    let expected = Key::from_bytes(blake3::keyed_hash(&hash, text.as_bytes()).into());
    assert_eq!(rule.key(&json!({"a": 1, "p": long})).unwrap(), expected);
    assert_eq!(rule.key(&std::collections::HashMap::from([("p", SharedText::from(long))])).unwrap(), expected);
}
