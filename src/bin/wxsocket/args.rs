//! The arguments of the command line, and their help.

use super::units;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use wxsocket::{AttemptLimit, Header, Preset};

/// A WebSocket that stays alive: it reconnects, notices dead links, and queues what you send.
#[derive(Parser, Debug)]
#[command(name = "wxsocket", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Start here:
  wxsocket demo                                   watch a connection live through everything
  wxsocket serve --listen 127.0.0.1:9000          a server to try things on
  wxsocket connect ws://127.0.0.1:9000            talk to it, line by line

`wxsocket COMMAND --help` explains each one, with its defaults and exit codes.";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Keep a connection open: lines of standard input go out, messages come in.
    Connect(Box<ConnectArgs>),
    /// Watch the engine survive a drop, a restart, a black hole and a refused dial.
    Demo(DemoArgs),
    /// Run a WebSocket server that misbehaves on command.
    Serve(Box<ServeArgs>),
}

const CONNECT_HELP: &str = "\
Standard input: each line is sent as one text message, without its line end (LF or CR LF); an
empty line is an empty message. It is read only as fast as the connection takes it: what is sent
while the connection is down is queued, and when the queue is full, the input waits. At the end of
the input the program waits until the connection has been open and everything accepted is written,
then for --linger, and then closes with 1000. To see slow answers, give --linger more time: an end that
the server answers the last lines with is seen only if it comes before our close.

