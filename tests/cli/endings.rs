//! Every exit code of `connect`, and what leads to it.

use crate::program::{LONG, PROGRAM, Program, piped, run, serve};
use std::process::Command;
use std::sync::Arc;
use wxsocket::testing::{Script, ScriptedServer, SeenEnd, SeenFrameKind, Snapshot};

#[test]
fn the_end_of_the_input_closes_with_0() {
    let server = serve("[]");
    let ended = run(&["connect", &server.url()], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(server.wait_ended(1, LONG));
    assert_eq!(server.connection(1).and_then(|seen| seen.ended), Some(SeenEnd::ClientClosed));
}

#[test]
fn an_interrupt_closes_with_0() {
    let server = serve("[]");
    let program = Program::connect(&server.url(), &[]);
    program.event("open");
    program.interrupt();
    let close = program.event("close");
    assert_eq!((&close["code"], &close["was_clean"]), (&1000.into(), &true.into()));
    assert_eq!(program.finish().code, Some(0));
    assert!(server.wait_ended(1, LONG));
    assert_eq!(server.connection(1).and_then(|seen| seen.ended), Some(SeenEnd::ClientClosed));
}

#[test]
fn an_interrupt_ends_the_waiting_too() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let url = server.url();
    let program = Program::start(&["connect", "--json", "--delay", "1h", &url]);
    program.event("error");
    program.event("close");
    program.interrupt();
    assert!(program.event("close")["retry"].is_null());
    assert_eq!(program.finish().code, Some(0));
}

#[test]
fn a_second_interrupt_ends_at_once_with_130() {
    let server = serve(r#"[{"answerClose": false}]"#);
    let program = Program::connect(&server.url(), &["--close-timeout", "1h"]);
    program.event("open");
    program.interrupt();
    let close_seen = |seen: &Snapshot| {
        let mut frames = seen.connections.iter().flat_map(|connection| &connection.frames);
        frames.any(|frame| frame.kind == SeenFrameKind::Close)
    };
    assert!(server.wait_for(close_seen, LONG));
    program.interrupt();
    assert_eq!(program.finish().code, Some(130));
}

#[test]
fn the_limit_of_attempts_is_3() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let program = Program::connect(&server.url(), &["--max-attempts", "2"]);
    for attempt in 1..=2 {
        assert_eq!(program.event("error")["err_code"], 690_002);
        let close = program.event("close");
        assert_eq!(close["retry"]["attempt"], attempt);
        assert_eq!(close["retry"]["max"], 2);
    }
    assert_eq!(program.event("error")["err_code"], 690_050);
    assert!(program.event("close")["retry"].is_null());
    assert_eq!(program.finish().code, Some(3));
}

