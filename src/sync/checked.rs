//! The model checker's locks, threads, statics and thread-locals; and a condition variable and a clock of our own, for
//! what it lacks: spurious wake-ups, and time that passes.
//!
//! All threads of an execution run in turns on one thread of the system, and switch only in calls to the model checker.
//! So plain cells here need no lock, as long as nothing is borrowed across such a call.

mod channel;

use std::cell::Cell;
use std::io;
use std::panic::{self, catch_unwind};
use std::sync::{Once, OnceLock, PoisonError};
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler};
pub(crate) use shuttle::sync::Barrier;
pub(crate) use shuttle::sync::atomic::AtomicU64;
pub(crate) use shuttle::thread::scope;
use shuttle::{Config, MaxSteps, Runner};

pub(crate) use self::channel::{Receiver, Sender, bounded, ready, unbounded};
use super::{Faults, Instant, faults};

faults! {
    /// Faults of the system, which must break nothing of ours.
    pub(crate) enum Trouble {
        /// Now and then, no thread can be started.
        NoThread,
    }
}

/// A `static` that is initialised again for each execution.
macro_rules! global {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = $value:expr;) => {
        ::shuttle::lazy_static! {
            $(#[$attribute])*
            static ref $name: $kind = $value;
        }
    };
}
pub(crate) use global;

/// A `static` of each thread.
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = $value:expr;) => {
        ::shuttle::thread_local! {
            $(#[$attribute])*
            static $name: $kind = $value;
        }
    };
}
pub(crate) use per_thread;

/// The lock of a shard.
pub(crate) struct Mutex<S>(shuttle::sync::Mutex<S>);

pub(crate) type MutexGuard<'a, S> = shuttle::sync::MutexGuard<'a, S>;

impl<S> Mutex<S> {
    pub(crate) const fn new(state: S) -> Self {
        Self(shuttle::sync::Mutex::new(state))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock and the condition variable that goes with it.
///
/// The model checker's own condition variable has no timeouts and no spurious wake-ups, so this one is ours, built on
/// its parking.
pub(crate) struct Monitor<S> {
    state: shuttle::sync::Mutex<S>,
    asleep: Asleep,
}

pub(crate) type MonitorGuard<'a, S> = shuttle::sync::MutexGuard<'a, S>;

/// The sleepers. One that is no longer among them has been woken.
#[derive(Default)]
struct Asleep(std::sync::Mutex<Vec<Sleeper>>);

struct Sleeper {
    number: u64,
    thread: shuttle::thread::Thread,
}

impl Asleep {
    fn visit<R>(&self, visit: impl FnOnce(&mut Vec<Sleeper>) -> R) -> R {
        visit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has(&self, number: u64) -> bool {
        self.visit(|asleep| asleep.iter().any(|sleeper| sleeper.number == number))
    }

    fn leave(&self, number: u64) {
        self.visit(|asleep| asleep.retain(|sleeper| sleeper.number != number));
    }
}

impl<S> Monitor<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { state: shuttle::sync::Mutex::new(state), asleep: Asleep::default() }
    }

    pub(crate) fn lock(&self) -> MonitorGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until notified or until `deadline`. Half of the sleepers may also wake up spuriously.
    pub(crate) fn wait<'a>(&'a self, guard: MonitorGuard<'a, S>, deadline: Option<Instant>) -> MonitorGuard<'a, S> {
        let number = SLEPT.replace(SLEPT.get() + 1);
        let sleeper = Sleeper { number, thread: shuttle::thread::current() };
        let light = one_in(2);
        // Unlocking lets others run before it takes effect and not after it, so no thread runs between these two.
        drop(guard);
        self.asleep.visit(|asleep| asleep.push(sleeper));
        while self.asleep.has(number) {
            if let Some(deadline) = deadline {
                // To the model checker this thread can run, so it is never reported as a deadlock.
                if has_passed(deadline) || light && one_in(4) {
                    self.asleep.leave(number);
                } else {
                    give_way();
                }
            } else {
                // The model checker may end this spuriously as long as another thread can run. If none can, it is a
                // deadlock.
                shuttle::thread::park();
                if light {
                    self.asleep.leave(number);
                }
            }
        }
        self.lock()
    }

    pub(crate) fn notify_one(&self) {
        pause();
        // It is unknown which one the system would wake.
        let woken = self.asleep.visit(|asleep| {
            let any = if asleep.is_empty() { None } else { Some(random_below(asleep.len())) };
            any.map(|any| asleep.swap_remove(any))
        });
        if let Some(sleeper) = woken {
            sleeper.thread.unpark();
        }
    }

    pub(crate) fn notify_all(&self) {
        pause();
        for sleeper in self.asleep.visit(std::mem::take) {
            sleeper.thread.unpark();
        }
    }
}

thread_local! {
    static SLEPT: Cell<u64> = const { Cell::new(0) };
    static TIME: Cell<Option<Time>> = const { Cell::new(None) };
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// The time of one execution. It stands still until a thread asks whether a deadline has passed; then it may jump
/// there.
#[derive(Clone, Copy)]
struct Time {
    now: Instant,
    /// How seldom it jumps: in some executions hardly any thread is late, in others nearly all are.
    one_in: usize,
}

impl Time {
    fn begin() -> Self {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        Self { now: *ZERO.get_or_init(Instant::now), one_in: 2 << random_below(6) }
    }
}

fn time() -> Time {
    TIME.get().expect("time begins with an execution")
}

pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if is_planted(Trouble::NoThread) && one_in(2) {
        return Err(io::Error::other("no thread to be had"));
    }
    shuttle::thread::Builder::new().name(name).spawn(work).map(drop)
}

pub(crate) fn now() -> Instant {
    time().now
}

/// A thread that keeps asking gets a yes in the end, so that executions end. A deadline that has passed for one thread
/// has passed for all.
pub(crate) fn has_passed(deadline: Instant) -> bool {
    let time = time();
    if time.now < deadline && one_in(time.one_in) {
        TIME.set(Some(Time { now: deadline, ..time }));
    }
    now() >= deadline
}

/// A number below the limit, chosen by the schedule.
pub(crate) fn random_below(limit: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..limit)
}

