//! The example `chat_service` as a process, with a provider that answers when the test wants it.

#[cfg(unix)]
mod crash;
mod held;
mod service;

use std::fs;
use std::sync::Arc;

use serde_json::json;

use self::held::Held;
use self::service::{Folder, Service};
use crate::support::process::{Running, example};
use crate::support::thread;
use crate::support::{self, crowd, join, until};

const TEXT: &str = "Where is my parcel?";

/// As [`support::bounded`]; that the example has to be built first does not count.
fn bounded(test: impl FnOnce()) {
    drop(example("chat_service"));
    support::bounded(test);
}

#[test]
fn fifty_requests_with_one_message_are_one_call_and_one_pair() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        provider.hold();
        let answers = thread::scope(|scope| {
            let callers = crowd(scope, 50, |_| service.say("one", None, TEXT));
            service.until_stats("/turns/following", 49);
            provider.release();
            join(callers)
        });
        assert_eq!(answers[0].0, 200, "{answers:?}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!((provider.calls(), service.conversation("one").len()), (1, 2));
        let ids = ["user", "assistant"].map(|role| answers[0].1[role]["id"].as_u64().unwrap());
        assert!(ids[0] < ids[1]);
        service.assert_idle();
    });
}

#[test]
fn twenty_conversations_with_one_message_are_one_call_and_twenty_pairs() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        provider.hold();
        thread::scope(|scope| {
            let callers = crowd(scope, 20, |number| service.say(&format!("thread-{number}"), None, TEXT));
            service.until_stats("/stack/coalesce/following", 19);
            provider.release();
            assert!(join(callers).iter().all(|(status, _)| *status == 200));
        });
        assert_eq!((provider.calls(), &service.stats()["messages"]), (1, &json!(40)));
        for number in 0..20 {
            assert_eq!(service.conversation(&format!("thread-{number}")).len(), 2);
        }
        service.assert_idle();
    });
}

/// ```text
/// client 1:  "one"  holds the floor ─ asks ───────── is written
/// client 2:          "two"  waits for the floor ──────────────── asks with all before it ─ is written
/// ```
#[test]
fn messages_of_one_conversation_take_turns() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        provider.hold();
        thread::scope(|scope| {
            let first = scope.spawn(|| service.say("talk", None, "one"));
            until("the first call", || provider.calls() == 1);
            let second = scope.spawn(|| service.say("talk", None, "two"));
            service.until_stats("/turns/running", 2);
            assert_eq!(provider.calls(), 1);
            provider.release();
            assert_eq!((first.join().unwrap().0, second.join().unwrap().0), (200, 200));
        });
        let conversation = service.conversation("talk");
        let said: Vec<_> = conversation.iter().filter(|(role, _)| role == "user").map(|(_, text)| &**text).collect();
        assert_eq!((said, conversation.len()), (vec!["one", "two"], 4));
        let asked = provider.last_request();
        assert_eq!(asked["messages"].as_array().unwrap().len(), 4, "system, user, assistant, user: {asked}");
    });
}

/// ```text
/// service 1:  finds nothing ─ asks ────── is written
/// service 2:  finds nothing ─ asks ────── is refused by the database: its place is taken
/// provider:                   holds both
/// ```
#[test]
fn of_two_services_on_one_database_one_writes_and_the_other_is_told_of_a_conflict() {
    for id in [None, Some("id")] {
        bounded(|| {
            let folder = Arc::new(Folder::new());
            let provider = Held::start();
            let services = [(); 2].map(|()| Service::start_in(&folder, &provider, &[]));
            provider.hold();
            let mut answers = thread::scope(|scope| {
                let callers = services.each_ref().map(|service| scope.spawn(|| service.say("talk", id, TEXT)));
                until("both calls", || provider.calls() == 2);
                provider.release();
                callers.map(|caller| caller.join().unwrap())
            });
            answers.sort_by_key(|(status, _)| *status);
            let [(written, pair), (refused, why)] = &answers;
            assert_eq!((*written, *refused), (200, 409), "{answers:?}");
            assert!(why["error"].as_str().unwrap().contains("meanwhile"), "{why}");
            for service in &services {
                assert_eq!((service.conversation("talk").len(), &service.stats()["messages"]), (2, &json!(2)));
                service.assert_idle();
            }
            if id.is_some() {
                assert!(services.iter().all(|service| service.say("talk", id, TEXT).1 == *pair), "asking again helps");
            }
        });
    }
}

#[test]
fn a_message_that_is_sent_again_is_a_new_one_unless_it_has_an_id_or_comes_at_once() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &["--repeat-window", "0"]);
        let first = service.say("talk", Some("1"), TEXT);
        assert_eq!(service.say("talk", Some("1"), TEXT), first);
        assert_ne!(service.say("talk", Some("2"), TEXT), first);
        let third = service.say("talk", None, TEXT);
        assert_ne!(service.say("talk", None, TEXT), third, "a client may mean what it says twice");
        assert_eq!(service.say("talk", Some("1"), TEXT), first, "however late");
        assert_eq!((provider.calls(), service.conversation("talk").len()), (4, 8));
        assert_eq!(service.say("talk", Some("1"), "something else").0, 422);

        let service = Service::start(&provider, &["--repeat-window", "600"]);
        let first = service.say("talk", None, TEXT);
        assert_eq!(service.say("talk", None, TEXT), first);
        assert_ne!(service.say("talk", Some("3"), TEXT), first);
        assert_eq!(service.conversation("talk").len(), 4);
    });
}

