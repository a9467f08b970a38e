//! The adapter for `metrics`, read by a recorder of this file.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use ::metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder,
};
use sync_coalesce::observe::MetricsObserver;

use super::{observed, tour};
use crate::support::thread;
use crate::support::{assert_idle, bounded, until_following};

/// Keeps everything by its name and labels, as Prometheus writes them.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Metrics>>);

#[derive(Default)]
struct Metrics {
    described: BTreeMap<String, Option<Unit>>,
    counters: BTreeMap<String, Arc<AtomicU64>>,
    gauges: BTreeMap<String, Arc<AtomicU64>>,
    histograms: BTreeMap<String, Arc<Values>>,
    registrations: usize,
}

#[derive(Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

fn name(key: &Key) -> String {
    let labels: Vec<String> = key.labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Kept {
    fn describe(&self, key: &KeyName, unit: Option<Unit>) {
        let before = self.0.lock().unwrap().described.insert(key.as_str().to_owned(), unit);
        assert_eq!(before, None, "{} is described twice", key.as_str());
    }

    fn counter(&self, name: &str) -> u64 {
        self.0.lock().unwrap().counters[name].load(SeqCst)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.0.lock().unwrap().gauges[name].load(SeqCst))
    }

    fn histogram(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().histograms[name].0.lock().unwrap().clone()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut metrics = self.0.lock().unwrap();
        metrics.registrations += 1;
        Counter::from_arc(Arc::clone(metrics.counters.entry(name(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut metrics = self.0.lock().unwrap();
        metrics.registrations += 1;
        Gauge::from_arc(Arc::clone(metrics.gauges.entry(name(key)).or_default()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut metrics = self.0.lock().unwrap();
        metrics.registrations += 1;
        Histogram::from_arc(Arc::clone(metrics.histograms.entry(name(key)).or_default()))
    }
}

#[test]
fn metrics_tell_what_the_counters_count() {
    bounded(|| {
        let kept = Kept::default();
        let coalesce = observed(with_local_recorder(&kept, || MetricsObserver::named("tour")));
        let registrations = kept.0.lock().unwrap().registrations;
        let missed = tour(&coalesce);
        let stats = coalesce.stats();
        assert_eq!(kept.0.lock().unwrap().registrations, registrations, "an event looked something up");

        let counted = [
            ("led_total{coalescer=\"tour\"}", stats.underlying_calls),
            ("joined_total{coalescer=\"tour\"}", stats.coalesced_calls),
            ("elected_total{coalescer=\"tour\"}", stats.elected),
            ("left_total{coalescer=\"tour\",reason=\"result\"}", 6 + missed),
            ("left_total{coalescer=\"tour\",reason=\"timed_out\"}", stats.timed_out),
            ("left_total{coalescer=\"tour\",reason=\"impatient\"}", stats.impatient),
            ("left_total{coalescer=\"tour\",reason=\"cancelled\"}", 1),
            ("left_total{coalescer=\"tour\",reason=\"closed\"}", 1),
            ("left_total{coalescer=\"tour\",reason=\"deadlock\"}", 0),
            ("failed_total{coalescer=\"tour\"}", stats.failed),
            ("panicked_total{coalescer=\"tour\"}", stats.panicked),
            ("refused_total{coalescer=\"tour\",reason=\"deadlock\"}", stats.deadlocks),
            ("refused_total{coalescer=\"tour\",reason=\"overloaded\"}", stats.overloaded),
            ("refused_total{coalescer=\"tour\",reason=\"closed\"}", stats.closed),
        ];
        for (name, count) in counted {
            assert_eq!(kept.counter(&format!("sync_coalesce_{name}")), count, "{name}");
        }
        assert_eq!(kept.0.lock().unwrap().counters.len(), counted.len());
        for gauge in ["running", "following"] {
            assert!(kept.gauge(&format!("sync_coalesce_{gauge}{{coalescer=\"tour\"}}")).abs() < 0.5);
        }
        let runs = kept.histogram("sync_coalesce_run_seconds{coalescer=\"tour\"}");
        let waits = kept.histogram("sync_coalesce_wait_seconds{coalescer=\"tour\"}");
        assert_eq!((runs.len() as u64, waits.len() as u64), (stats.underlying_calls, stats.coalesced_calls));
        assert!(runs.iter().chain(&waits).all(|seconds| (0.0..60.0).contains(seconds)));
    });
}

#[test]
fn gauges_tell_what_runs_and_who_waits_now() {
    bounded(|| {
        let kept = Kept::default();
        let coalesce = observed(with_local_recorder(&kept, MetricsObserver::new));
        let gauges = || (kept.gauge("sync_coalesce_running{}"), kept.gauge("sync_coalesce_following{}"));
        let exactly = |running: f64, following: f64| gauges() == (running, following);
        assert!(exactly(0.0, 0.0), "{:?}", gauges());
        coalesce
            .try_call(&1, || {
                assert!(exactly(1.0, 0.0), "{:?}", gauges());
                thread::scope(|scope| {
                    let follower = scope.spawn(|| coalesce.try_call(&1, || Ok(0)));
                    until_following(&coalesce, 1);
                    crate::support::until("the gauge", || exactly(1.0, 1.0));
                    coalesce.cancel(&1);
                    drop(follower.join().unwrap());
                });
                assert!(exactly(1.0, 0.0), "{:?}", gauges());
                Ok(1)
            })
            .unwrap();
        assert!(exactly(0.0, 0.0), "{:?}", gauges());
        assert_idle(&coalesce);
    });
}

#[test]
fn each_metric_is_described_once_and_named_by_the_rules() {
    let kept = Kept::default();
    with_local_recorder(&kept, || drop(MetricsObserver::named("tour")));
    let metrics = kept.0.lock().unwrap();
    let names = |metrics: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        metrics.map(|name| name.split('{').next().unwrap().to_owned()).collect()
    };
    let counters = names(&mut metrics.counters.keys());
    let histograms = names(&mut metrics.histograms.keys());
    let gauges = names(&mut metrics.gauges.keys());
    assert!(counters.iter().all(|name| name.ends_with("_total") && metrics.described[name] == Some(Unit::Count)));
    assert!(histograms.iter().all(|name| name.ends_with("_seconds") && metrics.described[name] == Some(Unit::Seconds)));
    assert!(gauges.iter().all(|name| metrics.described[name] == Some(Unit::Count)));
    let mut all = [counters, histograms, gauges].concat();
    all.sort();
    all.dedup();
    assert!(all.iter().all(|name| name.starts_with("sync_coalesce_")));
    assert_eq!(all, metrics.described.keys().cloned().collect::<Vec<_>>());
}
