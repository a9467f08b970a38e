//! A file of requests, answered from a rayon pool.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sync_coalesce::Key;

use crate::provider::loopback::shapes::{Vendor, answer_to};
use crate::provider::loopback::{Behaviour, Provider};
use crate::provider::{AN_HOUR, wait_for_calls};
use crate::support::process::{Ended, Running, example};

fn parsed(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn answers_the_shipped_file_in_order_with_a_call_for_each_different_request() {
    let file = "examples/data/questions.jsonl";
    let requests = parsed(&fs::read_to_string(file).unwrap());
    let different: HashSet<Key> = requests.iter().map(|request| Key::of(request).unwrap()).collect();
    assert!(different.len() < requests.len(), "the file is to show sharing");
    let provider = Provider::start(Behaviour { latency: Duration::from_millis(1500), ..Behaviour::default() }).unwrap();
    // With a thread for every line they are all under way at once.
    let threads = requests.len().to_string();
    let url = provider.url(Vendor::OpenAi);
    let ended = Running::start(example("ask").args(["--threads", &threads, "--url", &url, file])).finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let answers = parsed(&ended.out);
    assert_eq!(answers.len(), requests.len());
    for (number, (request, answer)) in (1..).zip(requests.iter().zip(&answers)) {
        assert_eq!((&answer["line"], &answer["answer"]), (&json!(number), &json!(answer_to(request))));
    }
    assert_eq!(provider.calls(), different.len() as u64);
    let led = answers.iter().filter(|answer| answer["shared"] == false).count();
    assert_eq!(led, different.len(), "one line of each led, the others shared");
}

#[test]
fn names_a_bad_line_and_goes_on() {
    let mut ask = Running::start(example("ask").args(["--latency", "0", "--threads", "4"]));
    for line in [&question("one"), "{ not json", "", "[]", &question("two")] {
        ask.say(line);
    }
    let ended = ask.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<_> =
        parsed(&ended.out).iter().map(|line| (line["line"].as_u64().unwrap(), line["error"].is_null())).collect();
    assert_eq!(lines, [(1, true), (2, false), (4, false), (5, true)]);
    assert!(ended.err.contains("line 2: not JSON") && ended.err.contains("line 4: not a chat request"), "{ended:?}");
}

/// ```text
/// ask:       answers 1 ─ answers 2 ─ sends 3 ─────────── 130
/// provider:  at once     at once     takes an hour
/// test:                              3 came: Ctrl-C
/// ```
#[test]
#[cfg(unix)]
fn leaves_whole_lines_when_interrupted() {
    let provider = Provider::start(Behaviour::default()).unwrap();
    let url = provider.url(Vendor::OpenAi);
    let mut ask = Running::start(example("ask").args(["--threads", "2", "--url", &url]));
    for number in ["one", "two"] {
        ask.say(&question(number));
        let line = ask.line();
        assert!(line.contains(number) && line.ends_with('\n'), "{line}");
    }
    provider.set_latency(AN_HOUR);
    ask.say(&question("three"));
    wait_for_calls(&provider, 3);
    ask.interrupt();
    let ended = ask.finish_with_open_input();
    assert_eq!((ended.code, ended.out.as_str()), (Some(130), ""), "{ended:?}");
    assert!(ended.err.contains("answered"), "the summary comes all the same: {ended:?}");
}

fn question(text: &str) -> String {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }] }).to_string()
}

/// What comes of these lines, one after the other.
fn ask(behaviour: Behaviour, arguments: &[&str], lines: &[String]) -> (Ended, Vec<Value>, u64) {
    let provider = Provider::start(behaviour).unwrap();
    let url = provider.url(Vendor::OpenAi);
    let mut ask = Running::start(example("ask").args(["--threads", "1", "--url", &url]).args(arguments));
    for line in lines {
        ask.say(line);
    }
    let ended = ask.finish();
    let answers = parsed(&ended.out);
    (ended, answers, provider.calls())
}

#[test]
fn retries_when_the_provider_is_busy() {
    let busy = || Behaviour { busy_first: 1, ..Behaviour::default() };
    let (ended, answers, calls) = ask(busy(), &[], &[question("one")]);
    assert_eq!((ended.code, calls), (Some(0), 2), "{ended:?}");
    assert!(answers[0]["answer"].as_str().unwrap().contains("one"), "{ended:?}");
    assert!(ended.err.contains("provider calls         2"), "each attempt counts: {ended:?}");

    let (ended, answers, calls) = ask(busy(), &["--attempts", "1"], &[question("one")]);
    assert_eq!((ended.code, calls), (Some(1), 1), "{ended:?}");
    assert!(answers[0]["error"].as_str().unwrap().contains("503"), "{ended:?}");
}

#[test]
fn reuses_an_answer_that_lingers() {
    let lines = ["one", "two", "one"].map(question);
    let (ended, answers, calls) = ask(Behaviour::default(), &[], &lines);
    assert_eq!((ended.code, answers.len(), calls), (Some(0), 3, 3), "{ended:?}");

    let (ended, answers, calls) = ask(Behaviour::default(), &["--linger", "3600"], &lines);
    assert_eq!((ended.code, calls), (Some(0), 2), "{ended:?}");
    let shared: Vec<_> = answers.iter().map(|answer| answer["shared"].as_bool().unwrap()).collect();
    assert_eq!(shared, [false, false, true], "{ended:?}");
    assert_eq!(answers[0]["id"], answers[2]["id"]);
}