Messages from the server go to standard output, one a line (binary ones in hex; on a terminal `< `
stands before a text and `<bin ` before bytes). Everything else, the timeline, goes to standard
error. With --json all events go to standard output:
  {\"event\":\"open\",\"t_ms\":12,\"epoch\":1,\"attempt\":0,\"protocol\":null,\"headers\":[…],\"profile\":{…}}
  {\"event\":\"message\",\"t_ms\":20,\"epoch\":1,\"kind\":\"text\",\"data\":\"hi\"}
  {\"event\":\"message\",\"t_ms\":21,\"epoch\":1,\"kind\":\"binary\",\"hex\":\"00ff\"}
  {\"event\":\"error\",\"t_ms\":31,\"epoch\":1,\"err_code\":600003,\"err_msg\":\"…\",\"detail\":\"…\",\"http_status\":null}
  {\"event\":\"close\",\"t_ms\":31,\"epoch\":1,\"code\":1006,\"reason\":\"\",\"was_clean\":false,\"retry\":{\"attempt\":1,\"max\":12,\"delay_ms\":5000}}
  {\"event\":\"send\",\"t_ms\":40,\"outcome\":\"sent\",\"err_code\":null}
A close with \"retry\":null is the end; its \"unsent\" counts messages that were accepted and never
sent. An outcome is sent, queued or rejected.

Ctrl-C closes politely with 1000; a second one ends the program at once.

Presets (what is not said on the command line comes from here):
  wx           5s between attempts, 12 of them; text ping every 10s, 10s to answer
  browser      at once, 59 attempts; no heartbeat
  heart-check  2s, without end; text HeartBeat after 6s of silence, 6s to answer
  vue          60s, without end; text {\"heart\":1} after 60s of silence, 60s to answer
  use-ws       3s, without end; text {\"ping\":true} after 5s of silence; close code 1000 is final
  resilient    0-1s, then random up to 30s, without end; protocol Ping every 30s, 10s to answer

Exit codes:
  0    after a close that we asked for (end of input, Ctrl-C)
  2    bad arguments
  3    the limit of reconnect attempts was reached
  4    the connection ended for good without us: a final close code or status, --no-reconnect;
       or the system does not give what the program needs (too many open files)
  5    after a close that we asked for, but a part of the input was not delivered (a line that is no
       hex or no UTF-8, too long, or without its end at Ctrl-C; input that cannot be read; lines
       left in the queue), or perhaps not delivered (lines were handed to a connection that ended
       without a closing handshake), or standard output cannot be written
  130  Ctrl-C twice

Examples:
  wxsocket connect wss://echo.example.com
  echo hello | wxsocket connect --linger 1s ws://127.0.0.1:9000
  wxsocket connect --json --preset resilient -H 'Authorization: Bearer …' wss://example.com/live
  wxsocket connect --delay 50ms --max-attempts 3 ws://127.0.0.1:9";

#[derive(Args, Debug)]
#[command(after_help = CONNECT_HELP)]
pub(crate) struct ConnectArgs {
    /// The URL: ws:// or wss://
    pub(crate) url: String,

    /// The set of rules to begin with
    #[arg(long, value_enum, default_value_t = PresetName::Wx, help_heading = "Rules")]
    pub(crate) preset: PresetName,

    /// Time between attempts, always the same; 0 is at once [default: the preset's]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Rules")]
    pub(crate) delay: Option<i64>,

    /// Attempts in a row before giving up: a number, or `unlimited` [default: the preset's]
    #[arg(long, value_name = "N", value_parser = attempts, allow_negative_numbers = true, help_heading = "Rules")]
    pub(crate) max_attempts: Option<AttemptLimit>,

    /// Only one connection: the program ends when the connection ends
    #[arg(long, help_heading = "Rules", conflicts_with_all = ["delay", "max_attempts"])]
    pub(crate) no_reconnect: bool,

    /// Time for a whole dial: name, TCP, TLS, upgrade [default: 60s; resilient: 15s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Rules")]
    pub(crate) timeout: Option<i64>,

    /// How long a close waits for the server's answer [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Rules")]
    pub(crate) close_timeout: Option<i64>,

    /// Time from the open, and from each answer, to the heartbeat [default: the preset's]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Heartbeat")]
    pub(crate) heartbeat_interval: Option<i64>,

    /// Time for a sign of life after a heartbeat [default: the preset's]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Heartbeat")]
    pub(crate) heartbeat_timeout: Option<i64>,

    /// What a heartbeat sends, as a text message [default: the preset's]
    #[arg(long, value_name = "TEXT", help_heading = "Heartbeat")]
    pub(crate) heartbeat_payload: Option<String>,

    /// Send a protocol Ping instead of a message; its Pong is the answer
    #[arg(long, help_heading = "Heartbeat", conflicts_with_all = ["heartbeat_payload", "heartbeat_reply"])]
    pub(crate) heartbeat_ping: bool,

    /// The message that answers a heartbeat; it is not shown [default: pong in preset wx]
    #[arg(long, value_name = "TEXT", help_heading = "Heartbeat")]
    pub(crate) heartbeat_reply: Option<String>,

    /// Only the answer counts as a sign of life, not any frame
    #[arg(long, help_heading = "Heartbeat")]
    pub(crate) strict_pong: bool,

    /// No heartbeat
    #[arg(long, help_heading = "Heartbeat", conflicts_with_all = [
        "heartbeat_interval", "heartbeat_timeout", "heartbeat_payload", "heartbeat_ping",
        "heartbeat_reply", "strict_pong",
    ])]
    pub(crate) no_heartbeat: bool,

    /// A header of the upgrade request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "Request")]
    pub(crate) header: Vec<Header>,

    /// A sub-protocol to offer, the preferred one first; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Request")]
    pub(crate) protocol: Vec<String>,

    /// The first message of every connection, before all others
    #[arg(long, value_name = "TEXT", help_heading = "Request")]
    pub(crate) greeting: Option<String>,

    /// Authorities to trust besides the system's: certificates in PEM
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub(crate) ca: Option<PathBuf>,

    /// Do not warn about ws:// (no encryption) to a host that is neither local nor private
    #[arg(long, help_heading = "Request")]
    pub(crate) insecure_ws_ok: bool,

    /// Messages to keep while the connection is down [default: 256]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Queue")]
    pub(crate) queue_messages: Option<i64>,

    /// Bytes to keep while the connection is down, as 64KiB or 16MiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = "Queue")]
    pub(crate) queue_bytes: Option<i64>,

    /// Lines of standard input are bytes in hex (`00 ff`), sent as binary messages
    #[arg(long, help_heading = "Input and output")]
    pub(crate) binary_hex: bool,

    /// How long to wait for answers of the server after the end of the input
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "200ms", help_heading = "Input and output")]
    pub(crate) linger: i64,

    /// Every event as one line of JSON on standard output
    #[arg(long, help_heading = "Input and output")]
    pub(crate) json: bool,
}

/// The presets with their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PresetName {
    Wx,
    Browser,
    #[value(alias = "heartCheck")]
    HeartCheck,
    Vue,
    #[value(alias = "useWs")]
    UseWs,
    Resilient,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Wx => Self::Wx,
            PresetName::Browser => Self::Browser,
            PresetName::HeartCheck => Self::HeartCheck,
            PresetName::Vue => Self::Vue,
            PresetName::UseWs => Self::UseWs,
            PresetName::Resilient => Self::Resilient,
        }
    }
}

