//! `demo` and `serve`.

use crate::program::{Program, run};

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

/// A server with these flags, and its URL.
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
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("line 2") && bad.stderr.contains("rulez"), "{}", bad.stderr);
}

#[test]
fn serve_refuses_what_it_cannot_do() {
    for arguments in [
        &["--listen", "9000"][..],
        &["--drop-after", "0"],
        &["--refuse", "--hang"],
        &["--body", "x"],
        &["--close-code", "4000"],
        &["--script", "/no/such/file"],
        &["--script", "x", "--no-echo"],
        &["--status", "101"],
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
