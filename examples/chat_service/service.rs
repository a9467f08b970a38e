//! The HTTP face: what each path answers.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sync_coalesce::Role;
use ureq_proto::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use ureq_proto::http::{Method, Request, Response, StatusCode};

use crate::conversations::{Conversations, told};
use crate::failure::Failure;
use crate::report::Report;
use crate::store::Said;
use crate::support::provider::server::Body;

/// Bytes of a conversation's name, and of an `Idempotency-Key`.
const NAME_LIMIT: usize = 255;

/// Whether the one who answers led the flight or followed; bodies are the same for both.
const ROLE: HeaderName = HeaderName::from_static("coalesce-role");

/// Everything that a request can ask for.
pub(crate) struct Service {
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) report: Report,
}

/// The body of a message that is posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    content: String,
}

impl Service {
    /// The response to any request.
    pub(crate) fn handle(&self, request: &Request<Vec<u8>>) -> Response<Body> {
        let began = Instant::now();
        let path: Vec<_> = request.uri().path().split('/').skip(1).collect();
        let (is_get, is_post) = (request.method() == Method::GET, request.method() == Method::POST);
        match path[..] {
            ["threads", thread, "messages"] if is_post => {
                let response = self.post(thread, request).unwrap_or_else(|failure| refuse(&failure));
                self.report.count(response.status().as_u16(), began.elapsed());
                response
            }
            ["threads", thread, "messages"] if is_get => self.get(thread).unwrap_or_else(|failure| refuse(&failure)),
            ["metrics"] if is_get => text("text/plain; version=0.0.4", self.report.prometheus()),
            ["stats"] if is_get => json(200, &self.report.stats()),
            ["threads", _, "messages"] | ["metrics" | "stats"] => error(405, "this path has another method"),
            _ => error(404, "there are /threads/NAME/messages, /metrics and /stats"),
        }
    }

    fn post(&self, thread: &str, request: &Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        let bad = |what: String| Err(Failure::BadRequest(what));
        check_name("the conversation's name", thread)?;
        let request_id = match request.headers().get("idempotency-key").map(HeaderValue::to_str) {
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return bad("Idempotency-Key: visible ASCII characters only".to_owned()),
            None => None,
        };
        if let Some(id) = request_id {
            check_name("Idempotency-Key", id)?;
        }
        let posted: Posted = match serde_json::from_slice(request.body()) {
            Ok(posted) => posted,
            Err(error) => return bad(format!("the body should be {{\"content\": \"text\"}}: {error}")),
        };
        if posted.content.trim().is_empty() {
            return bad("content: there is no text".to_owned());
        }
        let outcome = self.conversations.say(Said { thread, request_id, content: &posted.content });
        let role = if matches!(outcome.role, Role::Leader { .. }) { "leader" } else { "follower" };
        let mut response = match &outcome.result {
            Ok(pair) => json(200, &json!({ "thread": thread, "user": pair.user, "assistant": pair.assistant })),
            Err(failed) => {
                let (status, what) = told(failed);
                error(status, &what)
            }
        };
        response.headers_mut().insert(ROLE, HeaderValue::from_static(role));
        Ok(response)
    }

    fn get(&self, thread: &str) -> Result<Response<Body>, Failure> {
        check_name("the conversation's name", thread)?;
        let messages = self.conversations.messages(thread)?;
        Ok(if messages.is_empty() {
            error(404, "there is no such conversation")
        } else {
            json(200, &json!({ "thread": thread, "messages": messages }))
        })
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
    if name.is_empty() || name.len() > NAME_LIMIT || !is_plain {
        let what = format!("{what}: 1 to {NAME_LIMIT} letters, digits and any of - _ . ~");
        return Err(Failure::BadRequest(what));
    }
    Ok(())
}

fn refuse(failure: &Failure) -> Response<Body> {
    error(failure.status(), &failure.to_string())
}

fn error(status: u16, what: &str) -> Response<Body> {
    let mut response = json(status, &json!({ "error": what }));
    if status == 503 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_string(body).expect("text and numbers can be written");
    let mut response = text("application/json", body);
    *response.status_mut() = StatusCode::from_u16(status).expect("statuses here are three digits");
    response
}

fn text(kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body.into_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
