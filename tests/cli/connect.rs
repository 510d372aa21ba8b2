//! `connect`: what it sends and what it prints.

use crate::program::{LONG, Program, keys, run, serve};
use wxsocket::testing::{SeenConnection, SeenFrameKind, Snapshot};

fn data_frames(seen: &SeenConnection) -> Vec<&str> {
    let texts = seen.frames.iter().filter(|frame| frame.kind == SeenFrameKind::Text);
    texts.map(|frame| &*frame.text).collect()
}

#[test]
fn json_has_these_keys_in_this_order() {
    let server = serve(
        r#"[{"handshake": {"status": 503, "body": "busy"}},
            {"rules": [{"on": {"text": "bytes"}, "do": {"sendHex": "00 ff"}},
                       {"on": {"text": "bye"}, "do": "drop"}]}]"#,
    );
    let mut program = Program::connect(&server.url(), &["--linger", "1h"]);
    let refused = program.line();
    let error = ["event", "t_ms", "epoch", "err_code", "err_msg", "detail", "http_status"];
    assert_eq!(keys(&refused)[..7], error);
    assert!(refused.contains(r#""http_status":503"#) && refused.contains("busy"), "{refused}");
    let close = program.line();
    assert_eq!(keys(&close), ["event", "t_ms", "epoch", "code", "reason", "was_clean", "retry"]);
    assert!(close.ends_with(r#","retry":{"attempt":1,"max":12,"delay_ms":50}}"#), "{close}");
    let open = program.line();
    assert_eq!(
        keys(&open),
        ["event", "t_ms", "epoch", "attempt", "protocol", "headers", "profile"]
    );
    assert!(open.contains(r#""protocol":null,"headers":[["#), "{open}");
    assert!(open.contains(r#""profile":{"fetchStart":"#), "{open}");

    program.write("你好\nbytes\nbye\n".as_bytes());
    let send = program.line();
    assert_eq!(keys(&send), ["event", "t_ms", "outcome", "err_code"]);
    assert!(send.ends_with(r#""outcome":"sent","err_code":null}"#), "{send}");
    let text = program.skip_to("message");
    assert_eq!((&text["kind"], &text["data"]), (&"text".into(), &"你好".into()));
    let binary = program.skip_to("message");
    assert_eq!((&binary["kind"], &binary["hex"]), (&"binary".into(), &"00ff".into()));
    let lost = program.skip_to("error");
    assert_eq!((&lost["err_code"], &lost["epoch"]), (&600_003.into(), &2.into()));
    assert!(lost["http_status"].is_null());
    program.skip_to("open");
    program.interrupt();
    let ended = program.finish();
    assert_eq!(ended.code, Some(5), "the dropped connection had lines");
    let last = ended.lines.last().expect("a close");
    assert!(last.ends_with(r#""code":1000,"reason":"","was_clean":true,"retry":null}"#), "{last}");
    assert!(ended.stderr.starts_with("3 lines were handed to a connection"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "with --json nothing else is said");
}

#[test]
fn lines_are_sent_as_they_are() {
    let server = serve("[]");
    let long = "x".repeat(1 << 20);
    let input = format!("one\n\ntwo\r\n  three  \n{long}\nlast");
    // All of it may be read before the open.
    let ended = run(&["connect", "--queue-bytes", "2MiB", &server.url()], input.as_bytes());
    assert_eq!(ended.code, Some(0));
    assert!(server.wait_ended(1, LONG));
    let seen = server.connection(1).expect("seen");
    assert_eq!(seen.messages_received, 6, "{}", ended.stderr);
    let texts = data_frames(&seen);
    assert_eq!(texts[..4], ["one", "", "two", "  three  "]);
    // It goes in fragments.
    let frames = seen.frames.iter().skip(4);
    let fragments = frames.take_while(|frame| frame.text != "last");
    assert_eq!(fragments.map(|frame| frame.payload_len).sum::<u64>(), 1 << 20);
    assert_eq!(texts.last(), Some(&"last"));
    assert_eq!(seen.frames.last().and_then(|frame| frame.close_code), Some(1000));
}

#[test]
fn messages_go_to_stdout_and_the_rest_to_stderr() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": {"sendHex": "00 ff"}}]}]"#);
    let url = format!("{}/path?token=secret", server.url());
    let mut program = Program::start(&["connect", &url, "--linger", "1h"]);
    assert_eq!(program.line(), "00ff");
    program.write("hello\n".as_bytes());
    assert_eq!(program.line(), "hello");
    program.interrupt();
    let ended = program.finish();
    assert_eq!((ended.code, ended.lines.len()), (Some(0), 0));
    for word in ["connecting", "/path", "preset wx", "open", "closed", "1000"] {
        assert!(ended.stderr.contains(word), "{word} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\x1b'), "no colours in a pipe: {}", ended.stderr);
}

#[test]
fn hex_lines_are_bytes_and_bad_ones_are_told() {
    let server = serve("[]");
    let mut program = Program::connect(&server.url(), &["--binary-hex", "--linger", "1h"]);
    program.skip_to("open");
    program.write(b"00 ff\nxyz\nabc\n\nC0FFEE\n");
    let echoed: Vec<_> = (0..3).map(|_| program.skip_to("message")["hex"].clone()).collect();
    assert_eq!(echoed, ["00ff", "", "c0ffee"]);
    program.interrupt();
    let ended = program.finish();
    assert_eq!(ended.code, Some(5));
    assert!(ended.stderr.contains("line 2: 'x' at column 1"), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 3: an odd number"), "{}", ended.stderr);
}

#[test]
fn invalid_utf8_is_told_and_skipped() {
    let server = serve("[]");
    let ended = run(&["connect", &server.url()], b"caf\xe9\nok\n");
    assert_eq!(ended.code, Some(5));
    assert!(ended.stderr.contains("line 1: not valid UTF-8 at byte 4"), "{}", ended.stderr);
    assert!(server.wait_ended(1, LONG));
    assert_eq!(data_frames(&server.connection(1).expect("seen")), ["ok"]);
}

#[test]
fn what_was_accepted_is_sent_before_the_end() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    // An empty message does not count in the buffered bytes.
    for (index, message) in [(1, "kept"), (2, "")] {
        let mut program = Program::connect(&server.url(), &[]);
        program.write(format!("{message}\n").as_bytes());
        program.end_input();
        let send = program.skip_to("send");
        assert_eq!((&send["outcome"], &send["err_code"]), (&"queued".into(), &().into()));
        program.skip_to("close");
        server.resume_listening().expect("listens");
        let ended = program.finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(server.wait_ended(index, LONG));
        assert_eq!(data_frames(&server.connection(index).expect("seen")), [message]);
        server.stop_listening().expect("stops");
    }
}

#[test]
fn lingering_begins_after_the_open() {
    let server = serve(r#"[{"handshake": {"delayMs": 200}, "delayMs": 100}]"#);
    let mut program = Program::connect(&server.url(), &["--linger", "400ms"]);
    program.write(b"hello\n");
    program.end_input();
    let opened = program.skip_to("open")["t_ms"].as_u64().expect("a time");
    assert!(opened >= 200);
    assert_eq!(program.skip_to("message")["data"], "hello");
    let closed = program.skip_to("close");
    assert!(closed["t_ms"].as_u64().expect("a time") >= opened + 400, "{closed}");
    assert_eq!(program.finish().code, Some(0));
}

#[test]
fn a_full_queue_makes_the_input_wait() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let mut program =
        Program::connect(&server.url(), &["--queue-messages", "2", "--queue-bytes", "10"]);
    program.skip_to("close");
    // The third line is one too many for the queue, and the last one is too long for it: both wait
    // for the open.
    program.write(b"1\n2\n3\n12345678901\n");
    program.end_input();
    for _ in 0..2 {
        assert_eq!(program.skip_to("send")["outcome"], "queued");
    }
    server.resume_listening().expect("listens");
    for _ in 0..2 {
        assert_eq!(program.skip_to("send")["outcome"], "sent");
    }
    assert_eq!(program.finish().code, Some(0));
    assert!(server.wait_ended(1, LONG));
    let seen = server.connection(1).expect("seen");
    assert_eq!(data_frames(&seen), ["1", "2", "3", "12345678901"]);
}

#[test]
fn the_request_carries_what_was_asked() {
    let server = serve("[]");
    let flags = ["-H", "X-One: a: b", "-H", "x-one:c", "--protocol", "v2", "--protocol", "v1"];
    let program = Program::connect(&format!("{}/p?q=1", server.url()), &flags);
    assert_eq!(program.event("open")["protocol"], "v2");
    let seen = server.connection(1).expect("seen");
    assert_eq!(seen.request_path.as_deref(), Some("/p?q=1"));
    assert_eq!(seen.protocols_offered, ["v2", "v1"]);
    let ours = seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-one"));
    let expected = [("X-One".to_owned(), "a: b".to_owned()), ("x-one".to_owned(), "c".to_owned())];
    assert_eq!(ours.cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn a_black_hole_is_found_by_the_heartbeat() {
    let server = serve(r#"[{"rules": [{"on": {"heartbeats": 2}, "do": "silence"}]}, {}]"#);
    let flags = ["--heartbeat-interval", "50ms", "--heartbeat-timeout", "100ms"];
    let program = Program::connect(&server.url(), &flags);
    program.event("open");
    assert_eq!(program.event("error")["err_code"], 690_040);
    let close = program.event("close");
    assert_eq!((&close["code"], &close["reason"]), (&1006.into(), &"heartbeat timeout".into()));
    assert_eq!(program.event("open")["epoch"], 2);
}

#[test]
fn heartbeats_are_as_asked() {
    let server = serve(
        r#"[{"heartbeats": [["beat", "boop"]], "rules": [{"on": {"heartbeats": 3}, "do": {"send": "enough"}}]}]"#,
    );
    let every = ["--heartbeat-interval", "20ms", "--heartbeat-timeout", "10s"];
    let own = ["--heartbeat-payload", "beat", "--heartbeat-reply", "boop", "--strict-pong"];
    let program = Program::connect(&server.url(), &[&every[..], &own[..]].concat());
    program.event("open");
    // The replies in between are not shown.
    assert_eq!(program.event("message")["data"], "enough");
    drop(program);

    let server = serve("[]");
    let program = Program::connect(&server.url(), &[&every[..], &["--heartbeat-ping"]].concat());
    program.event("open");
    let pinged = |seen: &Snapshot| {
        let frames = seen.connections.iter().flat_map(|connection| &connection.frames);
        frames.filter(|frame| frame.kind == SeenFrameKind::Ping).count() >= 2
    };
    assert!(server.wait_for(pinged, LONG));
    assert_eq!(server.connection(1).expect("seen").heartbeats_received, 0);
}

#[test]
fn a_greeting_comes_first() {
    let server = serve("[]");
    let mut program = Program::connect(&server.url(), &["--greeting", "hi"]);
    program.write(b"line\n");
    program.end_input();
    assert_eq!(program.finish().code, Some(0));
    assert!(server.wait_ended(1, LONG));
    assert_eq!(data_frames(&server.connection(1).expect("seen")), ["hi", "line"]);
}
