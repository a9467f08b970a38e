//! The command line, standard output and the exit codes: the same for all examples.

#![allow(dead_code, reason = "each program that includes this file uses a part of it")]

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;
use std::process::{self, ExitCode};
use std::str::FromStr;

use lexopt::{Arg, Parser};

/// What an example can be given on its command line.
pub(crate) trait Arguments {
    /// What `--help` prints.
    fn help(&self) -> String;

    /// Takes the option `--name`, and its value from `value` if it has one. False if there is no such option.
    ///
    /// # Errors
    ///
    /// What is wrong with the value.
    fn option(&mut self, name: &str, value: &mut Value<'_>) -> Result<bool, String>;

    /// Takes an argument that is no option. False if there may not be another.
    fn operand(&mut self, _operand: OsString) -> bool {
        false
    }

    /// Looks at all arguments together.
    ///
    /// # Errors
    ///
    /// What does not fit.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The value of an option, if it is asked for.
pub(crate) struct Value<'a> {
    name: &'a str,
    parser: &'a mut Parser,
}

/// Runs an example: `run` says whether all went well, or why it could not start.
///
/// The exit code is 0 if all went well, 1 if not, and 2 if the arguments are wrong or it could not start.
pub(crate) fn run<A>(name: &str, run: impl FnOnce(&A) -> Result<bool, String>) -> ExitCode
where
    A: Arguments + Default,
{
    start(name, A::default(), run)
}

/// The same for an example whose options are all numbers: each has a name, a range, and what it is if it is not given.
pub(crate) fn run_with_numbers<const N: usize>(
    name: &str,
    help: &'static str,
    options: [(&'static str, RangeInclusive<u32>, u32); N],
    run: impl FnOnce([u32; N]) -> Result<bool, String>,
) -> ExitCode {
    start(name, Numbers { help, options }, |numbers| run(numbers.options.each_ref().map(|option| option.2)))
}

struct Numbers<const N: usize> {
    help: &'static str,
    options: [(&'static str, RangeInclusive<u32>, u32); N],
}

impl<const N: usize> Arguments for Numbers<N> {
    fn help(&self) -> String {
        self.help.into()
    }

    fn option(&mut self, name: &str, value: &mut Value<'_>) -> Result<bool, String> {
        let Some((_, range, number)) = self.options.iter_mut().find(|option| option.0 == name) else {
            return Ok(false);
        };
        *number = value.number(range.clone())?;
        Ok(true)
    }
}

fn start<A: Arguments>(name: &str, arguments: A, run: impl FnOnce(&A) -> Result<bool, String>) -> ExitCode {
    let help = arguments.help();
    let arguments = match parse(arguments, Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print(help);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprint(format_args!("{name}: {why}\n\nFor more information, try '--help'."));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(all_went_well) => ExitCode::from(u8::from(!all_went_well)),
        Err(why) => {
            eprint(format_args!("{name}: {why}"));
            ExitCode::from(2)
        }
    }
}

/// The arguments, or none where help is wanted.
fn parse<A: Arguments>(mut arguments: A, mut parser: Parser) -> Result<Option<A>, String> {
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long(name) => {
                let name = name.to_owned();
                if !arguments.option(&name, &mut Value { name: &name, parser: &mut parser })? {
                    return Err(format!("unknown option --{name}"));
                }
            }
            Arg::Short(name) => return Err(format!("unknown option -{name}")),
            Arg::Value(operand) => {
                if !arguments.operand(operand.clone()) {
                    return Err(format!("unexpected argument {operand:?}"));
                }
            }
        }
    }
    arguments.check()?;
    Ok(Some(arguments))
}

impl Value<'_> {
    /// The value as it was given.
    pub(crate) fn raw(&mut self) -> Result<OsString, String> {
        self.parser.value().map_err(|_| format!("--{}: a value is missing", self.name))
    }

    pub(crate) fn text(&mut self) -> Result<String, String> {
        self.raw()?.into_string().map_err(|raw| format!("--{}: {raw:?} is not UTF-8", self.name))
    }

    /// The value by `read`, which has none for what is not `expected`.
    pub(crate) fn read<T>(&mut self, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let text = self.text()?;
        read(&text).ok_or_else(|| format!("--{}: expected {expected}, got {text:?}", self.name))
    }

    /// A number in this range.
    pub(crate) fn number<T>(&mut self, range: RangeInclusive<T>) -> Result<T, String>
    where
        T: FromStr + PartialOrd + Display,
    {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.read(&expected, |text| text.parse().ok().filter(|number| range.contains(number)))
    }
}

/// Prints a line to standard output. A closed pipe is no error, as in `example | head -1`.
pub(crate) fn print(line: impl Display) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprint(format_args!("cannot write to standard output: {error}"));
            process::exit(1)
        }
        _ => {}
    }
}

/// Prints a line to standard error. A closed pipe is no error here either.
pub(crate) fn eprint(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
