//! What can go wrong with a connection, in words that do not depend on the operating system.

/// Why a connection, or the attempt to make one, failed.
///
/// Each kind has a number ([`code`](ErrorKind::code)) and an English text
/// ([`message`](ErrorKind::message)) that are the same on every platform and never change.
/// Numbers that the mini-program API already has keep their meaning there (600000 to 609999);
/// ours fill the block 690000 to 690099.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum ErrorKind {
    /// 600000: something that should not happen; please report it.
    Unknown,
    /// 600003: the open connection was lost: reset, or ended without a close frame.
    ConnectionLost,
    /// 690001: the host name could not be resolved.
    Dns,
    /// 690002: the server refused the TCP connection.
    Refused,
    /// 690003: there is no route to the server.
    Unreachable,
    /// 690004: the connection was not open within `timeout`.
    Timeout,
    /// 690005: any other failure of the network while connecting.
    Network,
    /// 690010: TLS failed for a reason that the other TLS kinds do not name.
    Tls,
    /// 690011: the server's certificate has expired or is not valid yet.
    TlsExpired,
    /// 690012: no trusted authority vouches for the server's certificate.
    TlsUntrusted,
    /// 690013: the server's certificate is for another host.
    TlsHostMismatch,
    /// 690020: the server answered the upgrade with an HTTP status other than 101.
    HttpStatus,
    /// 690021: the answer to the upgrade is not a valid WebSocket handshake (RFC 6455, 4.1).
    BadUpgrade,
    /// 690022: the server chose a sub-protocol that was not offered, or none of those offered.
    Subprotocol,
    /// 690030: the server broke the WebSocket protocol; closed with 1002.
    Protocol,
    /// 690031: a text message is not valid UTF-8; closed with 1007.
    InvalidUtf8,
    /// 690032: a message is larger than the limit; closed with 1009.
    TooBig,
    /// 690040: the heartbeat was not answered in time; the connection was aborted.
    HeartbeatTimeout,
    /// 690041: given up on purpose: background, pause, or the network went away during a dial.
    Interrupted,
    /// 690050: the limit of reconnect attempts is reached; the task is over.
    ReconnectLimit,
    /// 690051: `beforeConnect` asked to stop; the task is over.
    Stopped,
    /// 690052: `beforeConnect` failed, or what it answered is not valid.
    BeforeConnect,
}

impl ErrorKind {
    /// The stable number, as `errCode`.
    pub fn code(self) -> i32 {
        match self {
            Self::Unknown => 600_000,
            Self::ConnectionLost => 600_003,
            Self::Dns => 690_001,
            Self::Refused => 690_002,
            Self::Unreachable => 690_003,
            Self::Timeout => 690_004,
            Self::Network => 690_005,
            Self::Tls => 690_010,
            Self::TlsExpired => 690_011,
            Self::TlsUntrusted => 690_012,
            Self::TlsHostMismatch => 690_013,
            Self::HttpStatus => 690_020,
            Self::BadUpgrade => 690_021,
            Self::Subprotocol => 690_022,
            Self::Protocol => 690_030,
            Self::InvalidUtf8 => 690_031,
            Self::TooBig => 690_032,
            Self::HeartbeatTimeout => 690_040,
            Self::Interrupted => 690_041,
            Self::ReconnectLimit => 690_050,
            Self::Stopped => 690_051,
            Self::BeforeConnect => 690_052,
        }
    }

    /// The fixed English text in wx form, as `errMsg`.
    pub fn message(self) -> &'static str {
        match self {
            Self::Unknown => "connectSocket:fail unknown error",
            Self::ConnectionLost => "connectSocket:fail connection lost",
            Self::Dns => "connectSocket:fail host not found",
            Self::Refused => "connectSocket:fail connection refused",
            Self::Unreachable => "connectSocket:fail network unreachable",
            Self::Timeout => "connectSocket:fail timeout",
            Self::Network => "connectSocket:fail network error",
            Self::Tls => "connectSocket:fail TLS error",
            Self::TlsExpired => "connectSocket:fail certificate expired",
            Self::TlsUntrusted => "connectSocket:fail certificate not trusted",
            Self::TlsHostMismatch => "connectSocket:fail certificate is for another host",
            Self::HttpStatus => "connectSocket:fail invalid HTTP status",
            Self::BadUpgrade => "connectSocket:fail invalid upgrade",
            Self::Subprotocol => "connectSocket:fail sub-protocol not agreed",
            Self::Protocol => "connectSocket:fail protocol error",
            Self::InvalidUtf8 => "connectSocket:fail invalid UTF-8",
            Self::TooBig => "connectSocket:fail message too big",
            Self::HeartbeatTimeout => "connectSocket:fail heartbeat timeout",
            Self::Interrupted => "connectSocket:fail interrupted",
            Self::ReconnectLimit => "connectSocket:fail reconnect limit reached",
            Self::Stopped => "connectSocket:fail stopped by beforeConnect",
            Self::BeforeConnect => "connectSocket:fail beforeConnect failed",
        }
    }
}

