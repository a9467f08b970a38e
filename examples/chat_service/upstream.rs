//! The way to the provider: through the whole stack, but for the ledger. What was answered is in the database, which is
//! written in one step with the answer; a ledger beside it would be written in another.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sync_coalesce::stack::budget::{Budget, Spend};
use sync_coalesce::stack::cache::Cache;
use sync_coalesce::stack::pace::{Adaptive, Pacer};
use sync_coalesce::stack::retry::Retry;
use sync_coalesce::stack::{Stack, StackError, StackStats};
use sync_coalesce::{Key, SyncCoalesce};

use crate::args::Args;
use crate::support::client::{Client, Reply, SendError};
use crate::support::provider::shapes::Vendor;

const SYSTEM: &str = "You answer for the support desk of a parcel service, in one sentence.";
/// Tokens of an answer, which bound what it can cost.
const ANSWER: u32 = 1024;
/// Answers that the cache holds.
const CACHED: u64 = 10_000;

/// Who asks the provider: once for all who ask the same, at its pace, and again where that can help.
pub(crate) struct Upstream {
    client: Client,
    model: String,
    stack: Stack<Key, Reply, SendError>,
}

impl Upstream {
    /// # Errors
    ///
    /// The first argument that no layer can be built with.
    pub(crate) fn new(client: Client, model: String, args: &Args) -> Result<Upstream, String> {
        let pacer = Pacer::builder().per_second(args.pace).burst(args.burst).concurrency(args.concurrency);
        let pacer = pacer.adaptive(Adaptive::default()).build().map_err(|error| error.to_string())?;
        let retry =
            Retry::builder(SendError::may_pass).timeout(args.patience()).retry_after(SendError::retry_after).build();
        let mut stack = Stack::builder()
            .coalesce(SyncCoalesce::builder().name("calls").cost(|reply: &Arc<Reply>| reply.dollars))
            .pace(pacer)
            .pace_timeout(args.patience())
            .on_error_throttle(|pacer, error| {
                if let SendError::Refused { status: 429, .. } = error {
                    pacer.throttled(error.retry_after());
                }
            })
            .retry(retry);
        if args.cache > 0 {
            let cache = Cache::builder(CACHED).time_to_live(Duration::from_secs(args.cache.into()));
            stack = stack.cache(cache.build().map_err(|error| error.to_string())?);
        }
        if let Some(dollars) = args.budget {
            let budget = Budget::builder().dollars(dollars).build().map_err(|error| error.to_string())?;
            stack = stack.budget(budget, Spend::default(), |reply| spend(reply.dollars));
        }
        Ok(Upstream { client, model, stack: stack.build() })
    }

    /// The reply to a conversation in which the roles take turns. Conversations that say the same get one reply,
    /// whoever has them.
    ///
    /// # Blocking
    ///
    /// Until the provider has answered; a follower, until its leader has the answer. Each of the leader's waits has an
    /// end, so its followers need none of their own.
    pub(crate) fn ask(&self, turns: &[Value]) -> Result<Arc<Reply>, StackError<SendError>> {
        let request = self.request(turns);
        // There is one endpoint and one credential, so what the body says is all that makes two requests the same.
        let key = Key::of(&request).expect("JSON has a key");
        // No token of the request is shorter than a byte.
        let most =
            self.client.dollars(f64::from(u32::try_from(request.to_string().len()).unwrap_or(u32::MAX)), ANSWER.into());
        self.stack.on(&key).at_most(spend(most)).try_call(|_| self.client.send(&request)).result
    }

    pub(crate) fn stats(&self) -> StackStats {
        self.stack.stats()
    }

    fn request(&self, turns: &[Value]) -> Value {
        let model = &self.model;
        match self.client.vendor {
            Vendor::OpenAi => {
                let system = json!({ "role": "system", "content": SYSTEM });
                let messages: Vec<_> = [&system].into_iter().chain(turns).collect();
                json!({ "model": model, "max_completion_tokens": ANSWER, "messages": messages })
            }
            Vendor::Anthropic => json!({ "model": model, "max_tokens": ANSWER, "system": SYSTEM, "messages": turns }),
        }
    }
}

fn spend(dollars: f64) -> Spend {
    // A price that is no amount of money was refused with the arguments.
    Spend::from_dollars(dollars).unwrap_or_default()
}
