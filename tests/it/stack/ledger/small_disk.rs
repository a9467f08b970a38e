//! The ledger on a real disk of 2 MB, which is full, read-only, or well again.
//!
//! Each test runs as a process of its own with its own mounts, so that nothing stays mounted whatever becomes of it.

use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use sync_coalesce::stack::ledger::{Ledger, LedgerError, LedgerState, RedbStore, StoreError};

use super::disk::Folder;
use super::{assert_does, assert_replays, assert_unknown, request, run};
use crate::support::bounded;
use crate::support::process::{self, Running};

/// Runs the ignored test `name` where it can mount a disk. If nobody may mount here, says so, and passes.
fn where_disks_can_be_mounted(name: &str) {
    let folder = Folder::new();
    let mounts = |flag: &&&str| {
        let mut probe = Command::new("unshare");
        probe.args([**flag, "--", "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path());
        probe.output().is_ok_and(|done| done.status.success())
    };
    let Some(flag) = ["-m", "-rm"].iter().find(mounts) else {
        println!("SKIPPED: {name}: no disk can be mounted here");
        eprintln!("SKIPPED: {name}: no disk can be mounted here");
        return;
    };
    let test = process::test(&format!("stack::ledger::small_disk::{name}"));
    let mut command = Command::new("unshare");
    command.args([flag, "--"]).arg(test.get_program()).args(test.get_args()).env("SMALL_DISK", folder.path());
    let ended = Running::start(&mut command).finish();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    assert!(ended.out.contains("1 passed"), "{}", ended.out);
}

/// The disk, mounted; `None` if this process was not started by the above.
fn small_disk() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("SMALL_DISK")?);
    mount(&folder, &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]);
    Some(folder)
}

fn mount(folder: &Path, options: &[&str]) {
    let mounted = Command::new("mount").args(options).arg(folder).output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
}

/// Takes all the room that is left.
fn fill(folder: &Path) -> PathBuf {
    let filler = folder.join("filler");
    assert_eq!(fs::write(&filler, vec![0; 8 << 20]).unwrap_err().kind(), ErrorKind::StorageFull);
    filler
}

#[track_caller]
fn assert_is(error: &StoreError, kind: ErrorKind, text: &str) {
    let cause = error.inner().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), kind, "{error}");
    let printed = error.to_string();
    assert!(printed.contains(text) && printed.contains("ledger.redb"), "{printed}");
}

#[test]
fn a_disk_that_was_full_is_used_again_without_a_restart() {
    bounded(|| where_disks_can_be_mounted("full_and_then_not"));
}

#[test]
#[ignore = "run as a process of its own, by the test above"]
fn full_and_then_not() {
    let Some(disk) = small_disk() else { return };
    let file = disk.join("ledger.redb");
    let ledger = Ledger::new(RedbStore::open(&file).unwrap());
    let request = request("r");
    let long = |key: &str| ledger.run_once(key, &request, || Ok::<_, Infallible>("x".repeat(100)));
    long("first").unwrap().committed.unwrap();
    for round in 0..3 {
        let filler = fill(&disk);
        let mut done = Vec::new();
        // What is free in the file itself is used up first.
        let (failed, is_begun) = loop {
            let key = format!("{round}-{}", done.len());
            match long(&key) {
                Ok(recorded) => match recorded.committed {
                    Ok(()) => done.push(key),
                    Err(error) => {
                        assert_is(&error, ErrorKind::StorageFull, "there is no room on the disk");
                        break (key, true);
                    }
                },
                Err(LedgerError::Store(error)) => {
                    assert_is(&error, ErrorKind::StorageFull, "there is no room on the disk");
                    break (key, false);
                }
                Err(error) => panic!("{error}"),
            }
            assert!(done.len() < 10_000, "the disk is never full");
        };
        // Replays go on, and everything else says why it does not.
        for _ in 0..3 {
            assert!(long("first").unwrap().is_replay);
            assert!(done.iter().all(|key| long(key).unwrap().is_replay));
            assert_eq!(ledger.state("first").unwrap(), LedgerState::Done);
        }
        fs::remove_file(filler).unwrap();
        long(&format!("{round}-new")).unwrap().committed.unwrap();
        // The one that failed is not done, and it is not said to be.
        if is_begun {
            assert!(matches!(long(&failed), Err(LedgerError::Unknown)));
            assert!(ledger.forget(&failed).unwrap());
        }
        assert!(!long(&failed).unwrap().is_replay);
        assert!(done.iter().all(|key| long(key).unwrap().is_replay));
    }
    drop(ledger);
    let ledger = Ledger::new(RedbStore::open(&file).unwrap());
    assert_eq!(ledger.in_doubt().count(), 0);
    assert!(ledger.records().all(|record| record.unwrap().state == LedgerState::Done));
}

