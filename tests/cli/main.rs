//! The command line as its user meets it: the real program, against the scripted server.

mod arguments;
mod connect;
mod endings;
mod input;
mod program;
mod servers;
mod signals;
mod terminal;
