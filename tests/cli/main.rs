//! The command line as its user meets it: the real program, against the scripted server.

mod arguments;
mod connect;
mod endings;
mod input;
#[cfg(target_os = "linux")]
mod network;
mod program;
mod servers;
mod signals;
#[cfg(target_os = "linux")]
mod terminal;
