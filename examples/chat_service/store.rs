//! Conversations in a database: a message and its answer are written together, once.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::types::Null;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use serde::Serialize;

use crate::failure::Failure;

/// `place` counts a conversation's messages from 0, so a second pair at one place breaks the first constraint, and a
/// second pair for one request the second. Neither happens in one process, which asks before it writes.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY,
        thread TEXT NOT NULL,
        place INTEGER NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
        content TEXT NOT NULL,
        request_id TEXT,
        written_ms INTEGER NOT NULL,
        UNIQUE (thread, place),
        UNIQUE (thread, request_id)
    ) STRICT;";

/// All conversations. One connection, for the database has one writer at a time anyway.
pub(crate) struct Store {
    database: Mutex<Connection>,
}

/// A message as it is stored, and as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) role: String,
    pub(crate) content: String,
}

/// What the user said, and what came back.
#[derive(Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) user: Message,
    pub(crate) assistant: Message,
}

/// What a client wants to say in a conversation.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Said<'a> {
    pub(crate) thread: &'a str,
    /// The client's `Idempotency-Key`.
    pub(crate) request_id: Option<&'a str>,
    pub(crate) content: &'a str,
}

impl Store {
    /// The conversations in this file, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`] if the file cannot be opened, or is something else.
    pub(crate) fn open(file: &Path) -> Result<Store, Failure> {
        let database = Connection::open(file)?;
        database.execute_batch(SCHEMA)?;
        Ok(Store { database: Mutex::new(database) })
    }

    /// The messages of a conversation in order; none if there is no such conversation.
    pub(crate) fn messages(&self, thread: &str) -> Result<Vec<Message>, Failure> {
        let database = self.lock();
        let mut select = database.prepare("SELECT id, role, content FROM messages WHERE thread = ?1 ORDER BY place")?;
        let messages = select.query_map([thread], message)?;
        Ok(messages.collect::<Result<_, _>>()?)
    }

    /// How many messages there are in all conversations.
    pub(crate) fn count(&self) -> Result<i64, Failure> {
        Ok(self.lock().query_one("SELECT count(*) FROM messages", [], |row| row.get(0))?)
    }

    /// The pair that was written for this already: under the request's id, if it has one; else the conversation's last
    /// pair, if that has the same text and is no older than `window`.
    ///
    /// # Errors
    ///
    /// [`Failure::OtherRequest`] if the id was used for another text.
    pub(crate) fn find(&self, said: Said<'_>, window: Duration) -> Result<Option<Pair>, Failure> {
        let database = self.lock();
        let pair = |row: &Row<'_>| {
            let age = now_ms().saturating_sub(row.get(6)?);
            let user = message(row)?;
            let assistant = Message { id: row.get(3)?, role: row.get(4)?, content: row.get(5)? };
            Ok((Pair { user, assistant }, age))
        };
        let select = "SELECT u.id, u.role, u.content, a.id, a.role, a.content, a.written_ms
            FROM messages u JOIN messages a ON a.thread = u.thread AND a.place = u.place + 1
            WHERE u.thread = ?1 AND u.role = 'user' AND u.request_id IS ?2
            ORDER BY u.place DESC LIMIT 1";
        let found = database.query_one(select, params![said.thread, said.request_id], pair).optional()?;
        match found {
            Some((pair, _)) if said.request_id.is_some() && pair.user.content == said.content => Ok(Some(pair)),
            Some(_) if said.request_id.is_some() => Err(Failure::OtherRequest),
            Some((pair, age)) if pair.user.content == said.content => {
                let is_last = "SELECT max(id) = ?1 FROM messages WHERE thread = ?2";
                let is_last = database.query_one(is_last, params![pair.assistant.id, said.thread], |row| row.get(0))?;
                let is_fresh = u128::from(u64::try_from(age).unwrap_or_default()) < window.as_millis();
                Ok((is_last && is_fresh).then_some(pair))
            }
            _ => Ok(None),
        }
    }

    /// The pair as it was written, both messages or none, behind a conversation of `place` messages.
    ///
    /// # Errors
    ///
    /// [`Failure::Conflict`] if something else is there by now, which only another process can have written.
    pub(crate) fn append(&self, said: Said<'_>, place: usize, answer: &str) -> Result<Pair, Failure> {
        let mut database = self.lock();
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        let insert = |place: i64, role: &str, content: &str, request_id: &dyn rusqlite::ToSql| {
            let insert = "INSERT INTO messages (thread, place, role, content, request_id, written_ms)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            transaction.execute(insert, params![said.thread, place, role, content, request_id, now_ms()])?;
            Ok(Message { id: transaction.last_insert_rowid(), role: role.to_owned(), content: content.to_owned() })
        };
        let written = insert(place, "user", said.content, &said.request_id)
            .and_then(|user| Ok(Pair { user, assistant: insert(place + 1, "assistant", answer, &Null)? }));
        let pair = written.map_err(|error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Failure::Conflict,
            _ => error.into(),
        })?;
        transaction.commit()?;
        Ok(pair)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic cut short was rolled back.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message { id: row.get(0)?, role: row.get(1)?, content: row.get(2)? })
}

fn now_ms() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
