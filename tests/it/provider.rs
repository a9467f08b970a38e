//! The loopback provider of the examples, asked over real connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use serde_json::{Value, json};

#[path = "../../examples/support/provider.rs"]
pub(crate) mod loopback;

use crate::support::process::Running;
use loopback::shapes::{Vendor, answer_to};
use loopback::{Behaviour, Provider};

/// Longer than anything here takes, so that a hang is a failure.
const LIMIT: Duration = Duration::from_secs(20);
/// Longer than any test waits: an answer that takes this never comes by itself.
pub(crate) const AN_HOUR: Duration = Duration::from_secs(3600);

/// One keep-alive connection, spoken by hand: what is on the wire is what is tested.
struct Connection {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: Value,
}

impl Connection {
    fn open(provider: &Provider) -> Connection {
        let url = provider.url(Vendor::OpenAi);
        let address = url.trim_start_matches("http://").split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Connection { stream: BufReader::new(stream) }
    }

    fn send(&mut self, path: &str, header: &str, body: &str) {
        let head = format!("POST {path} HTTP/1.1\r\nHost: loopback\r\n{header}Content-Length: {}\r\n\r\n", body.len());
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
    }

    fn receive(&mut self) -> Answer {
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut headers).unwrap(), 0, "closed after {headers:?}");
        }
        let headers = headers.to_ascii_lowercase();
        let length = value_of(&headers, "content-length").expect("a length").parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Answer {
            status: headers.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::from_slice(&body).unwrap(),
            headers,
        }
    }

    fn ask(&mut self, vendor: Vendor, request: &Value) -> Answer {
        self.send(vendor.path(), "", &request.to_string());
        self.receive()
    }
}

fn value_of<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub(crate) fn wait_for_calls(provider: &Provider, calls: u64) {
    let began = Instant::now();
    while provider.calls() < calls {
        assert!(began.elapsed() < LIMIT, "{} of {calls} requests came", provider.calls());
        thread::yield_now();
    }
}

/// Fails, not hangs, when a thread of the provider does not end.
fn drop_in_time(provider: Provider) {
    let (done, dropped) = bounded(1);
    thread::spawn(move || {
        drop(provider);
        done.send(()).unwrap();
    });
    dropped.recv_timeout(LIMIT).expect("it ends, though an answer may have hours to go");
}

fn chat(question: &str) -> Value {
    json!({ "model": "m", "max_tokens": 64, "messages": [{ "role": "user", "content": question }] })
}

fn turns(roles: &[&str]) -> Value {
    let messages: Vec<_> = roles.iter().map(|role| json!({ "role": role, "content": "words" })).collect();
    json!({ "model": "m", "max_tokens": 64, "messages": messages })
}

#[test]
fn openai_answers_in_the_documented_shape() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let request = chat("Where is my parcel?");
    let answer = Connection::open(&provider).ask(Vendor::OpenAi, &request);
    assert_eq!(answer.status, 200);
    assert_eq!(value_of(&answer.headers, "content-type"), Some("application/json"));
    let body = answer.body;
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "m");
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], answer_to(&request));
    let usage = &body["usage"];
    let tokens = |name: &str| usage[name].as_u64().unwrap();
    assert!(tokens("prompt_tokens") > 0 && tokens("completion_tokens") > 0);
    assert_eq!(tokens("total_tokens"), tokens("prompt_tokens") + tokens("completion_tokens"));
    assert_eq!((provider.calls(), provider.answered(200)), (1, 1));
}