const DEMO_HELP: &str = "\
A scripted server runs inside the program. The client opens, echoes, exchanges heartbeats, is
dropped, sees the server restart, falls into a black hole that only the heartbeat can find, is
refused, recovers, and closes. At the end the program checks client and server against each other.

Exit codes:
  0    the story went as told
  1    it did not, and what differed is said; or standard output cannot be written
  130  Ctrl-C";

#[derive(Args, Debug)]
#[command(after_help = DEMO_HELP)]
pub(crate) struct DemoArgs {
    /// The timings of preset wx (5s, 10s, 10s) instead of a tenth of them; takes 70 s instead of 7
    #[arg(long)]
    pub(crate) real_time: bool,
}

const SERVE_HELP: &str = "\
Without faults it echoes, answers `ping` with `pong`, and takes the first sub-protocol offered.
WHEN is a number (after so many messages on a connection) or a time such as 5s (after its open).
Of --drop-after, --eof-after, --close-after and --silence-after only one is possible.
The faults hit every connection, or the first N with --first N; later ones are served well.

With --json every event is a line. What the reader of the output is too slow for is one line that
counts it: {\"event\":\"skipped\",\"t_ms\":12,\"connection\":1,\"frames\":40000}. A connection that cannot
be accepted, for want of descriptors for instance, is {\"event\":\"error\",…}, at most once a second.

Ctrl-C ends it with exit code 0. Bad arguments are 2; a port that cannot be had, output that cannot
be written, or a system that does not give what the program needs (too many open files) is 1.

Examples:
  wxsocket serve --listen 0.0.0.0:9000              phones on the same network can reach it
  wxsocket serve --silence-after 5s --first 1       a black hole, once
  wxsocket serve --status 503 --retry-after 5 --body busy --first 3
  wxsocket serve --close-after 3 --close-code 4001 --close-reason 'session expired'
  wxsocket serve --script faults.json

A script is a JSON array: the n-th connection plays the n-th entry, the last one repeats.
  [{\"handshake\": {\"status\": 503, \"headers\": [[\"Retry-After\", \"1\"]]}},
   {\"rules\": [{\"on\": {\"messages\": 3}, \"do\": [{\"send\": \"bye\"}, \"drop\"]}]},
   {}]";

#[derive(Args, Debug)]
#[command(after_help = SERVE_HELP)]
#[group(skip)]
#[command(group = ArgGroup::new("open").multiple(true))]
#[command(group = ArgGroup::new("faults").multiple(true))]
#[command(group = ArgGroup::new("ends"))]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 picks a free one, 0.0.0.0 lets other machines in
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,

    /// Play this script (JSON) instead of the faults below
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "faults", "first", "down_for", "retry_after", "body", "close_code", "close_reason",
    ])]
    pub(crate) script: Option<PathBuf>,

    /// Only the first N connections have the faults
    #[arg(long, value_name = "N", requires = "faults", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) first: Option<u16>,

    /// Every event as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) dial: DialFaults,

    /// Reset the connection (RST)
    #[arg(long, value_name = "WHEN", value_parser = when, groups = ["open", "faults", "ends"], help_heading = "Faults of an open connection")]
    pub(crate) drop_after: Option<When>,

    /// End the stream without a close frame
    #[arg(long, value_name = "WHEN", value_parser = when, groups = ["open", "faults", "ends"], help_heading = "Faults of an open connection")]
    pub(crate) eof_after: Option<When>,

    /// Close with --close-code and --close-reason
    #[arg(long, value_name = "WHEN", value_parser = when, groups = ["open", "faults", "ends"], help_heading = "Faults of an open connection")]
    pub(crate) close_after: Option<When>,

    /// The code to close with; without it the close frame is empty
    #[arg(
        long,
        value_name = "CODE",
        requires = "close_after",
        help_heading = "Faults of an open connection"
    )]
    pub(crate) close_code: Option<u16>,

    /// The reason to close with, at most 123 bytes
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = close_reason,
        requires = "close_code",
        help_heading = "Faults of an open connection"
    )]
    pub(crate) close_reason: Option<String>,

    /// Become a black hole: TCP stays open, nothing more is read or sent
    #[arg(long, value_name = "WHEN", value_parser = when, groups = ["open", "faults", "ends"], help_heading = "Faults of an open connection")]
    pub(crate) silence_after: Option<When>,

    /// Stop listening, and listen again after --down-for
    #[arg(long, value_name = "WHEN", value_parser = when, groups = ["open", "faults"], help_heading = "Faults of an open connection")]
    pub(crate) restart_after: Option<When>,

    /// How long the server does not listen after --restart-after
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "3s", requires = "restart_after", help_heading = "Faults of an open connection")]
    pub(crate) down_for: i64,

    /// Do not answer heartbeats (`ping`)
    #[arg(long, groups = ["open", "faults"], help_heading = "Faults of an open connection")]
    pub(crate) ignore_heartbeats: bool,

    /// Do not answer protocol Pings
    #[arg(long, groups = ["open", "faults"], help_heading = "Faults of an open connection")]
    pub(crate) ignore_pings: bool,

    /// Do not send messages back
    #[arg(long, groups = ["open", "faults"], help_heading = "Faults of an open connection")]
    pub(crate) no_echo: bool,

    /// Delay everything that is sent after the handshake by this time
    #[arg(long, value_name = "TIME", value_parser = units::duration, groups = ["open", "faults"], help_heading = "Faults of an open connection")]
    pub(crate) delay: Option<i64>,

    /// Send this text right after the open
    #[arg(long, value_name = "TEXT", groups = ["open", "faults"], help_heading = "Faults of an open connection")]
    pub(crate) greeting: Option<String>,
}

