//! The commands `demo` and `serve`.

use crate::program::{PROGRAM, Program, piped, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn the_demo_tells_its_story() {
    let ended = run(&["demo"], b"");
    let text = ended.lines.join("\n");
    assert_eq!(ended.code, Some(0), "{text}");
    let mut rest = &*text;
    for step in [
        "1/10 of the real time",
        "1. Open",
        "connection 1",
        "2. Echo",
        "\"hello\"",
        "3. Heartbeat",
        "the server saw number 2",
        "4. A drop",
        "connection lost",
        "attempt 1 of 12 in 500 ms",
        "(queued)",
        "connection 2",
        "5. A server restart",
        "1012 \"service restart\", clean",
        "6. A black hole",
        "1006 \"heartbeat timeout\"",
        "7. A refused dial",
        "connection refused",
        "attempt 2 of 12",
        "8. Recovery",
        "\"back again\"",
        "9. Clean close",
        "1000 \"the end\", clean",
        "connections opened   4",
        "connections lost     3",
        "messages sent        5",
        "messages received    4",
        "messages lost        1",
        "The story went as told.",
    ] {
        let at = rest.find(step);
        assert!(at.is_some(), "{step:?} is missing or out of place in:\n{text}");
        rest = &rest[at.unwrap_or(0)..];
    }
    assert!(!text.contains('\x1b') && !text.contains('\r'), "plain where there is no terminal");
}

/// Starts a server with these flags. Returns it and its URL.
fn serve(flags: &[&str]) -> (Program, String) {
    let program =
        Program::start(&[&["serve", "--json", "--listen", "127.0.0.1:0"], flags].concat());
    let listening = program.event("listening");
    let url = listening["urls"][0].as_str().expect("a URL").to_owned();
    (program, url)
}

#[test]
fn a_server_tells_what_it_sees_and_ends_with_0() {
    let (server, url) = serve(&[]);
    let client = run(&["connect", &format!("{url}/p?token=secret")], b"hello\n");
    assert_eq!(client.code, Some(0), "{client:?}");
    assert_eq!(server.event("accepted")["connection"], 1);
    assert_eq!(server.event("open")["path"], "/p");
    let frame = server.event("frame");
    assert_eq!((&frame["kind"], &frame["data"]), (&"text".into(), &"hello".into()));
    assert_eq!(server.event("frame")["code"], 1000);
    assert_eq!(server.event("end")["how"], "clientClosed");
    server.interrupt();
    let ended = server.finish();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
}

#[test]
fn faults_are_flags() {
    let once = ["--first", "1"];
    let cases: [(&[&str], i64, i64); 7] = [
        (&["--status", "503", "--retry-after", "0", "--body", "busy"], 690_020, 1006),
        (&["--wrong-upgrade"], 690_021, 1006),
        (&["--hang"], 690_004, 1006),
        (&["--drop-after", "1"], 600_003, 1006),
        (&["--eof-after", "50ms"], 600_003, 1006),
        (&["--silence-after", "1"], 690_040, 1006),
        (&["--ignore-heartbeats", "--no-echo"], 690_040, 1006),
    ];
    let quick =
        ["--timeout", "500ms", "--heartbeat-interval", "100ms", "--heartbeat-timeout", "400ms"];
    for (flags, err_code, code) in cases {
        let (_server, url) = serve(&[flags, &once].concat());
        let mut client = Program::connect(&url, &[&quick[..], &["--linger", "1h"]].concat());
        client.write(b"x\n");
        assert_eq!(client.skip_to("error")["err_code"], err_code, "{flags:?}");
        assert_eq!(client.skip_to("close")["code"], code, "{flags:?}");
        assert_eq!(client.skip_to("open")["epoch"], 2, "{flags:?}: the second is served well");
    }
}

#[test]
fn a_refusing_server_is_told_from_a_closing_one() {
    let (_server, url) = serve(&["--refuse", "--first", "1"]);
    let client = Program::connect(&url, &[]);
    assert_eq!(client.event("error")["epoch"], 1);
    client.event("close");
    client.event("open");

    let close = ["--close-after", "1", "--close-code", "4001", "--close-reason", "expired"];
    let (_server, url) = serve(&[&close[..], &["--first", "1", "--greeting", "hi"]].concat());
    let mut client = Program::connect(&url, &[]);
    client.event("open");
    assert_eq!(client.event("message")["data"], "hi");
    client.write(b"x\n");
    let close = client.skip_to("close");
    assert_eq!((&close["code"], &close["reason"]), (&4001.into(), &"expired".into()));
}

#[test]
fn a_server_can_restart() {
    let (server, url) = serve(&["--restart-after", "1", "--down-for", "200ms", "--first", "1"]);
    let mut client = Program::connect(&url, &[]);
    client.event("open");
    client.write(b"x\n");
    client.skip_to("close");
    server.skip_to("down");
    server.skip_to("up");
    client.skip_to("open");
}

#[test]
fn a_script_says_the_same_in_json() {
    let path = std::env::temp_dir().join(format!("wxsocket-cli-{}.json", std::process::id()));
    let file = path.to_str().expect("UTF-8");
    std::fs::write(&path, r#"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}, {}]"#)
        .expect("written");
    let (_server, url) = serve(&["--script", file]);
    let client = Program::connect(&url, &[]);
    client.event("open");
    assert_eq!(client.event("message")["data"], "hi");
    client.event("error");

    std::fs::write(&path, "[{},\n {\"rulez\": []}]").expect("written");
    let bad = run(&["serve", "--script", file], b"");
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("line 2") && bad.stderr.contains("rulez"), "{}", bad.stderr);

    std::fs::write(&path, r#"[{"ru\u001b[2J\u202e": []}]"#).expect("written");
    let hostile = run(&["serve", "--script", file], b"");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(hostile.code, Some(2));
    assert!(!hostile.stderr.contains(['\u{1b}', '\u{202e}']), "{:?}", hostile.stderr);
    assert!(hostile.stderr.contains(r"ru\u{1b}[2J\u{202e}"), "{}", hostile.stderr);
}

#[test]
fn serve_refuses_what_it_cannot_do() {
    let too_long = "x".repeat(124);
    for arguments in [
        &["--listen", "9000"][..],
        &["--drop-after", "0"],
        &["--refuse", "--hang"],
        &["--body", "x"],
        &["--close-code", "4000"],
        &["--script", "/no/such/file"],
        &["--script", "x", "--no-echo"],
        &["--status", "101"],
        &["--hang", "--drop-after", "1"],
        &["--refuse", "--no-echo"],
        &["--status", "503", "--greeting", "x"],
        &["--wrong-upgrade", "--close-after", "1"],
        &["--hang", "--silence-after", "1"],
        &["--hang", "--eof-after", "1"],
        &["--hang", "--restart-after", "1"],
        &["--refuse", "--ignore-heartbeats"],
        &["--refuse", "--ignore-pings"],
        &["--refuse", "--delay", "1s"],
        &["--down-for", "1s"],
        &["--first", "1"],
        &["--script", "x", "--down-for", "1s"],
        &["--status", "503", "--close-code", "4000"],
        &["--status", "503", "--close-reason", "x"],
        &["--status", "503", "--down-for", "1s"],
        &["--status", "204", "--body", "x"],
        &["--status", "304", "--body", "x"],
        &["--hang", "--retry-after", "1"],
        &["--hang", "--body", "x"],
        &["--refuse", "--retry-after", "1"],
        &["--refuse", "--body", "x"],
        &["--refuse", "--close-code", "4000"],
        &["--refuse", "--down-for", "1s"],
        &["--wrong-upgrade", "--retry-after", "1"],
        &["--wrong-upgrade", "--body", "x"],
        &["--script", "x", "--retry-after", "1"],
        &["--script", "x", "--body", "x"],
        &["--script", "x", "--close-code", "4000"],
        &["--script", "x", "--close-reason", "x"],
        &["--drop-after", "1", "--eof-after", "2"],
        &["--silence-after", "1", "--drop-after", "2"],
        &["--close-after", "1", "--drop-after", "2"],
        &["--close-reason", &too_long, "--close-after", "1", "--close-code", "4000"],
    ] {
        let ended = run(&[&["serve"], arguments].concat(), b"");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(arguments[0]), "{arguments:?}: {ended:?}");
    }
    let (_server, url) = serve(&[]);
    let taken = url.trim_start_matches("ws://");
    let ended = run(&["serve", "--listen", taken], b"");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(taken), "{ended:?}");
}

