//! [`KeyPreset`]: rules for the requests of some providers.

use serde::Serialize;

use crate::key::{KeyError, KeyRule};

/// A ready-made [`KeyRule`] for the requests of one provider's endpoint.
///
/// A preset is a list of what does **not** count, at exact places; all else counts, the parameters that the provider
/// adds tomorrow included. What does not count is what tells the provider how to bill or where to look in its own cache,
/// and cannot change the answer. Two more lists are there to opt in to, each where it is right for you:
/// [`ignore_attribution`](KeyPreset::ignore_attribution) and [`ignore_stream`](KeyPreset::ignore_stream).
///
/// Of the same name elsewhere, as in a tool's arguments or its schema, everything counts.
///
/// Further paths go to the rule: `preset.rule(&namespace)?.drop("/my_trace_id")?`.
///
/// # What a preset cannot know
///
/// - Answers that depend on the time, such as those of a web search: share them in flight, and think twice before you
///   keep them.
/// - Requests that do something besides answering, such as `store`, `background` and `conversation` with OpenAI. These
///   members count, but equal requests become one, and so do their effects.
/// - Samples that should differ: [`KeyRule::salt`] or [`Request::bypass`](crate::Request::bypass).
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

    /// For OpenAI's chat completions, and whoever copies them.
    ///
    /// Left out: `prompt_cache_key` and `prompt_cache_retention`, which say where and how long the provider keeps the
    /// prompt's prefix, so that the same prompt costs less the next time.
    ///
    /// On demand: `user`, `safety_identifier` and `metadata` as attribution; `stream` and `stream_options`.
    pub const fn openai_chat() -> Self {
        Self {
            endpoint: "openai chat completions",
            routing: &["/prompt_cache_key", "/prompt_cache_retention"],
            attribution: &["/user", "/safety_identifier", "/metadata"],
            stream: &["/stream", "/stream_options"],
            ..Self::NOTHING
        }
    }

    /// For OpenAI's responses: the paths of [`openai_chat`](KeyPreset::openai_chat), and for the same reasons.
    ///
    /// `previous_response_id` and `conversation` count: what they name is part of the prompt.
    pub const fn openai_responses() -> Self {
        Self { endpoint: "openai responses", ..Self::openai_chat() }
    }

    /// For OpenAI's embeddings.
    ///
    /// Left out: nothing, for there is nothing about caches or bills in them. `encoding_format` counts, because the
    /// answer has another form with it.
    ///
    /// On demand: `user` as attribution.
    pub const fn openai_embeddings() -> Self {
        Self { endpoint: "openai embeddings", attribution: &["/user"], ..Self::NOTHING }
    }

    /// For Anthropic's messages.
    ///
    /// Left out: `cache_control` at the places where the provider reads it (the request, blocks of `system`, blocks of
    /// a message's `content` and those within a tool's result, `tools`). It marks how far the provider is to cache the
    /// prompt, which changes the bill and the delay.
    ///
    /// On demand: `metadata` and `user_profile_id` as attribution; `stream`.
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

    /// For Perplexity's chat completions.
    ///
    /// Left out: nothing. All its search parameters say what is looked for, and where.
    ///
    /// On demand: `stream` and `stream_mode`.
    pub const fn perplexity_chat() -> Self {
        Self { endpoint: "perplexity chat completions", stream: &["/stream", "/stream_mode"], ..Self::NOTHING }
    }

    /// The same, and who asks does not count. **One user of a tenant then gets the answer to another one's request**,
    /// and the provider is told of the first one only, in its bills and its checks for abuse.
    ///
    /// The members are named at each preset.
    pub const fn ignore_attribution(mut self) -> Self {
        self.ignores_attribution = true;
        self
    }

    /// The same, and whether the answer is streamed does not count: only for closures that collect the whole answer
    /// either way and return it in one form.
    ///
    /// The members are named at each preset. `service_tier`, `store`, `background` and the like still count, for they
    /// do something.
    pub const fn ignore_stream(mut self) -> Self {
        self.ignores_stream = true;
        self
    }

    /// The rule, in this namespace: say the base URL, the version, the organisation and **the tenant or the credential**
    /// as in [`KeyRule::new`].
    ///
    /// The endpoint is put beside it: the rule's namespace is an array of two, the endpoint's name (such as `"openai
    /// chat completions"`) and what is given. So an embedding and a response of the same body have two keys.
    ///
    /// # Errors
    ///
    /// As [`KeyRule::new`]; the path begins with `/1`.
    pub fn rule<N: Serialize + ?Sized>(self, namespace: &N) -> Result<KeyRule, KeyError> {
        let rule = KeyRule::new(&(self.endpoint, namespace))?;
        let attribution = if self.ignores_attribution { self.attribution } else { &[] };
        let stream = if self.ignores_stream { self.stream } else { &[] };
        [self.routing, attribution, stream].into_iter().flatten().try_fold(rule, |rule, pointer| rule.drop(pointer))
    }
}
