//! The pacer, by a clock that the tests move.

mod adaptive;
mod limits;
mod stacks;
mod urgent;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sync_coalesce::stack::pace::{Adaptive, Pacer, PacerBuildError, PacerBuilder};
use sync_coalesce::stack::{Clock, ManualClock};

use crate::support::thread::{self, Scope, ScopedJoinHandle};
use crate::support::{Gate, Random, bounded, join, until};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn pacer(hands: &ManualClock, build: impl FnOnce(PacerBuilder) -> PacerBuilder) -> Pacer {
    build(Pacer::builder().clock(hands)).build().unwrap()
}

fn waiting_and_running(pacer: &Pacer) -> (usize, u32) {
    let status = pacer.status();
    (status.waiting, status.running)
}

/// Callers that come one after the other, and when each of them was let through.
struct Crowd {
    pacer: Pacer,
    clock: Clock,
    began: Instant,
    through: Mutex<Vec<(usize, Duration)>>,
}

impl Crowd {
    fn new(pacer: &Pacer, hands: &ManualClock) -> Self {
        let clock = Clock::from(hands);
        Self { pacer: pacer.clone(), began: clock.now(), clock, through: Mutex::default() }
    }

    /// Sends them, each when the one before waits or is through.
    fn send<'scope>(&'scope self, scope: Scope<'scope, '_>, count: usize) -> Vec<ScopedJoinHandle<'scope, ()>> {
        (0..count)
            .map(|number| {
                let caller = scope.spawn(move || {
                    let permit = self.pacer.acquire();
                    self.through.lock().unwrap().push((number, self.clock.now() - self.began));
                    drop(permit);
                });
                self.settle(number + 1);
                caller
            })
            .collect()
    }

    /// Waits until each of them is through or waits.
    fn settle(&self, count: usize) {
        until("the callers to come to rest", || self.through().len() + self.pacer.status().waiting == count);
    }

    fn through(&self) -> Vec<(usize, Duration)> {
        self.through.lock().unwrap().clone()
    }

    /// Moves the time by `step()` after `step()`, until all of them are through. With each step they come to rest.
    fn run(&self, hands: &ManualClock, count: usize, mut step: impl FnMut() -> Duration) {
        self.rest(hands, count);
        while self.through().len() < count {
            hands.advance(step());
            self.rest(hands, count);
        }
    }

    fn rest(&self, hands: &ManualClock, count: usize) {
        // Only who is first waits for the time, and it does so only if it is not let through.
        until("the first to wait for the time", || self.through().len() == count || hands.sleeping() == 1);
        self.settle(count);
    }
}

/// To the next moment that somebody waits for. Who has just been rung for looks at the gate, and waits for none.
fn to_next(hands: &ManualClock) -> Duration {
    hands.until_next().unwrap_or_default()
}

/// In no span of a second that includes its beginning and not its end are there more than `most`.
#[track_caller]
fn assert_paced(through: &[(usize, Duration)], most: usize) {
    for span in through.windows(most + 1) {
        assert!(span[0].1 + SECOND <= span[most].1, "more than {most} in a second: {span:?}");
    }
}

#[test]
fn two_hundred_calls_at_ten_per_second_never_exceed_the_pace_in_any_second() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(10.0));
        let crowd = Crowd::new(&pacer, &hands);
        thread::scope(|scope| {
            let callers = crowd.send(scope, 200);
            crowd.run(&hands, 200, || to_next(&hands));
            join(callers);
        });
        let through = crowd.through();
        assert_paced(&through, 10);
        // In order of arrival, each exactly when it may go.
        let expected: Vec<_> = (0..200).map(|number| (number, 100 * MS * u32::try_from(number).unwrap())).collect();
        assert_eq!(through, expected);
    });
}

#[test]
fn however_unevenly_the_time_passes_no_second_exceeds_the_pace_and_the_burst() {
    bounded(|| {
        for (seed, burst) in [(1, 1), (2, 2), (3, 5)] {
            let hands = ManualClock::new();
            let pacer = pacer(&hands, |builder| builder.per_second(7.0).burst(burst));
            let crowd = Crowd::new(&pacer, &hands);
            let mut random = Random::new(seed);
            thread::scope(|scope| {
                let callers = crowd.send(scope, 40);
                crowd.run(&hands, 40, || MS * u32::try_from(random.below(400)).unwrap());
                join(callers);
            });
            let mut times: Vec<_> = crowd.through();
            times.sort_by_key(|(_, time)| *time);
            assert_paced(&times, 7 + burst as usize - 1);
        }
    });
}

