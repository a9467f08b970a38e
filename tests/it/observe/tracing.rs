//! The adapter for `tracing`, read by a layer over the registry of `tracing-subscriber`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::tracing::field::{Field, Visit};
use ::tracing::span::{Attributes, Id, Record};
use ::tracing::subscriber::with_default;
use ::tracing::{Dispatch, Event, Metadata, Span, Subscriber, dispatcher, info, info_span};
use sync_coalesce::observe::{FlightId, FollowerLeft, Observer, RefusalReason, RunEnded, TracingObserver};
use sync_coalesce::{OnFailure, SyncCoalesce};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::{Always, Coalesce, Log, dawdle, observed, quietly, tour};
use crate::support::thread::{self, ThreadId};
use crate::support::{assert_idle, bounded, until, until_following, until_running};

/// Writes down spans and events.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Traces>>);

#[derive(Default)]
struct Traces {
    /// By their ids, which do not follow the order in which spans are made.
    spans: BTreeMap<u64, Seeing>,
    events: Vec<Told>,
}

#[derive(Clone, Debug)]
struct Seeing {
    /// How many were made before.
    place: usize,
    name: &'static str,
    target: &'static str,
    parent: Option<u64>,
    fields: Fields,
    follows: Vec<u64>,
    entered_on: Vec<ThreadId>,
    /// How often it was entered and not left.
    inside: i64,
    closed: bool,
}

