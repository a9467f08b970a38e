//! The beginning of a key's text: the namespace and the rule.

use super::paths::Paths;
use crate::key::canonical;
use crate::key::canonical::filter::Verdict;
use crate::key::error::KeyError;

/// The text `[namespace,rule,`. The namespace and the salt are given as canonical texts.
pub(super) fn of(namespace: &str, paths: &Paths, is_of_fields: bool, salt: Option<&str>) -> Result<String, KeyError> {
    let list = |verdict| match &*paths.sorted(verdict) {
        [] => Ok(None),
        pointers => canonical::text_of(pointers).map(Some),
    };
    // Sorted, as RFC 8785 wants them.
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
