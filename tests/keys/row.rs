//! A line in a file of keys (`README.md` beside this): a document, the rule by which it is keyed, and its key.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sync_coalesce::key::{KeyError, KeyFields};
use sync_coalesce::{Key, KeyRule};

use super::round_trip::KeptAsText;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) json: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fill: Option<(String, usize)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// 32 bytes, written as a key's are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Key>,
    pub(crate) key: Option<Key>,
}

impl Row {
    /// The document.
    pub(crate) fn document(&self) -> String {
        self.filled(&self.json)
    }

    /// Whether the key is that of [`Key::of`].
    pub(crate) fn is_plain(&self) -> bool {
        self.namespace.is_none() && self.rule.is_none() && self.secret.is_none()
    }

    /// The key of the document, or of what was read from it, by the row's rule. A rule of fields picks all members, and
    /// from the document itself.
    pub(crate) fn key_of<R: Serialize + ?Sized>(&self, request: &R) -> Result<Key, KeyError> {
        let text = |text: &Option<String>| self.filled(text.as_deref().unwrap_or("null"));
        let namespace = KeptAsText { json: text(&self.namespace) };
        let parts: Option<Map<String, Value>> = serde_json::from_str(&text(&self.rule)).unwrap();
        let parts = parts.unwrap_or_default();
        if !parts.contains_key("fields") {
            return self.ruled(KeyRule::new(&namespace)?, &parts)?.key(request);
        }
        let members: Map<String, Value> = serde_json::from_str(&self.document()).unwrap();
        let pick = |_: &R, key: &mut KeyFields<'_>| members.iter().try_for_each(|(name, part)| key.field(name, part));
        self.ruled(KeyRule::fields(&namespace, pick)?, &parts)?.key(request)
    }

    fn ruled<F>(&self, rule: KeyRule<F>, parts: &Map<String, Value>) -> Result<KeyRule<F>, KeyError> {
        let rule = parts.iter().try_fold(rule, |rule, (name, part)| match name.as_str() {
            "drop" => pointers(part).try_fold(rule, KeyRule::drop),
            "keep" => rule.keep_only(pointers(part)),
            "salt" => rule.salt(part),
            "fields" => Ok(rule),
            other => panic!("a rule has no {other}"),
        })?;
        Ok(match &self.secret {
            None => rule,
            Some(secret) => rule.secret(secret.as_bytes()),
        })
    }

    fn filled(&self, text: &str) -> String {
        let fill = |(mark, times): &(String, usize)| text.replace('$', &mark.repeat(*times));
        self.fill.as_ref().map_or_else(|| text.to_owned(), fill)
    }
}

fn pointers(part: &Value) -> impl Iterator<Item = &str> {
    part.as_array().unwrap().iter().map(|pointer| pointer.as_str().unwrap())
}
