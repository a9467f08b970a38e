//! `parking_lot`'s own detection of cycles among its locks, which `ci/lock-cycles` switches on for all tests.

use std::fmt::Write;
use std::sync::{Arc, Barrier};
use std::thread;

use parking_lot::{Mutex, deadlock};

use crate::support::{bounded, until};

/// The threads that wait for each other's locks, as text; empty if there are none.
pub(crate) fn found() -> String {
    let mut text = String::new();
    for (number, cycle) in deadlock::check_deadlock().iter().enumerate() {
        for thread in cycle {
            write!(text, "cycle {number}: thread {:?}\n{:?}\n", thread.thread_id(), thread.backtrace()).unwrap();
        }
    }
    text
}

/// Were it not, the silence of the others would say nothing. The two threads stay behind.
#[test]
fn a_cycle_of_locks_is_found() {
    bounded(|| {
        let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
        let both_hold_one = Arc::new(Barrier::new(2));
        for own in 0..2 {
            let (locks, both_hold_one) = (Arc::clone(&locks), Arc::clone(&both_hold_one));
            thread::spawn(move || {
                let _own = locks[own].lock();
                both_hold_one.wait();
                let _other = locks[1 - own].lock();
            });
        }
        until("the cycle to be found", || !found().is_empty());
    });
}