/// Makes an upgraded connection to a server by hand, in order to send what a client would not.
fn raw_client(url: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(url.trim_start_matches("ws://")).expect("a connection");
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tcp.write_all(request.as_bytes()).expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    tcp
}

#[test]
fn a_slow_reader_is_told_how_much_it_missed() {
    const FRAMES: u64 = 60_000;
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--json", "--no-echo", "--listen", "127.0.0.1:0"]);
    let mut child = piped(&mut command).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("not the end").expect("readable");
        serde_json::from_str(&line).expect("JSON")
    };
    let url = next()["urls"][0].as_str().expect("a URL").to_owned();
    // From here on the output is not read.
    let mut client = raw_client(&url);
    let frames = b"\x81\x81\0\0\0\0x".repeat(usize::try_from(FRAMES).expect("fits"));
    client.write_all(&frames).expect("the server reads");
    client.write_all(b"\x88\x82\0\0\0\0\x03\xe8").expect("the server reads");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the server closes");
    assert_eq!(answer, b"\x88\x02\x03\xe8");

    let (mut told, mut skipped, mut gaps) = (0, 0, 0);
    let end = loop {
        let event = next();
        match event["event"].as_str() {
            Some("frame") if event["kind"] == "text" => told += 1,
            Some("skipped") => {
                assert_eq!(event["connection"], 1, "{event}");
                skipped += event["frames"].as_u64().expect("a number");
                gaps += 1;
            }
            Some("end") => break event,
            _ => {}
        }
    };
    assert_eq!(end["how"], "clientClosed", "{end}");
    assert_eq!(told + skipped, FRAMES);
    assert!(told > 0 && skipped > 0, "{told} told and {skipped} skipped in {gaps} gaps");
    child.kill().expect("running");
    child.wait().expect("a child");
}

