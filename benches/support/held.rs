//! Many flights held open at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, Builder, Scope};
use std::time::Duration;

use super::contenders::Ours;

/// Keys from here on are held.
pub const FIRST: u64 = 1 << 40;

/// Holds its flights until it is dropped.
pub struct Held(#[expect(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

/// Holds `count` flights open, in a thread of the scope, whose closures each make the next call. Of the large stack only
/// what is used takes memory: about a kilobyte for each flight.
pub fn hold<'scope>(scope: &'scope Scope<'scope, '_>, coalesce: &'scope Ours<u64>, count: u64) -> Held {
    let (holds, over) = mpsc::channel::<()>();
    let (stands, standing) = mpsc::channel();
    let holder = move || {
        nest(coalesce, FIRST + count, count, &mut || {
            stands.send(()).unwrap();
            assert_eq!(over.recv_timeout(Duration::from_secs(600)), Err(RecvTimeoutError::Disconnected));
        });
    };
    Builder::new().stack_size(1 << 30).spawn_scoped(scope, holder).expect("address space for a large stack");
    standing.recv().unwrap();
    assert_eq!(coalesce.in_flight(), count);
    Held(holds)
}

fn nest(coalesce: &Ours<u64>, end: u64, count: u64, stand: &mut dyn FnMut()) {
    if count == 0 {
        return stand();
    }
    let call = coalesce.call(&(end - count), || {
        nest(coalesce, end, count - 1, stand);
        7
    });
    assert_eq!(*call.unwrap(), 7);
}

/// Waits until nothing is in flight.
pub fn until_idle(coalesce: &Ours<u64>) {
    while coalesce.stats().running > 0 {
        thread::sleep(Duration::from_millis(1));
    }
}
