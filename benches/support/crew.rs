//! Threads that all wait for one leader.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Builder, Scope, Thread};
use std::time::{Duration, Instant};
use std::{fs, io, process};

/// Where a leader meets its followers.
pub trait Meeting: Sync {
    /// Before each round.
    fn reset(&self) {}

    /// Takes the lead, runs `work`, and lets the followers go.
    fn lead(&self, work: &mut (dyn FnMut() + Send));

    /// Blocks until the leader's work has ended.
    fn follow(&self);
}

/// Followers that come back to be used again, so that no round begins with making threads or ends with their going.
pub struct Crew<'a> {
    meetings: &'a [&'a dyn Meeting],
    /// Which meeting is held.
    meeting: AtomicUsize,
    /// Counts the rounds up; [`OVER`] at the end.
    round: AtomicU32,
    arrived: AtomicUsize,
    returned: AtomicUsize,
    /// For each follower, when it came back, in nanoseconds after `start`.
    back: Vec<AtomicU64>,
    start: Instant,
    main: Thread,
}

const OVER: u32 = u32::MAX;

/// For a wait of which a busy machine makes seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Small, so that thousands fit, and large enough for what is called here.
const STACK: usize = 64 << 10;

/// How long after the leader's closure returned it, the median follower and the last one were back, in nanoseconds.
pub struct Times {
    pub leader: f64,
    pub median: f64,
    pub last: f64,
}

impl<'a> Crew<'a> {
    /// A crew for this thread to lead.
    pub fn new(meetings: &'a [&'a dyn Meeting], followers: usize) -> Self {
        Self {
            meetings,
            meeting: AtomicUsize::new(0),
            round: AtomicU32::new(0),
            arrived: AtomicUsize::new(0),
            returned: AtomicUsize::new(0),
            back: (0..followers).map(|_| AtomicU64::new(0)).collect(),
            start: Instant::now(),
            main: thread::current(),
        }
    }

    /// Starts the followers, whose thread ids in the system are returned.
    pub fn muster<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> io::Result<Vec<String>> {
        let (here, ids) = std::sync::mpsc::channel();
        for number in 0..self.back.len() {
            let here = here.clone();
            let follower = move || {
                let id = fs::read_link("/proc/thread-self").unwrap_or_default();
                here.send(id.to_string_lossy().into_owned()).unwrap();
                self.follow(number);
            };
            if let Err(error) = Builder::new().stack_size(STACK).spawn_scoped(scope, follower) {
                self.dismiss();
                return Err(error);
            }
        }
        Ok(ids.iter().take(self.back.len()).collect())
    }

    /// Lets the followers end.
    pub fn dismiss(&self) {
        self.round.store(OVER, Ordering::Release);
        atomic_wait::wake_all(&raw const self.round);
    }

    /// One follower's rounds.
    fn follow(&self, number: usize) {
        let mut seen = 0;
        loop {
            while self.round.load(Ordering::Acquire) == seen {
                atomic_wait::wait(&self.round, seen);
            }
            seen = self.round.load(Ordering::Acquire);
            if seen == OVER {
                return;
            }
            let meeting = self.meetings[self.meeting.load(Ordering::Relaxed)];
            self.arrived.fetch_add(1, Ordering::Relaxed);
            meeting.follow();
            self.back[number].store(self.now(), Ordering::Relaxed);
            // The last one wakes this thread's leader; the others take nobody's time.
            if self.returned.fetch_add(1, Ordering::AcqRel) + 1 == self.back.len() {
                self.main.unpark();
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    /// One round of a meeting: the leader's closure ends when all followers sleep.
    pub fn round(&self, meeting: usize, ids: &[String]) -> Times {
        self.meeting.store(meeting, Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        self.returned.store(0, Ordering::Relaxed);
        let meeting = self.meetings[meeting];
        meeting.reset();
        let mut ended = 0;
        meeting.lead(&mut || {
            self.round.fetch_add(1, Ordering::Release);
            atomic_wait::wake_all(&raw const self.round);
            until("the followers to arrive", || {
                thread::sleep(Duration::from_micros(200));
                self.arrived.load(Ordering::Relaxed) == self.back.len()
            });
            until_asleep(ids);
            ended = self.now();
        });
        let leader = self.now() - ended;
        until("the followers to come back", || {
            let all_back = self.returned.load(Ordering::Acquire) == self.back.len();
            if !all_back {
                // Not to be in their way: the last one ends this.
                thread::park_timeout(LIMIT);
            }
            all_back
        });
        let mut back: Vec<u64> = self.back.iter().map(|back| back.load(Ordering::Relaxed) - ended).collect();
        back.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let [leader, median, last] = [leader, back[back.len() / 2], back[back.len() - 1]].map(|time| time as f64);
        Times { leader, median, last }
    }
}

/// Waits until every thread sleeps, twice in a row, so that none was only on its way past a lock. Elsewhere than on
/// Linux, for a while.
fn until_asleep(ids: &[String]) {
    if !cfg!(target_os = "linux") {
        thread::sleep(Duration::from_millis(100));
        return;
    }
    let mut clean = 0;
    until("the followers to sleep", || {
        clean = if ids.iter().all(|id| is_asleep(id)) { clean + 1 } else { 0 };
        thread::sleep(Duration::from_millis(1));
        clean == 2
    });
}

/// Asks `condition` until it holds, and ends the process when that takes far too long: a follower is lost.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() >= LIMIT {
            eprintln!("waited too long for {what}");
            process::exit(1);
        }
    }
}

fn is_asleep(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The state stands after the name, which is in brackets.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}
