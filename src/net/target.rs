//! Checks and splits the URL of a dial, and checks its headers and sub-protocols.

use crate::session::Header;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The ASCII characters of a path that are percent-encoded, because a request line cannot contain
/// them: control characters, the space, quotes and brackets. `percent_encoding` always encodes what
/// is outside ASCII. `%` is not encoded, because the URL may be encoded already.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^');

/// The headers that the app cannot set: those of the handshake, which the engine writes itself, and
/// `Referer`, which the wx API does not allow.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "referer",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "transfer-encoding",
    "upgrade",
];

/// A valid URL, split into what a dial needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// True for `wss`.
    pub(crate) secure: bool,
    /// The host name or the address, without the brackets of IPv6.
    pub(crate) host: String,
    /// The port; without one in the URL 80 for `ws` and 443 for `wss`.
    pub(crate) port: u16,
    /// The value of the `Host` header.
    pub(crate) authority: String,
    /// The path and the query, percent-encoded.
    pub(crate) path: String,
}

impl Target {
    /// Checks and splits a URL.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong. It repeats no part of the URL, because a mistake in a URL
    /// can put a token in any part of it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.chars().any(char::is_control) {
            return Err("it contains a control character".to_owned());
        }
        let (scheme, rest) = url.split_once("://").ok_or("it must begin with ws:// or wss://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err("its scheme is neither ws nor wss".to_owned()),
        };
        if rest.contains('#') {
            return Err("a WebSocket URL has no fragment (RFC 6455, 3); write %23".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = split_authority(authority)?;
        let path = utf8_percent_encode(path, IN_PATH).to_string();
        Ok(Self {
            secure,
            host,
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path } else { format!("/{path}") },
        })
    }
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>), String> {
    if authority.contains('@') {
        return Err("it carries a user name; send an Authorization header instead".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']').ok_or("the bracket of the address is open")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "not an IPv6 address in brackets")?;
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').ok_or("only a port may follow the address")?)
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (check_host(host)?, Some(port)),
            None => (check_host(authority)?, None),
        },
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some(number)
            }
            _ => return Err("what follows the host is no port (1 to 65535)".to_owned()),
        },
    };
    Ok((host.to_owned(), port))
}

fn check_host(host: &str) -> Result<&str, String> {
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    if !host.is_ascii() {
        return Err("the host name must be ASCII; use its xn-- form".to_owned());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.bytes().all(legal) || host.len() > 253 {
        return Err("what follows :// is no host name".to_owned());
    }
    Ok(host)
}

/// Checks a header of the app.
///
/// # Errors
///
/// A text that says what is wrong. It repeats a name only if the name is valid, and never a value,
/// because some callers write the value in the place of the name.
pub(crate) fn check_header(header: &Header) -> Result<(), String> {
    let Header { name, value } = header;
    if !is_token(name) {
        return Err(format!("a name {} (RFC 9110, 5.6.2)", flaw(name)));
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) {
        return Err(format!("{name} is set by the engine and cannot be overridden"));
    }
    if lower == "sec-websocket-protocol" || lower == "sec-websocket-version" {
        return Err(format!("{name} is set by the engine; use the option `protocols`"));
    }
    let legal = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    if !value.bytes().all(legal) {
        return Err(format!("the value of {name} holds a character that is not printable ASCII"));
    }
    Ok(())
}

/// Checks the list of sub-protocols: each is a token, and none occurs twice (RFC 6455, 4.1).
///
/// # Errors
///
/// A text that says what is wrong. It gives the number of the sub-protocol, counted from 1, and not
/// the sub-protocol itself, because some contain credentials.
pub(crate) fn check_protocols(protocols: &[String]) -> Result<(), String> {
    for (at, protocol) in protocols.iter().enumerate() {
        if !is_token(protocol) {
            return Err(format!("number {} {} (RFC 6455, 4.1)", at + 1, flaw(protocol)));
        }
        if protocols[..at].contains(protocol) {
            return Err(format!("number {} is there already", at + 1));
        }
    }
    Ok(())
}

/// Returns true when the text is a token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_in_tokens)
}

