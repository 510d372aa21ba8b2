//! What the program shows on a terminal. The terminal is made by `script` (in Debian's bsdutils,
//! which is always installed), and its size is set by `stty`.

use crate::program::{PROGRAM, Program, piped, serve};
use std::process::Command;
use wxsocket::testing::ScriptedServer;

/// Runs this shell code on a terminal of this width; `$0` is the program.
fn on_terminal(columns: u32, shell: &str) -> Program {
    let inner = format!("stty cols {columns} rows 24; {}", shell.replace("$0", PROGRAM));
    let mut command = Command::new("script");
    command.args(["--quiet", "--flush", "--return", "--command", &inner, "/dev/null"]);
    command.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    Program::spawn(piped(&mut command))
}

/// Returns what was written to the terminal, line by line, without colours.
fn lines(terminal: Program) -> Vec<String> {
    let ended = terminal.finish();
    let lines = ended.lines.iter();
    lines.map(|line| plain(line.strip_suffix('\r').unwrap_or(line))).collect()
}

/// Returns a line without the sequences that set a colour. Any other sequence stays.
fn plain(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';');
        match end.map(|end| (part.as_bytes()[end], &part[end + 1..])) {
            Some((b'm', rest)) => shown + rest,
            _ => shown + "\u{1b}[" + part,
        }
    })
}

/// Returns the texts that a line of the terminal showed one after another, each written over the
/// one before.
fn rewritten(line: &str) -> Vec<&str> {
    line.split('\r').collect()
}

/// Returns a URL that refuses dials. The server reserves its port.
fn nobody() -> (std::sync::Arc<ScriptedServer>, String) {
    let server = serve("[]");
    server.stop_listening().expect("stops");
    let url = server.url();
    (server, url)
}

/// Returns what is shown while one dial fails, the program waits two seconds, and another dial
/// fails.
fn countdown(columns: u32, before: &str) -> Vec<String> {
    let (_server, url) = nobody();
    let flags = "--delay 2s --max-attempts 1";
    lines(on_terminal(columns, &format!("{before} $0 connect {flags} {url} </dev/null")))
}

#[test]
fn the_countdown_stays_in_its_line() {
    for columns in [20, 40, 80] {
        let lines = countdown(columns, "");
        let counted: Vec<Vec<&str>> =
            lines.iter().map(|line| rewritten(line)).filter(|parts| parts.len() > 3).collect();
        assert_eq!(counted.len(), 1, "one line counts down: {lines:#?}");
        let (note, live) = counted[0].split_last().expect("not empty");
        assert!(note.contains("error"), "what comes next begins a line: {lines:#?}");
        for shown in live {
            assert!(shown.chars().count() < columns as usize, "{columns}: {shown:?}");
        }
        assert!(live.iter().any(|shown| shown.contains("waiting")), "{lines:#?}");
    }
}

#[test]
fn the_countdown_is_erased_without_colours_too() {
    let (_server, url) = nobody();
    // The countdown gets shorter when it comes below ten seconds.
    let shell = "NO_COLOR=1 timeout --foreground -s INT 4 $0 connect --delay 10500ms";
    let lines = lines(on_terminal(80, &format!("{shell} {url} </dev/null")));
    let counted = lines.iter().map(|line| rewritten(line)).find(|parts| parts.len() > 3);
    let counted = counted.expect("a countdown");
    for time in ["in 10.", "in 9."] {
        assert!(counted.iter().any(|shown| shown.contains(time)), "{counted:#?}");
    }
    let mut screen: Vec<char> = Vec::new();
    for shown in &counted {
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        let cells: Vec<char> = shown.chars().collect();
        screen.splice(..cells.len().min(screen.len()), cells);
        let screen: String = screen.iter().collect();
        assert_eq!(screen.trim_end(), shown.trim_end(), "{counted:#?}");
    }
}

#[test]
fn nothing_is_rewritten_while_somebody_may_be_typing() {
    let (_server, url) = nobody();
    let shell = format!("$0 connect --delay 1s --max-attempts 1 {url}");
    let mut terminal = on_terminal(80, &shell);
    let mut shown = Vec::new();
    while shown.last().is_none_or(|line: &String| !line.contains("waiting")) {
        shown.push(terminal.line());
    }
    terminal.write(b"half a li");
    let rest = lines(terminal);
    let all: Vec<String> =
        shown.into_iter().chain(rest).map(|line| line.trim_end().to_owned()).collect();
    assert!(all.iter().all(|line| !line.contains('\r')), "{all:#?}");
    let waiting = all.iter().filter(|line| line.contains("waiting")).count();
    assert_eq!(waiting, 1, "{all:#?}");
    assert!(all.iter().any(|line| line.contains("half a li")), "{all:#?}");
    assert!(all.iter().any(|line| line.contains("reconnect limit")), "{all:#?}");
}

#[test]
fn a_server_cannot_forge_a_line() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [
            {"send": "hi\n    0.005  closed      1000\r\u001b[2J"}, {"send": "a\u202eb"},
            {"send": "00ff"}, {"sendHex": "00ff"},
            {"close": {"code": 4000, "reason": "x\n    0.006  open\u2066"}}]}]}]"#,
    );
    let url = server.url();
    let shown = lines(on_terminal(120, &format!("$0 connect --no-reconnect {url} </dev/null")));
    let messages: Vec<&String> = shown.iter().filter(|line| line.starts_with('<')).collect();
    let expected =
        [r"< hi\n    0.005  closed      1000\r\u{1b}[2J", r"< a\u{202e}b", "< 00ff", "<bin 00ff"];
    assert_eq!(messages, expected, "{shown:#?}");
    let closed: Vec<&String> = shown.iter().filter(|line| line.contains("closed  ")).collect();
    assert_eq!(closed.len(), 2, "the message's and the real one: {shown:#?}");
    assert!(closed[1].contains(r#"4000 "x\n    0.006  open\u{2066}""#), "{shown:#?}");
}

#[test]
fn a_long_text_cannot_wrap_into_a_forged_line() {
    let forged = format!("{:width$}    0.005  closed      1000", "", width = 38);
    let reason = format!("{:width$}    0.006  open", "", width = 4);
    let script = serde_json::json!([{"rules": [{"on": "open", "do": [
        {"send": forged}, {"sendHex": "00".repeat(60)}, {"close": {"code": 4000, "reason": reason}},
    ]}]}]);
    let server = serve(&script.to_string());
    let url = server.url();
    let shown = lines(on_terminal(40, &format!("$0 connect --no-reconnect {url} </dev/null")));
    for row in &shown {
        assert!(row.chars().count() < 40, "the terminal wraps {row:?} in {shown:#?}");
    }
    let closed = |row: &&String| row.contains("  closed  ");
    assert_eq!(shown.iter().filter(closed).count(), 2, "{shown:#?}");
    assert!(shown.iter().find(closed).is_some_and(|row| row.starts_with("… ")), "{shown:#?}");
}

#[test]
fn the_demo_fits_a_narrow_terminal() {
    let terminal = on_terminal(40, "$0 demo");
    let shown = lines(terminal);
    let mut rewrites = 0;
    for line in &shown {
        let parts = rewritten(line);
        let (_, live) = parts.split_last().expect("not empty");
        rewrites += live.len();
        for part in live {
            assert!(part.chars().count() < 40, "{part:?} in {shown:#?}");
        }
    }
    assert!(rewrites > 20, "{shown:#?}");
    assert!(shown.iter().any(|line| line.contains("The story went as told.")), "{shown:#?}");
}
