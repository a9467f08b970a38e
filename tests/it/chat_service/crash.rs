//! The service is killed while it answers, and started again on the same database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{Folder, Held, Service, TEXT, bounded};
use crate::support::thread;
use crate::support::{crowd, join, until};

/// ```text
/// conversations 0 to 5:   are written
/// conversations 6 to 11:  are asked for ─ killed
/// again, all of them:     the first six as they were, the others anew
/// ```
#[test]
fn killed_while_the_provider_is_asked_it_has_each_pair_once() {
    bounded(|| {
        let folder = Arc::new(Folder::new());
        let provider = Held::start();
        let service = Service::start_in(&folder, &provider, &[]);
        let say = |service: &Service, thread: usize| {
            service.try_post(&thread.to_string(), Some("id"), &format!(r#"{{"content":"{TEXT} {thread}"}}"#))
        };
        let before: Vec<_> = (0..6).map(|thread| say(&service, thread).unwrap()).collect();
        provider.hold();
        let answered = AtomicU64::new(0);
        thread::scope(|scope| {
            // Three clients for each conversation. Those of the first six have their answer.
            let callers = crowd(scope, 36, |caller| {
                let answer = say(&service, caller % 12);
                answered.fetch_add(answer.is_ok().into(), SeqCst);
            });
            service.until_stats("/turns/following", 12);
            until("six calls more", || provider.calls() == 12);
            until("what is written is answered", || answered.load(SeqCst) == 18);
            service.running.kill();
            join(callers);
        });
        assert_eq!(answered.into_inner(), 18, "no answer comes to what was not written");
        provider.release();

        drop(service);
        let service = Service::start_in(&folder, &provider, &[]);
        let after = thread::scope(|scope| join(crowd(scope, 36, |caller| say(&service, caller % 12).unwrap())));
        for (caller, answer) in after.iter().enumerate() {
            assert_eq!((answer.0, answer), (200, &after[caller % 12]));
        }
        assert_eq!(after[..6], before);
        assert_eq!(provider.calls(), 18, "six that were killed were asked again");
        for thread in 0..12 {
            assert_eq!(service.conversation(&thread.to_string()).len(), 2);
        }
        service.assert_idle();
    });
}

/// Wherever it is killed, among the writes too.
#[test]
fn killed_while_it_writes_it_has_each_pair_once() {
    killed_while_it_writes(Some("id"), &[]);
}

/// Then it is the text that says what was written, for as long as the repeat window lasts.
#[test]
fn killed_while_it_writes_it_has_each_pair_once_for_clients_without_an_idempotency_key() {
    killed_while_it_writes(None, &["--repeat-window", "600"]);
}

/// ```text
/// provider:  answers so many of 60, ten more than the test waits for, and holds the others
/// service:   writes ─ killed
/// again:     what was answered as it was, the others anew
/// ```
fn killed_while_it_writes(id: Option<&str>, arguments: &[&str]) {
    for written in [1, 20, 40] {
        bounded(|| {
            let folder = Arc::new(Folder::new());
            let provider = Held::start();
            let service = Service::start_in(&folder, &provider, arguments);
            let say = |service: &Service, thread: usize| {
                service.try_post(&thread.to_string(), id, &format!(r#"{{"content":"{TEXT} {thread}"}}"#))
            };
            provider.hold_after(written + 10);
            let (answered, killed) = (AtomicU64::new(0), &service);
            let before = thread::scope(|scope| {
                let callers = crowd(scope, 60, |thread| {
                    let answer = say(killed, thread).ok();
                    answered.fetch_add(answer.is_some().into(), SeqCst);
                    answer
                });
                until(format_args!("{written} answers"), || answered.load(SeqCst) >= written);
                killed.running.kill();
                join(callers)
            });
            assert!(before.iter().flatten().all(|(status, _)| *status == 200), "{before:?}");
            assert!(before.iter().any(Option::is_none), "killed too late: nobody was left unanswered");
            provider.release();

            drop(service);
            let service = Service::start_in(&folder, &provider, arguments);
            let after = thread::scope(|scope| join(crowd(scope, 60, |thread| say(&service, thread).unwrap())));
            for (thread, (before, after)) in before.iter().zip(&after).enumerate() {
                assert_eq!(after.0, 200);
                assert!(before.as_ref().is_none_or(|before| before == after), "{before:?} is now {after:?}");
                assert_eq!(service.conversation(&thread.to_string()).len(), 2);
            }
            assert_eq!(service.stats()["messages"], 120);
        });
    }
}
