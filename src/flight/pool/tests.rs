//! The number of threads, which cannot be seen from outside.

use std::sync::Arc;
use std::time::Duration;

use crate::coalesce::SyncCoalesce;
use crate::sync;

const MINUTE: Duration = Duration::from_secs(60);

type Numbers = SyncCoalesce<u64, u64>;

fn coalescer(threads: usize) -> Arc<Numbers> {
    Arc::new(SyncCoalesce::builder().pool_threads(threads).build())
}

/// A thread is taken off the counts before it ends. So this is not about time, but a test must end.
fn until(what: impl Fn() -> bool) {
    let deadline = sync::now() + MINUTE;
    while !what() {
        assert!(!sync::has_passed(deadline), "waited too long");
        std::hint::spin_loop();
    }
}

fn counts(coalesce: &Numbers) -> (usize, usize, usize) {
    coalesce.pool.counts()
}

#[test]
fn a_thread_that_is_idle_takes_the_next_job() {
    let coalesce = coalescer(2);
    assert_eq!(counts(&coalesce), (0, 0, 0), "none is started before there is work");
    for key in 0..5 {
        assert_eq!(*coalesce.detach(&key, move |_| Ok(key)).wait().unwrap(), key);
        until(|| counts(&coalesce).1 > 0);
        assert_eq!(counts(&coalesce), (1, 1, 0));
    }
}

#[test]
fn spare_threads_end_when_those_whose_place_they_took_go_on() {
    let coalesce = coalescer(2);
    let nested = Arc::clone(&coalesce);
    let ticket = coalesce.detach(&0, move |_| {
        let inner: Vec<_> = (1..9)
            .map(|key| {
                let deeper = Arc::clone(&nested);
                nested.detach(&key, move |_| Ok(*deeper.detach(&(key + 100), move |_| Ok(key)).wait().unwrap()))
            })
            .collect();
        Ok(inner.iter().map(|ticket| *ticket.wait().unwrap()).sum())
    });
    assert_eq!(*ticket.wait().unwrap(), 36);
    until(|| coalesce.stats().running == 0);
    until(|| matches!(counts(&coalesce), (active, idle, 0) if active == idle && active <= 2));
}

#[test]
fn a_thread_that_goes_on_ends_none_if_there_is_room_for_both() {
    let coalesce = coalescer(2);
    let inner = Arc::clone(&coalesce);
    let ticket = coalesce.detach(&1, move |_| Ok(*inner.detach(&2, |_| Ok(2)).wait().unwrap()));
    assert_eq!(*ticket.wait().unwrap(), 2);
    until(|| coalesce.stats().running == 0);
    until(|| matches!(counts(&coalesce), (active, idle, _) if active == idle));
    assert_eq!(counts(&coalesce), (2, 2, 0));
}

/// ```text
/// the pool's only thread          a spare
/// queues 2, waits: gives up its
/// place                           begins 2
/// its wait is over, 2 is not
///                                 ends 2; is over the limit, and ends
/// goes on
/// ```
#[test]
fn a_spare_thread_ends_after_its_job_when_it_is_one_too_many() {
    let coalesce = coalescer(1);
    let inner = Arc::clone(&coalesce);
    let (waited, wait) = sync::bounded::<()>(1);
    let ticket = coalesce.detach(&1, move |_| {
        let (begun, begins) = sync::bounded::<()>(1);
        let other = inner.detach(&2, move |_| {
            let _ = begun.send(());
            // Not a wait of ours, so it keeps its place.
            let _ = wait.recv();
            Ok(2)
        });
        until(|| {
            let _ = other.wait_timeout(Duration::from_millis(1));
            begins.try_recv().is_ok()
        });
        assert_eq!(counts(&inner), (2, 0, 0), "the spare and this one");
        let _ = waited.send(());
        until(|| counts(&inner) == (1, 0, 0));
        Ok(1)
    });
    assert_eq!(*ticket.wait().unwrap(), 1);
}
