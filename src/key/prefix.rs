//! What the text of a key begins with, if a rule made it: the namespace and the rule.

use serde::Serialize;

use super::error::KeyError;
use super::paths::{Paths, Verdict};
use super::tape::Tape;

/// `[namespace,rule,`. Namespace and salt are canonical texts.
pub(super) fn of(namespace: &str, paths: &Paths, is_of_fields: bool, salt: Option<&str>) -> Result<String, KeyError> {
    let list = |verdict| match &*paths.sorted(verdict) {
        [] => Ok(None),
        pointers => canonical_text(pointers).map(Some),
    };
    // In the order of RFC 8785.
    let members = [
        ("drop", list(Verdict::Drop)?),
        ("fields", is_of_fields.then(|| "true".to_owned())),
        ("keep", list(Verdict::Keep)?),
        ("salt", salt.map(str::to_owned)),
    ];
    let members = members.into_iter().filter_map(|(name, text)| Some(format!(r#""{name}":{}"#, text?)));
    let members = members.collect::<Vec<_>>().join(",");
    let rule = if members.is_empty() { "null".to_owned() } else { format!("{{{members}}}") };
    Ok(format!("[{namespace},{rule},"))
}

/// The canonical text of a value that is not a request.
pub(super) fn canonical_text<V: Serialize + ?Sized>(value: &V) -> Result<String, KeyError> {
    let text = Tape::with("", None, |tape| value.serialize(tape), |text| String::from_utf8(text.clone()))?;
    text.map_err(serde::ser::Error::custom)
}
