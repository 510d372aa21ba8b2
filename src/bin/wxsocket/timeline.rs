//! What happens, for people: one line each with the time since the start, in colour where there
//! is a terminal, and below them one line that lives (a countdown).

use super::escape::{quoted, rows, visible, width};
use super::units::readable;
use clap::builder::styling::{AnsiColor, Style};
use std::io::{self, IsTerminal, Write};
use std::time::Instant;
use terminal_size::{Height, Width, terminal_size_of};
use wxsocket::{CloseEvent, ErrorEvent, Millis, OpenEvent};

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

/// How many columns there are for the living line; none: there is no such line.
type Columns = Box<dyn Fn() -> Option<usize>>;

/// Where the lines go.
pub(crate) struct Timeline {
    start: Instant,
    out: Box<dyn Write>,
    columns: Columns,
    /// How many columns a line has; none: no terminal, or its width is not known.
    width: Columns,
    /// How many columns the living line takes on the screen; 0: it is not there.
    living: usize,
    /// A column of its own after the time; empty: there is none.
    state: &'static str,
    /// Why the lines go nowhere any more.
    broken: Option<io::ErrorKind>,
}

impl Timeline {
    pub(crate) fn on_stdout(start: Instant) -> Self {
        let columns = || live_columns(&io::stdout(), || terminal_size_of(io::stdout()));
        Self::new(start, columns(), columns(), Box::new(anstream::stdout()))
    }

    pub(crate) fn on_stderr(start: Instant) -> Self {
        let columns = || live_columns(&io::stderr(), || terminal_size_of(io::stderr()));
        Self::new(start, columns(), columns(), Box::new(anstream::stderr()))
    }

    fn new(start: Instant, columns: Columns, width: Columns, out: Box<dyn Write>) -> Self {
        Self { start, out, columns, width, living: 0, state: "", broken: None }
    }

    /// Without a living line from here on.
    pub(crate) fn without_live(self) -> Self {
        Self { columns: Box::new(|| None), ..self }
    }

    /// Whether a living line can be shown, and is worth refreshing.
    pub(crate) fn is_live(&self) -> bool {
        (self.columns)().is_some()
    }

    /// Why the lines go nowhere any more: the reader of a pipe has left, or a disk is full.
    pub(crate) fn broken(&self) -> Option<io::ErrorKind> {
        self.broken
    }

    /// Shows the state of the task in every line from here on.
    pub(crate) fn set_state(&mut self, state: &'static str) {
        self.state = state;
    }

    /// A line.
    pub(crate) fn note(&mut self, mark: Mark, text: &str) {
        let clear = self.take_live();
        let (word, style) = (mark.word(), mark.style());
        let before = self.before();
        let text = rows(text, before.chars().count() + word.len().max(10) + 2, (self.width)());
        self.write(&format!("{clear}{before}{style}{word:<10}{style:#}  {text}\n"));
    }

    /// A line that stands out, with no time: a title, a summary.
    pub(crate) fn plain(&mut self, style: Style, text: &str) {
        let clear = self.take_live();
        self.write(&format!("{clear}{style}{text}{style:#}\n"));
    }

    /// Rewrites the living line, cut to the width of the terminal: a line that wraps could not be
    /// rewritten. Does nothing where the width is not known.
    pub(crate) fn live(&mut self, mark: Mark, text: &str) {
        // The last column stays free: some terminals wrap as soon as it is written.
        let Some(room) = (self.columns)().map(|columns| columns.saturating_sub(1)) else { return };
        let style = mark.style();
        let mut left = room;
        let before = cut(&self.before(), &mut left);
        let word = cut(&format!("{:<10}  ", mark.word()), &mut left);
        let text = cut(text, &mut left);
        let living = room - left;
        // Spaces, and no escape sequence, which would be left out where there are no colours.
        let rest = " ".repeat(self.living.saturating_sub(living).min(left));
        self.write(&format!("\r{before}{style}{word}{style:#}{text}{rest}"));
        self.living = living;
    }

