//! What a bench found, as Markdown and plots: under `target/bench-report/`, and with `BENCH_SAVE` set in
//! `benches/results/` too.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::{TOP, is_quick, machine};

pub struct Report {
    name: &'static str,
    text: String,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        let quick = if is_quick() { "A SHORT RUN, WHOSE FIGURES MEAN NOTHING. " } else { "" };
        Self { name, text: format!("{quick}{}\n", machine::line()) }
    }

    pub fn paragraph(&mut self, text: impl AsRef<str>) {
        writeln!(self.text, "\n{}", text.as_ref()).unwrap();
    }

    /// A table whose first column is text.
    pub fn table<const N: usize>(&mut self, head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        writeln!(self.text, "\n| {} |\n|---|{}", head.join(" | "), "---:|".repeat(N - 1)).unwrap();
        for row in rows {
            writeln!(self.text, "| {} |", row.join(" | ")).unwrap();
        }
    }

    /// Prints the report and writes it, and what else there is: the ends of file names, with what is to be in them.
    pub fn finish<'a>(self, plots: impl IntoIterator<Item = (&'a str, String)>) {
        println!("\n{}", self.text);
        let mut files = vec![(format!("{}.md", self.name), self.text)];
        files.extend(plots.into_iter().map(|(end, plot)| (format!("{}{end}.svg", self.name), plot)));
        for directory in directories() {
            fs::create_dir_all(&directory).unwrap();
            for (file, text) in &files {
                fs::write(directory.join(file), text).unwrap();
            }
        }
    }
}

fn directories() -> Vec<PathBuf> {
    let top = Path::new(TOP);
    let mut directories = vec![top.join("target/bench-report")];
    if env::var_os("BENCH_SAVE").is_some() && !is_quick() {
        directories.push(top.join("benches/results"));
    }
    directories
}

/// Three digits that count, as far as that goes without an exponent.
pub fn figure(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
