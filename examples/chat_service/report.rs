//! What the service says of itself: `/stats` as JSON, `/metrics` as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::conversations::Conversations;
use crate::support::provider::Provider;

/// Counts what was answered, and reads everybody else's counters when asked.
pub(crate) struct Report {
    pub(crate) conversations: Arc<Conversations>,
    /// The embedded one. It counts by itself, as a real one does when it writes the bill.
    pub(crate) provider: Option<Arc<Provider>>,
    pub(crate) began: Instant,
    pub(crate) posts: Mutex<Posts>,
}

/// Posted messages that were answered, followers' too.
#[derive(Default)]
pub(crate) struct Posts {
    by_status: BTreeMap<u16, u64>,
    /// How many took at most so long, for each of [`BUCKETS`].
    at_most: [u64; BUCKETS.len()],
    seconds: f64,
}

/// Seconds. A call of a model takes some.
const BUCKETS: [f64; 10] = [0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0];

/// Those of a coalescer's figures that go down too.
const LIVE: [&str; 3] = ["in_flight", "following", "running"];

impl Report {
    /// One more message was answered, in this time.
    pub(crate) fn count(&self, status: u16, took: Duration) {
        let mut posts = self.posts();
        *posts.by_status.entry(status).or_default() += 1;
        posts.seconds += took.as_secs_f64();
        for (count, bound) in posts.at_most.iter_mut().zip(BUCKETS) {
            *count += u64::from(took.as_secs_f64() <= bound);
        }
    }

    /// The statistics of both coalescers, all layers and the embedded provider. Costs are in US dollars.
    pub(crate) fn stats(&self) -> Value {
        let Conversations { store, upstream, coalesce, .. } = &*self.conversations;
        json!({
            "uptime_seconds": self.began.elapsed().as_secs_f64(),
            "messages": store.count().ok(),
            "posts": self.posts().by_status,
            "turns": coalesce.stats(),
            "stack": upstream.stats(),
            "provider": self.provider.as_ref().map(|provider| json!({
                "calls": provider.calls(),
                "answered_200": provider.answered(200),
                "answered_400": provider.answered(400),
                "answered_429": provider.answered(429),
                "busiest_second": provider.busiest_second(),
            })),
        })
    }

    /// The same as metrics.
    pub(crate) fn prometheus(&self) -> String {
        let stats = self.stats();
        let mut page = Page::default();
        page.family("chat_service_messages", "gauge", "Messages in the database");
        page.sample("chat_service_messages", "", &stats["messages"]);

        page.family("chat_service_post_seconds", "histogram", "Time until a posted message was answered");
        let posts = self.posts();
        let all: u64 = posts.by_status.values().sum();
        for (count, bound) in posts.at_most.iter().zip(BUCKETS) {
            page.sample("chat_service_post_seconds_bucket", &format!("le=\"{bound}\""), count);
        }
        page.sample("chat_service_post_seconds_bucket", "le=\"+Inf\"", all);
        page.sample("chat_service_post_seconds_sum", "", posts.seconds);
        page.sample("chat_service_post_seconds_count", "", all);
        page.family("chat_service_posts_total", "counter", "Posted messages, by the status they were answered with");
        for (status, count) in &posts.by_status {
            page.sample("chat_service_posts_total", &format!("status=\"{status}\""), count);
        }
        drop(posts);

        let coalescers = [("turns", &stats["turns"]), ("calls", &stats["stack"]["coalesce"])];
        for figure in keys(coalescers[0].1) {
            let is_live = LIVE.contains(&&**figure);
            let (kind, suffix) = if is_live { ("gauge", "") } else { ("counter", "_total") };
            let name = format!("chat_service_coalescer_{figure}{suffix}");
            page.family(&name, kind, "See sync_coalesce::Stats");
            for (coalescer, figures) in coalescers {
                page.sample(&name, &format!("coalescer=\"{coalescer}\""), &figures[figure]);
            }
        }
        for (layer, kind, suffix) in
            [("/stack", "counter", "_total"), ("/stack/cache", "gauge", ""), ("/stack/pace", "gauge", "")]
        {
            let figures = stats.pointer(layer).unwrap_or(&Value::Null);
            for figure in keys(figures).filter(|figure| figures[*figure].is_number()) {
                let name = format!("chat_service{}_{figure}{suffix}", layer.replace('/', "_"));
                page.family(&name, kind, "See sync_coalesce::stack::StackStats");
                page.sample(&name, "", &figures[figure]);
            }
        }
        if let Some(provider) = &self.provider {
            page.family("chat_service_provider_calls_total", "counter", "Requests that the embedded provider counted");
            page.sample("chat_service_provider_calls_total", "", provider.calls());
        }
        page.0
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(object: &Value) -> impl Iterator<Item = &String> {
    object.as_object().into_iter().flat_map(serde_json::Map::keys)
}

/// Text in Prometheus' format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        // What has no value has no sample.
        if value != "null" {
            let (open, close) = if label.is_empty() { ("", "") } else { ("{", "}") };
            let _ = writeln!(self.0, "{name}{open}{label}{close} {value}");
        }
    }
}