/// One HTTP header, its name in the case that was written.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize))]
pub struct Header {
    /// The name, as written by whoever sent it.
    pub name: String,
    /// The value, without surrounding white space.
    pub value: String,
}

impl Header {
    /// A header from any two strings.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// The answer of a server that refused the upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, never 101.
    pub status: u16,
    /// The response headers in their order, original case, duplicates kept.
    pub headers: Vec<Header>,
    /// The first bytes of the body, at most 1 KiB.
    pub body: Vec<u8>,
    /// True when the answer came over TLS from the host that was asked for. A captive
    /// portal's 403 over plain HTTP says nothing about the server.
    pub verified: bool,
}

/// A failure with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, which gives number and text.
    pub kind: ErrorKind,
    /// What the operating system or a library said; for people, not for programs.
    pub detail: String,
    /// Present when `kind` is [`ErrorKind::HttpStatus`].
    pub refusal: Option<Refusal>,
    /// How long the server asked to be left alone (`Retry-After`).
    pub retry_after: Option<std::time::Duration>,
}

impl Failure {
    /// A failure that is no refused upgrade.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), refusal: None, retry_after: None }
    }

    /// The close code that tells the truth about an open connection that failed this way
    /// (RFC 6455, 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self.kind {
            ErrorKind::Protocol => 1002,
            ErrorKind::InvalidUtf8 => 1007,
            ErrorKind::TooBig => 1009,
            _ => 1006,
        }
    }

    /// The reason that goes with [`close_code`](Self::close_code).
    pub fn close_reason(&self) -> &'static str {
        match self.kind {
            ErrorKind::HeartbeatTimeout => "heartbeat timeout",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Protocol => "protocol error",
            ErrorKind::InvalidUtf8 => "invalid UTF-8",
            ErrorKind::TooBig => "message too big",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Number, text, and how an open connection that ends so is closed.
    type Row = (ErrorKind, i32, &'static str, u16, &'static str);

    #[rustfmt::skip]
    const TABLE: &[Row] = {
        use ErrorKind as K;
        &[
            (K::Unknown, 600_000, "unknown error", 1006, ""),
            (K::ConnectionLost, 600_003, "connection lost", 1006, ""),
            (K::Dns, 690_001, "host not found", 1006, ""),
            (K::Refused, 690_002, "connection refused", 1006, ""),
            (K::Unreachable, 690_003, "network unreachable", 1006, ""),
            (K::Timeout, 690_004, "timeout", 1006, ""),
            (K::Network, 690_005, "network error", 1006, ""),
            (K::Tls, 690_010, "TLS error", 1006, ""),
            (K::TlsExpired, 690_011, "certificate expired", 1006, ""),
            (K::TlsUntrusted, 690_012, "certificate not trusted", 1006, ""),
            (K::TlsHostMismatch, 690_013, "certificate is for another host", 1006, ""),
            (K::HttpStatus, 690_020, "invalid HTTP status", 1006, ""),
            (K::BadUpgrade, 690_021, "invalid upgrade", 1006, ""),
            (K::Subprotocol, 690_022, "sub-protocol not agreed", 1006, ""),
            (K::Protocol, 690_030, "protocol error", 1002, "protocol error"),
            (K::InvalidUtf8, 690_031, "invalid UTF-8", 1007, "invalid UTF-8"),
            (K::TooBig, 690_032, "message too big", 1009, "message too big"),
            (K::HeartbeatTimeout, 690_040, "heartbeat timeout", 1006, "heartbeat timeout"),
            (K::Interrupted, 690_041, "interrupted", 1006, "interrupted"),
            (K::ReconnectLimit, 690_050, "reconnect limit reached", 1006, ""),
            (K::Stopped, 690_051, "stopped by beforeConnect", 1006, ""),
            (K::BeforeConnect, 690_052, "beforeConnect failed", 1006, ""),
        ]
    };

    /// Apps compare these numbers and texts: they never change.
    #[test]
    fn numbers_texts_and_close_codes_are_those_of_the_table() {
        for (kind, number, text, close_code, close_reason) in TABLE {
            assert_eq!(kind.code(), *number, "{kind:?}");
            assert_eq!(kind.message(), format!("connectSocket:fail {text}"));
            let failure = Failure::new(*kind, "detail");
            assert_eq!(
                (failure.close_code(), failure.close_reason()),
                (*close_code, *close_reason)
            );
            assert_eq!(failure.detail, "detail");
        }
        let numbers: HashSet<_> = TABLE.iter().map(|row| row.1).collect();
        assert_eq!(numbers.len(), TABLE.len(), "no two kinds have the same number");
    }
}