#[test]
fn anthropic_answers_in_the_documented_shape() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let mut request = chat("Where is my parcel?");
    request["system"] = "Be brief.".into();
    let answer = Connection::open(&provider).ask(Vendor::Anthropic, &request);
    assert_eq!(answer.status, 200);
    let body = answer.body;
    assert!(body["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(body["stop_reason"], "end_turn");
    assert_eq!(body["content"], json!([{ "type": "text", "text": answer_to(&request) }]));
    assert!(body["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert!(body["usage"]["output_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn a_request_may_come_in_chunks_and_after_asking_whether_it_may() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let mut connection = Connection::open(&provider);
    let body = chat("In pieces?").to_string();
    let (first, second) = body.split_at(7);
    let head =
        "POST /v1/messages HTTP/1.1\r\nHost: loopback\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    connection.stream.get_mut().write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    connection.stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    for piece in [first, second, ""] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        connection.stream.get_mut().write_all(chunk.as_bytes()).unwrap();
    }
    let answer = connection.receive();
    assert_eq!(answer.body["content"][0]["text"], answer_to(&chat("In pieces?")));
    assert_eq!(connection.ask(Vendor::OpenAi, &chat("And after it?")).status, 200, "the connection goes on");
}

#[test]
fn an_answer_depends_on_everything_said_and_on_nothing_else() {
    let base = chat("Why?");
    assert!(answer_to(&base).contains("Why?"));
    let mut in_parts = base.clone();
    in_parts["messages"][0]["content"] = json!([{ "type": "text", "text": "Why?" }]);
    assert_eq!(answer_to(&in_parts), answer_to(&base), "how the text is wrapped says nothing");
    let changed =
        [("model", json!("n")), ("system", json!("Be brief.")), ("messages", chat("How?")["messages"].clone())];
    for (member, value) in changed {
        let mut other = base.clone();
        other[member] = value;
        assert_ne!(answer_to(&other), answer_to(&base), "{member}");
    }
}

#[test]
fn errors_come_in_the_vendors_own_shapes() {
    let behaviour = Behaviour { api_key: Some("sesame".into()), ..Behaviour::default() };
    let provider = Provider::start(behaviour).unwrap();
    let mut connection = Connection::open(&provider);
    let mut tell = |vendor: Vendor, header: &str, body: &str| {
        connection.send(vendor.path(), header, body);
        connection.receive()
    };

    let answer = tell(Vendor::OpenAi, "", "{}");
    assert_eq!((answer.status, &answer.body["error"]["code"]), (401, &json!("invalid_api_key")));
    let answer = tell(Vendor::Anthropic, "x-api-key: wrong\r\n", "{}");
    assert_eq!((answer.status, &answer.body["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(answer.body["type"], "error");

    let (openai, anthropic) = ("Authorization: Bearer sesame\r\n", "x-api-key: sesame\r\n");
    let answer = tell(Vendor::OpenAi, openai, "{ not json");
    assert_eq!((answer.status, &answer.body["error"]["type"]), (400, &json!("invalid_request_error")));
    let answer = tell(Vendor::Anthropic, anthropic, r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#);
    assert_eq!(answer.status, 400);
    assert!(answer.body["error"]["message"].as_str().unwrap().contains("max_tokens"));
    assert!(answer.body["request_id"].is_string());
    let answer = tell(Vendor::OpenAi, openai, &chat("x").to_string());
    assert_eq!(answer.status, 200);

    connection.send("/v1/elsewhere", "", "{}");
    assert_eq!(connection.receive().status, 404);
    let counts = [200, 400, 401].map(|status| provider.answered(status));
    assert_eq!((provider.calls(), counts), (5, [1, 2, 2]));
}

#[test]
fn strict_roles_must_alternate() {
    let provider = Provider::start(Behaviour { strict_roles: true, ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let mut status = |roles: &[&str]| connection.ask(Vendor::OpenAi, &turns(roles)).status;
    assert_eq!(status(&["user"]), 200);
    assert_eq!(status(&["system", "user", "assistant", "user"]), 200);
    assert_eq!(status(&["user", "user"]), 400);
    assert_eq!(status(&["assistant", "user"]), 400);
    assert_eq!(status(&["user", "assistant", "system", "user"]), 400);
}

#[test]
fn the_first_calls_fail_when_told_so() {
    let provider = Provider::start(Behaviour { fail_first: 2, ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let statuses = [(); 4].map(|()| connection.ask(Vendor::OpenAi, &chat("x")).status);
    assert_eq!(statuses, [500, 500, 200, 200]);
}

#[test]
fn the_first_answers_are_wrong_when_told_so() {
    let provider = Provider::start(Behaviour { wrong_first: 1, ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let right = [(); 2].map(|()| {
        let answer = connection.ask(Vendor::Anthropic, &chat("x"));
        answer.body["content"][0]["text"] == answer_to(&chat("x"))
    });
    assert_eq!(right, [false, true]);
}

#[test]
fn more_than_the_pace_allows_get_429_and_a_time_to_come_back() {
    // One in five minutes: however slow the machine, the second one is too early.
    let provider = Provider::start(Behaviour { per_second: Some(1.0 / 300.0), ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    assert_eq!(connection.ask(Vendor::OpenAi, &chat("x")).status, 200);
    let refused = connection.ask(Vendor::OpenAi, &chat("x"));
    assert_eq!((refused.status, &refused.body["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    let seconds: u64 = value_of(&refused.headers, "retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds}");
    assert_eq!(provider.answered(429), 1);
}

#[test]
fn a_burst_up_to_one_seconds_worth_is_on_pace() {
    let provider = Provider::start(Behaviour { per_second: Some(5.0), ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let statuses = [(); 5].map(|()| connection.ask(Vendor::OpenAi, &chat("x")).status);
    assert_eq!(statuses, [200; 5]);
}

/// The events of a streamed answer, with their chunked transfer taken off.
fn streamed(provider: &Provider, vendor: Vendor, mut request: Value) -> (String, String) {
    request["stream"] = json!(true);
    let mut connection = Connection::open(provider);
    connection.send(vendor.path(), "Connection: close\r\n", &request.to_string());
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        assert_ne!(connection.stream.read_line(&mut headers).unwrap(), 0, "closed after {headers:?}");
    }
    let mut body = String::new();
    loop {
        let mut size = String::new();
        connection.stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut piece = vec![0; size + 2];
        connection.stream.read_exact(&mut piece).unwrap();
        body += std::str::from_utf8(&piece[..size]).unwrap();
        if size == 0 {
            return (headers.to_ascii_lowercase(), body);
        }
    }
}

#[test]
fn a_streamed_answer_is_openais_chunks_and_a_done() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let mut request = chat("Why?");
    request["stream_options"] = json!({ "include_usage": true });
    let (headers, body) = streamed(&provider, Vendor::OpenAi, request.clone());
    assert!(value_of(&headers, "content-type").unwrap().starts_with("text/event-stream"), "{headers}");
    let events: Vec<&str> = body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"]));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, answer_to(&request));
    let [stop, usage] = &chunks[chunks.len() - 2..] else { unreachable!() };
    assert_eq!(stop["choices"][0]["finish_reason"], "stop");
    assert!(usage["choices"].as_array().unwrap().is_empty() && usage["usage"]["completion_tokens"].is_u64(), "{usage}");
    assert_eq!((provider.events(), provider.events_in_vain()), (events.len() as u64, 0));
}

#[test]
fn a_streamed_answer_is_anthropics_events() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let request = chat("Why?");
    let (_, body) = streamed(&provider, Vendor::Anthropic, request.clone());
    let events: Vec<Value> = body
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            data
        })
        .collect();
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(text, answer_to(&request));
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "end_turn");
}

#[test]
fn a_client_that_closes_its_connection_ends_a_streamed_answer() {
    let pause = Duration::from_millis(20);
    let provider = Provider::start(Behaviour { pause, ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let mut request = chat(&"word ".repeat(10_000));
    request["stream"] = json!(true);
    connection.send(Vendor::OpenAi.path(), "", &request.to_string());
    let began = Instant::now();
    while provider.events() < 2 {
        assert!(began.elapsed() < LIMIT, "no events");
        thread::yield_now();
    }
    drop(connection);
    while provider.streams_over() < 1 {
        assert!(began.elapsed() < LIMIT, "still sending after {} events", provider.events());
        thread::yield_now();
    }
    assert!(provider.events() < 10_000);
}

/// The client closes its side for writing only, which is all that the provider can see of a closed connection. So the
/// system goes on taking what is sent, and does not end the answer before it was seen.
#[test]
fn events_for_a_client_that_has_closed_are_sent_in_vain() {
    let pause = Duration::from_millis(20);
    let provider = Provider::start(Behaviour { pause, ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let mut request = chat(&"word ".repeat(10_000));
    request["stream"] = json!(true);
    connection.send(Vendor::OpenAi.path(), "", &request.to_string());
    let mut status = String::new();
    connection.stream.read_line(&mut status).unwrap();
    assert!(status.contains("200"), "{status}");
    assert_eq!(provider.events_in_vain(), 0, "somebody reads");
    connection.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    while provider.events_in_vain() < 2 {
        assert!(began.elapsed() < LIMIT, "none of {} events was in vain", provider.events());
        thread::yield_now();
    }
    drop(connection);
    while provider.streams_over() < 1 {
        assert!(began.elapsed() < LIMIT, "still sending after {} events", provider.events());
        thread::yield_now();
    }
    assert!(provider.events_in_vain() <= provider.events());
}

#[test]
fn dropping_it_breaks_a_streamed_answer_off() {
    let provider = Provider::start(Behaviour { pause: AN_HOUR, ..Behaviour::default() }).unwrap();
    let mut connection = Connection::open(&provider);
    let mut request = chat("Why?");
    request["stream"] = json!(true);
    connection.send(Vendor::OpenAi.path(), "", &request.to_string());
    wait_for_calls(&provider, 1);
    drop_in_time(provider);
    let mut rest = String::new();
    connection.stream.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("[DONE]") && !rest.ends_with("0\r\n\r\n"), "it looks whole: {rest}");
}

#[test]
fn four_hundred_requests_are_under_way_at_once() {
    const CLIENTS: u64 = 400;
    let provider = Provider::start(Behaviour { latency: AN_HOUR, ..Behaviour::default() }).unwrap();
    let mut connections: Vec<_> = (0..CLIENTS).map(|_| Connection::open(&provider)).collect();
    for connection in &mut connections {
        connection.send(Vendor::OpenAi.path(), "", &chat("x").to_string());
    }
    // Each is in its hour's wait: were there a queue anywhere, the last ones would never be counted.
    wait_for_calls(&provider, CLIENTS);
    assert_eq!(provider.answered(200), 0);
    drop_in_time(provider);
    for connection in &mut connections {
        assert_eq!(connection.receive().status, 503);
    }
}

#[test]
fn dropping_it_ends_idle_connections_and_waits_for_answers_under_way() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let mut idle = Connection::open(&provider);
    assert_eq!(idle.ask(Vendor::OpenAi, &chat("x")).status, 200);
    provider.set_latency(AN_HOUR);
    let mut waiting = Connection::open(&provider);
    waiting.send(Vendor::OpenAi.path(), "", &chat("y").to_string());
    wait_for_calls(&provider, 2);
    drop_in_time(provider);
    assert_eq!(waiting.receive().status, 503);
    for connection in [&mut idle, &mut waiting] {
        assert_eq!(connection.stream.read(&mut [0; 16]).unwrap(), 0, "still open");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn dropping_it_leaves_no_thread() {
    // Names tell its threads from those of tests that run beside this one, so the count is taken in a process alone.
    if std::env::var_os("PROVIDER_ALONE").is_none() {
        let this = ["--exact", "provider::dropping_it_leaves_no_thread", "--nocapture"];
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ended = Running::start(command.args(this).env("PROVIDER_ALONE", "1")).finish();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.out.contains("1 passed"), "it ran no test: {}", ended.out);
        return;
    }
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let provider = Provider::start(Behaviour::default()).unwrap();
    let mut connections: Vec<_> = (0..8).map(|_| Connection::open(&provider)).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask(Vendor::Anthropic, &chat("x")).status, 200);
    }
    assert_eq!(threads(), before + 9, "one that accepts, and one for each connection");
    drop_in_time(provider);
    // A thread that was joined may stay listed for a moment.
    let dropped = Instant::now();
    while threads() != before {
        assert!(dropped.elapsed() < LIMIT, "{} threads, {before} before", threads());
        thread::yield_now();
    }
}