/// The faults of a dial. Those after which no connection opens exclude the faults of an open
/// connection.
#[derive(Args, Debug)]
pub(crate) struct DialFaults {
    /// Reset the connection as soon as it is accepted
    #[arg(long, help_heading = "Faults of a dial", group = "faults",
        conflicts_with_all = ["hang", "status", "wrong_upgrade", "handshake_delay", "retry_after", "body",
            "open", "close_code", "close_reason", "down_for"])]
    pub(crate) refuse: bool,

    /// Accept the connection and send nothing
    #[arg(long, help_heading = "Faults of a dial", group = "faults",
        conflicts_with_all = ["status", "wrong_upgrade", "handshake_delay", "retry_after", "body",
            "open", "close_code", "close_reason", "down_for"])]
    pub(crate) hang: bool,

    /// Answer the upgrade with this HTTP status
    #[arg(long, value_name = "CODE", help_heading = "Faults of a dial", group = "faults",
        conflicts_with_all = ["wrong_upgrade", "open", "close_code", "close_reason", "down_for"],
        value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(crate) status: Option<u16>,

    /// The Retry-After header of --status: seconds, or an HTTP date
    #[arg(long, value_name = "VALUE", help_heading = "Faults of a dial", requires = "status")]
    pub(crate) retry_after: Option<String>,

    /// The body of --status
    #[arg(long, value_name = "TEXT", help_heading = "Faults of a dial", requires = "status")]
    pub(crate) body: Option<String>,

    /// Answer 101 with the wrong Sec-WebSocket-Accept
    #[arg(long, help_heading = "Faults of a dial", group = "faults",
        conflicts_with_all = ["handshake_delay", "retry_after", "body", "open", "close_code",
            "close_reason", "down_for"])]
    pub(crate) wrong_upgrade: bool,

    /// Time between the request and the answer
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Faults of a dial", group = "faults")]
    pub(crate) handshake_delay: Option<i64>,
}

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After this many messages.
    Messages(u64),
    /// This many milliseconds after the open.
    Ms(u64),
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(count) = text.parse::<u64>() {
        return match count {
            0 => Err("messages are counted from 1; for the open itself write 1ms".to_owned()),
            count => Ok(When::Messages(count)),
        };
    }
    let wrong = |reason| format!("{reason}; a number of messages (3), or a time (5s)");
    units::duration(text).map(|ms| When::Ms(ms.unsigned_abs())).map_err(wrong)
}

fn close_reason(text: &str) -> Result<String, String> {
    match text.len() {
        0..=123 => Ok(text.to_owned()),
        len => Err(format!("it is {len} bytes long, and a close frame has room for 123")),
    }
}

fn attempts(text: &str) -> Result<AttemptLimit, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(AttemptLimit::Unlimited);
    }
    let count = text.parse().map_err(|_| "expected a number or `unlimited`".to_owned())?;
    Ok(AttemptLimit::Attempts { count })
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    Ok(Header::new(name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_fault_strikes_after_messages_or_after_a_time() {
        assert_eq!(when("3"), Ok(When::Messages(3)));
        assert_eq!(when("5s"), Ok(When::Ms(5_000)));
        assert!(when("0").is_err());
        assert!(when("soon").is_err());
    }
}