#[test]
fn fifty_calls_at_one_per_second_take_forty_nine_seconds_however_many_handles_there_are() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(1.0));
    let mut seconds = 0;
    for _ in 0..50 {
        while pacer.clone().try_acquire().is_err() {
            hands.advance(SECOND);
            seconds += 1;
        }
    }
    assert_eq!(seconds, 49);
}

#[test]
fn a_rate_may_be_a_fraction() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(0.2));
    drop(pacer.try_acquire().unwrap());
    hands.advance(4999 * MS);
    assert!(pacer.try_acquire().is_err());
    hands.advance(MS);
    drop(pacer.try_acquire().unwrap());
}

#[test]
fn a_wait_is_charged_once() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(10.0));
    thread::scope(|scope| {
        drop(pacer.acquire());
        for number in 1..=5 {
            let waits = scope.spawn(|| pacer.acquire().waited());
            until("one that waits for the time", || hands.sleeping() == 1);
            hands.advance(100 * MS);
            assert_eq!(waits.join().unwrap(), 100 * MS, "{number}");
        }
    });
}

/// Neither a lack of places nor a pause takes anything from the bucket.
#[test]
fn a_caller_that_is_not_let_through_is_not_charged() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(0.001).burst(3).concurrency(1));
    let held = pacer.acquire();
    (0..5).for_each(|_| assert!(pacer.try_acquire().is_err()));
    drop(held);
    drop(pacer.try_acquire().unwrap());
    pacer.throttled(Some(SECOND));
    (0..5).for_each(|_| assert!(pacer.try_acquire().is_err()));
    hands.advance(SECOND);
    drop(pacer.try_acquire().unwrap());
    assert!(pacer.try_acquire().is_err(), "all three have gone");
}

#[test]
fn a_burst_is_given_at_once_and_refills_no_higher() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(1.0).burst(3));
    let at_once = || std::iter::from_fn(|| pacer.try_acquire().ok()).count();
    assert_eq!(at_once(), 3);
    hands.advance(2 * SECOND);
    assert_eq!(at_once(), 2);
    hands.advance(1000 * SECOND);
    assert_eq!(at_once(), 3);
}

/// ```text
/// first   waits --------- leaves at 50 ms
/// second          waits ------------------- goes at 100 ms, as if the first had never come
/// ```
#[test]
fn a_waiter_that_leaves_at_its_deadline_is_charged_nothing_and_delays_nobody() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(10.0));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let first = scope.spawn(|| pacer.acquire_timeout(50 * MS).map(drop));
            until("the first to wait", || hands.sleeping() == 1);
            let second = scope.spawn(|| pacer.acquire_deadline(Clock::from(&hands).now() + SECOND).unwrap().waited());
            until("the second to wait", || hands.sleeping() == 2);
            hands.advance(50 * MS);
            assert!(first.join().unwrap().is_err());
            until("the second to be first", || hands.until_next() == Some(50 * MS));
            hands.advance(50 * MS);
            assert_eq!(second.join().unwrap(), 100 * MS);
        });
        assert_eq!(waiting_and_running(&pacer), (0, 0));
    });
}

#[test]
fn one_that_leaves_from_the_middle_of_the_line_changes_nothing() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(10.0));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let first = scope.spawn(|| pacer.acquire().waited());
            until("the first to wait", || hands.sleeping() == 1);
            let middle = scope.spawn(|| pacer.acquire_timeout(50 * MS).map(drop));
            until("the middle one to wait", || hands.sleeping() == 2);
            let last = scope.spawn(|| pacer.acquire().waited());
            until("the last to wait", || pacer.status().waiting == 3);
            hands.advance(50 * MS);
            assert!(middle.join().unwrap().is_err());
            hands.advance(50 * MS);
            assert_eq!(first.join().unwrap(), 100 * MS);
            until("the last to wait for the time", || hands.sleeping() == 1);
            hands.advance(100 * MS);
            assert_eq!(last.join().unwrap(), 200 * MS);
        });
    });
}

