//! A provider of chat completions on loopback, for examples and tests: both vendors' shapes, no model behind them.
//!
//! An answer is a function of what the request says, so that whoever asks can tell a right answer from a wrong one.

#![allow(dead_code, reason = "each program that includes this file uses a part of it")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::Value;
use ureq_proto::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use ureq_proto::http::{Method, Request, Response, StatusCode};

use self::server::{Body, Meter};
use self::shapes::{Refusal, Vendor, refuse};

// Named by path, so that a test can include this file alone.
#[path = "embeddings.rs"]
pub(crate) mod embeddings;
#[path = "server.rs"]
pub(crate) mod server;
#[path = "shapes.rs"]
pub(crate) mod shapes;

/// How a [`Provider`] treats those who ask. The default answers everybody at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// Time that an answer takes, and a failure of `refuse_first`, `busy_first` or `fail_first` too. Other refusals come at once.
    pub(crate) latency: Duration,
    /// Time between two events of an answer that is streamed.
    pub(crate) pause: Duration,
    /// Requests per second; as many as fit in one second may come together, the others get 429 and `Retry-After`.
    pub(crate) per_second: Option<f64>,
    /// Requests that get 429, with a second as `Retry-After`, before the first one is answered: a quota used up by others.
    pub(crate) refuse_first: u64,
    /// Requests that get 503, with a second as `Retry-After`, before the first one is answered. `u64::MAX` refuses all.
    pub(crate) busy_first: u64,
    /// Requests that get 500 before the first one is answered. `u64::MAX` fails them all.
    pub(crate) fail_first: u64,
    /// Requests whose answer is to something else, before the first right one. `u64::MAX` for all.
    pub(crate) wrong_first: u64,
    /// Answers 400 unless user and assistant take turns, the user first.
    pub(crate) strict_roles: bool,
    /// Answers 401 to those who do not show this key, in their vendor's header.
    pub(crate) api_key: Option<String>,
}

/// A running provider. Dropping it ends its threads; who is still waiting for an answer gets 503.
pub(crate) struct Provider {
    // Declared before the server, so that it goes first: the handlers stop waiting, then the server joins them.
    running: Sender<Infallible>,
    server: server::Server,
    desk: Arc<Desk>,
}

impl Provider {
    /// A provider on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The server cannot be started.
    pub(crate) fn start(behaviour: Behaviour) -> io::Result<Provider> {
        let (running, stopped) = bounded(0);
        let desk = Arc::new(Desk {
            latency: AtomicU64::new(nanos(behaviour.latency)),
            pause: AtomicU64::new(nanos(behaviour.pause)),
            behaviour,
            stopped,
            opened: Instant::now(),
            next_slot: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            arrivals: Mutex::default(),
            events: Arc::default(),
            texts: AtomicU64::new(0),
            answered: [const { AtomicU64::new(0) }; STATUSES.len()],
        });
        let behind = Arc::clone(&desk);
        let server = server::Server::start(move |request| behind.handle(request))?;
        Ok(Provider { running, server, desk })
    }

    /// Address of one vendor's endpoint, such as `http://127.0.0.1:40001/v1/messages`.
    pub(crate) fn url(&self, vendor: Vendor) -> String {
        format!("http://{}{}", self.server.address(), vendor.path())
    }

    /// Requests that came to the endpoints, whatever became of them.
    pub(crate) fn calls(&self) -> u64 {
        self.desk.calls.load(Ordering::Acquire)
    }

    /// Address of the endpoint for embeddings, in OpenAI's shape.
    pub(crate) fn embeddings_url(&self) -> String {
        format!("http://{}{}", self.server.address(), embeddings::PATH)
    }

    /// Texts that came to the endpoint for embeddings, in requests that were answered with 200.
    pub(crate) fn texts(&self) -> u64 {
        self.desk.texts.load(Ordering::Acquire)
    }

    /// The most requests that came to the two endpoints in one second, whichever second that was.
    pub(crate) fn busiest_second(&self) -> usize {
        self.desk.arrivals().most
    }

    /// Requests to the endpoints that were answered with `status`.
    pub(crate) fn answered(&self, status: u16) -> u64 {
        let place = STATUSES.iter().position(|known| *known == status);
        place.map_or(0, |place| self.desk.answered[place].load(Ordering::Acquire))
    }

