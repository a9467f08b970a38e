//! Roles that take turns: tables, and what holds of every conversation.

use proptest::prelude::*;
use serde_json::{Value, json};
use sync_coalesce::Key;
use sync_coalesce::chat::{AlternateError, Trailing, alternate};

fn system(content: &str) -> Value {
    json!({ "role": "system", "content": content })
}

fn user(content: impl Into<Value>) -> Value {
    json!({ "role": "user", "content": content.into() })
}

fn assistant(content: impl Into<Value>) -> Value {
    json!({ "role": "assistant", "content": content.into() })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image() -> Value {
    json!({ "type": "image_url", "image_url": { "url": "data:," } })
}

#[track_caller]
fn check(messages: impl IntoIterator<Item = Value>, trailing: Trailing, expected: impl IntoIterator<Item = Value>) {
    let turns = alternate(messages, trailing).unwrap();
    assert_eq!(turns, expected.into_iter().collect::<Vec<_>>());
    assert_eq!(alternate(turns.clone(), trailing).unwrap(), turns, "twice is once");
}

#[test]
fn what_alternates_stays_as_it_is() {
    check([], Trailing::Drop, []);
    for messages in [
        vec![user("a")],
        vec![system("s"), user("a"), assistant("b"), user("c")],
        vec![assistant("a"), user("b")],
        vec![user(json!([text("a"), image()])), assistant(json!([text("b")])), user("")],
    ] {
        check(messages.clone(), Trailing::Keep, messages);
    }
}

#[test]
fn neighbours_of_one_role_become_one() {
    check(
        [user("a"), user("b"), user("c"), assistant("d"), assistant("e")],
        Trailing::Keep,
        [user("a\nb\nc"), assistant("d\ne")],
    );
    check([system("a"), system("b"), user("c")], Trailing::Keep, [system("a\nb"), user("c")]);
}

#[test]
fn texts_and_lists_of_parts_become_one_list() {
    let list = |parts: &[Value]| user(Value::from(parts));
    for (messages, expected) in [
        ([user("a"), list(&[image()])], list(&[text("a"), image()])),
        ([list(&[image()]), user("a")], list(&[image(), text("a")])),
        ([list(&[image(), text("a")]), list(&[text("b")])], list(&[image(), text("a"), text("b")])),
        ([user(""), list(&[image()])], list(&[image()])),
        ([user(""), user("a")], user("a")),
        ([user("a"), user("")], user("a")),
        ([user(Value::Null), user("a")], user("a")),
        ([user("a"), json!({ "role": "user" })], user("a")),
        ([json!({ "role": "user" }), list(&[image()])], list(&[image()])),
    ] {
        check(messages, Trailing::Keep, [expected]);
    }
}

#[test]
fn system_messages_stay_in_front_and_later_ones_become_the_users() {
    check(
        [system("s"), user("a"), assistant("b"), system("t"), assistant("c")],
        Trailing::Keep,
        [system("s"), user("a"), assistant("b"), user("t"), assistant("c")],
    );
    check([system("s"), user("a"), system("t"), user("b")], Trailing::Keep, [system("s"), user("a\nt\nb")]);
    let developer = |content: &str| json!({ "role": "developer", "content": content });
    check(
        [system("s"), developer("d"), user("a"), developer("e")],
        Trailing::Keep,
        [system("s"), developer("d"), user("a\ne")],
    );
    check([system("s")], Trailing::Drop, [system("s")]);
}

#[test]
fn a_trailing_assistant_turn_is_dropped_when_asked() {
    let messages = [user("a"), assistant("b"), assistant("c")];
    check(messages.clone(), Trailing::Keep, [user("a"), assistant("b\nc")]);
    check(messages, Trailing::Drop, [user("a")]);
    check([assistant("a")], Trailing::Drop, []);
    check([system("s"), assistant("a")], Trailing::Drop, [system("s")]);
}

/// OpenAI's shape.
#[test]
fn tool_calls_and_their_results_stay_apart() {
    let calls = json!({
        "role": "assistant",
        "content": null,
        "tool_calls": [{ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } }],
    });
    let old = json!({ "role": "assistant", "content": "", "function_call": { "name": "f", "arguments": "{}" } });
    let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "r" });
    let old_result = json!({ "role": "function", "name": "f", "content": "r" });
    let messages = [
        user("a"),
        assistant("wait"),
        calls.clone(),
        result("1"),
        result("2"),
        calls.clone(),
        calls.clone(),
        old,
        old_result.clone(),
        old_result,
        assistant("b"),
    ];
    check(messages.clone(), Trailing::Keep, messages);
    // One at the end is not lost either.
    check([user("a"), calls.clone()], Trailing::Drop, [user("a"), calls]);
    // An empty list is no call.
    let none = json!({ "role": "assistant", "content": "b", "tool_calls": [], "refusal": null });
    let merged = json!({ "role": "assistant", "content": "b\nc", "tool_calls": [], "refusal": null });
    check([user("a"), none, assistant("c")], Trailing::Keep, [user("a"), merged]);
}

/// Anthropic's shape.
#[test]
fn parts_that_use_tools_stay_apart() {
    let uses = assistant(json!([text("wait"), { "type": "tool_use", "id": "1", "name": "f", "input": {} }]));
    let searches = assistant(json!([{ "type": "server_tool_use", "id": "2", "name": "web_search", "input": {} }]));
    let result = user(json!([{ "type": "tool_result", "tool_use_id": "1", "content": "r" }]));
    let messages = [user("a"), uses.clone(), searches, result.clone(), result, user("b"), uses];
    check(messages.clone(), Trailing::Keep, messages.clone());
    check(messages.clone(), Trailing::Drop, messages);
}