fn is_in_tokens(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// Returns why the text is not a token, without repeating it.
fn flaw(text: &str) -> String {
    match text.chars().enumerate().find(|(_, c)| !is_in_tokens(*c)) {
        Some((at, c)) => format!("must not hold {c:?}, its character {}", at + 1),
        None => "is empty".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_split_into_what_a_dial_needs() {
        for (url, secure, host, port, path) in [
            ("ws://example.com", false, "example.com", 80, "/"),
            ("WSS://example.com:8443/a?b=c", true, "example.com", 8443, "/a?b=c"),
            ("wss://example.com?x=1", true, "example.com", 443, "/?x=1"),
            ("ws://[::1]:9/x y", false, "::1", 9, "/x%20y"),
            ("ws://h/路径?q=é%20", false, "h", 80, "/%E8%B7%AF%E5%BE%84?q=%C3%A9%20"),
        ] {
            let target = Target::parse(url).expect(url);
            assert_eq!(
                (target.secure, target.host.as_str(), target.port, target.path.as_str()),
                (secure, host, port, path),
                "{url}"
            );
        }
    }

    #[test]
    fn the_authority_stays_as_it_was_written() {
        for (url, authority) in [
            ("ws://Example.com", "Example.com"),
            ("wss://example.com:443/x", "example.com:443"),
            ("ws://[::1]", "[::1]"),
            ("ws://[::1]:9?x", "[::1]:9"),
        ] {
            assert_eq!(Target::parse(url).expect(url).authority, authority);
        }
    }

    /// 253 characters are the longest name that DNS carries (RFC 1035, 2.3.4), written without the
    /// final dot.
    #[test]
    fn a_host_has_253_characters_at_most() {
        let host = |length| format!("{}a", "a-_.".repeat(63)).repeat(2)[..length].to_owned();
        let parse = |length| Target::parse(&format!("ws://{}", host(length)));
        assert_eq!(parse(253).map(|target| target.host), Ok(host(253)));
        assert_eq!(parse(254), Err("what follows :// is no host name".to_owned()));
        assert_eq!(parse(300), Err("what follows :// is no host name".to_owned()));
    }

    #[test]
    fn bad_urls_are_refused() {
        for url in [
            "",
            "example.com",
            "http://h",
            "ws:/h",
            "ws://",
            "ws:///x",
            "ws://h:0",
            "ws://h:65536",
            "ws://h:+1",
            "ws://h:",
            "ws://h:1:2",
            "ws://[::1",
            "ws://[::1]x",
            "ws://[zz]",
            "ws://u:p@h",
            "ws://h/#",
            "ws://h#x",
            "ws://bücher.example",
            "ws://h h/",
            "ws://h/\r\nX: y",
            "ws://h\u{0}/",
        ] {
            assert!(Target::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn header_values_stay_out_of_errors() {
        let bad = Header::new("X-Token", "secret\r\nEvil: 1");
        let error = check_header(&bad).expect_err("CR LF");
        assert!(error.contains("X-Token") && !error.contains("secret"), "{error}");
        for name in [
            "Referer",
            "HOST",
            "sec-websocket-key",
            "Upgrade",
            "a b",
            "",
            "Ö",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Version",
        ] {
            assert!(check_header(&Header::new(name, "x")).is_err(), "{name}");
        }
        for value in ["\u{7f}", "\u{0}", "é"] {
            assert!(check_header(&Header::new("X", value)).is_err(), "{value:?}");
        }
        for value in ["", "\t", " ~!"] {
            assert_eq!(check_header(&Header::new("!#$%&'*+-.^_`|~0aZ", value)), Ok(()));
        }
        assert!(check_header(&Header::new("Authorization", "Bearer a.b.c")).is_ok());
    }

    #[test]
    fn what_was_written_in_the_wrong_place_stays_out_of_errors() {
        let header = check_header(&Header::new("Authorization: Bearer secret", ""));
        let protocols = check_protocols(&["a".to_owned(), "bearer, secret".to_owned()]);
        let twins = check_protocols(&["secret".to_owned(), "secret".to_owned()]);
        let url = |url| Target::parse(url).map(|_| ());
        let errors = [
            (header, "a name must not hold ':', its character 14 (RFC 9110, 5.6.2)"),
            (protocols, "number 2 must not hold ',', its character 7 (RFC 6455, 4.1)"),
            (twins, "number 2 is there already"),
            (url("ws://h:80token=secret"), "what follows the host is no port (1 to 65535)"),
            (url("ws://h&token=secret"), "what follows :// is no host name"),
            (url("secret://h"), "its scheme is neither ws nor wss"),
        ];
        for (result, expected) in errors {
            assert_eq!(result, Err(expected.to_owned()));
        }
    }

    #[test]
    fn sub_protocols_are_tokens_without_twins() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(check_protocols(&list(&["chat", "v2.chat"])).is_ok());
        for bad in [&["a", "a"][..], &[""], &["a,b"], &["a b"], &["é"]] {
            assert!(check_protocols(&list(bad)).is_err(), "{bad:?}");
        }
    }
}
