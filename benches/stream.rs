//! One stream to many readers: [`StreamCoalesce`] against a thread that sends each chunk into one crossbeam channel per
//! reader. How many chunks per second, and how long from a chunk that is there to the last of readers that sleep.

mod support;

use std::iter::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use sync_coalesce::stream::{Stream, StreamCoalesce};

use self::support::is_quick;
use self::support::report::{Report, figure};
use self::support::rounds::{Samples, alternate, entry};

const READERS: [u32; 4] = [1, 8, 64, 512];
const NAMES: [&str; 2] = ["stream", "channel per reader"];

type Streams = StreamCoalesce<u32, u32, ()>;

/// How much is measured.
struct Size {
    rounds: usize,
    /// Deliveries in one round, whatever the number of readers.
    deliveries: u32,
    /// Chunks in one round of which the way to the last reader is measured.
    ways: u32,
}

fn main() {
    let Size { rounds, deliveries, ways } = if is_quick() {
        Size { rounds: 1, deliveries: 1 << 12, ways: 5 }
    } else {
        Size { rounds: 7, deliveries: 1 << 20, ways: 100 }
    };
    let mut report = Report::new("stream");
    report.paragraph(format!(
        "Chunks per second, each to every reader, from a source that takes no time: medians of {rounds} rounds, and how \
         many times as many the stream has."
    ));
    let rows = READERS.map(|readers| {
        let chunks = deliveries / readers;
        let rate = |run: fn(u32, u32) -> Duration| [f64::from(chunks) / run(readers, chunks).as_secs_f64()];
        let [stream, channels] = measure(rounds, [&|| rate(shared), &|| rate(separate)]);
        [
            readers.to_string(),
            figure(stream.median(0)),
            figure(channels.median(0)),
            format!("{:.2}", stream.ratio(&channels, 0)),
        ]
    });
    report.table(["readers", NAMES[0], NAMES[1], "ratio"], rows);

    report.paragraph(format!(
        "Microseconds from the moment a chunk is there to the last of the readers, which all sleep: the median and the \
         95 % of {ways} chunks, medians of {rounds} rounds, and how many times as long the stream takes."
    ));
    let rows = READERS.map(|readers| {
        let [stream, channels] =
            measure(rounds, [&|| shown(&shared_ways(readers, ways)), &|| shown(&separate_ways(readers, ways))]);
        [
            readers.to_string(),
            figure(stream.median(0)),
            figure(stream.median(1)),
            figure(channels.median(0)),
            figure(channels.median(1)),
            format!("{:.2}", stream.ratio(&channels, 0)),
        ]
    });
    report.table(["readers", NAMES[0], "95 %", NAMES[1], "95 %", "ratio"], rows);
    report.finish([]);
}

/// Both in turns.
fn measure<const N: usize>(rounds: usize, runs: [&dyn Fn() -> [f64; N]; 2]) -> [Samples<N>; 2] {
    let entries = NAMES.into_iter().zip(runs).map(|(name, run)| entry(name, run));
    alternate(rounds, entries.collect()).try_into().unwrap_or_else(|_| unreachable!("there are two"))
}

/// The median and the 95 %, in microseconds.
fn shown(ways: &[Duration]) -> [f64; 2] {
    [50, 95].map(|share| ways[(ways.len() - 1) * share / 100].as_secs_f64() * 1e6)
}

/// The time until every reader of one stream has had all chunks.
fn shared(readers: u32, chunks: u32) -> Duration {
    let streams = Streams::builder().max_buffered(usize::MAX).build();
    let all: Vec<_> = (0..readers).map(|_| streams.stream(&1, || Ok((0..chunks).map(Ok))).unwrap()).collect();
    timed(all, |stream| assert!(stream.map(|chunk| *chunk.unwrap()).eq(0..chunks)), || {})
}

/// The same with a thread that feeds a channel for each.
fn separate(readers: u32, chunks: u32) -> Duration {
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
fn shared_ways(readers: u32, chunks: u32) -> Vec<Duration> {
    let streams = Streams::new();
    let clock = Arc::new(Clock::new());
    let (theirs, mut numbers) = (Arc::clone(&clock), 0..=chunks);
    let (send, ways) = unbounded();
    let source = from_fn(move || {
        let chunk = numbers.next()?;
        if chunk > 0 {
            let _ = send.send(theirs.settle(readers));
        } else {
            // They come to sleep for the first time.
            thread::sleep(Duration::from_millis(100));
        }
        theirs.send();
        Some(Ok(chunk))
    });
    let mut puller = streams.stream(&1, || Ok(source)).unwrap();
    let others: Vec<Stream<u32, ()>> =
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

fn separate_ways(readers: u32, chunks: u32) -> Vec<Duration> {
    let clock = Clock::new();
    let (senders, receivers): (Vec<Sender<Arc<u32>>>, Vec<Receiver<_>>) = (0..readers).map(|_| unbounded()).unzip();
    let (send, ways) = unbounded();
    thread::scope(|scope| {
        for receiver in receivers {
            let clock = &clock;
            scope.spawn(move || receiver.iter().for_each(|_| clock.arrive()));
        }
        thread::sleep(Duration::from_millis(100));
        for chunk in 0..=chunks {
            if chunk > 0 {
                let _ = send.send(clock.settle(readers));
            }
            clock.send();
            let chunk = Arc::new(chunk);
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
