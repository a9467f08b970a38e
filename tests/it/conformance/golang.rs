//! The tests of Go's `x/sync/singleflight`, by name.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;

use sync_coalesce::{CallError, Role, SyncCoalesce};

use crate::support::process::Running;
use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_following, until_running};

#[test]
fn test_do() {
    let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
    let outcome = coalesce.on("key").call(|_| "bar".to_owned());
    assert_eq!(*outcome.result.unwrap(), "bar");
    assert_eq!(outcome.role, Role::Leader { followers: 0 });
    assert_idle(&coalesce);
}

#[test]
fn test_do_err() {
    let coalesce: SyncCoalesce<String, String, &str> = SyncCoalesce::new();
    let result = coalesce.try_call("key", || Err("some error"));
    assert!(matches!(result, Err(CallError::Failed(error)) if *error == "some error"));
    assert_idle(&coalesce);
}

#[test]
fn test_do_dup_suppress() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
        let calls = AtomicU64::new(0);
        let (answer, wait) = mpsc::channel::<String>();
        let wait = std::sync::Mutex::new(wait);
        thread::scope(|scope| {
            let callers = crowd(scope, 10, |_| {
                coalesce.call("key", || {
                    calls.fetch_add(1, SeqCst);
                    wait.lock().unwrap().recv().unwrap()
                })
            });
            until_following(&coalesce, 9);
            answer.send("bar".to_owned()).unwrap();
            assert!(join(callers).into_iter().all(|value| *value.unwrap() == "bar"));
        });
        assert_eq!(calls.load(SeqCst), 1);
        assert_idle(&coalesce);
    });
}

/// ```text
/// first   lead(1) ------------------------------- gate -- 1
/// test            forget
/// second                  lead(2) ---------------------------- gate -- 2
/// third                           (1 has ended)        join(2) ------- 2
/// ```
#[test]
fn test_forget() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
        let (first_gate, second_gate) = (Gate::new(), Gate::new());
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                coalesce.call("key", || {
                    first_gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            assert!(coalesce.forget("key"));
            let second = scope.spawn(|| {
                coalesce.call("key", || {
                    second_gate.pass();
                    2
                })
            });
            until_running(&coalesce, 2);
            first_gate.open();
            assert_eq!(*first.join().unwrap().unwrap(), 1);
            let third = scope.spawn(|| coalesce.call("key", || 3));
            until_following(&coalesce, 1);
            second_gate.open();
            assert_eq!((*second.join().unwrap().unwrap(), *third.join().unwrap().unwrap()), (2, 2));
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn test_panic_do() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
        let panics = AtomicU64::new(0);
        thread::scope(|scope| {
            let callers = crowd(scope, 5, |_| {
                coalesce.call("key", || {
                    until_following(&coalesce, 4);
                    panics.fetch_add(1, SeqCst);
                    resume_unwind(Box::new("invalid memory address"))
                })
            });
            let results: Vec<_> = callers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            let panicked = results.iter().filter(|result| result.is_err()).count();
            let told =
                results.iter().filter(|result| matches!(result, Ok(Err(CallError::LeaderPanicked { .. })))).count();
            assert_eq!((panicked, told), (1, 4));
        });
        assert_eq!(panics.load(SeqCst), 1);
        assert_idle(&coalesce);
    });
}

/// Go's `runtime.Goexit` ends the goroutine without a panic; the nearest thing here is to unwind without one.
#[test]
fn test_goexit_do() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
        thread::scope(|scope| {
            let callers = crowd(scope, 5, |_| {
                coalesce.call("key", || {
                    until_following(&coalesce, 4);
                    resume_unwind(Box::new(()))
                })
            });
            let returned = callers.into_iter().filter_map(|caller| caller.join().ok()).count();
            assert_eq!(returned, 4);
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn test_do_chan() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
        let ticket = coalesce.detach("key", |_| Ok("bar".to_owned()));
        assert_eq!(*ticket.receiver().recv().unwrap().unwrap(), "bar");
        until_running(&coalesce, 0);
        assert_idle(&coalesce);
    });
}

/// Go lets the process die of a panic behind a channel, since nobody could recover it. Here it is every ticket's error.
#[test]
#[ignore = "the process that test_panic_do_chan looks at"]
fn panic_do_chan_child() {
    let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
    let ticket = coalesce.detach("key", |_| panic!("panicking in a detached flight"));
    assert!(matches!(ticket.wait(), Err(CallError::LeaderPanicked { .. })));
    coalesce.detach("key", |_| Ok(())).wait().unwrap();
    until_running(&coalesce, 0);
    assert_idle(&coalesce);
}

#[test]
#[ignore = "the process that test_panic_do_shared_by_do_chan looks at"]
fn panic_do_shared_by_do_chan_child() {
    let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            coalesce.call("key", || {
                until_following(&coalesce, 1);
                panic!("panicking in a call")
            })
        });
        until_running(&coalesce, 1);
        let ticket = coalesce.detach("key", |_| unreachable!("a flight is on"));
        assert!(matches!(ticket.wait(), Err(CallError::LeaderPanicked { .. })));
        assert!(leader.join().is_err(), "the leader's own caller sees the panic");
    });
    assert_idle(&coalesce);
}

/// Runs one ignored test as a process of its own, which has to live, and to say that a panic happened.
fn lives_in_a_process_of_its_own(test: &str, panic: &str) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]);
    let ended = Running::start(&mut child).finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("1 passed") && ended.err.contains(panic), "{ended:?}");
}

#[test]
fn test_panic_do_chan() {
    lives_in_a_process_of_its_own("conformance::golang::panic_do_chan_child", "panicking in a detached flight");
}

#[test]
fn test_panic_do_shared_by_do_chan() {
    lives_in_a_process_of_its_own("conformance::golang::panic_do_shared_by_do_chan_child", "panicking in a call");
}
