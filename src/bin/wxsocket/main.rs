//! `wxsocket`: the engine from a shell. A client (`connect`), a tour of what the engine does
//! (`demo`), and a server that misbehaves on command (`serve`).

mod args;
mod connect;
mod demo;
mod forward;
mod interrupt;
mod json;
mod lines;
mod observe;
mod options;
mod output;
mod serve;
mod stage;
mod timeline;
mod units;

use args::{Cli, Command};
use clap::Parser;
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
    /// The connection ended for good, and it was neither us nor the limit.
    pub(crate) const ENDED: u8 = 4;
    /// Ctrl-C for the second time: 128 + SIGINT, as a shell counts.
    pub(crate) const INTERRUPTED: i32 = 130;
}

fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Connect(args) => connect::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
    };
    ExitCode::from(code)
}

/// Says what is wrong with the arguments, in clap's own words and with its exit code.
fn usage_error(message: impl std::fmt::Display) -> u8 {
    let red = clap::builder::styling::AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{red}error:{red:#} {message}\n\nFor more information, try '--help'.");
    exit::USAGE
}
