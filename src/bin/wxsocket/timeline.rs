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
}

impl Timeline {
    pub(crate) fn on_stdout(start: Instant) -> Self {
        let terminal = is_terminal(&io::stdout());
        Self { start, out: Box::new(anstream::stdout()), terminal, living: false }
    }

    pub(crate) fn on_stderr(start: Instant) -> Self {
        let terminal = is_terminal(&io::stderr());
        Self { start, out: Box::new(anstream::stderr()), terminal, living: false }
    }

    /// Whether a living line can be shown, and is worth refreshing.
    pub(crate) fn is_live(&self) -> bool {
        self.terminal
    }

    /// A line.
    pub(crate) fn note(&mut self, mark: Mark, text: &str) -> io::Result<()> {
        self.clear_live()?;
        let (time, style) = (self.time(), mark.style());
        writeln!(self.out, "{time}  {style}{:<10}{style:#}  {text}", mark.word())?;
        self.out.flush()
    }

    /// A line that stands out, with no time: a title, a summary.
    pub(crate) fn plain(&mut self, style: Style, text: &str) -> io::Result<()> {
        self.clear_live()?;
        writeln!(self.out, "{style}{text}{style:#}")?;
        self.out.flush()
    }

    /// Rewrites the living line; does nothing where there is no terminal.
    pub(crate) fn live(&mut self, mark: Mark, text: &str) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let (time, style) = (self.time(), mark.style());
        write!(self.out, "\r{time}  {style}{:<10}{style:#}  {text}\x1b[K", mark.word())?;
        self.living = true;
        self.out.flush()
    }

    /// Makes room for something that is not ours.
    pub(crate) fn clear_live(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.living) {
            write!(self.out, "\r\x1b[K")?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn time(&self) -> String {
        let ms = self.start.elapsed().as_millis();
        format!("{:>5}.{:03}", ms / 1_000, ms % 1_000)
    }

    pub(crate) fn open(&mut self, event: &OpenEvent) -> io::Result<()> {
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
        self.note(Mark::Open, &text)
    }

    pub(crate) fn error(&mut self, event: &ErrorEvent) -> io::Result<()> {
        let mut text = format!("{} {}", event.err_code, event.err_msg);
        if let Some(status) = event.http_status {
            text += &format!(" {status}");
        }
        if !event.detail.is_empty() {
            text += &format!(" ({})", visible(&event.detail));
        }
        self.note(Mark::Error, &text)
    }

    /// A close, and what comes next.
    pub(crate) fn close(&mut self, event: &CloseEvent) -> io::Result<()> {
        let mut text = event.code.to_string();
        if !event.reason.is_empty() {
            text += &format!(" {:?}", visible(&event.reason));
        }
        text += if event.was_clean { ", clean" } else { ", without a closing handshake" };
        let Some(retry) = event.retry else {
            if !event.unsent.is_empty() {
                text += &format!("; {} messages were never sent", event.unsent.len());
            }
            return self.note(Mark::Over, &text);
        };
        self.note(Mark::Close, &text)?;
        let limit = retry.max.map(|max| format!(" of {max}")).unwrap_or_default();
        let due = match retry.delay_ms {
            Some(0) => "at once".to_owned(),
            Some(ms) => format!("in {}", readable(ms.unsigned_abs())),
            None => "when there is a network again".to_owned(),
        };
        self.note(Mark::Wait, &format!("attempt {}{limit} {due}", retry.attempt))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(visible("中文"), "中文");
        let long = "x".repeat(5_000);
        assert!(visible(&long).ends_with("… (5000 bytes)"));
    }
}
