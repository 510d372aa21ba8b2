//! `serve`: the scripted server on a port, for trying clients and phones.

use super::args::{DialFaults, ServeArgs, When};
use super::escape::printable;
use super::observe::Observer;
use super::{exit, interrupt, json, lost_output, say, usage_error};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wxsocket::testing::{
    Action, ConnectionScript, Handshake, Script, ScriptedServer, StatusAnswer, Trigger, Upgrade,
};

/// The longest wait for the next event.
const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn run(args: &ServeArgs) -> u8 {
    let script = match script(args) {
        Ok(script) => script,
        Err(message) => return usage_error(message),
    };
    let server = match ScriptedServer::start_on(args.listen, script) {
        Ok(server) => server,
        Err(error) => {
            say(format_args!("cannot listen on {}: {error}", args.listen));
            return exit::FAILED;
        }
    };
    let stopped = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(&server, &stopped);
    let mut observer = Observer::new(args.json);
    announce(&mut observer, &server, args);
    while observer.broken().is_none() {
        let patience = observer.patience().unwrap_or(LONG);
        server.wait_for(|seen| observer.look(seen) || stopped.load(Ordering::SeqCst), patience);
        // Printing does not hold the server's lock, because a terminal may be slow.
        observer.print();
        if stopped.load(Ordering::SeqCst) {
            // The ends of the present connections are printed, too.
            server.shutdown();
            while server.wait_for(|seen| observer.look(seen), Duration::ZERO) {
                observer.print();
            }
            break;
        }
    }
    server.shutdown();
    observer.broken().map_or(exit::OK, |error| lost_output(error, exit::FAILED))
}

fn stop_on_interrupt(server: &Arc<ScriptedServer>, stopped: &Arc<AtomicBool>) {
    let (server, stopped) = (Arc::clone(server), Arc::clone(stopped));
    interrupt::on_interrupt(move || {
        stopped.store(true, Ordering::SeqCst);
        // The shutdown changes the record, which ends the wait in `run`.
        server.shutdown();
    });
}

fn announce(observer: &mut Observer, server: &ScriptedServer, args: &ServeArgs) {
    #[derive(Serialize)]
    struct Listening {
        event: &'static str,
        t_ms: u64,
        urls: Vec<String>,
    }
    let mut urls = vec![server.url()];
    if args.listen.ip().is_unspecified()
        && let Some(ip) = own_address()
    {
        urls.push(format!("ws://{}", SocketAddr::new(ip, server.port())));
    }
    if args.json {
        observer.line(&json::to_line(&Listening { event: "listening", t_ms: 0, urls }));
    } else {
        observer.start(&format!("listening on {}; Ctrl-C ends it", urls.join(" and ")));
    }
}

/// Returns the address at which others on the network reach this machine. Connecting a UDP socket
/// sends nothing; it only looks into the routing table (the address is one for documentation, RFC
/// 5737).
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

fn script(args: &ServeArgs) -> Result<Script, String> {
    if let (Some(status @ (204 | 205 | 304)), Some(_)) = (args.dial.status, &args.dial.body) {
        return Err(format!("an answer with '--status {status}' has no '--body' (RFC 9110)"));
    }
    if let Some(path) = &args.script {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("--script: cannot read {shown}: {error}"))?;
        return Script::parse(&text).map_err(|error| {
            // The error may quote the script, which may contain characters that a terminal acts
            // upon.
            format!("--script: {shown}: {}", printable(&error.to_string()))
        });
    }
    let faulty = connection(args);
    Ok(Script::new(match args.first {
        None => vec![faulty],
        Some(first) => {
            let mut connections = vec![faulty; first.into()];
            connections.push(ConnectionScript::default());
            connections
        }
    }))
}

fn connection(args: &ServeArgs) -> ConnectionScript {
    let mut script = ConnectionScript {
        handshake: handshake(&args.dial),
        echo: !args.no_echo,
        answer_heartbeats: !args.ignore_heartbeats,
        answer_pings: !args.ignore_pings,
        delay_ms: args.delay.unwrap_or(0).unsigned_abs(),
        ..ConnectionScript::default()
    };
    if let Some(text) = &args.greeting {
        script = script.on(Trigger::Open, vec![Action::Send(text.clone())]);
    }
    let close = Action::Close {
        code: args.close_code,
        reason: args.close_reason.clone().unwrap_or_default(),
    };
    let restart = Action::StopListening { ms: args.down_for.unsigned_abs() };
    let faults = [
        (args.drop_after, Action::Drop),
        (args.eof_after, Action::Eof),
        (args.close_after, close),
        (args.silence_after, Action::Silence),
        (args.restart_after, restart),
    ];
    for (when, action) in faults {
        let Some(when) = when else { continue };
        let trigger = match when {
            When::Messages(count) => Trigger::Messages(count),
            When::Ms(ms) => Trigger::AfterMs(ms),
        };
        script = script.on(trigger, vec![action]);
    }
    script
}

fn handshake(dial: &DialFaults) -> Handshake {
    let delay_ms = dial.handshake_delay.unwrap_or(0).unsigned_abs();
    if dial.refuse {
        return Handshake::Refuse;
    }
    if dial.hang {
        return Handshake::Hang;
    }
    if dial.wrong_upgrade {
        return Handshake::WrongUpgrade;
    }
    let Some(status) = dial.status else {
        return Handshake::Upgrade(Upgrade { delay_ms, ..Upgrade::default() });
    };
    let retry_after = dial.retry_after.clone();
    Handshake::Status(StatusAnswer {
        headers: retry_after.map(|value| ("Retry-After".to_owned(), value)).into_iter().collect(),
        body: dial.body.clone().unwrap_or_default(),
        delay_ms,
        ..StatusAnswer::new(status)
    })
}