    /// Changes the time that answers take, for requests that come from now on.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.desk.latency.store(nanos(latency), Ordering::Release);
    }

    /// Changes the time between two events, for answers that begin from now on.
    pub(crate) fn set_pause(&self, pause: Duration) {
        self.desk.pause.store(nanos(pause), Ordering::Release);
    }

    /// Events of streamed answers sent so far.
    pub(crate) fn events(&self) -> u64 {
        self.desk.events.sent.load(Ordering::Acquire)
    }

    /// Those of them that were sent after their client had gone.
    pub(crate) fn events_in_vain(&self) -> u64 {
        self.desk.events.in_vain.load(Ordering::Acquire)
    }

    /// Streamed answers that are over, sent to their end or given up.
    pub(crate) fn streams_over(&self) -> u64 {
        self.desk.events.over.load(Ordering::Acquire)
    }
}

const SECOND: u64 = 1_000_000_000;
const STATUSES: [u16; 7] = [200, 400, 401, 405, 429, 500, 503];

/// What the threads of all connections share.
struct Desk {
    behaviour: Behaviour,
    latency: AtomicU64,
    pause: AtomicU64,
    events: Arc<Meter>,
    stopped: Receiver<Infallible>,
    opened: Instant,
    next_slot: AtomicU64,
    admitted: AtomicU64,
    calls: AtomicU64,
    texts: AtomicU64,
    arrivals: Mutex<Arrivals>,
    answered: [AtomicU64; STATUSES.len()],
}

/// When requests came, as far back as a second before the last one.
#[derive(Default)]
struct Arrivals {
    last_second: VecDeque<Instant>,
    most: usize,
}

impl Desk {
    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_arrival(&self) {
        let mut arrivals = self.arrivals();
        let now = Instant::now();
        while arrivals.last_second.front().is_some_and(|came| now.duration_since(*came) >= Duration::from_secs(1)) {
            arrivals.last_second.pop_front();
        }
        arrivals.last_second.push_back(now);
        arrivals.most = arrivals.most.max(arrivals.last_second.len());
    }

    fn handle(&self, request: &Request<Vec<u8>>) -> Response<Body> {
        let path = request.uri().path();
        if path == embeddings::PATH {
            return self.embed(request);
        }
        let Some(vendor) = [Vendor::OpenAi, Vendor::Anthropic].into_iter().find(|vendor| vendor.path() == path) else {
            let message = format!("Unknown request URL: {} {path}", request.method());
            let refusal = Refusal { status: 404, message, retry_after: None };
            return reply(404, None, &shapes::refused(Vendor::OpenAi, &refusal, 0));
        };
        let number = self.calls.fetch_add(1, Ordering::AcqRel) + 1;
        self.note_arrival();
        let outcome = if request.method() == Method::POST {
            self.consider(vendor, request.headers(), request.body())
        } else {
            refuse(405, format!("Not allowed to {} this endpoint", request.method()))
        };
        let (status, retry_after, body) = match outcome {
            Ok(request) if shapes::is_streamed(&request) => {
                self.answered[0].fetch_add(1, Ordering::AcqRel);
                return self.stream(shapes::events(vendor, &request, number));
            }
            Ok(request) => (200, None, shapes::completion(vendor, &request, number)),
            Err(refusal) => (refusal.status, refusal.retry_after, shapes::refused(vendor, &refusal, number)),
        };
        if let Some(place) = STATUSES.iter().position(|known| *known == status) {
            self.answered[place].fetch_add(1, Ordering::AcqRel);
        }
        reply(status, retry_after, &body)
    }

