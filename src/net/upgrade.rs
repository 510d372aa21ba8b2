//! The upgrade from HTTP to WebSocket (RFC 6455, 4.1).
//!
//! Written here rather than left to tungstenite because an app is to see the answer as the
//! server wrote it: header names in their case, duplicates, and the body of a refusal.

use super::key::{accept_key, new_key, new_seed};
use super::{DialOptions, Socket, Transport};
use crate::session::{ErrorKind, Failure, Header, Refusal};
use crate::wire::{Decoder, Encoder};
use bytes::BufMut;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The answer's head may be this long, the interim responses before it included; more is no
/// answer to an upgrade.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 128;

/// How much of a refusal's body is kept, and how long it is waited for.
const MAX_BODY: usize = 1024;
const BODY_PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Upgraded {
    pub(super) socket: Socket,
    pub(super) header: Vec<Header>,
    pub(super) protocol: Option<String>,
}

struct Head {
    status: u16,
    /// The second number of the HTTP version: 0 or 1.
    minor_version: u8,
    header: Vec<Header>,
    /// In bytes.
    length: usize,
}

impl Head {
    /// Whether the real answer is still to come (RFC 9110, 15.2).
    fn is_interim(&self) -> bool {
        self.status / 100 == 1 && self.status != 101
    }
}

pub(super) async fn upgrade(
    mut transport: Transport,
    options: &DialOptions,
) -> Result<Upgraded, Failure> {
    let no_key = || Failure::new(ErrorKind::Unknown, "the system has no randomness");
    let (key, seed) = new_key().zip(new_seed()).ok_or_else(no_key)?;
    let request = request(options, &key);
    let sent = async {
        transport.write_all(request.as_bytes()).await?;
        transport.flush().await
    };
    sent.await.map_err(|error| Failure::new(ErrorKind::Network, error.to_string()))?;
    let (head, rest) = read_answer(&mut transport).await?;
    if head.status != 101 {
        return Err(refused(transport, head, rest, options.target.secure).await);
    }
    let protocol = check(&head, &key, &options.protocols)?;
    let mut decoder = Decoder::new(options.max_message_bytes);
    early(&mut decoder, &rest);
    let socket = Socket { transport, decoder, encoder: Encoder::new(seed) };
    Ok(Upgraded { socket, header: head.header, protocol })
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

/// Gives the decoder what came behind the answer.
fn early(decoder: &mut Decoder, mut rest: &[u8]) {
    while !rest.is_empty() {
        let mut space = decoder.space();
        let (now, later) = rest.split_at(rest.len().min(space.remaining_mut()));
        space.put_slice(now);
        rest = later;
    }
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::BadUpgrade, detail)
}

/// The final answer's head, and what came behind it. Interim responses are skipped.
async fn read_answer(transport: &mut Transport) -> Result<(Head, Vec<u8>), Failure> {
    let mut buffer = Vec::with_capacity(1024);
    // Where the head that is read now begins.
    let mut start = 0;
    let too_long = || bad("the head of the answer is longer than 16 KiB");
    loop {
        while let Some(head) = parse(&buffer[start..])? {
            start += head.length;
            if start > MAX_HEAD {
                return Err(too_long());
            }
            if !head.is_interim() {
                return Ok((head, buffer.split_off(start)));
            }
        }
        if buffer.len() > MAX_HEAD {
            return Err(too_long());
        }
        let read = transport.read_buf(&mut buffer).await;
        let read = read.map_err(|error| Failure::new(ErrorKind::Network, error.to_string()))?;
        if read == 0 {
            return Err(bad("the server ended the connection without an answer"));
        }
    }
}

/// The head at the beginning of the buffer; `None` as long as it is not complete.
fn parse(buffer: &[u8]) -> Result<Option<Head>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(format!("the answer is not HTTP: {error}"))),
    };
    let header = response.headers.iter().map(|header| Header {
        name: header.name.to_owned(),
        // Old servers write Latin-1; the app gets something readable in any case.
        value: String::from_utf8_lossy(header.value).into_owned(),
    });
    Ok(Some(Head {
        status: response.code.unwrap_or(0),
        minor_version: response.version.unwrap_or(0),
        header: header.collect(),
        length,
    }))
}

/// The values of all lines with this name.
fn values<'a>(header: &'a [Header], name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = header.iter().filter(move |line| line.name.eq_ignore_ascii_case(name));
    lines.map(|line| line.value.as_str())
}

/// The elements of a list, from all lines with this name; empty ones do not count (RFC 9110,
/// 5.6.1).
fn elements<'a>(header: &'a [Header], name: &'a str) -> impl Iterator<Item = &'a str> {
    let elements = values(header, name).flat_map(|value| value.split(',')).map(str::trim);
    elements.filter(|element| !element.is_empty())
}

fn has_token(header: &[Header], name: &str, token: &str) -> bool {
    elements(header, name).any(|element| element.eq_ignore_ascii_case(token))
}

/// The value of a header that must not be there twice.
fn single<'a>(header: &'a [Header], name: &'a str) -> Result<Option<&'a str>, Failure> {
    let mut values = values(header, name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(bad(format!("more than one line of {name}"))),
        (value, None) => Ok(value),
    }
}

/// The client's checks of RFC 6455, 4.1; the sub-protocol if they pass.
fn check(answer: &Head, key: &str, offered: &[String]) -> Result<Option<String>, Failure> {
    let header = &answer.header;
    if answer.minor_version == 0 {
        return Err(bad("status 101 in HTTP/1.0, which knows no upgrade"));
    }
    let upgrade = single(header, "Upgrade")?;
    if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        || !has_token(header, "Connection", "upgrade")
    {
        return Err(bad("status 101 without Upgrade: websocket and Connection: Upgrade"));
    }
    if single(header, "Sec-WebSocket-Accept")? != Some(accept_key(key).as_str()) {
        return Err(bad("Sec-WebSocket-Accept does not match the key"));
    }
    if elements(header, "Sec-WebSocket-Extensions").next().is_some() {
        return Err(bad("the server uses an extension that was not offered"));
    }
    let no_protocol = |detail: String| Failure::new(ErrorKind::Subprotocol, detail);
    let chosen = single(header, "Sec-WebSocket-Protocol");
    match chosen.map_err(|twice| no_protocol(twice.detail))? {
        Some(chosen) if offered.iter().any(|protocol| protocol == chosen) => {
            Ok(Some(chosen.to_owned()))
        }
        Some(chosen) => {
            Err(no_protocol(format!("the server chose {chosen:?}, which was not offered")))
        }
        None if offered.is_empty() => Ok(None),
        None => Err(no_protocol("the server chose no sub-protocol".to_owned())),
    }
}

// ---- a refusal ------------------------------------------------------------------------------

async fn refused(mut transport: Transport, head: Head, rest: Vec<u8>, verified: bool) -> Failure {
    let Head { status, header, .. } = head;
    let body = read_body(&mut transport, &header, rest).await;
    let retry_after = values(&header, "Retry-After").next().and_then(|value| {
        let date = values(&header, "Date").next();
        let server_now = date.and_then(|date| httpdate::parse_http_date(date).ok());
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
    let length = values(header, "Content-Length").next();
    let length = length.and_then(|length| length.parse().ok());
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
        // What follows the last chunk belongs to another answer.
        assert_eq!(unchunk(b"1\r\na\r\n0\r\n\r\n4\r\nmore\r\n"), b"a");
        assert_eq!(unchunk(b"5\r\nab"), b"ab");
        assert_eq!(unchunk(b"zz"), b"");
        assert_eq!(unchunk(b"ffffffffffffffff\r\nab"), b"ab");
    }
}
