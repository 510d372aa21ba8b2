//! The upgrade from HTTP to WebSocket (RFC 6455, 4.1).
//!
//! Written here rather than left to tungstenite because an app is to see the answer as the
//! server wrote it: header names in their case, duplicates, and the body of a refusal.

use super::key::{accept_key, new_key};
use super::{DialOptions, Socket, Transport};
use crate::session::{ErrorKind, Failure, Header, Refusal};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The answer's head may be this long; more is no answer to an upgrade.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 128;

/// How much of a refusal's body is kept, and how long it is waited for.
const MAX_BODY: usize = 1024;
const BODY_PATIENCE: Duration = Duration::from_millis(500);

/// tungstenite zeroes its read buffer at every read: 16 KiB instead of its 128 saves 2 µs per
/// message and 116 KiB per connection (measured).
const READ_BUFFER: usize = 16 * 1024;

pub(super) struct Upgraded {
    pub(super) socket: Socket,
    pub(super) header: Vec<Header>,
    pub(super) protocol: Option<String>,
}

struct Answer {
    status: u16,
    header: Vec<Header>,
    /// What came behind the head.
    rest: Vec<u8>,
}

pub(super) async fn upgrade(
    mut transport: Transport,
    options: &DialOptions,
) -> Result<Upgraded, Failure> {
    let no_key = || Failure::new(ErrorKind::Unknown, "the system has no randomness");
    let key = new_key().ok_or_else(no_key)?;
    let request = request(options, &key);
    let sent = async {
        transport.write_all(request.as_bytes()).await?;
        transport.flush().await
    };
    sent.await.map_err(|error| Failure::new(ErrorKind::Network, error.to_string()))?;
    let answer = read_answer(&mut transport).await?;
    if answer.status != 101 {
        return Err(refused(transport, answer, options.target.secure).await);
    }
    let protocol = check(&answer, &key, &options.protocols)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER)
        .max_message_size(Some(options.max_message_bytes))
        .max_frame_size(Some(options.max_message_bytes));
    let socket =
        WebSocketStream::from_partially_read(transport, answer.rest, Role::Client, Some(config))
            .await;
    Ok(Upgraded { socket, header: answer.header, protocol })
}

fn request(options: &DialOptions, key: &str) -> String {
    let target = &options.target;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        target.path, target.authority,
    );
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(request, "{name}: {value}\r\n");
    };
    if !options.protocols.is_empty() {
        line("Sec-WebSocket-Protocol", &options.protocols.join(", "));
    }
    for Header { name, value } in &options.header {
        line(name, value);
    }
    request.push_str("\r\n");
    request
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::BadUpgrade, detail)
}

async fn read_answer(transport: &mut Transport) -> Result<Answer, Failure> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let read = transport.read_buf(&mut buffer).await;
        let read = read.map_err(|error| Failure::new(ErrorKind::Network, error.to_string()))?;
        if read == 0 {
            return Err(bad("the server ended the connection without an answer"));
        }
        if let Some(answer) = parse(&buffer)? {
            return Ok(answer);
        }
        if buffer.len() > MAX_HEAD {
            return Err(bad("the head of the answer is longer than 16 KiB"));
        }
    }
}

fn parse(buffer: &[u8]) -> Result<Option<Answer>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(format!("the answer is not HTTP: {error}"))),
    };
    let header = response.headers.iter().map(|header| Header {
        name: header.name.to_owned(),
        // Old servers write Latin-1; the app gets something readable in any case.
        value: String::from_utf8_lossy(header.value).into_owned(),
    });
    Ok(Some(Answer {
        status: response.code.unwrap_or(0),
        header: header.collect(),
        rest: buffer[head..].to_vec(),
    }))
}

fn find<'a>(header: &'a [Header], name: &str) -> Option<&'a str> {
    header.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value.as_str())
}

fn has_token(header: &[Header], name: &str, token: &str) -> bool {
    let lines = header.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
    lines.flat_map(|line| line.value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// The client's checks of RFC 6455, 4.1; the sub-protocol if they pass.
fn check(answer: &Answer, key: &str, offered: &[String]) -> Result<Option<String>, Failure> {
    let header = &answer.header;
    if !has_token(header, "Upgrade", "websocket") || !has_token(header, "Connection", "upgrade") {
        return Err(bad("status 101 without Upgrade: websocket and Connection: Upgrade"));
    }
    if find(header, "Sec-WebSocket-Accept") != Some(accept_key(key).as_str()) {
        return Err(bad("Sec-WebSocket-Accept does not match the key"));
    }
    if find(header, "Sec-WebSocket-Extensions").is_some_and(|value| !value.is_empty()) {
        return Err(bad("the server uses an extension that was not offered"));
    }
    match find(header, "Sec-WebSocket-Protocol") {
        Some(chosen) if offered.iter().any(|protocol| protocol == chosen) => {
            Ok(Some(chosen.to_owned()))
        }
        Some(chosen) => Err(Failure::new(
            ErrorKind::Subprotocol,
            format!("the server chose {chosen:?}, which was not offered"),
        )),
        None if offered.is_empty() => Ok(None),
        None => Err(Failure::new(ErrorKind::Subprotocol, "the server chose no sub-protocol")),
    }
}

// ---- a refusal ------------------------------------------------------------------------------

async fn refused(mut transport: Transport, answer: Answer, verified: bool) -> Failure {
    let Answer { status, header, rest } = answer;
    let body = read_body(&mut transport, &header, rest).await;
    let retry_after = find(&header, "Retry-After").and_then(|value| {
        let server_now =
            find(&header, "Date").and_then(|date| httpdate::parse_http_date(date).ok());
        parse_retry_after(value, server_now.unwrap_or_else(SystemTime::now))
    });
    Failure {
        kind: ErrorKind::HttpStatus,
        detail: format!("HTTP status {status}"),
        refusal: Some(Refusal { status, headers: header, body, verified }),
        retry_after,
    }
}

/// The first bytes of the body, as far as they come soon.
async fn read_body(transport: &mut Transport, header: &[Header], mut body: Vec<u8>) -> Vec<u8> {
    let length = find(header, "Content-Length").and_then(|length| length.parse().ok());
    let chunked = has_token(header, "Transfer-Encoding", "chunked");
    // The framing of chunks needs room beside the bytes themselves.
    let wanted = if chunked { 2 * MAX_BODY } else { MAX_BODY.min(length.unwrap_or(MAX_BODY)) };
    let more = async {
        while body.len() < wanted && !(chunked && body.ends_with(b"0\r\n\r\n")) {
            match transport.read_buf(&mut body).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    // Late or not: what has come is what there is.
    let _ = tokio::time::timeout(BODY_PATIENCE, more).await;
    if chunked {
        body = unchunk(&body);
    }
    body.truncate(wanted.min(MAX_BODY));
    body
}

fn unchunk(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(chunks) {
        let rest = &chunks[start..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        // Each chunk ends with CR LF; a size of zero ends them all.
        match rest.get(size.saturating_add(2)..) {
            Some(next) if size > 0 => chunks = next,
            _ => break,
        }
    }
    body
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn parse_retry_after(value: &str, server_now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(server_now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let parse = |value| parse_retry_after(value, now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("-5"), None);
    }

    #[test]
    fn chunks_are_joined_as_far_as_they_go() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(unchunk(b"5\r\nab"), b"ab");
        assert_eq!(unchunk(b"zz"), b"");
        assert_eq!(unchunk(b"ffffffffffffffff\r\nab"), b"ab");
    }
}
