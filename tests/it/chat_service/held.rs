//! A provider that holds its answers until the test lets them go.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use ureq_proto::http::{Request, Response};

use crate::provider::loopback::server::{Body, Server};
use crate::provider::loopback::shapes::{Vendor, completion};
use crate::support::LIMIT;

pub(super) struct Held {
    server: Server,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    calls: AtomicU64,
    status: AtomicU16,
    code: Mutex<Value>,
    last_request: Mutex<Value>,
    /// Calls that get their answer; those that come after them are held.
    released: Mutex<u64>,
    more: Condvar,
}

impl Held {
    /// A provider that answers at once, until it is told to [hold](Held::hold).
    pub(super) fn start() -> Held {
        let desk = Arc::new(Desk { status: 200.into(), released: u64::MAX.into(), ..Desk::default() });
        let behind = Arc::clone(&desk);
        let server = Server::start(move |request| behind.handle(request)).unwrap();
        Held { server, desk }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), Vendor::OpenAi.path())
    }

    /// Calls that have come, held ones too.
    pub(super) fn calls(&self) -> u64 {
        self.desk.calls.load(SeqCst)
    }

    pub(super) fn last_request(&self) -> Value {
        self.desk.last_request.lock().unwrap().clone()
    }

    pub(super) fn answer_with(&self, status: u16) {
        self.desk.status.store(status, SeqCst);
    }

    /// Answers with this error, by its name too.
    pub(super) fn refuse_with(&self, status: u16, code: &str) {
        *self.desk.code.lock().unwrap() = code.into();
        self.answer_with(status);
    }

    /// Holds all calls that come from now on.
    pub(super) fn hold(&self) {
        self.hold_after(0);
    }

    /// Lets so many more calls have their answer, and holds those that come after them.
    pub(super) fn hold_after(&self, calls: u64) {
        *self.desk.released.lock().unwrap() = self.calls() + calls;
    }

    /// Lets all calls have their answer, those to come too.
    pub(super) fn release(&self) {
        *self.desk.released.lock().unwrap() = u64::MAX;
        self.desk.more.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The server waits for its handlers.
        self.release();
    }
}

impl Desk {
    fn handle(&self, request: &Request<Vec<u8>>) -> Response<Body> {
        let request: Value = serde_json::from_slice(request.body()).unwrap();
        self.last_request.lock().unwrap().clone_from(&request);
        let number = self.calls.fetch_add(1, SeqCst) + 1;
        let released = self.released.lock().unwrap();
        drop(self.more.wait_timeout_while(released, LIMIT, |released| number > *released).unwrap());
        let status = self.status.load(SeqCst);
        let body = match status {
            200 => completion(Vendor::OpenAi, &request, number),
            status => json!({ "error": {
                "message": format!("as the test wants it: {status}"),
                "code": *self.code.lock().unwrap(),
            } }),
        };
        let mut response = Response::new(Body::Whole(body.to_string().into_bytes()));
        *response.status_mut() = status.try_into().unwrap();
        response
    }
}