#[test]
fn a_permit_that_is_there_beats_a_deadline_that_has_passed() {
    let pacer = pacer(&ManualClock::new(), |builder| builder.per_second(1.0).burst(2));
    let now = Instant::now();
    drop(pacer.acquire_deadline(now.checked_sub(SECOND).unwrap_or(now)).unwrap());
    drop(pacer.acquire_timeout(Duration::ZERO).unwrap());
    assert!(pacer.acquire_timeout(Duration::ZERO).is_err());
}

#[test]
fn no_more_run_at_once_than_the_bound() {
    bounded(|| {
        let pacer = Pacer::builder().concurrency(3).build().unwrap();
        let (most, gate) = (Mutex::new(0), Gate::new());
        thread::scope(|scope| {
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        let _permit = pacer.acquire_timeout(Duration::MAX).unwrap();
                        let running = pacer.status().running;
                        let mut most = most.lock().unwrap();
                        *most = running.max(*most);
                        drop(most);
                        gate.pass();
                    })
                })
                .collect();
            until("three that run and the others in line", || waiting_and_running(&pacer) == (17, 3));
            assert!(pacer.try_acquire().is_err());
            (0..20).for_each(|_| gate.open());
            join(callers);
        });
        assert_eq!(most.into_inner().unwrap(), 3);
        assert_eq!(waiting_and_running(&pacer), (0, 0));
    });
}

#[test]
fn a_place_that_becomes_free_goes_to_the_first_in_line() {
    bounded(|| {
        let pacer = Pacer::builder().concurrency(1).build().unwrap();
        let order = Mutex::new(Vec::new());
        let held = pacer.acquire();
        thread::scope(|scope| {
            for number in 0..8 {
                let (pacer, order) = (&pacer, &order);
                scope.spawn(move || {
                    let _permit = pacer.acquire();
                    order.lock().unwrap().push(number);
                });
                until("it to wait", || pacer.status().waiting == number + 1);
            }
            // Nobody overtakes, though a place is free for a moment.
            drop(held);
            drop(pacer.try_acquire());
        });
        assert_eq!(order.into_inner().unwrap(), (0..8).collect::<Vec<_>>());
    });
}

#[test]
fn a_try_does_not_overtake_one_that_waits() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(1.0));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let first = scope.spawn(|| pacer.acquire().waited());
            until("the first to wait", || hands.sleeping() == 1);
            assert!(pacer.try_acquire().is_err());
            hands.advance(SECOND);
            assert_eq!(first.join().unwrap(), SECOND);
        });
    });
}

#[test]
fn retry_after_is_honoured_exactly() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(10.0).burst(2));
        thread::scope(|scope| {
            drop(pacer.acquire());
            pacer.throttled(Some(7 * SECOND));
            // One that ends sooner does not shorten it.
            pacer.throttled(Some(SECOND));
            let waits = scope.spawn(|| pacer.acquire().waited());
            until("it to wait", || hands.until_next() == Some(7 * SECOND));
            hands.advance(Duration::from_nanos(6_999_999_999));
            assert_eq!((hands.sleeping(), pacer.status().waiting), (1, 1));
            hands.advance(Duration::from_nanos(1));
            assert_eq!(waits.join().unwrap(), 7 * SECOND);
        });
        assert_eq!(pacer.status().rate, Some(10.0), "it is not adaptive");
    });
}

/// ```text
/// waiter   waits until 100 ms --- looks again ----------- goes at 3 s
/// test           throttled, 3 s
/// ```
#[test]
fn a_pause_reaches_one_that_waits_already() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(10.0));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let waits = scope.spawn(|| pacer.acquire().waited());
            until("it to wait", || hands.sleeping() == 1);
            pacer.throttled(Some(3 * SECOND));
            hands.advance(100 * MS);
            until("it to wait for the pause", || hands.until_next() == Some(2900 * MS));
            hands.advance(2900 * MS);
            assert_eq!(waits.join().unwrap(), 3 * SECOND);
        });
    });
}

