//! Readers on the threads of a pool.

use std::iter;
use std::sync::{Arc, mpsc};

use sync_coalesce::SyncCoalesce;
use sync_coalesce::stream::StreamCoalesce;

use super::Streams;
use crate::support::thread;
use crate::support::{LIMIT, bounded, until};

/// ```text
/// puller:    pulls; its source waits for a detached flight, for which the pool needs a thread
/// the pool's only thread: reads the same stream, and so waits for the puller
/// ```
#[test]
fn a_reader_that_waits_on_a_thread_of_a_pool_lends_its_place() {
    bounded(|| {
        let coalesce: Arc<SyncCoalesce<u64, u32>> = Arc::new(SyncCoalesce::builder().pool_threads(1).build());
        let streams: Arc<Streams> = Arc::new(StreamCoalesce::new());
        let ((begins, begun), (go, gone)) = (mpsc::channel(), mpsc::channel());
        let inner = Arc::clone(&coalesce);
        let source = iter::from_fn(move || {
            begins.send(()).unwrap();
            gone.recv_timeout(LIMIT).unwrap();
            Some(Ok(*inner.detach(&2, |_| Ok(7)).wait().unwrap()))
        });
        let mut stream = streams.stream("a", move || Ok(source)).unwrap();
        thread::scope(|scope| {
            let puller = scope.spawn(move || *stream.next().unwrap().unwrap());
            begun.recv_timeout(LIMIT).unwrap();
            let reading = Arc::clone(&streams);
            let ticket = coalesce.detach(&1, move |_| {
                let mut stream = reading.stream("a", || Ok(iter::empty())).unwrap();
                Ok(*stream.next().unwrap().unwrap())
            });
            until("the reader on the pool's thread waits", || streams.stats().waiting == 1);
            go.send(()).unwrap();
            assert_eq!((puller.join().unwrap(), *ticket.wait().unwrap()), (7, 7));
        });
    });
}