#[test]
fn a_fast_reader_misses_nothing() {
    let (server, url) = serve(&["--no-echo"]);
    let mut client = raw_client(&url);
    for _ in 0..300 {
        client.write_all(&b"\x82\x81\0\0\0\0x".repeat(10)).expect("the server reads");
    }
    client.write_all(b"\x88\x82\0\0\0\0\x03\xe8").expect("the server reads");
    server.event("accepted");
    server.event("open");
    for _ in 0..3_000 {
        assert_eq!(server.event("frame")["hex"], "78");
    }
    assert_eq!(server.event("frame")["kind"], "close");
    server.event("end");
}

#[test]
fn the_ends_that_a_server_makes_when_it_goes_are_told() {
    let (server, url) = serve(&[]);
    let _client = raw_client(&url);
    server.skip_to("open");
    server.interrupt();
    assert_eq!(server.skip_to("end")["how"], "shutdown");
    assert_eq!(server.finish().code, Some(0));
}

#[test]
fn a_server_without_descriptors_says_so() {
    let mut shell = Command::new("sh");
    let serve = "ulimit -n 32; exec \"$0\" serve --json --listen 127.0.0.1:0";
    shell.args(["-c", serve, PROGRAM]);
    let server = Program::spawn(piped(&mut shell));
    let listening = server.event("listening");
    let address = listening["urls"][0].as_str().expect("a URL").trim_start_matches("ws://");
    let dial = |_| TcpStream::connect(address).expect("the system takes it");
    let clients: Vec<TcpStream> = (0..40).map(dial).collect();
    let first = server.skip_to("error");
    let message = first["message"].as_str().expect("a text");
    assert!(message.starts_with("cannot accept a connection: "), "{first}");
    // The errors continue, but are printed once a second only.
    let second = server.skip_to("error");
    let at = |event: &Value| event["t_ms"].as_u64().expect("a time");
    assert!(at(&second) >= at(&first) + 999, "{first} {second}");
    assert!(second["times"].as_u64().expect("a number") > 1, "{second}");
    drop(clients);
    let client = run(&["connect", &format!("ws://{address}")], b"hello\n");
    assert_eq!(client.code, Some(0), "{client:?}");
}
