//! Help, and arguments that are refused.

use crate::program::{run, serve};

#[test]
fn help_teaches() {
    let help = run(&["--help"], b"");
    assert_eq!(help.code, Some(0));
    let text = help.lines.join("\n");
    for word in ["connect", "demo", "serve", "wxsocket demo", "--help"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let connect = run(&["connect", "--help"], b"").lines.join("\n");
    for word in [
        "--preset",
        "--header",
        "--protocol",
        "--delay",
        "--max-attempts",
        "--heartbeat-interval",
        "--heartbeat-timeout",
        "--no-heartbeat",
        "--heartbeat-payload",
        "--strict-pong",
        "--queue-messages",
        "--queue-bytes",
        "--timeout",
        "--ca",
        "--insecure-ws-ok",
        "--linger",
        "--binary-hex",
        "--json",
        "Exit codes:",
        "Examples:",
        "heart-check",
    ] {
        assert!(connect.contains(word), "{word} in {connect}");
    }
    for command in ["demo", "serve"] {
        let help = run(&[command, "--help"], b"");
        assert_eq!(help.code, Some(0));
        assert!(help.lines.join("\n").to_lowercase().contains("exit code"), "{command}");
    }
}

#[test]
fn bad_arguments_are_named_and_nothing_is_sent() {
    let server = serve("[]");
    let url = server.url();
    let cases: &[(&[&str], &str)] = &[
        (&["--delay", "5"], "--delay"),
        (&["--timeout", "0"], "--timeout"),
        (&["--timeout", "1000h"], "--timeout"),
        (&["--close-timeout", "0s"], "--close-timeout"),
        (&["--max-attempts", "0"], "--max-attempts"),
        (&["--max-attempts", "many"], "--max-attempts"),
        (&["--heartbeat-interval", "0ms"], "--heartbeat-interval"),
        (&["--heartbeat-timeout", "x"], "--heartbeat-timeout"),
        (&["--no-heartbeat", "--strict-pong"], "--no-heartbeat"),
        (&["--preset", "vue", "--strict-pong"], "--strict-pong"),
        (&["--preset", "best"], "--preset"),
        (&["--queue-messages", "0"], "--queue-messages"),
        (&["--queue-messages", "-1"], "--queue-messages"),
        (&["--queue-bytes", "2GiB"], "--queue-bytes"),
        (&["--queue-bytes", "1.5MiB"], "--queue-bytes"),
        (&["-H", "NoColon"], "--header"),
        (&["-H", "Bad Name: x"], "--header"),
        (&["-H", "X: a\r\nY: b"], "--header"),
        (&["-H", "Referer: x"], "--header"),
        (&["--protocol", "a", "--protocol", "a"], "--protocol"),
        (&["--protocol", "a b"], "--protocol"),
        (&["--ca", "/no/such/file"], "--ca"),
        (&["--linger", "soon"], "--linger"),
        (&["--no-reconnect", "--delay", "1s"], "--no-reconnect"),
    ];
    for (arguments, flag) in cases {
        let ended = run(&[&["connect", &url], *arguments].concat(), b"");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(flag), "{arguments:?}: {ended:?}");
        assert!(ended.lines.is_empty(), "{arguments:?}: {ended:?}");
    }
    for url in ["", "http://x", "ws://", "ws://x/#f", "ws://x:0", "ws://u:p@x", "x"] {
        let ended = run(&["connect", url], b"");
        assert_eq!(ended.code, Some(2), "{url}: {ended:?}");
        assert!(ended.stderr.contains("URL"), "{url}: {ended:?}");
    }
    assert_eq!(run(&[], b"").code, Some(2));
    assert!(server.connections().is_empty());
}

#[test]
fn plain_text_to_far_hosts_is_warned_about() {
    let far = ["connect", "--no-reconnect", "--timeout", "20ms", "ws://198.51.100.1:9"];
    assert!(run(&far, b"").stderr.contains("warning: ws:// is not encrypted"));
    let accepted = [&far[..], &["--insecure-ws-ok"]].concat();
    assert!(!run(&accepted, b"").stderr.contains("warning"));
    let near = run(&["connect", &serve("[]").url()], b"");
    assert!(!near.stderr.contains("warning"), "{near:?}");
}