#[test]
fn a_disk_that_was_full_at_the_first_start_is_used_at_the_second() {
    bounded(|| where_disks_can_be_mounted("full_at_the_first_start"));
}

#[test]
#[ignore = "run as a process of its own, by the test above"]
fn full_at_the_first_start() {
    let Some(disk) = small_disk() else { return };
    let file = disk.join("ledger.redb");
    let filler = fill(&disk);
    for _ in 0..3 {
        assert_is(&RedbStore::open(&file).unwrap_err(), ErrorKind::StorageFull, "there is no room on the disk");
        assert_eq!(fs::read_dir(&disk).unwrap().count(), 1, "something was left beside the filler");
    }
    fs::remove_file(filler).unwrap();
    assert_does(&Ledger::new(RedbStore::open(&file).unwrap()), "a", &request("r"), 1);
}

#[test]
fn a_disk_that_is_read_only_is_an_error_and_changes_nothing() {
    bounded(|| where_disks_can_be_mounted("read_only"));
}

#[test]
#[ignore = "run as a process of its own, by the test above"]
fn read_only() {
    let Some(disk) = small_disk() else { return };
    let file = disk.join("ledger.redb");
    assert_does(&Ledger::new(RedbStore::open(&file).unwrap()), "a", &request("r"), 1);
    mount(&disk, &["-o", "remount,ro"]);
    assert_is(&RedbStore::open(&file).unwrap_err(), ErrorKind::ReadOnlyFilesystem, "the disk is read-only");
    let other = disk.join("other-ledger.redb");
    assert_is(&RedbStore::open(&other).unwrap_err(), ErrorKind::ReadOnlyFilesystem, "the disk is read-only");
    mount(&disk, &["-o", "remount,rw"]);
    assert_replays(&Ledger::new(RedbStore::open(&file).unwrap()), "a", &request("r"), 1);
}

#[test]
fn a_disk_that_fills_up_under_many_threads_recovers() {
    bounded(|| where_disks_can_be_mounted("full_under_many_threads"));
}

/// Each thread does its own keys, and knows what it was told of each.
#[test]
#[ignore = "run as a process of its own, by the test above"]
fn full_under_many_threads() {
    let Some(disk) = small_disk() else { return };
    let ledger = Ledger::new(RedbStore::open(disk.join("ledger.redb")).unwrap());
    let request = request("r");
    assert_does(&ledger, "old", &request, 7);
    let told: Vec<_> = crate::support::thread::scope(|scope| {
        let threads = crate::support::crowd(scope, 4, |number| {
            let mut told = Vec::new();
            for turn in 0..60 {
                if number == 0 && turn % 20 == 5 {
                    fill(&disk);
                } else if number == 0 && turn % 20 == 15 {
                    fs::remove_file(disk.join("filler")).unwrap();
                }
                let key = format!("{number}-{turn}");
                let (result, ran) = run(&ledger, &key, &request, turn);
                let is_done = result.map(|recorded| recorded.committed.is_ok());
                assert_eq!(ran, is_done.is_ok(), "{is_done:?}");
                told.push((key, turn, is_done.ok()));
                assert_replays(&ledger, "old", &request, 7);
            }
            told
        });
        crate::support::join(threads)
    });
    for (key, turn, told) in told.into_iter().flatten() {
        match told {
            Some(true) => assert_replays(&ledger, &key, &request, turn),
            Some(false) => assert_unknown(&ledger, &key, &request),
            None => assert_does(&ledger, &key, &request, turn),
        }
    }
}