#[test]
fn what_would_lose_something_stays_apart() {
    let named = |name: &str, content: &str| json!({ "role": "user", "name": name, "content": content });
    check(
        [named("ada", "a"), named("ada", "b"), named("ben", "c"), user("d")],
        Trailing::Keep,
        [named("ada", "a\nb"), named("ben", "c"), user("d")],
    );
    let odd = [user(json!({ "text": "a" })), user("b"), user(7)];
    check(odd.clone(), Trailing::Keep, odd);
}

#[test]
fn what_is_no_message_is_an_error_that_says_which() {
    for (message, expected) in [
        (json!("hello"), AlternateError::NotAnObject { index: 1 }),
        (json!(null), AlternateError::NotAnObject { index: 1 }),
        (json!({ "content": "a" }), AlternateError::NoRole { index: 1 }),
        (json!({ "role": 7, "content": "a" }), AlternateError::NoRole { index: 1 }),
    ] {
        assert_eq!(alternate([user("a"), message], Trailing::Keep).unwrap_err(), expected);
    }
    assert_eq!(AlternateError::NoRole { index: 1 }.to_string(), "message 1 has no role");
}

/// A client that sends two messages where another sends one asks the same question.
#[test]
fn conversations_that_a_provider_sees_as_one_have_one_key() {
    let key = |messages: Vec<Value>| Key::of(&alternate(messages, Trailing::Keep).unwrap()).unwrap();
    assert_eq!(key(vec![user("a"), user("b")]), key(vec![user("a\nb")]));
    assert_ne!(key(vec![user("a"), user("b")]), key(vec![user("b"), user("a")]));
}

fn part() -> impl Strategy<Value = Value> {
    prop_oneof![4 => "[a-z]{1,3}".prop_map(|word| text(&word)), 1 => Just(image())]
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![
        5 => "[a-z]{0,3}".prop_map(Value::from),
        2 => prop::collection::vec(part(), 0..3).prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let plain = (prop::sample::select(vec!["system", "developer", "user", "assistant"]), content())
        .prop_map(|(role, content)| json!({ "role": role, "content": content }));
    let named =
        ("[ab]", content()).prop_map(|(name, content)| json!({ "role": "user", "name": name, "content": content }));
    let calls = ("[0-9]", content()).prop_map(|(id, content)| {
        json!({ "role": "assistant", "content": content, "tool_calls": [{ "id": id, "type": "function" }] })
    });
    let result = "[0-9]".prop_map(|id| json!({ "role": "tool", "tool_call_id": id, "content": "r" }));
    let uses = "[0-9]".prop_map(|id| assistant(json!([text("w"), { "type": "tool_use", "id": id }])));
    let answers = "[0-9]".prop_map(|id| user(json!([{ "type": "tool_result", "tool_use_id": id }])));
    prop_oneof![8 => plain, 1 => named, 1 => calls, 1 => result, 1 => uses, 1 => answers]
}

fn has_tools(message: &Value) -> bool {
    message["tool_calls"].is_array() || message["role"] == "tool" || message["content"].to_string().contains("\"tool_")
}

/// All that is said in a conversation, in order: texts without what joins them, and parts that are no text.
fn said(messages: &[Value]) -> (String, Vec<Value>) {
    let (mut texts, mut others) = (String::new(), Vec::new());
    for message in messages {
        match &message["content"] {
            Value::String(text) => texts += &text.replace('\n', ""),
            Value::Array(parts) => {
                for part in parts {
                    match part["text"].as_str() {
                        Some(text) => texts += &text.replace('\n', ""),
                        None => others.push(part.clone()),
                    }
                }
            }
            _ => {}
        }
    }
    (texts, others)
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_roles_take_turns(messages in prop::collection::vec(message(), 0..14)) {
        let turns = alternate(messages.clone(), Trailing::Keep).unwrap();
        prop_assert_eq!(said(&turns), said(&messages));

        let tools = turns.iter().filter(|message| has_tools(message));
        let tools_before = messages.iter().filter(|message| has_tools(message));
        prop_assert!(tools.eq(tools_before), "messages with tools are as they were");

        for pair in turns.windows(2) {
            let is_excused = has_tools(&pair[0]) || has_tools(&pair[1]) || pair[0]["name"] != pair[1]["name"];
            prop_assert!(pair[0]["role"] != pair[1]["role"] || is_excused, "{:?}", pair);
        }

        let is_instruction = |message: &&Value| message["role"] == "system" || message["role"] == "developer";
        let leading = |messages: &[Value]| {
            let count = messages.iter().take_while(is_instruction).count();
            said(&messages[..count])
        };
        prop_assert_eq!(leading(&turns), leading(&messages), "those in front stay there");
        prop_assert_eq!(turns.iter().skip_while(|message| is_instruction(message)).filter(is_instruction).count(), 0);

        prop_assert_eq!(alternate(turns.clone(), Trailing::Keep).unwrap(), turns);
    }

    #[test]
    fn dropping_takes_only_from_the_end(messages in prop::collection::vec(message(), 0..14)) {
        let kept = alternate(messages.clone(), Trailing::Keep).unwrap();
        let turns = alternate(messages, Trailing::Drop).unwrap();
        prop_assert_eq!(&kept[..turns.len()], &turns);
        prop_assert!(kept[turns.len()..].iter().all(|turn| turn["role"] == "assistant" && !has_tools(turn)));
        prop_assert!(turns.last().is_none_or(|last| last["role"] != "assistant" || has_tools(last)));
        prop_assert_eq!(alternate(turns.clone(), Trailing::Drop).unwrap(), turns);
    }
}