    /// One event after the other, with pauses that the provider's end cuts short, and the answer with them.
    fn stream(&self, events: Vec<String>) -> Response<Body> {
        let pause = Duration::from_nanos(self.pause.load(Ordering::Acquire));
        let stopped = self.stopped.clone();
        let pieces = events.into_iter().enumerate().map(move |(place, event)| {
            let pause = if place == 0 { Duration::ZERO } else { pause };
            match stopped.recv_timeout(pause) {
                Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(event.into_bytes()),
            }
        });
        let mut response = Response::new(Body::Pieces(Box::new(pieces), Arc::clone(&self.events)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        response
    }

    fn embed(&self, request: &Request<Vec<u8>>) -> Response<Body> {
        let number = self.calls.fetch_add(1, Ordering::AcqRel) + 1;
        let outcome = if request.method() == Method::POST {
            self.texts_to_embed(request)
        } else {
            refuse(405, format!("Not allowed to {} this endpoint", request.method()))
        };
        let (status, retry_after, body) = match outcome {
            Ok((model, texts)) => (200, None, embeddings::answer(&model, &texts)),
            Err(refusal) => (refusal.status, refusal.retry_after, shapes::refused(Vendor::OpenAi, &refusal, number)),
        };
        if let Some(place) = STATUSES.iter().position(|known| *known == status) {
            self.answered[place].fetch_add(1, Ordering::AcqRel);
        }
        reply(status, retry_after, &body)
    }

    /// The model and the texts of a request, after the time that an answer to it takes.
    fn texts_to_embed(&self, request: &Request<Vec<u8>>) -> Result<(String, Vec<String>), Refusal> {
        self.check_key(Vendor::OpenAi, request.headers())?;
        self.check_pace()?;
        let (model, texts) = embeddings::read(request.body())?;
        let latency = Duration::from_nanos(self.latency.load(Ordering::Acquire));
        if let Err(RecvTimeoutError::Disconnected) = self.stopped.recv_timeout(latency) {
            return refuse(503, "The provider is shutting down");
        }
        if self.admitted.fetch_add(1, Ordering::AcqRel) < self.behaviour.fail_first {
            return refuse(500, "The server had an error while processing the request");
        }
        self.texts.fetch_add(texts.len() as u64, Ordering::AcqRel);
        Ok((model, texts))
    }

    /// The parsed request, after the time that an answer to it takes.
    fn consider(&self, vendor: Vendor, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        self.check_key(vendor, headers)?;
        self.check_pace()?;
        let mut request: Value = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(bad) => return refuse(400, format!("The body is not valid JSON: {bad}")),
        };
        shapes::check_shape(vendor, &request)?;
        if self.behaviour.strict_roles {
            shapes::check_roles(&request)?;
        }
        let place = self.admitted.fetch_add(1, Ordering::AcqRel);
        let latency = Duration::from_nanos(self.latency.load(Ordering::Acquire));
        // A sleep that the provider's end cuts short: nothing is ever sent here, the channel only closes.
        if let Err(RecvTimeoutError::Disconnected) = self.stopped.recv_timeout(latency) {
            return refuse(503, "The provider is shutting down");
        }
        if place < self.behaviour.refuse_first {
            return too_many("Rate limit reached by other requests".into(), 1);
        }
        if place < self.behaviour.busy_first {
            let message = "The server is overloaded".into();
            return Err(Refusal { status: 503, message, retry_after: Some(1) });
        }
        if place < self.behaviour.fail_first {
            return refuse(500, "The server had an error while processing the request");
        }
        if place < self.behaviour.wrong_first {
            request["messages"].take();
        }
        Ok(request)
    }

    fn check_key(&self, vendor: Vendor, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(expected) = &self.behaviour.api_key else {
            return Ok(());
        };
        let (name, expected) = match vendor {
            Vendor::OpenAi => (AUTHORIZATION.as_str(), format!("Bearer {expected}")),
            Vendor::Anthropic => ("x-api-key", expected.clone()),
        };
        match headers.get(name) {
            Some(shown) if shown.as_bytes() == expected.as_bytes() => Ok(()),
            _ => refuse(401, format!("A valid key is missing from the header {name}")),
        }
    }

    /// The generic cell rate algorithm in one atomic: `next_slot` is when the next request would be on time, and a
    /// request may come up to one second early.
    fn check_pace(&self) -> Result<(), Refusal> {
        let Some(per_second) = self.behaviour.per_second else {
            return Ok(());
        };
        let interval = nanos(Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX));
        let early = SECOND.saturating_sub(interval);
        let now = nanos(self.opened.elapsed());
        let taken = self.next_slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, |slot| {
            let slot = slot.max(now);
            (slot - now <= early).then_some(slot.saturating_add(interval))
        });
        let Err(slot) = taken else { return Ok(()) };
        // The header has whole seconds only.
        let wait = slot.saturating_sub(early).saturating_sub(now).div_ceil(SECOND).max(1);
        too_many(format!("Rate limit reached: {per_second} requests per second"), wait)
    }
}

fn too_many<V>(message: String, retry_after: u64) -> Result<V, Refusal> {
    Err(Refusal { status: 429, message, retry_after: Some(retry_after) })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn reply(status: u16, retry_after: Option<u64>, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}
