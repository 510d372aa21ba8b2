//! What happens, for people: one line each with the time since the start, in colour where there
//! is a terminal, and below them one line that lives (a countdown).

use super::units::readable;
use clap::builder::styling::{AnsiColor, Style};
use std::io::{self, IsTerminal, Write};
use std::time::Instant;
use wxsocket::{CloseEvent, ErrorEvent, OpenEvent};

/// The longest piece of anybody's text in a line.
const MAX_SHOWN: usize = 200;

/// The kind of a line: a word, and its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Start,
    Dial,
    Open,
    Send,
    Receive,
    Heartbeat,
    Error,
    Close,
    Wait,
    Server,
    Over,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Dial => "connecting",
            Self::Open => "open",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Heartbeat => "heartbeat",
            Self::Error => "error",
            Self::Close => "close",
            Self::Wait => "waiting",
            Self::Server => "server",
            Self::Over => "closed",
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Self::Start | Self::Over => return Style::new().bold(),
            Self::Open => AnsiColor::Green,
            Self::Send => AnsiColor::Cyan,
            Self::Receive => AnsiColor::Blue,
            Self::Heartbeat => AnsiColor::Magenta,
            Self::Error => AnsiColor::Red,
            Self::Dial | Self::Close | Self::Wait => AnsiColor::Yellow,
            Self::Server => AnsiColor::BrightBlack,
        };
        colour.on_default()
    }
}

/// Where the lines go.
pub(crate) struct Timeline {
    start: Instant,
    out: Box<dyn Write>,
    terminal: bool,
    /// The living line is on the screen.
    living: bool,
    /// A column of its own after the time; empty: there is none.
    state: &'static str,
    broken: bool,
}

impl Timeline {
    pub(crate) fn on_stdout(start: Instant) -> Self {
        Self::new(start, is_terminal(&io::stdout()), Box::new(anstream::stdout()))
    }

    pub(crate) fn on_stderr(start: Instant) -> Self {
        Self::new(start, is_terminal(&io::stderr()), Box::new(anstream::stderr()))
    }

    fn new(start: Instant, terminal: bool, out: Box<dyn Write>) -> Self {
        Self { start, out, terminal, living: false, state: "", broken: false }
    }

    /// Whether a living line can be shown, and is worth refreshing.
    pub(crate) fn is_live(&self) -> bool {
        self.terminal
    }

    /// Whether the lines go nowhere any more: the reader of a pipe has left.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Shows the state of the task in every line from here on.
    pub(crate) fn set_state(&mut self, state: &'static str) {
        self.state = state;
    }

    /// A line.
    pub(crate) fn note(&mut self, mark: Mark, text: &str) {
        let line = self.line(mark, text);
        let clear = self.take_live();
        self.write(&format!("{clear}{line}\n"));
    }

    /// A line that stands out, with no time: a title, a summary.
    pub(crate) fn plain(&mut self, style: Style, text: &str) {
        let clear = self.take_live();
        self.write(&format!("{clear}{style}{text}{style:#}\n"));
    }

    /// Rewrites the living line; does nothing where there is no terminal.
    pub(crate) fn live(&mut self, mark: Mark, text: &str) {
        if self.terminal {
            let line = self.line(mark, text);
            self.write(&format!("\r{line}\x1b[K"));
            self.living = true;
        }
    }

    /// Makes room for something that is not ours.
    pub(crate) fn clear_live(&mut self) {
        let clear = self.take_live();
        self.write(clear);
    }

    fn take_live(&mut self) -> &'static str {
        if std::mem::take(&mut self.living) { "\r\x1b[K" } else { "" }
    }

    fn line(&self, mark: Mark, text: &str) -> String {
        let ms = self.start.elapsed().as_millis();
        let (seconds, ms) = (ms / 1_000, ms % 1_000);
        let (word, style) = (mark.word(), mark.style());
        let state = match self.state {
            "" => String::new(),
            state => format!("{state:<10}  "),
        };
        format!("{seconds:>5}.{ms:03}  {state}{style}{word:<10}{style:#}  {text}")
    }

    fn write(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        self.broken |= written.is_err();
    }

    pub(crate) fn open(&mut self, event: &OpenEvent) {
        let mut text = format!("connection {} after {:.1} ms", event.epoch, event.profile.cost);
        if event.attempt > 0 {
            text += &format!(", attempt {}", event.attempt);
        }
        if let Some(protocol) = &event.protocol {
            text += &format!(", sub-protocol {}", visible(protocol));
        }
        if !event.unsent.is_empty() {
            text += &format!(", {} messages grew too old and were not sent", event.unsent.len());
        }
        self.note(Mark::Open, &text);
    }

    pub(crate) fn error(&mut self, event: &ErrorEvent) {
        let mut text = format!("{} {}", event.err_code, event.err_msg);
        if let Some(status) = event.http_status {
            text += &format!(" {status}");
        }
        if !event.detail.is_empty() {
            text += &format!(" ({})", visible(&event.detail));
        }
        self.note(Mark::Error, &text);
    }

    /// A close, and what comes next.
    pub(crate) fn close(&mut self, event: &CloseEvent) {
        let mut text = event.code.to_string();
        if !event.reason.is_empty() {
            text += &format!(" {}", quoted(&event.reason));
        }
        text += if event.was_clean { ", clean" } else { ", without a closing handshake" };
        let Some(retry) = event.retry else {
            if !event.unsent.is_empty() {
                text += &format!("; {} messages were never sent", event.unsent.len());
            }
            return self.note(Mark::Over, &text);
        };
        self.note(Mark::Close, &text);
        let limit = retry.max.map(|max| format!(" of {max}")).unwrap_or_default();
        let due = match retry.delay_ms {
            Some(0) => "at once".to_owned(),
            Some(ms) => format!("in {}", readable(ms.unsigned_abs())),
            None => "when there is a network again".to_owned(),
        };
        self.note(Mark::Wait, &format!("attempt {}{limit} {due}", retry.attempt));
    }
}

fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text of the other side, fit for a terminal: a server must not move the cursor or rename the
/// window, and not fill the screen.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            return format!("{shown}… ({} bytes)", text.len());
        }
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// As [`visible`], between quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_escaped_once() {
        assert_eq!(quoted("a\rb\u{1b}\"c\\中"), r#""a\rb\u{1b}\"c\\中""#);
        let long = "x".repeat(5_000);
        assert!(quoted(&long).ends_with("x\"… (5000 bytes)"));
    }

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(visible("中文"), "中文");
        let long = "x".repeat(5_000);
        assert!(visible(&long).ends_with("… (5000 bytes)"));
    }
}
