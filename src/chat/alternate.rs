//! [`alternate()`]: a conversation whose roles alternate.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value, json};

/// What happens to an assistant's turn at the end of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trailing {
    /// It stays, and the model continues it.
    #[default]
    Keep,
    /// It is dropped, for providers that require the last message to be the user's. A turn with tool calls stays.
    Drop,
}

/// Why a list of messages is not a conversation. Asking again does not help.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlternateError {
    /// A message is not a JSON object.
    NotAnObject {
        /// The index of the message, counted from 0.
        index: usize,
    },
    /// A message has no `role`, or its `role` is not a string.
    NoRole {
        /// The index of the message, counted from 0.
        index: usize,
    },
}

/// The same conversation for providers that require alternating roles: user, assistant, user.
///
/// The messages are those of OpenAI's chat completions or Anthropic's messages.
///
/// - System and developer messages at the beginning stay there. Later ones become user messages.
/// - Adjacent messages with the same role become one. Two texts are joined by a line break; if either is a list of
///   parts, both become one list.
/// - A message with tool calls or tool results stays as it is and is not merged. The same holds for adjacent messages
///   whose other members (such as `name`) differ, or whose content is neither text nor a list. Nothing is lost, but the
///   roles do not alternate there.
/// - An assistant's turn at the end is dropped if `trailing` says so.
///
/// Apply it before making the key, so that conversations the provider treats as equal share a key. Applying it twice is
/// the same as applying it once. It adds no messages: an empty conversation stays empty, and if the assistant's message
/// comes first, it stays first.
///
/// # Errors
///
/// [`AlternateError`] says which message is malformed.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use sync_coalesce::chat::{Trailing, alternate};
///
/// let messages = [
///     json!({ "role": "system", "content": "Be brief." }),
///     json!({ "role": "user", "content": "Hello." }),
///     json!({ "role": "system", "content": "The user is called Ada." }),
///     json!({ "role": "user", "content": "What is my name?" }),
///     json!({ "role": "assistant", "content": "Ada" }),
/// ];
/// let expected = [
///     json!({ "role": "system", "content": "Be brief." }),
///     json!({ "role": "user", "content": "Hello.\nThe user is called Ada.\nWhat is my name?" }),
/// ];
/// assert_eq!(alternate(messages, Trailing::Drop)?, expected);
/// # Ok::<(), sync_coalesce::chat::AlternateError>(())
/// ```
pub fn alternate(messages: impl IntoIterator<Item = Value>, trailing: Trailing) -> Result<Vec<Value>, AlternateError> {
    let mut turns: Vec<Turn> = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let mut turn = Turn::read(message, index)?;
        if turn.is_instruction() && turns.iter().any(|before| !before.is_instruction()) {
            "user".clone_into(&mut turn.role);
        }
        let left_over = match turns.last_mut() {
            Some(last) => last.merge(turn),
            None => Some(turn),
        };
        turns.extend(left_over);
    }
    if trailing == Trailing::Drop {
        while turns.last().is_some_and(|last| last.role == "assistant" && !last.has_tools) {
            turns.pop();
        }
    }
    Ok(turns.into_iter().map(Turn::write).collect())
}

/// A message in its parts.
struct Turn {
    role: String,
    content: Option<Value>,
    /// All other members.
    others: Map<String, Value>,
    has_tools: bool,
}

impl Turn {
    fn read(message: Value, index: usize) -> Result<Self, AlternateError> {
        let Value::Object(mut others) = message else { return Err(AlternateError::NotAnObject { index }) };
        let Some(Value::String(role)) = others.remove("role") else { return Err(AlternateError::NoRole { index }) };
        let content = others.remove("content");
        let has_tools = matches!(&*role, "tool" | "function")
            || ["tool_calls", "tool_call_id", "function_call"].iter().any(|name| others.get(*name).is_some_and(is_set))
            || matches!(&content, Some(Value::Array(parts)) if parts.iter().any(is_tool));
        Ok(Self { role, content, others, has_tools })
    }

    fn write(self) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), Value::String(self.role));
        message.extend(self.content.map(|content| ("content".to_owned(), content)));
        message.extend(self.others);
        Value::Object(message)
    }

    fn is_instruction(&self) -> bool {
        matches!(&*self.role, "system" | "developer")
    }

    /// Merges the next message into this one, or returns it if the two cannot be merged.
    fn merge(&mut self, next: Self) -> Option<Self> {
        let can_merge = |turn: &Self| {
            let is_known = matches!(turn.content, None | Some(Value::Null | Value::String(_) | Value::Array(_)));
            is_known && !turn.has_tools
        };
        if self.role != next.role
            || !can_merge(self)
            || !can_merge(&next)
            || set_members(&self.others) != set_members(&next.others)
        {
            return Some(next);
        }
        self.content = join(self.content.take(), next.content);
        None
    }
}

/// Both contents as one. Each is absent, text, or a list of parts.
fn join(before: Option<Value>, after: Option<Value>) -> Option<Value> {
    match (before, after) {
        (before, None | Some(Value::Null)) => before,
        (None | Some(Value::Null), after) => after,
        (Some(Value::String(before)), Some(Value::String(after))) => {
            let line_break = if before.is_empty() || after.is_empty() { "" } else { "\n" };
            Some(Value::String(before + line_break + &after))
        }
        (before, after) => Some([before, after].into_iter().flatten().flat_map(parts).collect()),
    }
}

fn parts(content: Value) -> Vec<Value> {
    match content {
        Value::Array(parts) => parts,
        // Some providers refuse empty parts.
        Value::String(text) if text.is_empty() => Vec::new(),
        text => vec![json!({ "type": "text", "text": text })],
    }
}

/// The members that are set.
fn set_members(members: &Map<String, Value>) -> Map<String, Value> {
    members.iter().filter(|(_, value)| is_set(value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// OpenAI's answers have members that are null or empty lists, which mean the same as absent ones.
fn is_set(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

/// Matches `tool_use` and `tool_result`, and the parts for tools that Anthropic runs itself, such as `server_tool_use`
/// and `web_search_tool_result`.
fn is_tool(part: &Value) -> bool {
    part.get("type").and_then(Value::as_str).is_some_and(|kind| kind.contains("tool"))
}

impl fmt::Display for AlternateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject { index } => write!(f, "message {index} is not an object"),
            Self::NoRole { index } => write!(f, "message {index} has no role"),
        }
    }
}

impl Error for AlternateError {}
