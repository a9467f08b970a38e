//! Which failures of providers are transient: predicates to build that of a [`Retry`](super::Retry) from.

use serde_json::Value;

/// Names of transient failures, whatever the status: the provider is too busy, or failed internally.
const TRANSIENT: [&str; 23] = [
    // OpenAI
    "rate_limit_exceeded",
    "server_error",
    "engine_overloaded",
    "tokens_exhausted",
    // Anthropic
    "rate_limit_error",
    "overloaded_error",
    "api_error",
    "timeout_error",
    "timeout",
    // Gemini
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    // Bedrock
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "ServiceUnavailableException",
    "ProvisionedThroughputExceededException",
    "ModelTimeoutException",
    "ModelNotReadyException",
    "InternalServerException",
    // Mistral, Groq and others
    "internal_server_error",
    "service_unavailable",
];

/// Names of permanent failures, whatever the status: billing, permissions, or the request itself.
const PERMANENT: [&str; 20] = [
    // OpenAI
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "account_deactivated",
    "invalid_api_key",
    "invalid_request_error",
    "model_not_found",
    "context_length_exceeded",
    "content_policy_violation",
    "content_filter",
    // Anthropic
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    // Gemini
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    // Bedrock
    "ValidationException",
    "AccessDeniedException",
];

/// Whether a failure with this HTTP status is transient: 408, 425, 429, 500, 502, 503, 504, and 529, which Anthropic
/// sends when it is overloaded.
///
/// # Examples
///
/// ```
/// use sync_coalesce::stack::retry::retryable;
///
/// assert!(retryable::status(503));
/// assert!(!retryable::status(400));
/// ```
#[must_use]
pub fn status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 529)
}

/// Whether the failure that a provider names in the body of an error response is transient; `None` if it names no known
/// failure.
///
/// It knows the names that OpenAI, Anthropic, Gemini and Bedrock use, in the members where they put them. It does not
/// read messages meant for people. If a body has two names, a permanent failure outweighs a transient one.
///
/// # Examples
///
/// ```
/// use sync_coalesce::stack::retry::retryable;
///
/// let overloaded = r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#;
/// assert_eq!(retryable::body(overloaded), Some(true));
/// assert_eq!(retryable::body("<html>Bad Gateway</html>"), None);
/// ```
#[must_use]
pub fn body(body: &str) -> Option<bool> {
    let body: Value = serde_json::from_str(body).ok()?;
    // Gemini's streams and some proxies wrap the response in an array of one.
    let body = body.get(0).unwrap_or(&body);
    let names = ["/error/type", "/error/code", "/error/status", "/__type", "/code", "/type"]
        .into_iter()
        .filter_map(|place| body.pointer(place)?.as_str())
        // AWS may put a namespace before the name, or an address after it.
        .map(|name| name.rsplit('#').next().unwrap_or(name))
        .map(|name| name.split(':').next().unwrap_or(name));
    let mut is_transient = None;
    for name in names {
        if PERMANENT.contains(&name) {
            return Some(false);
        }
        if TRANSIENT.contains(&name) {
            is_transient = Some(true);
        }
    }
    is_transient
}

/// Whether a failure is transient, by the failure that its body names, or by its status if it names no known one.
///
/// So a 429 because of an exhausted quota is permanent, and an error inside the stream of a 200 may be transient.
///
/// # Examples
///
/// ```
/// use sync_coalesce::stack::retry::retryable;
///
/// let no_money = r#"{"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}"#;
/// assert!(!retryable::response(429, no_money));
/// assert!(retryable::response(429, ""));
/// ```
#[must_use]
pub fn response(status: u16, body: &str) -> bool {
    self::body(body).unwrap_or_else(|| self::status(status))
}
