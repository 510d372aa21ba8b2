//! The record as lines of text, `<milliseconds> <what happened>`, so that a test reads like
//! the story it tells.

use super::sim::{Machine, Sim, Stimulus};
use crate::session::{Event, Message, Output, Phase, Transmit};
use std::time::Duration;

impl<M: Machine> Sim<M> {
    /// Everything the machine did, in order.
    pub(super) fn timeline(&self) -> Vec<String> {
        let mut lines = vec![];
        for step in self.remembered() {
            let at = millis(step.at);
            lines.extend(step.outputs.iter().map(|output| format!("{at} {}", say(output))));
            lines.extend(step.written.iter().map(|written| format!("{at} {}", wrote(written))));
        }
        lines
    }

    /// The lines whose text begins so.
    pub(super) fn only(&self, beginnings: &[&str]) -> Vec<String> {
        let mut lines = self.timeline();
        lines.retain(|line| {
            let what = line.split_once(' ').map_or("", |(_, what)| what);
            beginnings.iter().any(|beginning| what.starts_with(beginning))
        });
        lines
    }

    /// When something of this kind happened.
    pub(super) fn times(&self, beginning: &str) -> Vec<u64> {
        let time = |line: &String| line.split(' ').next().and_then(|at| at.parse().ok());
        self.only(&[beginning]).iter().filter_map(time).collect()
    }

    /// Nothing of this kind happened.
    #[track_caller]
    pub(super) fn never(&self, beginning: &str) {
        assert_eq!(self.only(&[beginning]), Vec::<String>::new());
    }

    /// Compares everything that happened with everything that should have.
    #[track_caller]
    pub(super) fn expect(&self, expected: &[&str]) {
        assert_eq!(self.timeline(), expected);
    }

    /// The app's messages, heartbeats and greetings that reached the network.
    pub(super) fn written(&self) -> Vec<String> {
        let steps = self.remembered().iter();
        steps.flat_map(|step| &step.written).map(|written| wrote(written)[6..].to_owned()).collect()
    }

    /// The whole record, with what set it in motion: for the message of a failed test.
    pub(super) fn story(&self) -> String {
        let mut lines = vec![];
        for step in &self.steps {
            let stimulus = match &step.stimulus {
                Stimulus::Input(input) => format!("{input:?}"),
                Stimulus::Send(message, outcome) => format!("send {} {outcome:?}", text(message)),
                Stimulus::Timeout => "(time)".to_owned(),
                Stimulus::Writable => "(writable)".to_owned(),
            };
            lines.push(format!("{:>8} {stimulus} -> {}", millis(step.at), name(step.phase)));
            lines.extend(step.outputs.iter().map(|output| format!("{:>12} {}", "", say(output))));
            lines.extend(step.written.iter().map(|t| format!("{:>12} {}", "", wrote(t))));
        }
        lines.join("\n")
    }
}

/// To the nearest millisecond: jitter is a binary fraction.
pub(super) fn millis(time: Duration) -> u128 {
    (time.as_nanos() + 500_000) / 1_000_000
}

pub(super) fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "Idle",
        Phase::Connecting => "Connecting",
        Phase::Waiting { .. } => "Waiting",
        Phase::Suspended => "Suspended",
        Phase::Open { .. } => "Open",
        Phase::Closing => "Closing",
        Phase::Closed => "Closed",
    }
}

pub(super) fn text(message: &Message) -> String {
    match message {
        Message::Text { text } => text.clone(),
        Message::Binary { bytes } => format!("{:?}", &bytes[..]),
    }
}

fn texts(messages: &[Message]) -> String {
    if messages.is_empty() {
        return String::new();
    }
    format!(" unsent [{}]", messages.iter().map(text).collect::<Vec<_>>().join(" "))
}

pub(super) fn wrote(transmit: &Transmit) -> String {
    match transmit {
        Transmit::Message(message) | Transmit::Own(message) => format!("write {}", text(message)),
        Transmit::Ping(payload) => format!("write Ping {}", payload.last().unwrap_or(&0)),
        Transmit::Close { code, reason } => format!("write Close {code} {reason:?}"),
    }
}

pub(super) fn say(output: &Output) -> String {
    match output {
        Output::Dial { epoch, attempt, .. } => format!("dial {epoch} attempt {attempt}"),
        Output::Abort { epoch } => format!("abort {epoch}"),
        Output::HangUp { epoch, close: None } => format!("hang up {epoch}"),
        Output::HangUp { epoch, close: Some((code, reason)) } => {
            format!("hang up {epoch} with {code} {reason:?}")
        }
        Output::Emit(event) => tell(event),
    }
}

fn tell(event: &Event) -> String {
    match event {
        Event::Open { epoch, attempt, unsent } => {
            format!("open {epoch} attempt {attempt}{}", texts(unsent))
        }
        Event::Message { epoch, message } => format!("message {epoch} {}", text(message)),
        Event::Error { epoch, failure } => format!("error {epoch} {:?}", failure.kind),
        Event::Close { epoch, code, reason, was_clean, retry, unsent } => {
            let clean = if *was_clean { " clean" } else { "" };
            let next = match retry {
                None => "final".to_owned(),
                Some(retry) => {
                    let max = retry.max.map_or("-".to_owned(), |max| max.to_string());
                    let when = retry
                        .delay
                        .map_or("held".to_owned(), |delay| format!("in {}", millis(delay)));
                    format!("retry {}/{max} {when}", retry.attempt)
                }
            };
            format!("close {epoch} {code} {reason:?}{clean} {next}{}", texts(unsent))
        }
    }
}
