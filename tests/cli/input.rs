//! Standard input: read as fast as the connection takes it, and every line that is not delivered
//! counts.

use crate::program::{LONG, Program, run, run_with, serve};
use std::fs::File;
use std::process::Stdio;
use wxsocket::testing::{SeenFrame, SeenFrameKind, Snapshot};

/// Lines that are longer together than any buffer on the way.
fn long_lines(count: usize) -> Vec<u8> {
    let line = |number: usize| format!("{number:05}{}\n", "x".repeat(65_000));
    (0..count).map(line).collect::<String>().into_bytes()
}

/// The server has exactly these lines, in order.
fn assert_lines(seen: &Snapshot, count: usize) {
    let connections = seen.connections.iter();
    let frames = connections.flat_map(|connection| &connection.frames);
    // On a slow machine there is time for a heartbeat.
    let is_line = |frame: &&SeenFrame| frame.kind == SeenFrameKind::Text && frame.text != "ping";
    let texts = frames.filter(is_line);
    let numbers: Vec<usize> =
        texts.map(|frame| frame.text[..5].parse().expect("a number")).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

#[test]
fn every_line_of_a_large_file_arrives() {
    // The open comes late, and the server reads slowly: it holds its echoes back.
    let server = serve(r#"[{"handshake": {"delayMs": 300}, "delayMs": 20}]"#);
    let ended = run(&["connect", "--json", &server.url()], &long_lines(600));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let rejected = ended.lines.iter().filter(|line| line.contains("rejected")).count();
    assert_eq!(rejected, 0);
    assert!(server.wait_ended(1, LONG));
    server.wait_for(
        |seen| {
            assert_lines(seen, 600);
            true
        },
        LONG,
    );
}

#[test]
fn lines_wait_for_the_connection_to_come_back() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let mut program = Program::connect(&server.url(), &["--queue-bytes", "100KiB"]);
    program.skip_to("close");
    // More than the queue and the pipe hold.
    let mut stdin = program.take_input();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        stdin.write_all(&long_lines(50))
    });
    program.skip_to("send");
    program.skip_to("close");
    server.resume_listening().expect("listens");
    let ended = program.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    writer.join().expect("no panic").expect("all is read");
    assert!(server.wait_ended(1, LONG));
    server.wait_for(
        |seen| {
            assert_lines(seen, 50);
            true
        },
        LONG,
    );
}

#[test]
fn what_was_not_delivered_is_5() {
    let server = serve("[]");
    let url = server.url();
    let cases: [(&[&str], &[u8], &str); 4] = [
        (&["--binary-hex"], b"00ff\nxy\n", "line 2: 'x' at column 1"),
        (&["--binary-hex"], b"abc\n", "line 1: an odd number"),
        (&[], b"ok\ncaf\xe9\n", "line 2: not valid UTF-8 at byte 4"),
        (&["--json"], b"\xff", "line 1: not valid UTF-8 at byte 1"),
    ];
    for (flags, input, complaint) in cases {
        let ended = run(&[&["connect", &url], flags].concat(), input);
        assert_eq!(ended.code, Some(5), "{complaint}: {ended:?}");
        assert!(ended.stderr.contains(complaint), "{complaint}: {ended:?}");
    }
    let directory = Stdio::from(File::open("/").expect("a directory"));
    let ended = run_with(&["connect", &url], |command| command.stdin(directory));
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.stderr.contains("cannot read standard input"), "{ended:?}");
}

#[test]
fn lines_that_an_interrupt_leaves_behind_are_5() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let url = server.url();
    let mut program = Program::start(&["connect", "--json", "--delay", "1h", &url]);
    program.skip_to("close");
    program.write(b"queued\n");
    program.skip_to("send");
    program.interrupt();
    let close = program.event("close");
    assert_eq!((&close["code"], &close["unsent"]), (&1000.into(), &1.into()));
    assert_eq!(program.finish().code, Some(5));
}

#[test]
fn output_that_cannot_be_written_is_5() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("there"));
    let server = serve(r#"[{"rules": [{"on": "open", "do": {"send": "hi"}}]}]"#);
    for flags in [&["--linger", "1h"][..], &["--json"]] {
        let url = server.url();
        let ended =
            run_with(&[&["connect", &url], flags].concat(), |command| command.stdout(full()));
        assert_eq!(ended.code, Some(5), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains("cannot write to standard output"), "{ended:?}");
    }
    for arguments in [&["demo"][..], &["serve", "--json", "--listen", "127.0.0.1:0"], &["--help"]] {
        let ended = run_with(arguments, |command| command.stdout(full()));
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_line_that_an_interrupt_finds_unfinished_is_5() {
    let server = serve("[]");
    for (input, code) in [("whole\n", 0), ("whole\nhalf", 5)] {
        let mut program = Program::connect(&server.url(), &[]);
        program.skip_to("open");
        program.write(input.as_bytes());
        program.skip_to("message");
        program.interrupt();
        let ended = program.finish();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(ended.stderr.contains("within a line"), code == 5, "{ended:?}");
    }
}
