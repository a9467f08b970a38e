//! Embeddings in OpenAI's documented shape: what the loopback provider answers, and a blocking client.

#![allow(dead_code, reason = "each program that includes this file uses a part of it")]

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::shapes::{Refusal, refuse};

/// Where embeddings are served, below the host.
pub(crate) const PATH: &str = "/v1/embeddings";

/// Inputs in one request, at most; as documented.
const MOST: usize = 2048;
const DIMENSIONS: usize = 8;

/// The loopback provider's vector for a text: eight numbers of its digest, of length 1 together.
pub(crate) fn vector_of(text: &str) -> Vec<f32> {
    let digest = blake3::hash(text.as_bytes());
    let numbers: Vec<f32> = digest.as_bytes()[..DIMENSIONS].iter().map(|byte| f32::from(*byte) - 127.5).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.into_iter().map(|number| number / length).collect()
}

/// The model and the texts of a request.
pub(crate) fn read(body: &[u8]) -> Result<(String, Vec<String>), Refusal> {
    let request: Value = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(bad) => return refuse(400, format!("The body is not valid JSON: {bad}")),
    };
    let Some(model) = request["model"].as_str() else {
        return refuse(400, "model: a string is required");
    };
    let texts: Option<Vec<String>> = match &request["input"] {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    match texts {
        Some(texts) if !texts.is_empty() && texts.len() <= MOST && texts.iter().all(|text| !text.is_empty()) => {
            Ok((model.to_owned(), texts))
        }
        _ => refuse(400, format!("input: a string or 1 to {MOST} strings are required, none of them empty")),
    }
}

/// The body of a 200.
pub(crate) fn answer(model: &str, texts: &[String]) -> Value {
    let vectors = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": vector_of(text) }));
    let tokens: usize = texts.iter().map(|text| text.len().div_ceil(4)).sum();
    json!({
        "object": "list",
        "data": vectors.collect::<Vec<_>>(),
        "model": model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })
}

/// Sends texts to one endpoint. Shared by all threads, as its connections are.
pub(crate) struct Embedder {
    agent: ureq::Agent,
    url: String,
    model: String,
    key: Option<String>,
}

/// Why there are no vectors.
#[derive(Debug)]
pub(crate) enum EmbedError {
    /// The provider said no.
    Refused { status: u16, message: String },
    /// No whole answer came: not reached, broken off or out of time.
    Transport(ureq::Error),
    /// An answer came that does not hold one vector for each text.
    Shape,
}

impl Embedder {
    /// A client that keeps up to `connections` of them open, and gives up on a request after `timeout`.
    pub(crate) fn new(url: String, model: String, key: Option<String>, connections: usize, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections);
        // A proxy named by the environment is meant for the world, not for a port of this process.
        let config = if url.starts_with("http://127.0.0.1:") { config.proxy(None) } else { config };
        Self { agent: config.build().into(), url, model, key }
    }

    /// The vectors of the texts, in their order, by one request.
    ///
    /// # Errors
    ///
    /// See [`EmbedError`].
    pub(crate) fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let request = json!({ "model": self.model, "input": texts, "encoding_format": "float" });
        let mut post = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {key}"));
        }
        let mut response = post.send(request.to_string()).map_err(EmbedError::Transport)?;
        let body = response.body_mut().read_to_string().map_err(EmbedError::Transport)?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        if !response.status().is_success() {
            let message = body["error"]["message"].as_str().unwrap_or("no reason given").to_owned();
            return Err(EmbedError::Refused { status: response.status().as_u16(), message });
        }
        // The index says whose a vector is, and not its place.
        let mut vectors = vec![Vec::new(); texts.len()];
        for entry in body["data"].as_array().into_iter().flatten() {
            let index = entry["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let place = index.and_then(|index| vectors.get_mut(index)).ok_or(EmbedError::Shape)?;
            *place = serde_json::from_value(entry["embedding"].clone()).map_err(|_| EmbedError::Shape)?;
        }
        if vectors.iter().any(Vec::is_empty) { Err(EmbedError::Shape) } else { Ok(vectors) }
    }
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbedError::Refused { status, message } => write!(f, "the provider answered {status}: {message}"),
            EmbedError::Transport(error) => write!(f, "no answer came: {error}"),
            EmbedError::Shape => f.write_str("the answer does not hold one vector for each text"),
        }
    }
}

impl std::error::Error for EmbedError {}
