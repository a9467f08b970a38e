//! [`KeyPreset`]: key rules for the APIs of some providers.

use serde::Serialize;

use crate::key::{KeyError, KeyRule};

/// A ready-made [`KeyRule`] for the requests to one endpoint of a provider.
///
/// A preset lists the members that make **no** difference, at exact places. Everything else does, including parameters
/// that the provider adds tomorrow. The listed members tell the provider how to bill the request or how to use its own
/// cache, and cannot change the answer. There are two more lists to opt in to, where they are right for you:
/// [`ignore_attribution`](KeyPreset::ignore_attribution) and [`ignore_stream`](KeyPreset::ignore_stream).
///
/// Members with the same names at other places, such as in a tool's arguments or schema, do make a difference.
///
/// To leave out more, extend the rule: `preset.rule(&namespace)?.drop("/my_trace_id")?`.
///
/// # What a preset cannot know
///
/// - Answers may depend on the time, such as those of a web search. Share them in flight, but think twice before you
///   cache them.
/// - Requests may have effects, such as `store`, `background` and `conversation` with OpenAI. These members make a
///   difference, but equal requests become one request, with one effect.
/// - Samples that should differ need [`KeyRule::salt`] or [`Call::bypass`](crate::Call::bypass).
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use sync_coalesce::KeyPreset;
///
/// let rule = KeyPreset::openai_chat().rule(&("https://api.openai.com/v1", "tenant a"))?;
/// let request = |cache_key, user| json!({"model": "m", "messages": [], "prompt_cache_key": cache_key, "user": user});
/// assert_eq!(rule.key(&request("k1", "u1"))?, rule.key(&request("k2", "u1"))?);
/// assert_ne!(rule.key(&request("k1", "u1"))?, rule.key(&request("k1", "u2"))?);
///
/// let rule = KeyPreset::openai_chat().ignore_attribution().rule("tenant a")?;
/// assert_eq!(rule.key(&request("k1", "u1"))?, rule.key(&request("k1", "u2"))?);
/// # Ok::<(), sync_coalesce::key::KeyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct KeyPreset {
    endpoint: &'static str,
    routing: &'static [&'static str],
    attribution: &'static [&'static str],
    stream: &'static [&'static str],
    ignores_attribution: bool,
    ignores_stream: bool,
}

impl KeyPreset {
    const NOTHING: Self = Self {
        endpoint: "",
        routing: &[],
        attribution: &[],
        stream: &[],
        ignores_attribution: false,
        ignores_stream: false,
    };

    /// A preset for OpenAI's chat completions, and for compatible APIs.
    ///
    /// Left out: `prompt_cache_key` and `prompt_cache_retention`. They say where and for how long the provider caches
    /// the prompt's prefix, to make the same prompt cheaper the next time.
    ///
    /// To opt in to: `user`, `safety_identifier` and `metadata` (attribution); `stream` and `stream_options`.
    pub const fn openai_chat() -> Self {
        Self {
            endpoint: "openai chat completions",
            routing: &["/prompt_cache_key", "/prompt_cache_retention"],
            attribution: &["/user", "/safety_identifier", "/metadata"],
            stream: &["/stream", "/stream_options"],
            ..Self::NOTHING
        }
    }

    /// A preset for OpenAI's responses, with the same lists as [`openai_chat`](KeyPreset::openai_chat).
    ///
    /// `previous_response_id` and `conversation` make a difference, because what they refer to is part of the prompt.
    pub const fn openai_responses() -> Self {
        Self { endpoint: "openai responses", ..Self::openai_chat() }
    }

    /// A preset for OpenAI's embeddings.
    ///
    /// Left out: nothing, because these requests say nothing about caches or bills. `encoding_format` makes a
    /// difference, because it changes the form of the answer.
    ///
    /// To opt in to: `user` (attribution).
    pub const fn openai_embeddings() -> Self {
        Self { endpoint: "openai embeddings", attribution: &["/user"], ..Self::NOTHING }
    }

    /// A preset for Anthropic's messages.
    ///
    /// Left out: `cache_control` at the places where the provider reads it (the request itself, blocks of `system`,
    /// blocks of a message's `content`, blocks of a tool's result, and `tools`). It marks how much of the prompt the
    /// provider should cache, which affects only the bill and the delay.
    ///
    /// To opt in to: `metadata` and `user_profile_id` (attribution); `stream`.
    pub const fn anthropic_messages() -> Self {
        Self {
            endpoint: "anthropic messages",
            routing: &[
                "/cache_control",
                "/system/*/cache_control",
                "/messages/*/content/*/cache_control",
                "/messages/*/content/*/content/*/cache_control",
                "/tools/*/cache_control",
            ],
            attribution: &["/metadata", "/user_profile_id"],
            stream: &["/stream"],
            ..Self::NOTHING
        }
    }

    /// A preset for Perplexity's chat completions.
    ///
    /// Left out: nothing, because all search parameters affect what is found.
    ///
    /// To opt in to: `stream` and `stream_mode`.
    pub const fn perplexity_chat() -> Self {
        Self { endpoint: "perplexity chat completions", stream: &["/stream", "/stream_mode"], ..Self::NOTHING }
    }

    /// The same preset without the members that say on whose behalf the request is sent. **One user of a tenant then
    /// gets the answer to another user's request**, and the provider sees only the first user, in its bills and its
    /// checks for abuse.
    ///
    /// Each preset lists its members.
    pub const fn ignore_attribution(mut self) -> Self {
        self.ignores_attribution = true;
        self
    }

    /// The same preset without the members that say whether the answer is streamed. Use it only if your closures
    /// collect the whole answer in either case, and return it in the same form.
    ///
    /// Each preset lists its members. `service_tier`, `store`, `background` and the like still make a difference,
    /// because they have effects.
    pub const fn ignore_stream(mut self) -> Self {
        self.ignores_stream = true;
        self
    }

    /// The rule in this namespace, which should hold the base URL, the version, the organisation and **the tenant or
    /// the credential**, as for [`KeyRule::new`].
    ///
    /// The endpoint is added: the rule's namespace is an array of two, the endpoint's name (such as `"openai chat
    /// completions"`) and the given namespace. So an embedding and a response with the same body have different keys.
    ///
    /// # Errors
    ///
    /// As [`KeyRule::new`]; the error's path begins with `/1`.
    pub fn rule<N: Serialize + ?Sized>(self, namespace: &N) -> Result<KeyRule, KeyError> {
        let rule = KeyRule::new(&(self.endpoint, namespace))?;
        let attribution = if self.ignores_attribution { self.attribution } else { &[] };
        let stream = if self.ignores_stream { self.stream } else { &[] };
        [self.routing, attribution, stream].into_iter().flatten().try_fold(rule, |rule, pointer| rule.drop(pointer))
    }
}
