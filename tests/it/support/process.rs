//! Processes under test: the examples, built before they run, and tests of this program. Every wait for them is bounded.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

/// Longer than any process here has reason to run.
const LIMIT: Duration = Duration::from_secs(60);
/// A build may have to wait for other builds.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// The example `name`, built as these tests are: same profile, same target.
pub(crate) fn example(name: &str) -> Command {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(build_examples);
    let mut command = Command::new(FOLDER.join(format!("{name}{}", env::consts::EXE_SUFFIX)));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// This program, to run the one test `name` that is ignored otherwise.
#[cfg(feature = "redb")]
pub(crate) fn test(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command
}

/// Builds them even if they are there: a run of single tests would find them missing or stale.
fn build_examples() -> PathBuf {
    // target/[triple/]profile/deps/this-test
    let this = env::current_exe().unwrap();
    let profile_folder = this.ancestors().nth(2).unwrap();
    let target_folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let profile = match profile_folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--profile", profile]);
    // With the features that this test has, so that what was built with it is not built again.
    macro_rules! features {
        ($($name:literal)*) => { [$(($name, cfg!(feature = $name))),*] };
    }
    let features = features!("budget" "cache" "example-ask" "example-chat-service" "example-https" "jiff" "ledger"
        "metrics" "pace" "redb" "retry" "test-tracing" "tracing");
    for (name, _) in features.into_iter().filter(|(_, is_on)| *is_on) {
        cargo.args(["--features", name]);
    }
    cargo.arg("--examples");
    cargo.arg("--target-dir").arg(target_folder);
    // What cargo tells this test of its own package, it must not tell the build: build scripts that look at it would
    // run again, here and in the next build outside, and all that depends on them would be compiled anew each time.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let between = profile_folder.parent().and_then(|folder| folder.strip_prefix(target_folder).ok());
    if let Some(triple) = between.filter(|triple| !triple.as_os_str().is_empty()) {
        cargo.arg("--target").arg(triple);
    }
    let built = Running::start(&mut cargo).finish_within(BUILD_LIMIT);
    assert_eq!(built.code, Some(0), "cannot build the examples:\n{}", built.err);
    profile_folder.join("examples")
}

/// A process that was started. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    err: Option<JoinHandle<String>>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed and nobody had read.
    pub(crate) out: String,
    pub(crate) err: String,
}

fn spawn(command: &mut Command) -> Child {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = spawn(command);
        let (send, lines) = unbounded();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).unwrap_or_default() > 0 {
                let _ = send.send(std::mem::take(&mut line));
            }
        });
        let mut err = child.stderr.take().unwrap();
        let err = thread::spawn(move || {
            let mut text = String::new();
            let _ = err.read_to_string(&mut text);
            text
        });
        Running { input: child.stdin.take(), child, lines, err: Some(err) }
    }

    /// Closes its standard output and error at once, as `2>&1 | head -0` does.
    pub(crate) fn start_unread(command: &mut Command) -> Running {
        let mut child = spawn(command);
        drop((child.stdout.take(), child.stderr.take()));
        Running { input: child.stdin.take(), child, lines: unbounded().1, err: None }
    }

    /// Writes one line to its standard input.
    #[cfg(feature = "example-ask")]
    pub(crate) fn say(&mut self, line: &str) {
        std::io::Write::write_all(self.input.as_mut().unwrap(), format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for a line of its standard output that ends like this.
    #[cfg(feature = "redb")]
    pub(crate) fn line_that_ends(&self, end: &str) {
        while !self.line().trim_end().ends_with(end) {}
    }

    /// The next line of its standard output, with its end.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    #[cfg(all(unix, feature = "example-ask"))]
    pub(crate) fn interrupt(&self) {
        self.signal("-INT");
    }

    /// Kills it, and does not wait until it is gone, as dropping it does.
    #[cfg(all(unix, feature = "example-chat-service"))]
    pub(crate) fn kill(&self) {
        self.signal("-KILL");
    }

    #[cfg(all(unix, any(feature = "example-ask", feature = "example-chat-service")))]
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, without closing its standard input first.
    #[cfg(feature = "example-ask")]
    pub(crate) fn finish_with_open_input(mut self) -> Ended {
        let input = self.input.take();
        let ended = self.finish_within(LIMIT);
        drop(input);
        ended
    }

    /// Closes its standard input and waits for its end.
    pub(crate) fn finish(self) -> Ended {
        self.finish_within(LIMIT)
    }

    fn finish_within(mut self, limit: Duration) -> Ended {
        drop(self.input.take());
        let deadline = Instant::now() + limit;
        let mut out = String::new();
        loop {
            match self.lines.recv_deadline(deadline) {
                Ok(line) => out += &line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("still running after {limit:?}, it printed {out:?}"),
            }
        }
        // Its output has ended, so it is about to end, or it hangs.
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "still running after {limit:?}, it printed {out:?}");
            thread::sleep(Duration::from_millis(1));
        };
        let err = self.err.take().map_or_else(String::new, |err| err.join().unwrap());
        Ended { code: status.code(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both are refused when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
