//! `wxsocket`: the engine on the command line. A client (`connect`), a demonstration of what the
//! engine does (`demo`), and a server that misbehaves on command (`serve`).

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

/// The exit codes. `--help` lists them, too.
mod exit {
    /// A close that the program asked for, or a demo that went as expected.
    pub(crate) const OK: u8 = 0;
    /// A failure.
    pub(crate) const FAILED: u8 = 1;
    /// Bad arguments (clap uses the same number).
    pub(crate) const USAGE: u8 = 2;
    /// The limit of reconnect attempts was reached.
    pub(crate) const LIMIT: u8 = 3;
    /// The connection ended for good, but not by our close and not by the limit; or the system
    /// does not give what the program needs.
    pub(crate) const ENDED: u8 = 4;
    /// A close that the program asked for, but a part of the input was not delivered, or perhaps
    /// not, or output was lost.
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

/// Prints a help text, or what is wrong with the arguments. Returns the exit code.
fn explain(told: &clap::Error) -> u8 {
    let printed = told.print().and_then(|()| std::io::stdout().flush());
    match (told.use_stderr(), printed) {
        (true, _) => exit::USAGE,
        (false, Ok(())) => exit::OK,
        (false, Err(error)) => lost_output(error.kind(), exit::FAILED),
    }
}

/// Returns the exit code when standard output cannot be written. It is 0 for a pipe that its reader
/// has closed, because that is no failure.
fn lost_output(error: ErrorKind, code: u8) -> u8 {
    if error == ErrorKind::BrokenPipe { exit::OK } else { code }
}

/// Prints a message on standard error, if that is possible.
fn say(message: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{message}");
}

/// Prints what is wrong with the arguments in the form of clap, and returns its exit code.
fn usage_error(message: impl std::fmt::Display) -> u8 {
    let red = clap::builder::styling::AnsiColor::Red.on_default().bold();
    say(format_args!("{red}error:{red:#} {message}\n\nFor more information, try '--help'."));
    exit::USAGE
}
