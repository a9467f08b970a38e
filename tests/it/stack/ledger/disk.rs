//! The ledger on disk, and what it says after a process that used it was killed.

use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::stdin;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sync_coalesce::stack::ledger::{Ledger, LedgerState, RedbStore};

use super::{assert_does, assert_replays, assert_unknown, once, request};
use crate::support::bounded;
use crate::support::process::{self, Running};

/// A folder of this test's own, removed when it ends.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// In memory, where there is such a folder: for many files, each of which is synced many times.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::within(memory) } else { Self::new() }
    }

    fn within(above: &Path) -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Relaxed);
        let folder = above.join(format!("sync-coalesce-ledger-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("ledger.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(file: &Path) -> Ledger {
    Ledger::new(RedbStore::open(file).unwrap())
}

#[test]
fn what_was_done_is_not_done_again_on_disk() {
    let folder = Folder::new();
    once(&open(&folder.file()));
}

#[test]
fn what_was_done_before_a_restart_is_not_done_again() {
    let folder = Folder::new();
    assert_does(&open(&folder.file()), "a", &request("r"), 1);
    assert_replays(&open(&folder.file()), "a", &request("r"), 1);
}

#[test]
fn a_file_that_is_open_or_not_a_ledger_is_an_error() {
    let folder = Folder::new();
    let _open = open(&folder.file());
    assert!(RedbStore::open(folder.file()).is_err());
    let text = folder.0.join("text");
    fs::write(&text, "not a database").unwrap();
    assert!(RedbStore::open(&text).is_err());
    assert_eq!(fs::read_to_string(&text).unwrap(), "not a database");
    assert!(RedbStore::open(folder.0.join("no/such/folder")).is_err());
}

/// The process that is killed: at the stage that it is told, it says so and waits.
#[test]
#[ignore = "run as a process of its own, by the tests below"]
fn a_process_that_is_killed() {
    let Some(file) = env::var_os("LEDGER") else { return };
    let stage = env::var("STAGE").unwrap();
    let wait_at = |here: &str| {
        if stage == here {
            println!("at {here}");
            // It ends when the test does, if nobody kills it before.
            stdin().read_line(&mut String::new()).unwrap();
            panic!("nobody killed it");
        }
    };
    let ledger = open(Path::new(&file));
    wait_at("begin");
    let work = || {
        wait_at("work");
        Ok::<_, Infallible>(1)
    };
    ledger.run_once("a", &request("r"), work).unwrap().committed.unwrap();
    wait_at("commit");
}

/// A process that waits at this stage, with the file open.
pub(super) fn process_at(stage: &str, file: &Path) -> Running {
    let mut command = process::test("stack::ledger::disk::a_process_that_is_killed");
    let running = Running::start(command.env("LEDGER", file).env("STAGE", stage));
    running.line_that_ends(&format!("at {stage}"));
    running
}

/// Starts a process, and kills it at this stage.
fn kill_at(stage: &str, file: &Path) {
    drop(process_at(stage, file));
}

#[test]
fn a_process_killed_between_doing_and_committing_leaves_it_unknown() {
    bounded(|| {
        let folder = Folder::new();
        kill_at("work", &folder.file());
        let ledger = open(&folder.file());
        assert_unknown(&ledger, "a", &request("r"));
        drop(ledger);
        // It stays so over another restart, until somebody has found out.
        let ledger = open(&folder.file());
        assert_unknown(&ledger, "a", &request("r"));
        assert!(ledger.resolve("a", &1).unwrap());
        drop(ledger);
        assert_replays(&open(&folder.file()), "a", &request("r"), 1);
    });
}

#[test]
fn a_process_killed_after_committing_has_done_it() {
    bounded(|| {
        let folder = Folder::new();
        kill_at("commit", &folder.file());
        assert_replays(&open(&folder.file()), "a", &request("r"), 1);
    });
}

#[test]
fn a_process_killed_before_it_begins_has_done_nothing() {
    bounded(|| {
        let folder = Folder::new();
        kill_at("begin", &folder.file());
        let ledger = open(&folder.file());
        assert_eq!(ledger.state("a").unwrap(), LedgerState::Absent);
        assert_does(&ledger, "a", &request("r"), 2);
    });
}
