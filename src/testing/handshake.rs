//! The opening handshake: reading the request, writing an answer of any kind.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::StatusCode;

use super::script::{ProtocolAnswer, StatusAnswer, Upgrade};

/// The largest request head.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 256;

/// The head of a request, as it came.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

/// Reads up to the end of the request head. What came after it is returned as well.
pub(super) async fn read_request<S: AsyncRead + Unpin>(
    io: &mut S,
) -> io::Result<(Request, Vec<u8>)> {
    let mut buf = Vec::with_capacity(2048);
    loop {
        if io.read_buf(&mut buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((request, len)) = parse(&buf)? {
            return Ok((request, buf.split_off(len)));
        }
        if buf.len() > MAX_HEAD {
            return Err(invalid("request head larger than 64 KiB"));
        }
    }
}

fn parse(buf: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let len = match parsed.parse(buf) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(invalid(&error.to_string())),
    };
    let headers = parsed.headers.iter();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: headers
            .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
            .collect(),
    };
    Ok(Some((request, len)))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The subprotocols offered, in order, from all headers that name some.
    pub(super) fn protocols(&self) -> Vec<String> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case("Sec-WebSocket-Protocol");
        let all = self.headers.iter().filter(named);
        all.flat_map(|(_, value)| value.split(','))
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        let mut all = self.headers.iter().filter(named);
        all.any(|(_, value)| value.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    /// The key of a proper upgrade request, or what is wrong with it.
    pub(super) fn websocket_key(&self) -> Result<&str, &'static str> {
        if self.method != "GET" {
            Err("method is not GET")
        } else if self.header("Host").is_none() {
            Err("no Host header")
        } else if !self.has_token("Connection", "Upgrade") {
            Err("no `Connection: Upgrade`")
        } else if !self.has_token("Upgrade", "websocket") {
            Err("no `Upgrade: websocket`")
        } else if self.header("Sec-WebSocket-Version") != Some("13") {
            Err("Sec-WebSocket-Version is not 13")
        } else {
            self.header("Sec-WebSocket-Key").ok_or("no Sec-WebSocket-Key")
        }
    }
}

/// The answer that accepts the upgrade.
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

/// An answer with an HTTP status.
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
