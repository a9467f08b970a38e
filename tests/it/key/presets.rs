//! What counts under the presets, and what does not.

use serde_json::{Value, json};
use sync_coalesce::{KeyPreset, KeyRule};

/// A request with something at every place that a preset may leave out, or that bears such a name elsewhere.
fn request() -> Value {
    let routed = || json!({"type": "ephemeral"});
    let schema = json!({"properties": {
        "id": {"type": "string"}, "user": {"type": "string"}, "metadata": {"type": "object"},
        "cache_control": {"type": "string"}, "stream": {"type": "boolean"},
    }});
    let arguments = json!({"id": 1, "user": "u", "metadata": {"a": 1}, "cache_control": "none", "stream": true});
    json!({
        "model": "m", "temperature": 1, "max_tokens": 9, "id": "r", "service_tier": "flex", "store": true,
        "background": false, "previous_response_id": "p", "encoding_format": "float", "search_mode": "web",
        "prompt_cache_key": "k", "prompt_cache_retention": "24h", "cache_control": routed(),
        "user": "u", "safety_identifier": "s", "metadata": {"user": "u"}, "user_profile_id": "p",
        "stream": true, "stream_options": {"include_usage": true}, "stream_mode": "full",
        "system": [{"type": "text", "text": "t", "cache_control": routed()}],
        "messages": [
            {"role": "user", "id": "m", "user": "u", "cache_control": routed(), "content": [
                {"type": "text", "text": "t", "cache_control": routed(), "metadata": {}},
                {"type": "tool_use", "id": "call", "input": arguments},
                {"type": "tool_result", "content": [{"text": "t", "cache_control": routed(), "user": "u"}]},
            ]},
            {"role": "assistant", "content": "t", "tool_calls": [{"id": "call", "function": {"arguments": arguments}}]},
        ],
        "input": [{"type": "function_call", "id": "call", "arguments": arguments, "metadata": {"a": 1}}],
        "tools": [{"name": "f", "cache_control": routed(), "input_schema": schema, "metadata": {"a": 1}}],
    })
}

/// The pointer of every member and element that has nothing in it, and of every member whose name is in question.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut visit = |name: &str, value: &Value| {
        let place = format!("{at}/{name}");
        into.push(place.clone());
        places(value, &place, into);
    };
    match value {
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                visit(&index.to_string(), value);
            }
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| visit(name, value)),
        _ => {}
    }
}

/// Changes each place of the request in turn; those at or within one of `left_out` must not count, all others must.
#[track_caller]
fn check(preset: KeyPreset, left_out: &[&str]) {
    let rule = preset.rule("tenant").unwrap();
    let key = rule.key(&request()).unwrap();
    let mut all = Vec::new();
    places(&request(), "", &mut all);
    assert!(left_out.iter().all(|place| all.iter().any(|known| known == place)));
    for place in all {
        let mut changed = request();
        *changed.pointer_mut(&place).unwrap() = json!("something else");
        let is_left_out =
            left_out.iter().any(|left_out| place == *left_out || place.starts_with(&format!("{left_out}/")));
        assert_eq!(rule.key(&changed).unwrap() == key, is_left_out, "{place} by {preset:?}");
    }
    // What is not there does not count either.
    let mut bare = request();
    for place in left_out {
        let (parent, name) = place.rsplit_once('/').unwrap();
        bare.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    }
    assert_eq!(rule.key(&bare).unwrap(), key);
}

const OPENAI: [&str; 2] = ["/prompt_cache_key", "/prompt_cache_retention"];
const OPENAI_ATTRIBUTION: [&str; 3] = ["/user", "/safety_identifier", "/metadata"];
const ANTHROPIC: [&str; 5] = [
    "/cache_control",
    "/system/0/cache_control",
    "/messages/0/content/0/cache_control",
    "/messages/0/content/2/content/0/cache_control",
    "/tools/0/cache_control",
];

#[test]
fn by_default_only_what_steers_the_providers_cache_is_left_out() {
    check(KeyPreset::openai_chat(), &OPENAI);
    check(KeyPreset::openai_responses(), &OPENAI);
    check(KeyPreset::openai_embeddings(), &[]);
    check(KeyPreset::anthropic_messages(), &ANTHROPIC);
    check(KeyPreset::perplexity_chat(), &[]);
}

#[test]
fn who_asks_is_left_out_on_demand() {
    check(KeyPreset::openai_chat().ignore_attribution(), &[&OPENAI[..], &OPENAI_ATTRIBUTION].concat());
    check(KeyPreset::openai_responses().ignore_attribution(), &[&OPENAI[..], &OPENAI_ATTRIBUTION].concat());
    check(KeyPreset::openai_embeddings().ignore_attribution(), &["/user"]);
    let anthropic = [&ANTHROPIC[..], &["/metadata", "/user_profile_id"]].concat();
    check(KeyPreset::anthropic_messages().ignore_attribution(), &anthropic);
    check(KeyPreset::perplexity_chat().ignore_attribution(), &[]);
}

#[test]
fn streaming_is_left_out_on_demand() {
    check(KeyPreset::openai_chat().ignore_stream(), &[&OPENAI[..], &["/stream", "/stream_options"]].concat());
    check(KeyPreset::openai_responses().ignore_stream(), &[&OPENAI[..], &["/stream", "/stream_options"]].concat());
    check(KeyPreset::openai_embeddings().ignore_stream(), &[]);
    check(KeyPreset::anthropic_messages().ignore_stream(), &[&ANTHROPIC[..], &["/stream"]].concat());
    check(KeyPreset::perplexity_chat().ignore_stream(), &["/stream", "/stream_mode"]);
    let both = KeyPreset::openai_chat().ignore_stream().ignore_attribution();
    check(both, &[&OPENAI[..], &OPENAI_ATTRIBUTION, &["/stream", "/stream_options"]].concat());
}

#[test]
fn endpoints_and_namespaces_part_requests() {
    let presets = [
        KeyPreset::openai_chat(),
        KeyPreset::openai_responses(),
        KeyPreset::openai_embeddings(),
        KeyPreset::anthropic_messages(),
        KeyPreset::perplexity_chat(),
    ];
    let keys: std::collections::BTreeSet<_> = presets
        .iter()
        .flat_map(|preset| ["tenant a", "tenant b"].map(|tenant| preset.rule(tenant).unwrap()))
        .map(|rule| rule.key(&request()).unwrap())
        .collect();
    assert_eq!(keys.len(), 10);
    let plain = KeyRule::new("tenant a").unwrap().key(&request()).unwrap();
    assert!(!keys.contains(&plain));
}

#[test]
fn a_bad_namespace_is_an_error_with_its_place() {
    let error = KeyPreset::openai_chat().rule(&("tenant", [f64::NAN])).unwrap_err();
    assert_eq!(error.path(), "/1/1/0");
}

#[test]
fn one_more_path_goes_to_the_rule() {
    let rule = KeyPreset::openai_chat().rule("tenant").unwrap().drop("/trace").unwrap();
    assert_eq!(rule.key(&json!({"trace": 1, "prompt_cache_key": 1})), rule.key(&json!({})));
}
