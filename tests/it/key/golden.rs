//! Keys of format `2026-11`, frozen in `tests/keys/golden-2026-11.jsonl`. They were made by another implementation, the
//! Python one beside that file. Whoever changes one changes the keys in every shared store: that takes a new context, and
//! a new file of golden keys.

use std::collections::HashSet;

use serde_json::Value;
use sync_coalesce::{Key, KeyPreset};

use super::round_trip::KeptAsText;
use super::row::Row;
use super::{key, key_of_json};

fn rows() -> Vec<Row> {
    let lines = include_str!("../../keys/golden-2026-11.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn documents_have_the_keys_they_always_had() {
    let (with_key, without): (Vec<_>, Vec<_>) = rows().into_iter().partition(|row| row.key.is_some());
    assert!(with_key.len() >= 180 && without.len() >= 30, "{} and {}", with_key.len(), without.len());
    for row in with_key {
        let json = row.document();
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(row.key_of(&value).ok(), row.key, "{row:?}");
        assert_eq!(row.key_of(&KeptAsText { json: &json }).ok(), row.key, "{row:?}, kept as text");
    }
    for row in without {
        // A `Value` cannot be asked: reading it drops one of two members of a name without a word.
        row.key_of(&KeptAsText { json: row.document() }).unwrap_err();
    }
}

#[test]
fn a_row_without_a_rule_has_the_key_that_is_made_without_one() {
    let plain: Vec<_> = rows().into_iter().filter(|row| row.is_plain() && row.key.is_some()).collect();
    assert!(plain.len() >= 100, "{}", plain.len());
    for row in plain {
        assert_eq!(Some(key_of_json(&row.document())), row.key, "{row:?}");
        assert_eq!(Key::of(&KeptAsText { json: row.document() }).ok(), row.key, "{row:?}, kept as text");
    }
}

#[test]
fn presets_make_the_keys_they_always_made() {
    let by_row: HashSet<Key> = rows().into_iter().filter_map(|row| row.key).collect();
    let request = serde_json::json!({
        "model": "m",
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        ]}],
        "cache_control": {"type": "ephemeral"}, "prompt_cache_key": "k", "metadata": {"user_id": "u"}, "user": "u",
        "stream": true,
    });
    let mut by_preset = HashSet::new();
    for preset in [
        KeyPreset::openai_chat(),
        KeyPreset::openai_responses(),
        KeyPreset::openai_embeddings(),
        KeyPreset::anthropic_messages(),
        KeyPreset::perplexity_chat(),
    ] {
        for preset in [preset, preset.ignore_attribution().ignore_stream()] {
            let key = preset.rule("tenant a").unwrap().key(&request).unwrap();
            assert!(by_row.contains(&key), "{preset:?} makes {key}");
            by_preset.insert(key);
        }
    }
    assert_eq!(by_preset.len(), 10);
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