fn one_in(limit: usize) -> bool {
    random_below(limit) == 0
}

/// A point at which another thread may run.
pub(crate) fn pause() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// One round of waiting for something that another thread does.
pub(crate) fn give_way() {
    shuttle::thread::yield_now();
}

pub(crate) fn is_planted<F: Faults>(fault: F) -> bool {
    PLANTED.get() == Some(fault.name())
}

/// Checks `model` under many schedules: random ones, and ones with few switches between threads, which find other
/// faults.
pub(crate) fn holds(model: fn()) {
    explore(None, model);
}

/// The same with a fault of the system, with which the model must still hold.
pub(crate) fn holds_despite(trouble: impl Faults, model: fn()) {
    explore(Some(trouble.name()), model);
}

/// The same with a planted fault: some schedule must fail, with `symptom` in its message.
pub(crate) fn catches(fault: impl Faults, symptom: &str, model: fn()) {
    let fault = fault.name();
    // A fault can show in more than one way, and the first one ends a search.
    let mut others = String::new();
    for _ in 0..100 {
        let failed = catch_unwind(|| explore(Some(fault), model));
        let payload = failed.expect_err("no schedule shows the fault");
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        if text.contains(symptom) {
            return;
        }
        text.clone_into(&mut others);
    }
    panic!("{fault} was never found by {symptom:?}, but by: {others}");
}

fn explore(fault: Option<&'static str>, model: fn()) {
    watch_panics();
    // Each schedule must give the same execution again, or a failure could not be replayed.
    run(UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new(20)), fault, model);
    let schedules = std::env::var("SCHEDULES").ok().and_then(|schedules| schedules.parse().ok()).unwrap_or(10_000);
    run(RandomScheduler::new(schedules), fault, model);
    for depth in [2, 4] {
        run(PctScheduler::new(depth, schedules / 2), fault, model);
    }
}

fn run(scheduler: impl Scheduler + 'static, fault: Option<&'static str>, model: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(20_000);
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        PLANTED.set(fault);
        PANICKED.set(false);
        TIME.set(Some(Time::begin()));
        model();
        assert!(!PANICKED.get(), "a panic was swallowed");
    });
}

/// The crate catches panics of closures and observers, and so would hide a failed assertion in one of them, or a panic
/// of the model checker. Each of these goes through the panic hook. Panics that a model makes on purpose do not,
/// because they come by `resume_unwind`.
fn watch_panics() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            PANICKED.set(true);
            report(panicked);
        }));
    });
}