#[derive(Clone, Debug)]
struct Told {
    fields: Fields,
    span: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Fields(HashMap<&'static str, String>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Seen {
    fn dispatch(&self) -> Dispatch {
        Dispatch::new(Registry::default().with(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Traces> {
        self.0.lock().unwrap()
    }

    fn change(&self, span: &Id, change: impl FnOnce(&mut Seeing)) {
        change(self.lock().spans.get_mut(&span.into_u64()).unwrap());
    }

    /// The spans with this name, in the order in which they were made.
    fn named(&self, name: &str) -> Vec<(u64, Seeing)> {
        let traces = self.lock();
        let named = traces.spans.iter().filter(|(_, span)| span.name == name);
        let mut named: Vec<_> = named.map(|(id, span)| (*id, span.clone())).collect();
        named.sort_by_key(|(_, span)| span.place);
        named
    }

    /// The only span with this name.
    fn one(&self, name: &str) -> (u64, Seeing) {
        let mut spans = self.named(name);
        assert_eq!(spans.len(), 1, "{name}: {spans:?}");
        spans.remove(0)
    }

    /// Those of the adapter with this message.
    fn events(&self, message: &str) -> Vec<Told> {
        self.lock().events.iter().filter(|told| told.fields.get("message") == Some(message)).cloned().collect()
    }

    /// Every span was left as often as entered, and is closed.
    #[track_caller]
    fn assert_closed(&self) {
        let traces = self.lock();
        let open: Vec<_> = traces.spans.values().filter(|span| !span.closed || span.inside != 0).collect();
        assert!(open.is_empty(), "{open:?}");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = context.span(id).unwrap().parent().map(|parent| parent.id().into_u64());
        let mut traces = self.lock();
        let seeing = Seeing {
            place: traces.spans.len(),
            name: attributes.metadata().name(),
            target: attributes.metadata().target(),
            parent,
            fields,
            follows: Vec::new(),
            entered_on: Vec::new(),
            inside: 0,
            closed: false,
        };
        assert!(traces.spans.insert(id.into_u64(), seeing).is_none(), "a span's number is used again");
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.change(id, |span| values.record(&mut span.fields));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        assert!(context.span(follows).is_some(), "follows from a span that is closed");
        self.change(id, |span| span.follows.push(follows.into_u64()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.event_span(event).map(|span| span.id().into_u64());
        self.lock().events.push(Told { fields, span });
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        self.change(id, |span| {
            span.entered_on.push(thread::current().id());
            span.inside += 1;
        });
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        self.change(id, |span| span.inside -= 1);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(&id, |span| span.closed = true);
    }
}

/// Lets a test look at an observer that a coalescer has.
#[derive(Clone, Default)]
struct Looked(Arc<TracingObserver>);

impl Looked {
    #[track_caller]
    fn assert_empty(&self) {
        assert_eq!(format!("{:?}", self.0), "TracingObserver { flights: 0 }");
    }
}

impl Observer for Looked {
    fn led(&self, flight: &FlightId<'_>) {
        self.0.led(flight);
    }

    fn joined(&self, flight: &FlightId<'_>) {
        self.0.joined(flight);
    }

    fn ended(&self, flight: &FlightId<'_>, ended: &RunEnded) {
        self.0.ended(flight, ended);
    }

    fn left(&self, flight: &FlightId<'_>, left: &FollowerLeft) {
        self.0.left(flight, left);
    }

    fn refused(&self, coalescer: Option<&str>, reason: RefusalReason) {
        self.0.refused(coalescer, reason);
    }

    fn elected(&self, flight: &FlightId<'_>, waited: Duration) {
        self.0.elected(flight, waited);
    }
}

#[test]
fn a_run_is_a_span_that_holds_what_its_closure_does() {
    let seen = Seen::default();
    let looked = Looked::default();
    let coalesce = observed(looked.clone());
    dispatcher::with_default(&seen.dispatch(), || {
        info_span!("caller").in_scope(|| {
            coalesce
                .try_call(&1, || {
                    info_span!("inside").in_scope(|| info!("works"));
                    Ok(1)
                })
                .unwrap();
            info!("goes on");
        });
        assert!(Span::current().is_disabled());
        drop(quietly(|| coalesce.on(&1).try_call(|_| super::trip())));
        assert!(Span::current().is_disabled());
    });
    let runs = seen.named("flight");
    let [(first, run), (_, tripped)] = &runs[..] else { panic!("{runs:?}") };
    let (caller, _) = seen.one("caller");
    let (inside, within) = seen.one("inside");
    assert_eq!((run.parent, within.parent, tripped.parent), (Some(caller), Some(*first), None));
    assert_eq!((seen.events("works")[0].span, seen.events("goes on")[0].span), (Some(inside), Some(caller)));
    assert_eq!(run.target, "sync_coalesce");
    assert_eq!(run.entered_on, [thread::current().id()]);
    assert_eq!(run.fields.get("coalescer"), Some("tour"));
    assert_eq!((run.fields.get("outcome"), run.fields.get("followers")), (Some("value"), Some("0")));
    assert_eq!(tripped.fields.get("outcome"), Some("panic"));
    assert_ne!(run.fields.get("flight"), tripped.fields.get("flight"));
    seen.assert_closed();
    looked.assert_empty();
    assert_idle(&coalesce);
}

/// Runs `call` in a span of this name, with the subscriber.
fn caller<R>(seen: &Dispatch, name: &str, call: impl FnOnce() -> R) -> R {
    dispatcher::with_default(seen, || {
        // The names of spans are fixed when they are compiled.
        let span = match name {
            "leader" => info_span!("leader"),
            "one" => info_span!("one"),
            "two" => info_span!("two"),
            other => panic!("{other}"),
        };
        span.in_scope(call)
    })
}

#[test]
fn followers_follow_from_the_run() {
    bounded(|| {
        let seen = Seen::default();
        let dispatch = seen.dispatch();
        let looked = Looked::default();
        let coalesce = observed(looked.clone());
        thread::scope(|scope| {
            let (coalesce, seen, dispatch) = (&coalesce, &seen, &dispatch);
            scope.spawn(move || {
                caller(dispatch, "leader", || {
                    coalesce.try_call(&1, || {
                        until("both", || seen.events("joined").len() == 2);
                        Ok(1)
                    })
                })
            });
            until_running(coalesce, 1);
            scope.spawn(move || caller(dispatch, "one", || coalesce.try_call(&1, || Ok(0))));
            // In no span.
            scope.spawn(move || dispatcher::with_default(dispatch, || coalesce.try_call(&1, || Ok(0))));
        });
        let (run, flight) = seen.one("flight");
        let (leader, _) = seen.one("leader");
        let (one, follower) = seen.one("one");
        assert_eq!((flight.parent, flight.fields.get("followers")), (Some(leader), Some("2")));
        assert_eq!(follower.follows, [run]);
        for message in ["joined", "left"] {
            let mut told = seen.events(message);
            told.sort_by_key(|told| told.span);
            assert_eq!([told[0].span, told[1].span], [None, Some(one)]);
            for told in told {
                assert_eq!(told.fields.get("coalescer"), Some("tour"));
                assert_eq!(told.fields.get("flight"), flight.fields.get("flight"));
                if message == "left" {
                    assert_eq!(told.fields.get("reason"), Some("result"));
                    let waited: f64 = told.fields.get("waited_seconds").unwrap().parse().unwrap();
                    assert!((0.0..60.0).contains(&waited));
                }
            }
        }
        seen.assert_closed();
        looked.assert_empty();
        assert_idle(&coalesce);
    });
}

#[test]
fn a_flight_that_is_elected_on_has_a_span_for_each_run() {
    fn are_both_elected() -> bool {
        let seen = Seen::default();
        let dispatch = seen.dispatch();
        let looked = Looked::default();
        let coalesce: Coalesce =
            SyncCoalesce::builder().on_error(OnFailure::Elect { times: 5 }).observer(looked.clone()).build();
        thread::scope(|scope| {
            let (coalesce, seen, dispatch) = (&coalesce, &seen, &dispatch);
            scope.spawn(move || {
                caller(dispatch, "leader", || {
                    coalesce.try_call(&1, || {
                        until("both", || seen.events("joined").len() == 2);
                        dawdle();
                        Err(1)
                    })
                })
            });
            until_running(coalesce, 1);
            for name in ["one", "two"] {
                scope.spawn(move || caller(dispatch, name, || coalesce.try_call(&1, || Err(2))));
            }
        });
        seen.assert_closed();
        looked.assert_empty();
        assert_idle(&coalesce);
        if coalesce.stats().elected < 2 {
            return false;
        }
        let runs = seen.named("flight");
        let [(first, one), (second, two), (third, three)] = &runs[..] else { panic!("{runs:?}") };
        assert!([two, three].iter().all(|run| run.fields.get("flight") == one.fields.get("flight")));
        assert!(runs.iter().all(|(_, run)| run.fields.get("outcome") == Some("error")));
        assert!(runs.iter().all(|(_, run)| run.fields.get("followers") == Some("0")));
        let callers = [seen.one("one"), seen.one("two")];
        // The one who is elected first, in the span of its own caller, waited for one run, and the other one for two.
        let of = |run: &Seeing| callers.iter().find(|(id, _)| run.parent == Some(*id)).unwrap().1.clone();
        assert_eq!(of(two).follows, [*first]);
        assert_eq!(of(three).follows, [*first, *second]);
        assert!(!of(three).follows.contains(third));
        assert_eq!(seen.events("elected").len(), 2);
        assert!(seen.events("left").is_empty());
        true
    }

    bounded(|| until("two elections", are_both_elected));
}

/// ```text
/// leader                         follower
/// takes the lead
///                                joins, and is told
/// is told that it leads
/// ```
#[test]
fn a_follower_that_is_told_before_its_leader_is_linked_too() {
    bounded(|| {
        let seen = Seen::default();
        let dispatch = seen.dispatch();
        let (log, looked) = (Log::default(), Looked::default());
        let late = seen.clone();
        let coalesce: Coalesce = SyncCoalesce::builder()
            .observer(Always(move |event: &str| {
                if event == "led" {
                    until("the follower", || late.events("joined").len() == 1);
                }
            }))
            .observer(looked.clone())
            .observer(log.clone())
            .build();
        thread::scope(|scope| {
            let (coalesce, dispatch) = (&coalesce, &dispatch);
            scope.spawn(move || caller(dispatch, "leader", || coalesce.try_call(&1, || Ok(1))));
            until_running(coalesce, 1);
            scope.spawn(move || caller(dispatch, "one", || coalesce.try_call(&1, || Ok(0))));
        });
        assert_eq!(super::words(&log.entries()[0].event), "joined");
        assert_eq!(seen.one("one").1.follows, [seen.one("flight").0]);
        seen.assert_closed();
        looked.assert_empty();
        assert_idle(&coalesce);
    });
}

/// ```text
/// leader                         follower
/// fails, and hands over
///                                is elected, is told that it leads
/// is told that its run ended
///                                its run ends
/// ```
#[test]
fn a_run_that_is_told_to_end_after_the_next_has_begun_ends_alone() {
    fn is_elected() -> bool {
        let seen = Seen::default();
        let dispatch = seen.dispatch();
        let looked = Looked::default();
        let late = seen.clone();
        let coalesce: Coalesce = SyncCoalesce::builder()
            .on_error(OnFailure::Elect { times: 1 })
            .observer(Always(move |event: &str| {
                if event == "ended" {
                    let is_missed = || !late.events("left").is_empty();
                    until("the second run", || late.named("flight").len() == 2 || is_missed());
                }
            }))
            .observer(looked.clone())
            .build();
        thread::scope(|scope| {
            let (coalesce, seen, dispatch) = (&coalesce, &seen, &dispatch);
            scope.spawn(move || {
                caller(dispatch, "leader", || {
                    coalesce.try_call(&1, || {
                        until_following(coalesce, 1);
                        dawdle();
                        Err(1)
                    })
                })
            });
            until_running(coalesce, 1);
            scope.spawn(move || {
                caller(dispatch, "one", || {
                    coalesce.try_call(&1, || {
                        until("the end of the first run", || seen.named("flight")[0].1.closed);
                        info!("works");
                        Ok(2)
                    })
                })
            });
        });
        seen.assert_closed();
        looked.assert_empty();
        assert_idle(&coalesce);
        if coalesce.stats().elected == 0 {
            return false;
        }
        let runs = seen.named("flight");
        let [(_, first), (second, last)] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!((first.fields.get("outcome"), last.fields.get("outcome")), (Some("error"), Some("value")));
        assert_eq!(seen.events("works")[0].span, Some(*second));
        true
    }

    bounded(|| until("an election", is_elected));
}

#[test]
fn nested_flights_are_nested_spans() {
    let seen = Seen::default();
    let looks = [Looked::default(), Looked::default()];
    // The flights of two coalescers with one shard have the same numbers.
    let coalescers =
        looks.clone().map(|looked| -> Coalesce { SyncCoalesce::builder().shards(1).observer(looked).build() });
    let [outer, inner] = &coalescers;
    dispatcher::with_default(&seen.dispatch(), || {
        let nested = || inner.try_call(&1, || Ok(*inner.try_call(&2, || Ok(1)).unwrap()));
        outer.try_call(&1, || Ok(*nested().unwrap())).unwrap();
        assert!(Span::current().is_disabled());
    });
    let spans = seen.named("flight");
    let [(first, outermost), (second, middle), (_, innermost)] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((outermost.parent, middle.parent, innermost.parent), (None, Some(*first), Some(*second)));
    assert_eq!(outermost.fields.get("flight"), middle.fields.get("flight"));
    seen.assert_closed();
    for (looked, coalesce) in looks.iter().zip(&coalescers) {
        looked.assert_empty();
        assert_idle(coalesce);
    }
}

#[test]
fn a_follower_inside_the_run_is_not_linked_to_itself() {
    bounded(|| {
        let seen = Seen::default();
        let dispatch = seen.dispatch();
        let looked = Looked::default();
        let coalesce = observed(looked.clone());
        dispatcher::with_default(&dispatch, || {
            let run = || {
                let (run, dispatch, coalesce) = (Span::current(), &dispatch, &coalesce);
                thread::scope(|scope| {
                    scope.spawn(move || {
                        dispatcher::with_default(dispatch, || {
                            run.in_scope(|| drop(coalesce.on(&1).timeout(Duration::ZERO).try_call(|_| Ok(0))));
                        });
                    });
                });
                Ok(1)
            };
            coalesce.try_call(&1, run).unwrap();
        });
        let (run, span) = seen.one("flight");
        assert_eq!((span.follows.len(), seen.events("left")[0].span), (0, Some(run)));
        seen.assert_closed();
        looked.assert_empty();
        assert_idle(&coalesce);
    });
}

#[test]
fn refusals_are_events() {
    let seen = Seen::default();
    let coalesce = observed(TracingObserver::new());
    dispatcher::with_default(&seen.dispatch(), || {
        coalesce.try_call(&1, || Ok(u8::from(coalesce.try_call(&1, || Ok(0)).is_err()))).unwrap();
        coalesce.close();
        drop(coalesce.try_call(&1, || Ok(0)));
    });
    let refused = seen.events("refused");
    let reasons: Vec<_> = refused.iter().map(|told| told.fields.get("reason").unwrap()).collect();
    assert_eq!(reasons, ["deadlock", "closed"]);
    assert!(refused.iter().all(|told| told.fields.get("coalescer") == Some("tour")));
    assert_eq!((refused[0].span, refused[1].span), (Some(seen.one("flight").0), None));
    seen.assert_closed();
    assert_idle(&coalesce);
}

#[test]
fn nothing_is_kept_without_a_subscriber() {
    bounded(|| {
        let looked = Looked::default();
        tour(&observed(looked.clone()));
        looked.assert_empty();
    });
}

/// A subscriber that panics in one of its methods, and counts what is open.
struct Panics {
    place: &'static str,
    spans: AtomicU64,
    open: Arc<AtomicI64>,
}

impl Panics {
    fn at(&self, place: &str) {
        if self.place == place {
            std::panic::resume_unwind(Box::new("a subscriber"));
        }
    }
}

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.at("new_span");
        self.open.fetch_add(1, SeqCst);
        Id::from_u64(self.spans.fetch_add(1, SeqCst) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.at("record");
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {
        self.at("record_follows_from");
    }

    fn event(&self, _: &Event<'_>) {
        self.at("event");
    }

    fn enter(&self, _: &Id) {
        self.at("enter");
    }

    fn exit(&self, _: &Id) {
        self.at("exit");
    }

    fn try_close(&self, _: Id) -> bool {
        self.open.fetch_sub(1, SeqCst);
        self.at("try_close");
        true
    }
}

#[test]
fn a_panicking_subscriber_leaves_nothing_behind() {
    bounded(|| {
        for place in ["new_span", "record", "event", "enter", "exit", "try_close"] {
            let open = Arc::new(AtomicI64::new(0));
            let looked = Looked::default();
            let coalesce = observed(looked.clone());
            with_default(Panics { place, spans: AtomicU64::new(0), open: Arc::clone(&open) }, || {
                assert_eq!(*coalesce.try_call(&1, || Ok(1)).unwrap(), 1, "{place}");
                assert!(coalesce.try_call(&1, || Err(2)).is_err(), "{place}");
                let nested = coalesce.try_call(&1, || Ok(*coalesce.try_call(&2, || Ok(3)).unwrap()));
                assert_eq!(*nested.unwrap(), 3, "{place}");
            });
            assert_eq!(open.load(SeqCst), 0, "{place} left spans open");
            looked.assert_empty();
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn a_link_that_panics_leaves_nothing_behind() {
    bounded(|| {
        let (seen, looked) = (Seen::default(), Looked::default());
        let dispatch = Dispatch::new(Registry::default().with(Unlinkable).with(seen.clone()));
        let coalesce = observed(looked.clone());
        thread::scope(|scope| {
            let (coalesce, dispatch) = (&coalesce, &dispatch);
            scope.spawn(move || {
                caller(dispatch, "leader", || {
                    coalesce.try_call(&1, || {
                        until_following(coalesce, 1);
                        Ok(1)
                    })
                })
            });
            until_running(coalesce, 1);
            let follower = scope.spawn(move || caller(dispatch, "one", || coalesce.try_call(&1, || Ok(0))));
            assert_eq!(*follower.join().unwrap().unwrap(), 1);
        });
        seen.assert_closed();
        looked.assert_empty();
        assert_idle(&coalesce);
    });
}

struct Unlinkable;

impl<S: Subscriber> Layer<S> for Unlinkable {
    fn on_follows_from(&self, _: &Id, _: &Id, _: Context<'_, S>) {
        std::panic::resume_unwind(Box::new("a layer"));
    }
}
