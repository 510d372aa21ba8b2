//! The programs in `tests/examples/` do what they say.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::*;

/// Runs an example with this input, and gives what it printed.
fn run(name: &str, arguments: &[&str], input: &str) -> String {
    // Examples lie beside the directory of the tests.
    let tests = std::env::current_exe().unwrap();
    let mut path: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples");
    path.push(name);
    let mut program = Command::new(&path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error} (cargo build --examples)", path.display()));
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_chat_prints_what_it_hears_and_ends_with_its_input() {
    let server = echo();
    let output = run("chat", &[&server.url()], "hello\nyou\n");
    let lines: Vec<_> = output.lines().filter(|line| line.starts_with(['>', '-'])).collect();
    assert!(lines[0].starts_with("-- connected"), "{output}");
    assert_eq!(lines.last(), Some(&"-- disconnected (1000)"), "{output}");
    let connection = server.connection(1).unwrap();
    assert_eq!(connection.texts(), ["hello", "you"]);
}

#[test]
fn a_token_is_fetched_again_when_the_server_does_not_accept_it() {
    let server = serve(
        r#"[{"handshake": {"status": 401}}, {"rules": [{"on": "open", "do": {"send": "welcome"}}]}]"#,
    );
    let output = run("token", &[&server.url()], "");
    assert!(output.contains("the server did not accept the last token"), "{output}");
    assert!(output.contains("welcome"), "{output}");
    let token = |index| server.connection(index).unwrap().header("Authorization");
    assert_eq!(token(1).as_deref(), Some("Bearer token-1"));
    assert_eq!(token(2).as_deref(), Some("Bearer token-2"));
}

#[test]
fn a_slow_app_makes_the_server_wait_and_loses_nothing() {
    let server =
        serve(r#"[{"rules": [{"on": "open", "do": {"flood": {"count": 3000, "bytes": 100}}}]}]"#);
    let output = run("back_pressure", &[&server.url(), "3000"], "");
    assert_eq!(output, "3000 messages, 0 discarded\n");
}
