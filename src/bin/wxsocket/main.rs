//! `wxsocket`: the engine from a shell. A client (`connect`), a tour of what the engine does
//! (`demo`), and a server that misbehaves on command (`serve`).

mod args;
mod connect;
mod demo;
mod descriptors;
mod escape;
mod forward;
mod interrupt;
mod json;
mod ledger;
mod lines;
mod network;
mod observe;
mod options;
mod output;
mod serve;
mod stage;
mod timeline;
mod units;

use args::{Cli, Command};
use clap::Parser;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// What the process answers; the table stands in `--help` too.
mod exit {
    /// The close was ours, or the story went as told.
    pub(crate) const OK: u8 = 0;
    /// Something that should not happen.
    pub(crate) const FAILED: u8 = 1;
    /// Bad arguments (clap uses the same number).
    pub(crate) const USAGE: u8 = 2;
    /// The limit of reconnect attempts was reached.
    pub(crate) const LIMIT: u8 = 3;
    /// The connection ended for good, and it was neither us nor the limit; or the system gives
    /// none.
    pub(crate) const ENDED: u8 = 4;
    /// The close was ours, but a part of the input was not delivered, or perhaps not, or output
    /// was lost.
    pub(crate) const INCOMPLETE: u8 = 5;
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return ExitCode::from(explain(&told)),
    };
    if let Err(error) = descriptors::check() {
        say(format_args!("cannot begin: {error}"));
        return ExitCode::from(match cli.command {
            Command::Connect(_) => exit::ENDED,
            Command::Demo(_) | Command::Serve(_) => exit::FAILED,
        });
    }
    let code = match cli.command {
        Command::Connect(args) => connect::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
    };
    ExitCode::from(code)
}

/// Prints a help text, or what is wrong with the arguments.
fn explain(told: &clap::Error) -> u8 {
    let printed = told.print().and_then(|()| std::io::stdout().flush());
    match (told.use_stderr(), printed) {
        (true, _) => exit::USAGE,
        (false, Ok(())) => exit::OK,
        (false, Err(error)) => lost_output(error.kind(), exit::FAILED),
    }
}

/// The exit code when standard output cannot be written: nothing is wrong when it is a pipe whose
/// reader has seen enough.
fn lost_output(error: ErrorKind, code: u8) -> u8 {
    if error == ErrorKind::BrokenPipe { exit::OK } else { code }
}

/// Says something on standard error, if that is possible.
fn say(message: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{message}");
}

/// Says what is wrong with the arguments, in clap's own words and with its exit code.
fn usage_error(message: impl std::fmt::Display) -> u8 {
    let red = clap::builder::styling::AnsiColor::Red.on_default().bold();
    say(format_args!("{red}error:{red:#} {message}\n\nFor more information, try '--help'."));
    exit::USAGE
}
