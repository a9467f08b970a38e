//! Keys of format `2026-11`, frozen in `tests/keys/golden-2026-11.jsonl`. They were made by another implementation, the
//! Python one beside that file. Whoever changes one changes the keys in every shared store: that takes a new context, and
//! a new file of golden keys.

use serde::Deserialize;
use sync_coalesce::Key;

use super::round_trip::KeptAsText;
use super::{key, key_of_json};

/// A line of the file: a document, and its key if it has one. `$` in the document stands for a text so many times over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    json: String,
    fill: Option<(String, usize)>,
    key: Option<Key>,
}

fn lines() -> Vec<Line> {
    let lines = include_str!("../../keys/golden-2026-11.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Line {
    fn document(&self) -> String {
        match &self.fill {
            Some((text, times)) => self.json.replace('$', &text.repeat(*times)),
            None => self.json.clone(),
        }
    }
}

#[test]
fn documents_have_the_keys_they_always_had() {
    let (with_key, without): (Vec<_>, Vec<_>) = lines().into_iter().partition(|line| line.key.is_some());
    assert!(with_key.len() >= 100 && without.len() >= 20, "{} and {}", with_key.len(), without.len());
    for line in with_key {
        let json = line.document();
        assert_eq!(Some(key_of_json(&json)), line.key, "{}", line.json);
        assert_eq!(Key::of(&KeptAsText { json: &json }).ok(), line.key, "{}, kept as text", line.json);
    }
    for line in without {
        // A `Value` cannot be asked: reading it drops one of two members of a name without a word.
        Key::of(&KeptAsText { json: line.document() }).unwrap_err();
    }
}

#[test]
fn the_form_is_what_the_specification_says() {
    let form = |text: &str| blake3::derive_key("sync-coalesce 2026-11 request key v1", text.as_bytes());
    assert_eq!(key(&()).as_bytes(), &form("[null,null,null]"));
    let request = serde_json::json!({"b": [1.0, 9_007_199_254_740_993_u64], "a": "\u{0}"});
    let fold = blake3::Hash::from_bytes(blake3::derive_key("sync-coalesce 2026-11 long string v1", b"\0"));
    let text = format!(r#"[null,null,{{"a":"\u0000b3:{fold}","b":[1,"\u0000i:9007199254740993"]}}]"#);
    assert_eq!(key(&request).as_bytes(), &form(&text));
}

#[test]
fn the_examples_of_rfc_8785_have_its_text() {
    // The text that the RFC prints, put where a request stands. No part of it is long enough to fold.
    let examples = [
        (
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
                "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
        ),
        (
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
                "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With \
             Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With \
             Dagesh\"}",
        ),
    ];
    for (json, canonical) in examples {
        let text = format!("[null,null,{canonical}]");
        let expected = blake3::derive_key("sync-coalesce 2026-11 request key v1", text.as_bytes());
        assert_eq!(key_of_json(json).as_bytes(), &expected, "{json}");
    }
}
