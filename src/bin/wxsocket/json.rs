//! Events as lines of JSON. The order of the keys is the order of the fields; it is part of the
//! interface, and new keys come last.

use super::escape::is_acted_upon;
use serde::{Serialize, Serializer};
use wxsocket::{
    CloseEvent, ErrorEvent, Header, Message, MessageEvent, OpenEvent, SendOutcome, SocketEvent,
    SocketProfile, WxError,
};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Open {
        t_ms: u64,
        epoch: i64,
        attempt: i32,
        protocol: Option<&'a str>,
        headers: Pairs<'a>,
        profile: Profile,
        #[serde(skip_serializing_if = "is_zero")]
        unsent: usize,
    },
    Message {
        t_ms: u64,
        epoch: i64,
        #[serde(flatten)]
        data: Data<'a>,
    },
    Error {
        t_ms: u64,
        epoch: i64,
        err_code: i32,
        err_msg: &'a str,
        detail: &'a str,
        http_status: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http_headers: Option<Pairs<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http_body: Option<String>,
    },
    Close {
        t_ms: u64,
        epoch: i64,
        code: i32,
        reason: &'a str,
        was_clean: bool,
        retry: Option<Retry>,
        /// Messages that were accepted and will not be sent.
        #[serde(skip_serializing_if = "is_zero")]
        unsent: usize,
    },
    Send {
        t_ms: u64,
        outcome: &'static str,
        err_code: Option<i32>,
    },
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Data<'a> {
    Text { data: &'a str },
    Binary { hex: String },
}

/// The timings under the names that the wx API gives them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    fetch_start: f64,
    domain_look_up_start: f64,
    domain_look_up_end: f64,
    connect_start: f64,
    connect_end: f64,
    rtt: f64,
    handshake_cost: f64,
    cost: f64,
}

#[derive(Serialize)]
struct Retry {
    attempt: i32,
    max: Option<i32>,
    delay_ms: Option<i64>,
}

/// Headers as pairs: an object would lose duplicates.
struct Pairs<'a>(&'a [Header]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|header| (&header.name, &header.value)))
    }
}

// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// An event of the task.
pub(crate) fn event(event: &SocketEvent, t_ms: u64) -> String {
    to_line(&match event {
        SocketEvent::Open { event } => open(event, t_ms),
        SocketEvent::Message { event } => message(event, t_ms),
        SocketEvent::Error { event } => error(event, t_ms),
        SocketEvent::Close { event } => close(event, t_ms),
    })
}

/// What became of a line of standard input.
pub(crate) fn send(outcome: &Result<SendOutcome, WxError>, t_ms: u64) -> String {
    let (outcome, err_code) = match outcome {
        Ok(SendOutcome::Sent) => ("sent", None),
        Ok(SendOutcome::Queued { .. }) => ("queued", None),
        Ok(SendOutcome::Dropped) => ("rejected", None),
        Err(error) => ("rejected", Some(error.err_code())),
    };
    to_line(&Line::Send { t_ms, outcome, err_code })
}

fn open(event: &OpenEvent, t_ms: u64) -> Line<'_> {
    Line::Open {
        t_ms,
        epoch: event.epoch,
        attempt: event.attempt,
        protocol: event.protocol.as_deref(),
        headers: Pairs(&event.header),
        profile: event.profile.into(),
        unsent: event.unsent.len(),
    }
}

fn message(event: &MessageEvent, t_ms: u64) -> Line<'_> {
    let data = match &event.data {
        Message::Text { text } => Data::Text { data: text },
        Message::Binary { bytes } => Data::Binary { hex: hex(bytes) },
    };
    Line::Message { t_ms, epoch: event.epoch, data }
}

fn error(event: &ErrorEvent, t_ms: u64) -> Line<'_> {
    let refused = event.http_status.is_some();
    Line::Error {
        t_ms,
        epoch: event.epoch,
        err_code: event.err_code,
        err_msg: &event.err_msg,
        detail: &event.detail,
        http_status: event.http_status,
        http_headers: refused.then_some(Pairs(&event.http_header)),
        http_body: refused.then(|| String::from_utf8_lossy(&event.http_body).into_owned()),
    }
}

fn close(event: &CloseEvent, t_ms: u64) -> Line<'_> {
    let retry = event.retry.map(|retry| Retry {
        attempt: retry.attempt,
        max: retry.max,
        delay_ms: retry.delay.map(|delay| delay.0),
    });
    Line::Close {
        t_ms,
        epoch: event.epoch,
        code: event.code,
        reason: &event.reason,
        was_clean: event.was_clean,
        retry,
        unsent: event.unsent.len(),
    }
}

impl From<SocketProfile> for Profile {
    fn from(profile: SocketProfile) -> Self {
        Self {
            fetch_start: profile.fetch_start,
            domain_look_up_start: profile.domain_look_up_start,
            domain_look_up_end: profile.domain_look_up_end,
            connect_start: profile.connect_start,
            connect_end: profile.connect_end,
            rtt: profile.rtt,
            handshake_cost: profile.handshake_cost,
            cost: profile.cost,
        }
    }
}

/// One line of JSON, without its end.
pub(crate) fn to_line(value: &impl Serialize) -> String {
    // These types have string keys and no serializer of their own that fails.
    without_controls(serde_json::to_string(value).unwrap_or_default())
}

/// The same JSON, with everything escaped that a terminal acts upon; it can only stand in strings.
fn without_controls(line: String) -> String {
    if !line.contains(is_acted_upon) {
        return line;
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_acted_upon(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pairs = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_nothing_to_act_upon() {
        let text = "\u{7f}\u{9b}2J\u{202e}\u{e0041}中\n";
        let line = to_line(&text);
        assert_eq!(line, r#""\u007f\u009b2J\u202e\udb40\udc41中\n""#);
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), text);
    }

    #[test]
    fn keys_stand_in_their_order() {
        let event = |data| SocketEvent::Message { event: MessageEvent { epoch: 1, data } };
        assert_eq!(
            super::event(&event(Message::text("hi")), 20),
            r#"{"event":"message","t_ms":20,"epoch":1,"kind":"text","data":"hi"}"#
        );
        assert_eq!(
            super::event(&event(Message::binary(vec![0, 255])), 20),
            r#"{"event":"message","t_ms":20,"epoch":1,"kind":"binary","hex":"00ff"}"#
        );
        let close = CloseEvent {
            epoch: 1,
            code: 1006,
            reason: String::new(),
            was_clean: false,
            retry: Some(wxsocket::RetryInfo {
                attempt: 1,
                max: Some(12),
                delay: Some(wxsocket::Millis(5_000)),
            }),
            unsent: vec![],
        };
        assert_eq!(
            super::event(&SocketEvent::Close { event: close }, 31),
            r#"{"event":"close","t_ms":31,"epoch":1,"code":1006,"reason":"","was_clean":false,"retry":{"attempt":1,"max":12,"delay_ms":5000}}"#
        );
        assert_eq!(
            send(&Ok(SendOutcome::Sent), 40),
            r#"{"event":"send","t_ms":40,"outcome":"sent","err_code":null}"#
        );
    }
}