#[test]
fn no_pause_lasts_longer_than_a_day() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder);
    pacer.throttled(Some(Duration::MAX));
    hands.advance(86_399_999 * MS);
    assert!(pacer.try_acquire().is_err());
    hands.advance(MS);
    assert!(pacer.try_acquire().is_ok());
}

#[test]
fn settings_that_would_let_nothing_through_are_refused() {
    let rate = |per_second| Pacer::builder().per_second(per_second).build().unwrap_err();
    for per_second in [0.0, -1.0, f64::INFINITY, 1e-7, 2e6] {
        assert_eq!(rate(per_second), PacerBuildError::Rate { per_second });
    }
    assert!(matches!(rate(f64::NAN), PacerBuildError::Rate { per_second } if per_second.is_nan()));
    assert_eq!(Pacer::builder().burst(0).build().unwrap_err(), PacerBuildError::Burst);
    assert_eq!(Pacer::builder().concurrency(0).build().unwrap_err(), PacerBuildError::Concurrency);
    assert_eq!(Pacer::builder().adaptive(Adaptive::default()).build().unwrap_err(), PacerBuildError::NoRate);
}

#[test]
fn settings_that_cannot_adapt_are_named() {
    let plan = Adaptive::default();
    for (adaptive, setting) in [
        (plan.decrease(0.0), "decrease"),
        (plan.decrease(1.0), "decrease"),
        (plan.decrease(f64::NAN), "decrease"),
        (plan.floor(0.0), "floor"),
        (plan.floor(f64::INFINITY), "floor"),
        (plan.increase(0.0), "increase"),
        (plan.increase(f64::INFINITY), "increase"),
        (plan.interval(Duration::ZERO), "interval"),
    ] {
        let error = Pacer::builder().per_second(1.0).adaptive(adaptive).build().unwrap_err();
        assert_eq!(error, PacerBuildError::Adaptive { setting });
    }
}

proptest! {
    /// Whatever happens, the rate stays between the floor and the full rate, and the pace within the full rate.
    #[test]
    fn the_rate_and_the_pace_stay_within_their_bounds(
        full in 0.2_f64..50.0,
        events in prop::collection::vec((0_u64..1000, any::<bool>()), 1..60),
    ) {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(full).adaptive(Adaptive::default()));
        let clock = Clock::from(&hands);
        let mut last: Option<Instant> = None;
        for (pause, is_refused) in events {
            // Up to 100 seconds, and mostly much less.
            hands.advance(Duration::from_micros(pause * pause * 100));
            let now = clock.now();
            while pacer.try_acquire().is_ok() {
                let gap = last.replace(now).map_or(5 * SECOND, |last| now - last);
                prop_assert!(gap.as_secs_f64() * full >= 1.0 - 1e-5, "{gap:?} at {full} per second");
            }
            if is_refused {
                pacer.throttled(None);
            }
            let rate = pacer.status().rate.unwrap();
            prop_assert!((0.2..=full).contains(&rate), "{rate}");
        }
    }
}

/// On the system's clock, where only what must not happen too soon can be told.
#[test]
fn a_pacer_on_the_systems_clock_waits_as_long_as_it_says() {
    bounded(|| {
        let pacer = Pacer::builder().per_second(50.0).build().unwrap();
        let began = Instant::now();
        (0..4).for_each(|_| drop(pacer.acquire()));
        assert!(began.elapsed() >= 59 * MS, "{:?}", began.elapsed());
    });
}

#[test]
fn a_sleep_lasts_until_its_time_on_its_clock() {
    bounded(|| {
        let hands = ManualClock::new();
        let clock = Clock::from(hands.clone());
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| clock.sleep(SECOND));
            until("it to sleep", || hands.sleeping() == 1);
            hands.advance(999 * MS);
            assert_eq!(hands.until_next(), Some(MS));
            assert!(!sleeper.is_finished());
            hands.advance(MS);
            sleeper.join().unwrap();
        });
        assert_eq!(hands.until_next(), None);
        hands.advance(Duration::MAX);
        clock.sleep(Duration::ZERO);
        let began = Instant::now();
        Clock::default().sleep(5 * MS);
        assert!(began.elapsed() >= 5 * MS);
    });
}
