//! Arguments that the examples share: whom to ask, and at what price.

use std::time::Duration;

use super::cli::Value;
use super::client::{Client, Price, check_url};
use super::provider::shapes::Vendor;
use super::provider::{Behaviour, Provider};

/// Whom to ask.
pub(crate) struct Endpoint {
    pub(crate) url: Option<String>,
    pub(crate) model: Option<String>,
    api: Option<Vendor>,
    api_key_env: Option<String>,
    /// Seconds.
    timeout: f64,
    price: Price,
    loopback: Behaviour,
    /// The first option that is for the provider on loopback alone.
    for_loopback: Option<String>,
}

/// What `--help` says of these options.
pub(crate) const HELP: &str = "\
Provider:
  --url URL              Chat endpoint to ask; its path ends in /v1/chat/completions or /v1/messages as a rule.
                         Without it a provider is started on 127.0.0.1. https needs --features example-https
  --api SHAPE            Shape of requests and answers: openai or anthropic [default: by the path of the URL, else openai]
  --model NAME           Model to ask for, whatever a request names
  --api-key-env NAME     Name of the environment variable that holds the API key
  --timeout SECONDS      Seconds until a request is given up [default: 30]
  --price-in DOLLARS     US dollars for a million tokens of a request [default: 0.15]
  --price-out DOLLARS    US dollars for a million tokens of an answer [default: 0.60]

Provider on loopback:
  --latency MS           Milliseconds that it takes to answer [default: 400]
  --rate-limit N         Requests per second that it allows; what goes beyond gets 429
  --busy N               Requests that get 503 and Retry-After: 1 before it answers one: a number, or \"all\" [default: 0]
  --fail N               Requests that get 500 before it answers one: a number, or \"all\" [default: 0]
  --wrong N              Requests that get a wrong answer before a right one: a number, or \"all\" [default: 0]
  --strict-roles         Makes it refuse conversations in which user and assistant do not take turns
";

impl Default for Endpoint {
    fn default() -> Self {
        Endpoint {
            url: None,
            model: None,
            api: None,
            api_key_env: None,
            timeout: 30.0,
            price: Price { input: 0.15, output: 0.60 },
            loopback: Behaviour { latency: Duration::from_millis(400), ..Behaviour::default() },
            for_loopback: None,
        }
    }
}

impl Endpoint {
    /// Takes the option `--name`. False if it is none of these.
    ///
    /// # Errors
    ///
    /// What is wrong with its value.
    pub(crate) fn option(&mut self, name: &str, value: &mut Value<'_>) -> Result<bool, String> {
        match name {
            "url" => self.url = Some(value.text()?),
            "api" => self.api = Some(value.read("openai or anthropic", Vendor::named)?),
            "model" => self.model = Some(value.text()?),
            "api-key-env" => self.api_key_env = Some(value.text()?),
            "timeout" => self.timeout = above_zero(value)?,
            "price-in" => self.price.input = zero_or_more(value)?,
            "price-out" => self.price.output = zero_or_more(value)?,
            _ => return self.loopback_option(name, value),
        }
        Ok(true)
    }

    fn loopback_option(&mut self, name: &str, value: &mut Value<'_>) -> Result<bool, String> {
        let loopback = &mut self.loopback;
        match name {
            "latency" => loopback.latency = Duration::from_millis(value.number(0..=u32::MAX)?.into()),
            "rate-limit" => loopback.per_second = Some(above_zero(value)?),
            "busy" => loopback.busy_first = count_or_all(value)?,
            "fail" => loopback.fail_first = count_or_all(value)?,
            "wrong" => loopback.wrong_first = count_or_all(value)?,
            "strict-roles" => loopback.strict_roles = true,
            _ => return Ok(false),
        }
        self.is_for_loopback(name);
        Ok(true)
    }

    /// Remembers that the option `--name` makes no sense with `--url`.
    pub(crate) fn is_for_loopback(&mut self, name: &str) {
        self.for_loopback.get_or_insert_with(|| name.to_owned());
    }

    /// Looks at all of these options together.
    ///
    /// # Errors
    ///
    /// What does not fit, or why nothing can be sent to the URL.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (&self.url, &self.for_loopback, &self.api_key_env) {
            (Some(_), Some(name), _) => Err(format!("--{name} is for the provider on loopback, not for --url")),
            (Some(url), None, _) => check_url(url),
            (None, _, Some(_)) => Err("--api-key-env needs --url".into()),
            (None, _, None) => Ok(()),
        }
    }

    /// The model to ask for.
    ///
    /// # Errors
    ///
    /// None is named, and the provider is not the one on loopback, which takes any.
    pub(crate) fn model(&self) -> Result<&str, String> {
        match (&self.model, &self.url) {
            (Some(model), _) => Ok(model),
            (None, None) => Ok("loopback"),
            (None, Some(_)) => Err("--url needs --model".into()),
        }
    }

    /// A client for the endpoint, with up to `connections` kept open; and the provider behind it, if it is our own.
    ///
    /// # Errors
    ///
    /// The key is not in the environment, or the provider cannot be started.
    pub(crate) fn open(&self, connections: usize) -> Result<(Client, Option<Provider>), String> {
        let by_path = self.url.as_ref().is_some_and(|url| url.trim_end_matches('/').ends_with("/messages"));
        let vendor = self.api.unwrap_or(if by_path { Vendor::Anthropic } else { Vendor::OpenAi });
        let key = self.api_key_env.as_deref().map(api_key).transpose()?;
        let (url, own) = if let Some(url) = &self.url {
            (url.clone(), None)
        } else {
            let own = start(self.loopback.clone())?;
            (own.url(vendor), Some(own))
        };
        Ok((Client::new(url, vendor, key, self.price, connections, self.timeout()), own))
    }

    /// Longest time that one request takes, whatever comes of it.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }
}

/// The API key in the environment variable `name`.
///
/// # Errors
///
/// There is none.
pub(crate) fn api_key(name: &str) -> Result<String, String> {
    let key = std::env::var(name).map_err(|error| format!("no API key in {name}: {error}"))?;
    Ok(key.trim().to_owned())
}

/// A provider on loopback.
///
/// # Errors
///
/// It cannot be started.
pub(crate) fn start(behaviour: Behaviour) -> Result<Provider, String> {
    Provider::start(behaviour).map_err(|error| format!("cannot start a provider on loopback: {error}"))
}

/// A number of requests or seconds: a day's worth of either is more than anybody waits for.
pub(crate) fn above_zero(value: &mut Value<'_>) -> Result<f64, String> {
    let fits = |number: &f64| *number > 0.0 && *number <= 86_400.0;
    value.read("a number above 0, at most 86400", |text| text.parse().ok().filter(fits))
}

/// A number of seconds or dollars.
pub(crate) fn zero_or_more(value: &mut Value<'_>) -> Result<f64, String> {
    let fits = |number: &f64| (0.0..f64::INFINITY).contains(number);
    value.read("a number, 0 or more", |text| text.parse().ok().filter(fits))
}

/// A number of requests.
pub(crate) fn count_or_all(value: &mut Value<'_>) -> Result<u64, String> {
    let read = |text: &str| if text == "all" { Some(u64::MAX) } else { text.parse().ok() };
    value.read("a number, or \"all\"", read)
}