#[test]
fn the_limit_is_3_also_after_the_end_of_the_input() {
    let server = serve(r#"[{"handshake": "hang"}]"#);
    let mut program = Program::connect(&server.url(), &["--max-attempts", "1"]);
    program.write(b"never sent\n");
    program.end_input();
    assert_eq!(program.event("send")["outcome"], "queued");
    for dial in 1..=2 {
        assert!(server.wait_connections(dial, LONG));
        server.drop_all();
        program.event("error");
        let close = program.event("close");
        assert_eq!(close["retry"].is_null(), dial == 2, "{close}");
        assert_eq!(close.get("unsent").is_some(), dial == 2, "{close}");
    }
    assert_eq!(program.finish().code, Some(3));
}

#[test]
fn unlimited_attempts_have_no_limit() {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let program = Program::connect(&server.url(), &["--max-attempts", "unlimited"]);
    assert!(program.skip_to("close")["retry"]["max"].is_null());
}

#[test]
fn a_final_close_by_the_server_is_4() {
    let close =
        r#"[{"rules": [{"on": "open", "do": {"close": {"code": 1000, "reason": "done"}}}]}]"#;
    let server = serve(close);
    // The camel-case name of the preset is accepted, too.
    let program = Program::connect(&server.url(), &["--preset", "useWs"]);
    program.event("open");
    let close = program.event("close");
    assert_eq!((&close["code"], &close["reason"]), (&1000.into(), &"done".into()));
    assert!(close["retry"].is_null());
    assert_eq!(program.finish().code, Some(4));
}

#[test]
fn without_reconnect_every_end_is_4() {
    let server = serve(r#"[{"handshake": {"status": 403}}, {"handshake": "hang"}]"#);
    let connect = ["connect", "--json", "--no-reconnect", &server.url()];
    let program = Program::start(&connect);
    let error = program.event("error");
    assert_eq!((&error["err_code"], &error["http_status"]), (&690_020.into(), &403.into()));
    assert!(program.event("close")["retry"].is_null());
    assert_eq!(program.finish().code, Some(4));

    let mut program = Program::start(&connect);
    program.write(b"never sent\n");
    assert_eq!(program.event("send")["outcome"], "queued");
    assert!(server.wait_connections(2, LONG));
    server.drop_all();
    program.event("error");
    let close = program.event("close");
    assert_eq!((&close["retry"], &close["unsent"]), (&().into(), &1.into()));
    assert_eq!(program.finish().code, Some(4));
}

#[test]
fn a_connection_that_never_opened_is_4_every_time() {
    let server = serve(r#"[{"handshake": {"status": 401}}]"#);
    for _ in 0..15 {
        let ended = run(&["connect", "--json", "--no-reconnect", &server.url()], b"hi\n");
        assert_eq!(ended.code, Some(4), "{ended:?}");
        let close = ended.lines.iter().find(|line| line.contains(r#""event":"close""#));
        assert!(close.is_some_and(|line| line.contains(r#""retry":null"#)), "{ended:?}");
    }
    server.stop_listening().expect("stops");
    for _ in 0..30 {
        let ended = run(&["connect", "--no-reconnect", &server.url()], b"");
        assert_eq!(ended.code, Some(4), "{ended:?}");
    }
}

#[test]
fn a_line_that_was_never_sent_is_told() {
    let server = serve(r#"[{"handshake": {"status": 401, "delayMs": 300}}]"#);
    let ended = run(&["connect", "--json", "--no-reconnect", &server.url()], b"hi\n");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.lines.last().is_some_and(|line| line.ends_with(r#""unsent":1}"#)), "{ended:?}");
}

#[test]
fn nobody_reads_the_output() {
    let server = serve("[]");
    let mut program = Program::connect(&server.url(), &[]);
    program.event("open");
    program.stop_reading();
    // After the first message the reader ends; a later message finds the pipe broken.
    let mut number = 0;
    while server.open_connections() > 0 {
        number += 1;
        assert!(number < 3_000, "it goes on");
        server.send_text_all("is anybody there?");
        server.wait_ended(1, std::time::Duration::from_millis(10));
    }
    let ended = program.finish();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert_eq!(server.connection(1).and_then(|seen| seen.ended), Some(SeenEnd::ClientClosed));
}

#[test]
fn an_authority_of_ones_own_can_be_trusted() {
    let names = vec!["localhost".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.expect("a key"))
        .expect("a certificate");
    let server = ScriptedServer::start_tls(Script::default(), Arc::new(tls)).expect("a port");
    let ca = std::env::temp_dir().join(format!("wxsocket-cli-{}.pem", std::process::id()));
    std::fs::write(&ca, own.cert.pem()).expect("written");
    let trusted = run(&["connect", "--ca", ca.to_str().expect("UTF-8"), &server.url()], b"hello\n");
    std::fs::remove_file(&ca).expect("removed");
    assert_eq!(trusted.code, Some(0), "{trusted:?}");
    assert_eq!(server.connection(1).expect("seen").messages_received, 1);

    let program = Program::start(&["connect", "--json", "--no-reconnect", &server.url()]);
    assert_eq!(program.event("error")["err_code"], 690_012);
    assert_eq!(program.finish().code, Some(4));
}

#[test]
fn lines_that_were_handed_to_a_lost_connection_are_5() {
    let server = serve(r#"[{"rules": [{"on": {"messages": 1}, "do": "drop"}]}]"#);
    for linger in ["0s", "200ms", "1s"] {
        for _ in 0..10 {
            let url = server.url();
            let flags = ["connect", "--json", "--delay", "10ms", "--linger", linger, &url];
            let ended = run(&flags, b"hi\n");
            assert_eq!(ended.code, Some(5), "{linger}: {ended:?}");
            let told = "1 line was handed to a connection that was lost";
            assert_eq!(ended.stderr.matches(told).count(), 1, "{linger}: {ended:?}");
        }
    }
}

#[test]
fn a_connection_that_the_server_drops_is_4_without_reconnect() {
    let server = serve(r#"[{"rules": [{"on": {"messages": 1}, "do": "drop"}]}]"#);
    for linger in ["0s", "200ms"] {
        for _ in 0..15 {
            let url = server.url();
            let ended = run(&["connect", "--no-reconnect", "--linger", linger, &url], b"hi\n");
            assert_eq!(ended.code, Some(4), "{linger}: {ended:?}");
            assert!(ended.stderr.contains("1 line was handed"), "{linger}: {ended:?}");
        }
    }
}

#[test]
fn a_final_close_code_after_the_last_line_is_4_every_time() {
    let server =
        serve(r#"[{"rules": [{"on": {"messages": 1}, "do": {"close": {"code": 1000}}}]}]"#);
    for flag in [&["--preset", "resilient"][..], &["--no-reconnect"]] {
        for _ in 0..15 {
            // The program ends as soon as the server closes, and does not wait for --linger.
            let url = server.url();
            let arguments = [&["connect", "--linger", "1h", &url], flag].concat();
            let ended = run(&arguments, b"hi\n");
            assert_eq!((ended.code, ended.lines), (Some(4), vec!["hi".to_owned()]), "{flag:?}");
        }
    }
}

#[test]
fn a_close_that_is_never_answered_leaves_the_lines_in_doubt() {
    let server = serve(r#"[{"answerClose": false}]"#);
    let connect = ["connect", "--close-timeout", "50ms", &server.url()];
    assert_eq!(run(&connect, b"hi\n").code, Some(5));
    assert_eq!(run(&connect, b"").code, Some(0), "nothing was handed over");
}

#[test]
fn lines_that_are_left_when_nobody_reads_the_output_are_5() {
    let server = serve("[]");
    let shell =
        format!("seq 200000 | {{ \"$0\" connect {}; echo $? >&2; }} | head -1", server.url());
    let mut command = Command::new("sh");
    command.args(["-c", &shell, PROGRAM]);
    let ended = Program::spawn(piped(&mut command)).finish();
    assert_eq!(ended.stderr.lines().last(), Some("5"), "{}", ended.stderr);
    assert!(ended.stderr.contains("read and not sent"), "{}", ended.stderr);
}
