//! A service under test, and a place for its database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{env, fs};

use serde_json::{Value, json};

use super::Held;
use crate::support::process::{Running, example};
use crate::support::{LIMIT, until};

/// A running service. Dropping it kills it, as `kill -9` does.
pub(super) struct Service {
    pub(super) running: Running,
    pub(super) url: String,
    pub(super) agent: ureq::Agent,
    /// Where it was started. Below the process, so that it goes last.
    #[expect(dead_code, reason = "its end is what counts")]
    folder: Arc<Folder>,
}

impl Service {
    pub(super) fn start(provider: &Held, arguments: &[&str]) -> Service {
        Self::start_in(&Arc::new(Folder::new()), provider, arguments)
    }

    /// The same in a folder that may have another one's database.
    pub(super) fn start_in(folder: &Arc<Folder>, provider: &Held, arguments: &[&str]) -> Service {
        let mut command = example("chat_service");
        command.current_dir(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--url", &provider.url(), "--model", "m", "--pace", "80000"]);
        command.args(["--timeout", "600", "--patience", "600", "--run-for", "600"]).args(arguments);
        let running = Running::start(&mut command);
        let line = running.line();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT)).proxy(None);
        Service { running, url, agent: config.build().into(), folder: Arc::clone(folder) }
    }

    /// The status and the body that a message gets, or an error when the service is no longer there.
    pub(super) fn try_post(&self, thread: &str, id: Option<&str>, body: &str) -> Result<(u16, Value), ureq::Error> {
        let mut post = self.agent.post(format!("{}/threads/{thread}/messages", self.url));
        if let Some(id) = id {
            post = post.header("idempotency-key", id);
        }
        let mut response = post.send(body)?;
        let body = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), serde_json::from_str(&body).unwrap()))
    }

    pub(super) fn say(&self, thread: &str, id: Option<&str>, text: &str) -> (u16, Value) {
        self.try_post(thread, id, &json!({ "content": text }).to_string()).unwrap()
    }

    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub(super) fn stats(&self) -> Value {
        serde_json::from_str(&self.get("/stats").1).unwrap()
    }

    /// What stands in a conversation, as role and text.
    pub(super) fn conversation(&self, thread: &str) -> Vec<(String, String)> {
        let (status, body) = self.get(&format!("/threads/{thread}/messages"));
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let messages = body["messages"].as_array().unwrap().iter();
        messages.map(|message| (text(&message["role"]), text(&message["content"]))).collect()
    }

    #[track_caller]
    pub(super) fn until_stats(&self, figure: &str, value: u64) {
        until(format_args!("{value} at {figure}"), || self.stats().pointer(figure).unwrap() == value);
    }

    #[track_caller]
    pub(super) fn assert_idle(&self) {
        let stats = self.stats();
        for coalescer in [&stats["turns"], &stats["stack"]["coalesce"]] {
            for figure in ["in_flight", "following", "running"] {
                assert_eq!(coalescer[figure], 0, "{stats}");
            }
        }
    }
}

/// A folder of one test's own, removed when it ends.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let name = format!("chat-service-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
