//! How long it takes until everybody has the result: sleeping followers, one leader, and the time from its closure's
//! return until it, the median follower and the last one are back.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use self::support::contenders::{Contender, HandWritten, Moka, Ours, QuickCache, Uniflight};
use self::support::crew::{Crew, Meeting, Times};
use self::support::is_quick;
use self::support::plot::{Line, plot};
use self::support::report::{Report, figure};
use self::support::rounds::{Samples, alternate, entry};

/// A contender, all of whose callers ask for one key.
struct OneKey<C>(C);

impl<C: Contender<u64>> Meeting for OneKey<C> {
    fn lead(&self, work: &mut (dyn FnMut() + Send)) {
        self.0.call(&1, || {
            work();
            7
        });
    }

    fn follow(&self) {
        assert_eq!(*self.0.call(&1, || unreachable!("a follower does not work")), 7);
    }
}

/// The limit: one word that everybody waits for, made before, and one system call that wakes them all. There is no
/// table, no lock and no value.
struct Futex(AtomicU32);

impl Meeting for Futex {
    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn lead(&self, work: &mut (dyn FnMut() + Send)) {
        work();
        self.0.store(1, Ordering::Release);
        atomic_wait::wake_all(&raw const self.0);
    }

    fn follow(&self) {
        while self.0.load(Ordering::Acquire) == 0 {
            atomic_wait::wait(&self.0, 0);
        }
    }
}

const NAMES: [&str; 7] =
    ["sync-coalesce", "futex broadcast", "futex broadcast, again", "quick_cache", "uniflight", "moka", "hand-written"];

/// The leader, the median follower and the last one, in nanoseconds.
const LEADER: usize = 0;
const MEDIAN: usize = 1;
const LAST: usize = 2;

fn measure(meetings: &[&dyn Meeting], followers: usize, rounds: usize) -> Vec<Samples<3>> {
    let crew = Crew::new(meetings, followers);
    thread::scope(|scope| {
        let ids = crew.muster(scope).expect("the system has room for the followers");
        let round = |index| {
            let Times { leader, median, last } = crew.round(index, &ids);
            [leader, median, last]
        };
        let round = &round;
        let entries = NAMES.iter().enumerate().map(|(index, name)| entry(name, move || round(index)));
        let samples = alternate(rounds, entries.collect());
        crew.dismiss();
        samples
    })
}

fn main() {
    let sizes: &[(usize, usize)] = if is_quick() { &[(10, 3), (100, 3)] } else { &[(50, 60), (500, 40), (4000, 14)] };
    let meetings: [&dyn Meeting; 7] = [
        &OneKey(Ours::<u64>::new()),
        &Futex(AtomicU32::new(0)),
        &Futex(AtomicU32::new(0)),
        &OneKey(QuickCache::<u64>::new()),
        &OneKey(Uniflight::<u64>::new()),
        &OneKey(Moka::<u64>::new()),
        &OneKey(HandWritten::<u64>::new()),
    ];
    let mut report = Report::new("fan-out");
    let mut lines: Vec<Line> = NAMES.map(|name| Line { name, points: Vec::new() }).into();
    for &(followers, rounds) in sizes {
        let samples = measure(&meetings, followers, rounds);
        report.paragraph(format!(
            "{followers} followers, {rounds} rounds: medians in milliseconds after the leader's closure returned, the \
             worst round, and how many times as long as the futex broadcast."
        ));
        let milliseconds = |nanoseconds: f64| figure(nanoseconds / 1e6);
        let rows = samples.iter().map(|sample| {
            [
                sample.name.to_owned(),
                milliseconds(sample.median(LEADER)),
                milliseconds(sample.median(MEDIAN)),
                format!("{:.2}", sample.ratio(&samples[1], MEDIAN)),
                milliseconds(sample.median(LAST)),
                format!("{:.2}", sample.ratio(&samples[1], LAST)),
                milliseconds(sample.worst(LAST)),
            ]
        });
        report.table(["", "leader", "median follower", "ratio", "last follower", "ratio", "last, worst round"], rows);
        for (line, sample) in lines.iter_mut().zip(&samples) {
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            line.points.push((followers as f64, sample.median(LAST) / 1e6));
        }
    }
    let title = "From the leader's result to the last follower's";
    report.finish([("", plot(title, "followers", "milliseconds", &lines))]);
}
