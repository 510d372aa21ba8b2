//! Signals: which of them end the program, and how.

use crate::program::{PROGRAM, Program, piped, run, run_with};
use std::fs::File;
use std::process::{Command, Stdio};

const SERVE: &str = "serve --json --listen 127.0.0.1:0";

/// Starts a server after this piece of shell code. Returns it and its URL.
fn serve_after(prepare: &str) -> (Program, String) {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{prepare} exec \"$0\" {SERVE}"), PROGRAM]);
    let program = Program::spawn(piped(&mut shell));
    let listening = program.event("listening");
    let url = listening["urls"][0].as_str().expect("a URL").to_owned();
    (program, url)
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    for (prepare, signal) in [("trap '' HUP;", "-HUP"), ("trap '' INT;", "-INT")] {
        let (server, url) = serve_after(prepare);
        server.signal(signal);
        let client = run(&["connect", "--no-reconnect", &url], b"still there\n");
        assert_eq!(client.code, Some(0), "{prepare} {client:?}");
        server.skip_to("end");
        server.signal("-TERM");
        assert_eq!(server.finish().code, Some(0), "{prepare}");
    }
}

#[test]
fn each_signal_that_ends_a_program_is_polite_at_first() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let (server, _) = serve_after("");
        server.signal(signal);
        assert_eq!(server.finish().code, Some(0), "{signal}");
    }
}

#[test]
fn the_demo_can_be_interrupted() {
    let demo = Program::start(&["demo"]);
    while !demo.line().contains("1. Open") {}
    demo.interrupt();
    assert_eq!(demo.finish().code, Some(130));
}

#[test]
fn nothing_is_said_where_nothing_can_be_said() {
    for arguments in [
        &["connect", "nonsense"][..],
        &["connect", "ws://127.0.0.1:1", "--ca", "/no/such/file"],
        &["serve", "--script", "/no/such/file"],
        &["serve", "--listen", "nonsense"],
        &["nonsense"],
    ] {
        let full = Stdio::from(File::options().write(true).open("/dev/full").expect("there"));
        let ended = run_with(arguments, |command| command.stderr(full));
        assert_eq!(ended.code, Some(2), "{arguments:?}");
    }
}

/// Runs the program with this limit of open files.
#[cfg(unix)]
fn with_descriptors(limit: u32, arguments: &str) -> crate::program::Ended {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" {arguments}"), PROGRAM]);
    Program::spawn(piped(&mut shell).stdin(Stdio::null())).finish()
}

#[test]
#[cfg(unix)]
fn too_few_descriptors_are_an_error_and_no_panic() {
    for limit in 5..16 {
        let ended = with_descriptors(limit, "connect --no-reconnect ws://127.0.0.1:9");
        assert_eq!(ended.code, Some(4), "{limit}: {ended:?}");
        assert!(!ended.stderr.contains("--help"), "{limit}: {ended:?}");
    }
    for limit in 5..10 {
        let ended = with_descriptors(limit, "serve --listen 127.0.0.1:0");
        assert_eq!(ended.code, Some(1), "{limit}: {ended:?}");
        assert!(ended.stderr.contains("open files"), "{limit}: {ended:?}");
    }
}