#[test]
fn cache_and_budget_are_asked_before_the_provider() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &["--cache", "600"]);
        assert_eq!(
            service.say("one", None, TEXT).1["assistant"]["content"],
            service.say("two", None, TEXT).1["assistant"]["content"]
        );
        assert_eq!((provider.calls(), &service.stats()["messages"]), (1, &json!(4)));

        let service = Service::start(&provider, &["--budget", "0.000001"]);
        let (status, body) = service.say("one", None, TEXT);
        assert!(status == 503 && body["error"].as_str().unwrap().contains("budget"), "{status} {body}");
        assert_eq!((provider.calls(), &service.stats()["messages"]), (1, &json!(0)));
    });
}

#[test]
fn what_fails_is_told_and_not_written() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        provider.answer_with(400);
        let (status, body) = service.say("talk", None, TEXT);
        assert!(status == 502 && body["error"].as_str().unwrap().contains("400"), "{status} {body}");
        assert_eq!(service.stats()["messages"], 0);
        provider.answer_with(200);
        assert_eq!(service.say("talk", None, TEXT).0, 200);

        for body in ["", "{", "[]", "{}", r#"{"content":" "}"#, r#"{"content":1}"#, r#"{"content":"a","b":1}"#] {
            let (status, answer) = service.try_post("talk", None, body).unwrap();
            assert!(status == 400 && answer["error"].is_string(), "{body}: {status} {answer}");
        }
        assert_eq!(service.try_post("a%20b", None, "{}").unwrap().0, 400);
        assert_eq!(service.say("talk", Some("no spaces"), TEXT).0, 400);
        for (path, status) in [("/threads/nobody/messages", 404), ("/", 404), ("/threads//messages", 400)] {
            assert_eq!(service.get(path).0, status, "{path}");
        }
        let refused = service.agent.post(format!("{}/metrics", service.url)).send("").unwrap();
        assert_eq!(refused.status(), 405);
        service.assert_idle();
    });
}

/// The status is that of too many requests too, for which it would ask again.
#[test]
fn a_quota_that_is_used_up_is_told_at_once() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        provider.refuse_with(429, "insufficient_quota");
        let (status, body) = service.say("talk", None, TEXT);
        assert!(status == 502 && body["error"].as_str().unwrap().contains("429"), "{status} {body}");
        assert_eq!(provider.calls(), 1, "nobody asks again");

        provider.refuse_with(429, "rate_limit_exceeded");
        thread::scope(|scope| {
            let patient = scope.spawn(|| service.say("talk", None, TEXT));
            until("another try", || provider.calls() >= 3);
            provider.answer_with(200);
            assert_eq!(patient.join().unwrap().0, 200);
        });
        service.assert_idle();
    });
}

#[test]
fn metrics_are_as_prometheus_reads_them() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        service.say("talk", None, TEXT);
        let (status, page) = service.get("/metrics");
        assert_eq!(status, 200);
        let mut family = "";
        for line in page.lines() {
            if let Some(named) = line.strip_prefix("# TYPE ") {
                family = named.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(family) && value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "chat_service_messages 2",
            r#"chat_service_posts_total{status="200"} 1"#,
            r#"chat_service_coalescer_underlying_calls_total{coalescer="turns"} 1"#,
            r#"chat_service_coalescer_in_flight{coalescer="calls"} 0"#,
            r#"chat_service_post_seconds_bucket{le="+Inf"} 1"#,
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    });
}

#[test]
fn what_it_cannot_start_with_it_names() {
    let folder = Folder::new();
    let (something, nowhere) = (folder.file("something"), folder.file("no/such/folder"));
    fs::write(&something, "something else than a database, and longer than its header of a hundred bytes".repeat(9))
        .unwrap();
    for arguments in
        [["--database", &something], ["--database", &nowhere], ["--pace", "0"], ["--listen", "192.0.2.1:1"]]
    {
        let mut command = example("chat_service");
        command.current_dir(folder.path());
        let ended = Running::start(command.args(["--run-for", "0"]).args(arguments)).finish();
        assert!(ended.code == Some(2) && !ended.err.is_empty(), "{arguments:?}: {ended:?}");
    }
    let mut command = example("chat_service");
    command.args(["--listen", "127.0.0.1:0", "--run-for", "0", "--database", &folder.file("new")]);
    let ended = Running::start(&mut command).finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains(&folder.file("new")) && fs::exists(folder.file("new")).unwrap(), "{ended:?}");
}

#[test]
#[cfg(unix)]
fn started_again_without_arguments_it_knows_what_was_said() {
    bounded(|| {
        let folder = Arc::new(Folder::new());
        let provider = Held::start();
        let service = Service::start_in(&folder, &provider, &[]);
        service.say("talk", None, TEXT);
        let said = service.conversation("talk");
        service.running.interrupt();
        let ended = service.running.finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains(&folder.file("chat_service.sqlite")), "it says where: {ended:?}");
        assert_eq!(Service::start_in(&folder, &provider, &[]).conversation("talk"), said);
    });
}

#[test]
#[cfg(unix)]
fn an_interrupt_lets_those_who_wait_have_their_answer() {
    bounded(|| {
        let provider = Held::start();
        let service = Service::start(&provider, &[]);
        provider.hold();
        let answers = thread::scope(|scope| {
            let callers = crowd(scope, 5, |_| service.say("talk", None, TEXT));
            service.until_stats("/turns/following", 4);
            service.running.interrupt();
            until("it lets nobody in", || service.agent.get(format!("{}/stats", service.url)).call().is_err());
            provider.release();
            join(callers)
        });
        assert!(answers.iter().all(|answer| answer.0 == 200), "{answers:?}");
        let ended = service.running.finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains(r#""messages":2"#), "{ended:?}");
    });
}
