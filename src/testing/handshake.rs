//! The opening handshake: reads the request, checks it, and makes an answer of any kind.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::StatusCode;

use super::script::{ProtocolAnswer, StatusAnswer, Upgrade};

/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The largest number of headers in a request.
const MAX_HEADERS: usize = 100;
/// How many characters of the request a violation repeats at most.
const MAX_QUOTED: usize = 100;

/// Why there is no request to answer.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The client ended the connection before the request was complete, or the connection broke.
    Gone(io::Error),
    /// The request is too large; the text says in which way.
    TooLarge(&'static str),
    /// It is not HTTP.
    Malformed(httparse::Error),
}

/// The head of a request, as it was received.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// The version is HTTP/1.1; the only other one that the parser accepts is HTTP/1.0.
    pub(super) is_http_1_1: bool,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

/// Reads up to the end of the request head. Returns the request, and the bytes that came after it.
pub(super) async fn read_request<S: AsyncRead + Unpin>(
    io: &mut S,
) -> Result<(Request, Vec<u8>), NoRequest> {
    let mut buf = Vec::with_capacity(2048);
    loop {
        if io.read_buf(&mut buf).await.map_err(NoRequest::Gone)? == 0 {
            return Err(NoRequest::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some((request, len)) = parse(&buf)? {
            return Ok((request, buf.split_off(len)));
        }
        if buf.len() > MAX_HEAD {
            return Err(NoRequest::TooLarge("request head larger than 64 KiB"));
        }
    }
}

fn parse(buf: &[u8]) -> Result<Option<(Request, usize)>, NoRequest> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let len = match parsed.parse(buf) {
        Ok(httparse::Status::Complete(len)) if len > MAX_HEAD => {
            return Err(NoRequest::TooLarge("request head larger than 64 KiB"));
        }
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(NoRequest::TooLarge("more than 100 headers"));
        }
        Err(error) => return Err(NoRequest::Malformed(error)),
    };
    let headers = parsed.headers.iter();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        is_http_1_1: parsed.version == Some(1),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: headers
            .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
            .collect(),
    };
    Ok(Some((request, len)))
}

impl Request {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        all.map(|(_, value)| value.as_str())
    }

    /// Returns the sub-protocols that the client offers, in order, from all headers of that name.
    pub(super) fn protocols(&self) -> Vec<String> {
        let all = self.values("Sec-WebSocket-Protocol").flat_map(|value| value.split(','));
        all.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        let mut all = self.values(name).flat_map(|value| value.split(','));
        all.any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// Returns the value of a header that must occur exactly once.
    fn only(&self, name: &str) -> Result<&str, String> {
        let mut all = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (all.next(), all.next()) {
            (None, _) => Err(format!("no {name}")),
            (Some((_, value)), None) => Ok(value),
            (Some(_), Some(_)) => Err(format!("more than one {name}")),
        }
    }

    /// Returns the key of a valid upgrade request (RFC 6455, 4.1), or what is wrong with the
    /// request.
    pub(super) fn websocket_key(&self) -> Result<&str, String> {
        if self.method != "GET" {
            return Err("method is not GET".to_owned());
        }
        if !self.is_http_1_1 {
            return Err("HTTP/1.0".to_owned());
        }
        if self.only("Host")?.is_empty() {
            return Err("empty Host".to_owned());
        }
        for name in ["Content-Length", "Transfer-Encoding"] {
            if self.values(name).next().is_some() {
                return Err(format!("{name} in an upgrade request"));
            }
        }
        if !self.has_token("Connection", "Upgrade") {
            return Err("no `Connection: Upgrade`".to_owned());
        }
        if !self.has_token("Upgrade", "websocket") {
            return Err("no `Upgrade: websocket`".to_owned());
        }
        if self.only("Sec-WebSocket-Version")? != "13" {
            return Err("Sec-WebSocket-Version is not 13".to_owned());
        }
        self.check_protocols()?;
        let key = self.only("Sec-WebSocket-Key")?;
        if !is_key(key) {
            return Err("Sec-WebSocket-Key is not 16 bytes in base64".to_owned());
        }
        Ok(key)
    }

    /// Checks that sub-protocols are tokens and that each is offered once.
    fn check_protocols(&self) -> Result<(), String> {
        let mut known = std::collections::HashSet::new();
        for name in self.protocols() {
            let shown: String = name.chars().take(MAX_QUOTED).collect();
            if !name.bytes().all(is_token_byte) {
                return Err(format!("sub-protocol {shown:?} is not a token"));
            }
            if !known.insert(name) {
                return Err(format!("sub-protocol {shown:?} is offered twice"));
            }
        }
        Ok(())
    }
}

/// Returns true when a byte may be part of a token (RFC 9110, 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns true when a key is 16 bytes in base64 (RFC 6455, 4.1): 22 digits, of which the last has
/// only its two high bits, and two padding characters.
fn is_key(key: &str) -> bool {
    let Some(digits) = key.strip_suffix("==") else { return false };
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    digits.len() == 22 && digits.bytes().all(is_digit) && digits.ends_with(['A', 'Q', 'g', 'w'])
}

/// Makes the answer that accepts the upgrade.
pub(super) fn upgrade_answer(request: &Request, key: &str, upgrade: &Upgrade) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        derive_accept_key(key.as_bytes())
    );
    let protocol = match &upgrade.protocol {
        ProtocolAnswer::FirstOffered => request.protocols().into_iter().next(),
        ProtocolAnswer::None => None,
        ProtocolAnswer::Force(name) => Some(name.clone()),
    };
    if let Some(name) = protocol {
        push_header(&mut head, "Sec-WebSocket-Protocol", &name);
    }
    finish(head, &upgrade.headers, "")
}

/// Makes an answer 101 with the `Sec-WebSocket-Accept` of another key.
pub(super) fn wrong_upgrade() -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(b"somebody else's key")
    )
    .into_bytes()
}

/// Makes an answer with an HTTP status.
pub(super) fn status_answer(answer: &StatusAnswer) -> Vec<u8> {
    let usual =
        StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let reason = answer.reason.as_deref().or(usual).unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", answer.status);
    let named = |name: &str| {
        let mut all = answer.headers.iter();
        all.any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if !named("Connection") {
        push_header(&mut head, "Connection", "close");
    }
    if !named("Content-Length") && !named("Transfer-Encoding") {
        push_header(&mut head, "Content-Length", &answer.body.len().to_string());
    }
    finish(head, &answer.headers, &answer.body)
}

fn push_header(head: &mut String, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.push_str(part);
    }
}

fn finish(mut head: String, headers: &[(String, String)], body: &str) -> Vec<u8> {
    for (name, value) in headers {
        push_header(&mut head, name, value);
    }
    head.push_str("\r\n");
    head.push_str(body);
    head.into_bytes()
}
