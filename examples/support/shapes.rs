//! What the two vendors' requests, answers and errors look like on the wire. Pure: no network, no state.

use std::time::SystemTime;

use serde_json::{Value, json};

/// Whose request and answer shapes are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    OpenAi,
    Anthropic,
}

impl Vendor {
    /// The one of that name on a command line.
    pub(crate) fn named(name: &str) -> Option<Vendor> {
        match name {
            "openai" => Some(Vendor::OpenAi),
            "anthropic" => Some(Vendor::Anthropic),
            _ => None,
        }
    }

    /// Where this shape is served, below the host.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Vendor::OpenAi => "/v1/chat/completions",
            Vendor::Anthropic => "/v1/messages",
        }
    }
}

/// The loopback provider's answer to `request`: the last user message, and a digest of everything said.
pub(crate) fn answer_to(request: &Value) -> String {
    let mut digest = blake3::Hasher::new();
    let mut asked = String::new();
    let system = json!({ "role": "system", "content": request["system"] });
    for message in std::iter::once(&system).chain(messages_of(request)) {
        let text = text_of(&message["content"]);
        // Lengths keep "ab" + "c" apart from "a" + "bc".
        for part in [role_of(message), &text] {
            digest.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        if role_of(message) == "user" {
            asked = text;
        }
    }
    digest.update(request["model"].as_str().unwrap_or_default().as_bytes());
    format!("You asked: {asked} (answer {})", &digest.finalize().to_hex().as_str()[..12])
}

/// Why there is no answer.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Seconds, for the header of that name.
    pub(crate) retry_after: Option<u64>,
}

pub(crate) fn refuse<T>(status: u16, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, message: message.into(), retry_after: None })
}

/// Refuses what the vendor would refuse: a request without its required members.
pub(crate) fn check_shape(vendor: Vendor, request: &Value) -> Result<(), Refusal> {
    if !request["model"].is_string() {
        return refuse(400, "model: a string is required");
    }
    if messages_of(request).next().is_none() {
        return refuse(400, "messages: at least one message is required");
    }
    if vendor == Vendor::Anthropic && !request["max_tokens"].is_u64() {
        return refuse(400, "max_tokens: a positive integer is required");
    }
    Ok(())
}

/// Refuses a conversation in which user and assistant do not take turns. System messages may stand in front.
pub(crate) fn check_roles(request: &Value) -> Result<(), Refusal> {
    let turns = messages_of(request).map(role_of);
    let spoken = turns.enumerate().skip_while(|(_, role)| *role == "system");
    for ((place, role), expected) in spoken.zip(["user", "assistant"].into_iter().cycle()) {
        if role != expected {
            return refuse(
                400,
                format!("messages.{place}: roles must alternate: expected {expected:?}, found {role:?}"),
            );
        }
    }
    Ok(())
}

fn messages_of(request: &Value) -> impl Iterator<Item = &Value> {
    request["messages"].as_array().into_iter().flatten()
}

fn role_of(message: &Value) -> &str {
    message["role"].as_str().unwrap_or_default()
}

/// The text of a message's content: a string, or a list of parts of which some are text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Roughly four letters to a token, as English has it.
fn tokens_in(text: &str) -> usize {
    text.len().div_ceil(4)
}

/// Whether `request` wants its answer bit by bit.
pub(crate) fn is_streamed(request: &Value) -> bool {
    request["stream"] == true
}

/// The body of a 200 to a request that [`is_streamed`], as server-sent events: one for each word, and those around them.
pub(crate) fn events(vendor: Vendor, request: &Value, number: u64) -> Vec<String> {
    let whole = completion(vendor, request, number);
    let text = answer_to(request);
    let words = text.split_inclusive(' ');
    match vendor {
        Vendor::OpenAi => {
            let chunk = |choices: Value, usage: &Value| {
                let mut chunk = json!({
                    "id": whole["id"],
                    "object": "chat.completion.chunk",
                    "created": whole["created"],
                    "model": whole["model"],
                    "choices": choices,
                });
                if request["stream_options"]["include_usage"] == true {
                    chunk["usage"] = usage.clone();
                }
                format!("data: {chunk}\n\n")
            };
            let delta = |delta: Value, finish_reason: Value| {
                let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
                chunk(json!([choice]), &Value::Null)
            };
            let mut events = vec![delta(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null)];
            events.extend(words.map(|word| delta(json!({ "content": word }), Value::Null)));
            events.push(delta(json!({}), json!("stop")));
            if request["stream_options"]["include_usage"] == true {
                events.push(chunk(json!([]), &whole["usage"]));
            }
            events.push("data: [DONE]\n\n".to_owned());
            events
        }
        Vendor::Anthropic => {
            let event = |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
            let mut message = whole.clone();
            message["content"] = json!([]);
            message["stop_reason"] = Value::Null;
            message["usage"]["output_tokens"] = json!(1);
            let delta = |word: &str| {
                event(json!({
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": { "type": "text_delta", "text": word },
                }))
            };
            let mut events = vec![
                event(json!({ "type": "message_start", "message": message })),
                event(json!({
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": { "type": "text", "text": "" },
                })),
                event(json!({ "type": "ping" })),
            ];
            events.extend(words.map(delta));
            events.push(event(json!({ "type": "content_block_stop", "index": 0 })));
            events.push(event(json!({
                "type": "message_delta",
                "delta": { "stop_reason": "end_turn", "stop_sequence": null },
                "usage": { "output_tokens": whole["usage"]["output_tokens"] },
            })));
            events.push(event(json!({ "type": "message_stop" })));
            events
        }
    }
}

/// The body of a 200: `number` tells one call from another, everything else follows from the request.
pub(crate) fn completion(vendor: Vendor, request: &Value, number: u64) -> Value {
    let text = answer_to(request);
    let system = text_of(&request["system"]);
    let said: usize = messages_of(request).map(|message| tokens_in(&text_of(&message["content"])) + 4).sum();
    let (input, output) = (said + tokens_in(&system), tokens_in(&text));
    match vendor {
        Vendor::OpenAi => json!({
            "id": format!("chatcmpl-{number:012}"),
            "object": "chat.completion",
            "created": SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs(),
            "model": request["model"],
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": text, "refusal": null },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output },
        }),
        Vendor::Anthropic => json!({
            "id": format!("msg_{number:012}"),
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": [{ "type": "text", "text": text }],
            "stop_reason": "end_turn",
            "stop_sequence": null,
            "usage": {
                "input_tokens": input,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": output,
            },
        }),
    }
}

/// The body of any other status.
pub(crate) fn refused(vendor: Vendor, refusal: &Refusal, number: u64) -> Value {
    let (openai, code, anthropic) = match refusal.status {
        401 => ("invalid_request_error", Some("invalid_api_key"), "authentication_error"),
        404 => ("invalid_request_error", Some("unknown_url"), "not_found_error"),
        429 => ("requests", Some("rate_limit_exceeded"), "rate_limit_error"),
        500.. => ("server_error", None, "api_error"),
        _ => ("invalid_request_error", None, "invalid_request_error"),
    };
    match vendor {
        Vendor::OpenAi => json!({
            "error": { "message": refusal.message, "type": openai, "param": null, "code": code },
        }),
        Vendor::Anthropic => json!({
            "type": "error",
            "error": { "type": anthropic, "message": refusal.message },
            "request_id": format!("req_{number:012}"),
        }),
    }
}
