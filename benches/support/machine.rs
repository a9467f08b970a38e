//! Where and with what figures were taken.

use std::fs;
use std::process::Command;
use std::thread;

use super::TOP;

/// The processor, the compiler, the commit and the load, as one line of Markdown.
pub fn line() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let changed = if said("git", &["status", "--porcelain", "--untracked-files=no", "src"]).is_empty() {
        ""
    } else {
        " and changes"
    };
    format!(
        "{}, {cores} cores, load {load} before the run; {}; commit {}{changed}; {}",
        processor(),
        said("rustc", &["--version"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("date", &["-u", "+%F"]),
    )
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    model.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// What a command prints, or nothing.
fn said(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(TOP).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
