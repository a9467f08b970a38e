//! A blocking client for chat endpoints of both vendors' shapes.

use std::fmt;
use std::io::{BufRead, BufReader, ErrorKind, Lines};
use std::time::Duration;

use serde_json::Value;
#[cfg(feature = "retry")]
use sync_coalesce::stack::retry::{retry_after, retryable};
use ureq::http::Uri;

use super::provider::shapes::Vendor;

/// Sends chat requests to one endpoint. Shared by all threads, as its connections are.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    pub(crate) vendor: Vendor,
    key: Option<String>,
    price: Price,
}

/// United States dollars for a million tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    pub(crate) input: f64,
    pub(crate) output: f64,
}

/// What a provider answered, and what that cost.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) dollars: f64,
}

/// Why there is no [`Reply`].
#[derive(Debug)]
pub(crate) enum SendError {
    /// The provider said no, in these words. The status and the whole body say whether asking again later can help.
    Refused { status: u16, message: String, body: String, retry_after: Option<String> },
    /// No whole answer came: not reached, broken off or out of time. Asking again can help.
    Transport(ureq::Error),
    /// An answer came that is no chat completion. Asking again will not help.
    Shape(&'static str),
}

/// Refuses a URL to which nothing could be sent.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("--url {url}: {why}"));
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => return bad(&format!("not a URL: {error}")),
    };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "example-https") => {}
        Some("https") => return bad("https is not built in: add --features example-https to cargo's arguments"),
        _ => return bad("it does not begin with http:// or https://"),
    }
    let (host, port) = (uri.host().unwrap_or_default(), uri.port());
    let place = uri.authority().and_then(|authority| authority.as_str().rsplit('@').next()).unwrap_or_default();
    if host.is_empty() {
        return bad("it names no host");
    }
    if port.is_none() && place != host {
        return bad("its port is no number from 0 to 65535");
    }
    Ok(())
}

impl Client {
    /// A client that keeps up to `connections` of them open, and gives up on a request after `timeout`.
    pub(crate) fn new(
        url: String,
        vendor: Vendor,
        key: Option<String>,
        price: Price,
        connections: usize,
        timeout: Duration,
    ) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections);
        // A proxy named by the environment is meant for the world, not for a port of this process.
        let config = if url.starts_with("http://127.0.0.1:") { config.proxy(None) } else { config };
        Client { agent: config.build().into(), url, vendor, key, price }
    }

    /// The provider's reply to `request`, which has to be in the endpoint's shape.
    ///
    /// # Blocking
    ///
    /// Until the whole reply has come, at most for the client's timeout.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub(crate) fn send(&self, request: &Value) -> Result<Reply, SendError> {
        let mut response = self.post(request)?;
        let body = response.body_mut().read_to_string().map_err(SendError::Transport)?;
        self.read(&serde_json::from_str(&body).unwrap_or_default())
    }

    /// The provider's reply to `request`, word by word as it comes. What is dropped before its end closes the connection.
    ///
    /// # Blocking
    ///
    /// Until the reply begins, and then in each `next` until there is more of it; at most for the client's timeout in
    /// all.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; also as the last item, if the reply breaks off.
    pub(crate) fn stream(&self, request: &Value) -> Result<Words, SendError> {
        let mut request = request.clone();
        request["stream"] = Value::Bool(true);
        let response = self.post(&request)?;
        Ok(Words { lines: BufReader::new(response.into_body().into_reader()).lines(), is_over: false })
    }

    /// The response to `request`, if it is a success.
    fn post(&self, request: &Value) -> Result<ureq::http::Response<ureq::Body>, SendError> {
        let mut post = self.agent.post(&self.url).content_type("application/json");
        if self.vendor == Vendor::Anthropic {
            post = post.header("anthropic-version", "2023-06-01");
        }
        if let Some(key) = &self.key {
            post = match self.vendor {
                Vendor::OpenAi => post.header("authorization", format!("Bearer {key}")),
                Vendor::Anthropic => post.header("x-api-key", key),
            };
        }
        let mut response = post.send(request.to_string()).map_err(SendError::Transport)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.body_mut().read_to_string().map_err(SendError::Transport)?;
        let retry_after = response.headers().get("retry-after");
        Err(SendError::Refused {
            status: response.status().as_u16(),
            message: message(&serde_json::from_str(&body).unwrap_or_default()),
            body,
            retry_after: retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned),
        })
    }

    fn read(&self, body: &Value) -> Result<Reply, SendError> {
        let (text, input, output) = match self.vendor {
            Vendor::OpenAi => {
                let text = body["choices"][0]["message"]["content"].as_str();
                (text.map(str::to_owned), "prompt_tokens", "completion_tokens")
            }
            Vendor::Anthropic => {
                let blocks = body["content"].as_array();
                let text = blocks.map(|blocks| blocks.iter().filter_map(|block| block["text"].as_str()).collect());
                (text, "input_tokens", "output_tokens")
            }
        };
        let tokens = |name| body["usage"][name].as_f64().unwrap_or_default();
        Ok(Reply {
            id: body["id"].as_str().unwrap_or_default().to_owned(),
            text: text.ok_or(SendError::Shape("the answer holds no text"))?,
            dollars: self.dollars(tokens(input), tokens(output)),
        })
    }

    /// United States dollars for so many tokens of a request and of its answer.
    pub(crate) fn dollars(&self, input: f64, output: f64) -> f64 {
        (input * self.price.input + output * self.price.output) / 1e6
    }
}

