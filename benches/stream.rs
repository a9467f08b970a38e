//! One stream to many readers: [`StreamCoalesce`] against a thread that sends each chunk into one crossbeam channel per
//! reader. `cargo bench --bench stream`.

use std::iter::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use sync_coalesce::{Stream, StreamCoalesce};

const READERS: [u32; 4] = [1, 8, 64, 512];
/// Deliveries in one run, whatever the number of readers.
const DELIVERIES: u32 = 1 << 20;
/// Runs of which the median is shown.
const RUNS: usize = 7;
/// Chunks of which the way to the last reader is measured.
const ROUNDS: u32 = 200;

type Streams = StreamCoalesce<u32, u32, ()>;

fn main() {
    println!("chunks per second, each to every reader; median of {RUNS} runs (lowest, highest)");
    println!("{:>8} {:>36} {:>36}", "readers", "stream", "channel per reader");
    for readers in READERS {
        let chunks = DELIVERIES / readers;
        let rate = |run: fn(u32, u32) -> Duration| {
            let mut rates: Vec<_> = (0..RUNS).map(|_| f64::from(chunks) / run(readers, chunks).as_secs_f64()).collect();
            rates.sort_by(f64::total_cmp);
            format!("{:.0} ({:.0}, {:.0})", rates[RUNS / 2], rates[0], rates[RUNS - 1])
        };
        println!("{readers:>8} {:>36} {:>36}", rate(shared), rate(channels));
    }
    println!();
    println!("microseconds from the moment a chunk is there to the last of the sleeping readers; median (95 %)");
    println!("{:>8} {:>36} {:>36}", "readers", "stream", "channel per reader");
    for readers in READERS {
        println!("{readers:>8} {:>36} {:>36}", shown(&shared_ways(readers)), shown(&channel_ways(readers)));
    }
}

fn shown(ways: &[Duration]) -> String {
    let at = |share: usize| ways[(ways.len() - 1) * share / 100].as_secs_f64() * 1e6;
    format!("{:.1} ({:.1})", at(50), at(95))
}

/// The time until every reader of one stream has had all chunks.
fn shared(readers: u32, chunks: u32) -> Duration {
    let streams = Streams::builder().max_buffered(usize::MAX).build();
    let all: Vec<_> = (0..readers).map(|_| streams.stream(&1, || Ok((0..chunks).map(Ok))).unwrap()).collect();
    timed(all, |stream| assert!(stream.map(|chunk| *chunk.unwrap()).eq(0..chunks)), || {})
}

/// The same with a thread that feeds a channel for each.
fn channels(readers: u32, chunks: u32) -> Duration {
    let (senders, receivers): (Vec<Sender<Arc<u32>>>, Vec<_>) = (0..readers).map(|_| unbounded()).unzip();
    let feed = move || {
        for chunk in 0..chunks {
            let chunk = Arc::new(chunk);
            for sender in &senders {
                sender.send(Arc::clone(&chunk)).unwrap();
            }
        }
    };
    timed(receivers, |receiver| assert!(receiver.iter().map(|chunk| *chunk).eq(0..chunks)), feed)
}

/// The time until all readers, which begin together, and `feed` are done.
fn timed<R: Send>(readers: Vec<R>, read: impl Fn(R) + Sync, feed: impl FnOnce()) -> Duration {
    let start = Barrier::new(readers.len() + 1);
    let mut began = None;
    thread::scope(|scope| {
        for reader in readers {
            let (start, read) = (&start, &read);
            scope.spawn(move || {
                start.wait();
                read(reader);
            });
        }
        start.wait();
        began = Some(Instant::now());
        feed();
    });
    began.expect("it has begun").elapsed()
}

/// When a chunk was there, and when each reader had it.
struct Clock {
    began: Instant,
    sent: AtomicU64,
    last: AtomicU64,
    arrived: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { began: Instant::now(), sent: 0.into(), last: 0.into(), arrived: 0.into() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("less than 500 years")
    }

    fn arrive(&self) {
        self.last.fetch_max(self.now(), Ordering::AcqRel);
        self.arrived.fetch_add(1, Ordering::AcqRel);
    }

    /// Blocks until `readers` have had the last chunk, and likely sleep until the next one; returns how long it took to
    /// come to the last of them.
    fn settle(&self, readers: u32) -> Duration {
        while self.arrived.load(Ordering::Acquire) < u64::from(readers) {
            thread::sleep(Duration::from_micros(100));
        }
        thread::sleep(Duration::from_millis(2));
        self.arrived.store(0, Ordering::Release);
        Duration::from_nanos(self.last.load(Ordering::Acquire).saturating_sub(self.sent.load(Ordering::Acquire)))
    }

    fn send(&self) {
        self.sent.store(self.now(), Ordering::Release);
    }
}

/// One reader more pulls, so that as many sleep as there are.
fn shared_ways(readers: u32) -> Vec<Duration> {
    let streams = Streams::new();
    let clock = Arc::new(Clock::new());
    let (theirs, mut rounds) = (Arc::clone(&clock), 0..ROUNDS);
    let (send, ways) = unbounded();
    let source = from_fn(move || {
        let round = rounds.next()?;
        if round > 0 {
            let _ = send.send(theirs.settle(readers));
        } else {
            // They come to sleep for the first time.
            thread::sleep(Duration::from_millis(100));
        }
        theirs.send();
        Some(Ok(round))
    });
    let mut puller = streams.stream(&1, || Ok(source)).unwrap();
    let others: Vec<Stream<'_, u32, ()>> =
        (0..readers).map(|_| streams.stream(&1, || Ok(from_fn(|| None))).unwrap()).collect();
    thread::scope(|scope| {
        scope.spawn(|| while puller.next().is_some() {});
        // The puller has to be the first one to pull; afterwards it pulls again before the others have woken, or one of
        // them does: the way is the same.
        thread::sleep(Duration::from_millis(20));
        for stream in others {
            let clock = &clock;
            scope.spawn(move || stream.for_each(|_| clock.arrive()));
        }
    });
    sorted(&ways)
}

fn channel_ways(readers: u32) -> Vec<Duration> {
    let clock = Clock::new();
    let (senders, receivers): (Vec<Sender<Arc<u32>>>, Vec<Receiver<_>>) = (0..readers).map(|_| unbounded()).unzip();
    let (send, ways) = unbounded();
    thread::scope(|scope| {
        for receiver in receivers {
            let clock = &clock;
            scope.spawn(move || receiver.iter().for_each(|_| clock.arrive()));
        }
        thread::sleep(Duration::from_millis(100));
        for round in 0..ROUNDS {
            if round > 0 {
                let _ = send.send(clock.settle(readers));
            }
            clock.send();
            let chunk = Arc::new(round);
            for sender in &senders {
                sender.send(Arc::clone(&chunk)).unwrap();
            }
        }
        drop(senders);
    });
    drop(send);
    sorted(&ways)
}

fn sorted(ways: &Receiver<Duration>) -> Vec<Duration> {
    let mut ways: Vec<_> = ways.try_iter().collect();
    ways.sort();
    ways
}
