//! From the arguments to the engine's options, and from its errors back to the arguments.

use super::args::ConnectArgs;
use std::net::IpAddr;
use wxsocket::{
    ConnectOptions, HeartbeatOptions, HeartbeatPayload, Message, Millis, QueueOptions,
    ReconnectDelay, ReconnectOptions, ReplyMatch, TlsOptions, WxError,
};

/// The engine checks the values; only a file that cannot be read is an error here.
pub(crate) fn connect_options(args: &ConnectArgs) -> Result<ConnectOptions, String> {
    let ca_pem = args.ca.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("--ca: cannot read {}: {error}", path.display()))
    });
    Ok(ConnectOptions {
        url: args.url.clone(),
        header: args.header.clone(),
        protocols: args.protocol.clone(),
        timeout: args.timeout.map(Millis),
        preset: Some(args.preset.into()),
        reconnect: ReconnectOptions {
            enabled: args.no_reconnect.then_some(false),
            delay: args.delay.map(|ms| ReconnectDelay::Fixed { delay: Millis(ms) }),
            max_attempts: args.max_attempts,
            ..ReconnectOptions::default()
        },
        heartbeat: heartbeat(args),
        queue: QueueOptions {
            messages: args.queue_messages,
            bytes: args.queue_bytes,
            ..QueueOptions::default()
        },
        tls: TlsOptions { ca_pem: ca_pem.transpose()? },
        greeting: args.greeting.clone().map(Message::text),
        close_timeout: args.close_timeout.map(Millis),
        ..ConnectOptions::default()
    })
}

fn heartbeat(args: &ConnectArgs) -> HeartbeatOptions {
    let text = args.heartbeat_payload.clone().map(|text| HeartbeatPayload::Text { text });
    HeartbeatOptions {
        enabled: args.no_heartbeat.then_some(false),
        payload: text.or(args.heartbeat_ping.then_some(HeartbeatPayload::Ping)),
        interval: args.heartbeat_interval.map(Millis),
        timeout: args.heartbeat_timeout.map(Millis),
        reply: args.heartbeat_reply.clone().map(|text| ReplyMatch::Text { text }),
        strict: args.strict_pong.then_some(true),
        ..HeartbeatOptions::default()
    }
}

/// The engine's name of an option, what it is called here, and what its numbers count.
const FLAGS: [(&str, &str, &str); 13] = [
    ("url", "URL", ""),
    ("header", "--header", ""),
    ("protocols", "--protocol", ""),
    ("timeout", "--timeout", ""),
    ("close_timeout", "--close-timeout", ""),
    ("reconnect.delay", "--delay", ""),
    (
        "reconnect.max_attempts",
        "--max-attempts",
        " (or `unlimited`; for none at all --no-reconnect)",
    ),
    ("heartbeat.interval", "--heartbeat-interval", ""),
    ("heartbeat.timeout", "--heartbeat-timeout", ""),
    ("queue.messages", "--queue-messages", ""),
    ("queue.bytes", "--queue-bytes", " bytes"),
    ("tls.ca_pem", "--ca", ""),
    ("heartbeat.strict", "--strict-pong", ""),
];

/// An error of the engine, told in terms of the arguments.
pub(crate) fn explain(error: &WxError) -> String {
    let WxError::InvalidArgument { field, reason, .. } = error else {
        return error.to_string();
    };
    let known = FLAGS.iter().find(|(name, _, _)| name == field);
    let (flag, unit) = known.map_or((field.as_str(), ""), |(_, flag, unit)| (flag, unit));
    let reason = reason.replace("heartbeat.reply", "--heartbeat-reply");
    format!("invalid value for '{flag}': {reason}{unit}")
}

/// A URL without what may be secret: scheme, host, port and path, but no query.
pub(crate) fn without_secrets(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Whether what is sent may be read on its way: `ws://` beyond this machine and its network.
pub(crate) fn is_exposed(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.split(':').next().unwrap_or(authority),
    };
    scheme.eq_ignore_ascii_case("ws") && !is_near(host)
}

fn is_near(host: &str) -> bool {
    // A dot at the end names the root of all names, and changes nothing.
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.parse().map(|ip: IpAddr| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
        // A name without a dot, or in these zones, is one of the local network.
        Err(_) => {
            let host = host.to_ascii_lowercase();
            let zones = [".localhost", ".local", ".lan", ".internal", ".home.arpa"];
            // `2130706433` and `0x7f000001` are other ways to write an IPv4 address.
            let is_name = !host.starts_with(|first: char| first.is_ascii_digit());
            is_name && !host.contains('.') || zones.iter().any(|zone| host.ends_with(zone))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_text_to_far_hosts_is_exposed() {
        for near in [
            "ws://localhost:1/x",
            "ws://127.0.0.1",
            "ws://192.168.1.2:9000?t=1",
            "ws://[::1]:9000/",
            "ws://localhost.",
            "ws://LOCALHOST.:9000/x",
            "ws://printer.local.",
            "ws://[::ffff:127.0.0.1]:9000",
            "ws://[::ffff:192.168.1.2]",
            "ws://printer.local",
            "ws://server",
            "wss://example.com",
        ] {
            assert!(!is_exposed(near), "{near}");
        }
        for far in [
            "ws://example.com/x",
            "ws://example.com.",
            "WS://8.8.8.8",
            "ws://134744072",
            "ws://[2001:db8::1]/",
            "ws://[::ffff:8.8.8.8]/",
        ] {
            assert!(is_exposed(far), "{far}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!(without_secrets("wss://a.b:1/c?token=d"), "wss://a.b:1/c");
    }
}