/// What an error says for people to read.
fn message(error: &Value) -> String {
    error["error"]["message"].as_str().unwrap_or("no reason given").to_owned()
}

/// The words of a reply, from the server-sent events of either vendor.
pub(crate) struct Words {
    lines: Lines<BufReader<ureq::BodyReader<'static>>>,
    is_over: bool,
}

impl Iterator for Words {
    type Item = Result<String, SendError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let Some(line) = self.lines.next() else {
                self.is_over = true;
                return Some(Err(SendError::Shape("the answer broke off")));
            };
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(SendError::Transport(ureq::Error::Io(error))));
                }
            };
            // The names of events say nothing that is not in their data.
            let Some(data) = line.strip_prefix("data:") else { continue };
            let data: Value = serde_json::from_str(data).unwrap_or_else(|_| data.trim().into());
            // OpenAI's end, and Anthropic's.
            self.is_over = data == "[DONE]" || data["type"] == "message_stop";
            let word =
                [&data["choices"][0]["delta"]["content"], &data["delta"]["text"]].into_iter().find_map(Value::as_str);
            if let Some(word) = word.filter(|word| !word.is_empty()) {
                return Some(Ok(word.to_owned()));
            }
            if data["type"] == "error" || data["error"].is_object() {
                self.is_over = true;
                let (message, body) = (message(&data), data.to_string());
                return Some(Err(SendError::Refused { status: 200, message, body, retry_after: None }));
            }
        }
        None
    }
}

impl SendError {
    /// Whether the request went out; if not, there was nobody to send it to.
    pub(crate) fn was_sent(&self) -> bool {
        match self {
            SendError::Transport(error) => match error {
                ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => false,
                ureq::Error::Io(error) => !matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
                ),
                _ => true,
            },
            SendError::Refused { .. } | SendError::Shape(_) => true,
        }
    }

    /// Whether asking again can help.
    #[cfg(feature = "retry")]
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            SendError::Transport(_) => true,
            SendError::Refused { status, body, .. } => retryable::response(*status, body),
            SendError::Shape(_) => false,
        }
    }

    /// How long the provider asks to be left alone.
    #[cfg(feature = "retry")]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            SendError::Refused { retry_after: Some(value), .. } => retry_after(value),
            _ => None,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Refused { status, message, retry_after: Some(seconds), .. } => {
                write!(f, "the provider answered {status}: {message} (come back in {seconds} s)")
            }
            SendError::Refused { status, message, retry_after: None, .. } => {
                write!(f, "the provider answered {status}: {message}")
            }
            SendError::Transport(error) => write!(f, "no answer came: {error}"),
            SendError::Shape(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SendError::Transport(error) => error.source(),
            SendError::Refused { .. } | SendError::Shape(_) => None,
        }
    }
}