    /// Makes room for something that is not ours.
    pub(crate) fn clear_live(&mut self) {
        let clear = self.take_live();
        self.write(&clear);
    }

    fn take_live(&mut self) -> String {
        match std::mem::take(&mut self.living) {
            0 => String::new(),
            living => format!("\r{}\r", " ".repeat(living)),
        }
    }

    /// What stands before the word: the time, and the state if it is shown.
    fn before(&self) -> String {
        let ms = self.start.elapsed().as_millis();
        let (seconds, ms) = (ms / 1_000, ms % 1_000);
        match self.state {
            "" => format!("{seconds:>5}.{ms:03}  "),
            state => format!("{seconds:>5}.{ms:03}  {state:<10}  "),
        }
    }

    fn write(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            self.broken.get_or_insert(error.kind());
        }
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
        let due = match retry.delay {
            Some(Millis(0)) => "at once".to_owned(),
            Some(Millis(ms)) => format!("in {}", readable(ms.unsigned_abs())),
            None => "when there is a network again".to_owned(),
        };
        self.note(Mark::Wait, &format!("attempt {}{limit} {due}", retry.attempt));
    }
}

/// The width of a terminal.
fn live_columns(
    stream: &impl IsTerminal,
    size: impl Fn() -> Option<(Width, Height)> + 'static,
) -> Columns {
    let terminal = is_terminal(stream);
    Box::new(move || size().filter(|_| terminal).map(|(width, _)| usize::from(width.0)))
}

fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// As much of a text as there is room for.
fn cut(text: &str, left: &mut usize) -> String {
    let fits = |c: &char| {
        let fits = width(*c) <= *left;
        *left = if fits { *left - width(*c) } else { 0 };
        fits
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        /// What was written, without colours.
        fn text(&self) -> String {
            let bytes = self.0.lock().expect("no panic").clone();
            anstream::adapter::strip_bytes(&bytes).into_vec().try_into().expect("UTF-8")
        }
    }

    fn timeline(columns: Option<usize>) -> (Timeline, Screen) {
        let screen = Screen::default();
        let columns = || -> Columns { Box::new(move || columns) };
        (Timeline::new(Instant::now(), columns(), columns(), Box::new(screen.clone())), screen)
    }

    #[test]
    fn the_living_line_fits_every_width() {
        for columns in [0, 1, 5, 20, 40, 80] {
            let (mut timeline, screen) = timeline(Some(columns));
            timeline.set_state("waiting");
            timeline.live(Mark::Wait, "attempt 1 in 10.0 s");
            timeline.live(Mark::Wait, "中中中中中中中中中中中中中中中中中中中中");
            timeline.clear_live();
            for part in screen.text().split('\r') {
                let wide: usize = part.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
                assert!(wide <= columns.saturating_sub(1), "{columns}: {part:?}");
            }
        }
    }

    #[test]
    fn a_shorter_living_line_leaves_nothing_behind() {
        let (mut timeline, screen) = timeline(Some(80));
        timeline.live(Mark::Wait, "attempt 1 in 10.0 s");
        timeline.live(Mark::Wait, "attempt 1 in 9.0 s");
        timeline.note(Mark::Open, "now");
        let text = screen.text();
        let parts: Vec<&str> = text.split('\r').collect();
        assert_eq!(parts[1].len(), parts[2].len(), "{text:?}");
        assert!(parts[2].ends_with("9.0 s "), "{text:?}");
        assert_eq!(parts[3].trim_end(), "", "{text:?}");
        assert!(parts[4].ends_with("now\n"), "{text:?}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn without_a_known_width_nothing_is_rewritten() {
        let (mut timeline, screen) = timeline(None);
        timeline.live(Mark::Wait, "attempt 1 in 10.0 s");
        assert_eq!(screen.text(), "");
    }
}
