//! Arguments that the examples share: whom to ask, and at what price.

use std::time::Duration;

use super::client::{Client, Price};
use super::provider::shapes::Vendor;
use super::provider::{Behaviour, Provider};

#[derive(clap::Args)]
pub(crate) struct Endpoint {
    /// Chat endpoint to ask; its path ends in /v1/chat/completions or /v1/messages as a rule. Without it a provider is
    /// started on 127.0.0.1
    #[arg(long, value_name = "URL", help_heading = "Provider")]
    pub(crate) url: Option<String>,

    /// Shape of requests and answers [default: by the path of the URL, else openai]
    #[arg(long, value_enum, value_name = "SHAPE", help_heading = "Provider")]
    api: Option<Vendor>,

    /// Model to ask for, whatever a request names
    #[arg(long, value_name = "NAME", help_heading = "Provider")]
    pub(crate) model: Option<String>,

    /// Name of the environment variable that holds the API key
    #[arg(long, value_name = "NAME", requires = "url", help_heading = "Provider")]
    api_key_env: Option<String>,

    /// Seconds until a request is given up
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = above_zero, help_heading = "Provider")]
    timeout: f64,

    /// US dollars for a million tokens of a request
    #[arg(long, value_name = "DOLLARS", default_value = "0.15", value_parser = zero_or_more, help_heading = "Provider")]
    price_in: f64,

    /// US dollars for a million tokens of an answer
    #[arg(long, value_name = "DOLLARS", default_value = "0.60", value_parser = zero_or_more, help_heading = "Provider")]
    price_out: f64,

    /// Milliseconds that it takes to answer
    #[arg(long, value_name = "MS", default_value_t = 400, conflicts_with = "url", help_heading = LOOPBACK)]
    latency: u32,

    /// Requests per second that it allows; what goes beyond gets 429
    #[arg(long, value_name = "PER_SECOND", value_parser = above_zero, conflicts_with = "url", help_heading = LOOPBACK)]
    rate_limit: Option<f64>,

    /// Requests that it fails with 500 before it answers one: a number, or "all"
    #[arg(long, value_name = "N", default_value = "0", value_parser = count_or_all, conflicts_with = "url", help_heading = LOOPBACK)]
    fail: u64,

    /// Requests to which it gives a wrong answer before a right one: a number, or "all"
    #[arg(long, value_name = "N", default_value = "0", value_parser = count_or_all, conflicts_with = "url", help_heading = LOOPBACK)]
    wrong: u64,

    /// Makes it refuse conversations in which user and assistant do not take turns
    #[arg(long, conflicts_with = "url", help_heading = LOOPBACK)]
    strict_roles: bool,
}

const LOOPBACK: &str = "Provider on loopback";

impl Endpoint {
    /// A client for the endpoint, with up to `connections` kept open; and the provider behind it, if it is our own.
    ///
    /// # Errors
    ///
    /// The key is not in the environment, or the provider cannot be started.
    pub(crate) fn open(&self, connections: usize) -> Result<(Client, Option<Provider>), String> {
        let by_path = self.url.as_ref().is_some_and(|url| url.trim_end_matches('/').ends_with("/messages"));
        let vendor = self.api.unwrap_or(if by_path { Vendor::Anthropic } else { Vendor::OpenAi });
        let key = self.api_key_env.as_ref().map(|name| {
            let key = std::env::var(name).map_err(|error| format!("no API key in {name}: {error}"))?;
            Ok::<_, String>(key.trim().to_owned())
        });
        let (url, own) = if let Some(url) = &self.url {
            (url.clone(), None)
        } else {
            let own = Provider::start(Behaviour {
                latency: Duration::from_millis(self.latency.into()),
                pause: Duration::ZERO,
                per_second: self.rate_limit,
                refuse_first: 0,
                fail_first: self.fail,
                wrong_first: self.wrong,
                strict_roles: self.strict_roles,
                api_key: None,
            });
            let own = own.map_err(|error| format!("cannot start a provider on loopback: {error}"))?;
            (own.url(vendor), Some(own))
        };
        let price = Price { input: self.price_in, output: self.price_out };
        Ok((Client::new(url, vendor, key.transpose()?, price, connections, self.timeout()), own))
    }

    /// Longest time that one request takes, whatever comes of it.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }
}

/// A number of requests or seconds: a day's worth of either is more than anybody waits for.
fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 86_400.0 => Ok(number),
        _ => Err("a number above 0, 86400 at most".into()),
    }
}

fn zero_or_more(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..f64::INFINITY).contains(&number) => Ok(number),
        _ => Err("a number, 0 or more".into()),
    }
}

fn count_or_all(text: &str) -> Result<u64, String> {
    match text {
        "all" => Ok(u64::MAX),
        number => number.parse().map_err(|_| "a number, or \"all\"".into()),
    }
}
