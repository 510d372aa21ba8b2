//! `demo`: the life of a connection, told by a client and a server in one process.
//!
//! It is a check as well: each step waits for the event that must come next, and at the end what
//! the client counted is held against what the server saw.

use super::args::DemoArgs;
use super::forward::Forward;
use super::interrupt::exit_on_interrupt;
use super::stage::{Stage, Surprise};
use super::timeline::Timeline;
use super::units::readable;
use super::{exit, lost_output, say};
use clap::builder::styling::{AnsiColor, Style};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use wxsocket::testing::{Script, ScriptedServer, SeenEnd};
use wxsocket::{
    ConnectOptions, ErrorKind, HeartbeatOptions, Millis, ReconnectDelay, ReconnectOptions,
    connect_socket,
};

/// The timings of preset `wx`, in milliseconds.
const DELAY: i64 = 5_000;
const HEARTBEAT: i64 = 10_000;
const STABLE: i64 = 5_000;

/// Far more than any step takes, beyond its own timings.
const PATIENCE: Duration = Duration::from_secs(30);

/// The words of the goodbye, to be seen again at the server.
const GOODBYE: &str = "the end";

pub(crate) fn run(args: &DemoArgs) -> u8 {
    let pace = Pace { divisor: if args.real_time { 1 } else { 10 } };
    exit_on_interrupt();
    let mut stage = match set(&pace) {
        Ok(stage) => stage,
        Err(error) => {
            say(format_args!("the demo cannot begin: {error}"));
            return exit::FAILED;
        }
    };
    let told = introduce(&mut stage, &pace).and_then(|()| story(&mut stage, &pace));
    match told.and_then(|()| summary(&mut stage)) {
        Ok(()) => stage.lost_output().map_or(exit::OK, |error| lost_output(error, exit::FAILED)),
        Err(surprise) => {
            let red = AnsiColor::Red.on_default().bold();
            stage.plain(red, &format!("\nThe story did not go as told: {surprise}"));
            exit::FAILED
        }
    }
}

/// How fast the story goes.
struct Pace {
    divisor: i64,
}

impl Pace {
    fn time(&self, real: i64) -> Millis {
        Millis(real / self.divisor)
    }

    fn duration(&self, real: i64) -> Duration {
        self.time(real).to_duration()
    }

    fn readable(&self, real: i64) -> String {
        readable(self.time(real).0.unsigned_abs())
    }

    fn options(&self, url: String) -> ConnectOptions {
        ConnectOptions {
            reconnect: ReconnectOptions {
                delay: Some(ReconnectDelay::Fixed { delay: self.time(DELAY) }),
                stable_after: Some(self.time(STABLE)),
                ..ReconnectOptions::default()
            },
            heartbeat: HeartbeatOptions {
                interval: Some(self.time(HEARTBEAT)),
                timeout: Some(self.time(HEARTBEAT)),
                ..HeartbeatOptions::default()
            },
            ..ConnectOptions::new(url)
        }
    }
}

fn set(pace: &Pace) -> Result<Stage, String> {
    let server = ScriptedServer::start(Script::default())
        .map_err(|error| format!("the scripted server cannot listen: {error}"))?;
    let (sender, events) = channel();
    let forward = Forward(move |event| sender.send(event).is_ok());
    let timeline = Timeline::on_stdout(Instant::now());
    let task = connect_socket(pace.options(server.url()), Some(Arc::new(forward)), None)
        .map_err(|error| error.to_string())?;
    let patience = PATIENCE + 3 * pace.duration(HEARTBEAT);
    Ok(Stage::new(task, server, events, timeline, patience))
}

fn introduce(stage: &mut Stage, pace: &Pace) -> Result<(), Surprise> {
    let url = stage.server.url();
    let (delay, heartbeat) = (pace.readable(DELAY), pace.readable(HEARTBEAT));
    stage.plain(Style::new().bold(), &format!("wxsocket demo: one task, many connections, {url}"));
    let speed = match pace.divisor {
        1 => "real time".to_owned(),
        divisor => format!("1/{divisor} of the real time (--real-time for all of it)"),
    };
    let text = format!(
        "preset wx at {speed}:\nreconnect after {delay}, 12 attempts; heartbeat \"ping\" after \
         {heartbeat}, {heartbeat} to answer"
    );
    stage.plain(Style::new(), &text);
    Ok(())
}

fn story(stage: &mut Stage, pace: &Pace) -> Result<(), Surprise> {
    stage.chapter("1. Open");
    stage.expect_open()?;

    stage.chapter("2. Echo");
    for text in ["hello", "你好, 世界"] {
        stage.send(text)?;
        stage.expect_message(text)?;
    }

    stage.chapter("3. Heartbeat: the app sees none of it");
    stage.expect_heartbeats(2)?;

    drop_connection(stage)?;
    restart(stage, pace)?;
    black_hole(stage)?;
    refused_dial(stage)?;

    stage.chapter("9. Clean close");
    let closing = stage.task.close(1000, GOODBYE.to_owned());
    closing.map_err(|error| error.to_string())?;
    stage.expect_close("a clean, final close with 1000", |close| {
        close.code == 1000
            && close.reason == GOODBYE
            && close.was_clean
            && close.retry.is_none()
            && close.unsent.is_empty()
    })
}

fn drop_connection(stage: &mut Stage) -> Result<(), Surprise> {
    stage.chapter("4. A drop: what is sent meanwhile waits");
    stage.server_does("resets the connection");
    stage.server.drop_all();
    stage.expect_error(ErrorKind::ConnectionLost)?;
    stage.expect_close("a close with 1006 and a first attempt", |close| {
        close.code == 1006 && close.retry.is_some_and(|retry| retry.attempt == 1)
    })?;
    stage.send("written while the connection was down")?;
    stage.expect_open()?;
    stage.expect_message("written while the connection was down")?;
    // A heartbeat later the connection counts as stable, and the attempts from zero.
    stage.expect_heartbeats(1)
}

fn restart(stage: &mut Stage, pace: &Pace) -> Result<(), Surprise> {
    stage.chapter("5. A server restart");
    stage.server_does("says 1012 \"service restart\"");
    stage.server.close_all(Some(1012), "service restart");
    stage.expect_close("a clean close with 1012 and a first attempt", |close| {
        let first = close.retry.is_some_and(|retry| retry.attempt == 1);
        close.code == 1012 && close.was_clean && first
    })?;
    let down = pace.duration(DELAY * 2 / 5);
    stage.server_does(&format!("is down for {}", pace.readable(DELAY * 2 / 5)));
    stage.server.stop_listening_for(down).map_err(|error| format!("the server: {error}"))?;
    // On a busy machine the dial may come before the server is back.
    stage.expect_return()
}

fn black_hole(stage: &mut Stage) -> Result<(), Surprise> {
    stage.chapter("6. A black hole: TCP says all is well, only the heartbeat can tell");
    stage.server_does("goes silent");
    stage.server.silence_all();
    stage.send("into the black hole")?;
    stage.tally.lost += 1;
    stage.expect_error(ErrorKind::HeartbeatTimeout)?;
    stage.expect_close("a close with 1006 \"heartbeat timeout\"", |close| {
        let retried = close.retry.is_some_and(|retry| retry.attempt == 1);
        close.code == 1006 && close.reason == "heartbeat timeout" && retried
    })
}

fn refused_dial(stage: &mut Stage) -> Result<(), Surprise> {
    stage.chapter("7. A refused dial");
    stage.server_does("stops listening");
    stage.server.stop_listening().map_err(|error| format!("the server: {error}"))?;
    stage.expect_error(ErrorKind::Refused)?;
    stage.expect_close("a close with 1006 and a second attempt", |close| {
        close.code == 1006 && close.retry.is_some_and(|retry| retry.attempt == 2)
    })?;

    stage.chapter("8. Recovery");
    stage.server_does("listens again");
    stage.server.resume_listening().map_err(|error| format!("the server: {error}"))?;
    stage.expect_return()?;
    stage.send("back again")?;
    stage.expect_message("back again")
}

/// Holds the client's account against its own counters and against the server's.
fn summary(stage: &mut Stage) -> Result<(), Surprise> {
    let goodbye_seen = stage.server.wait_for(|seen| seen.open == 0, PATIENCE);
    let connections = stage.server.connections();
    let stats = stage.task.stats();
    let tally = stage.tally.clone();
    let number = |value: i64| value.unsigned_abs();
    let arrived: u64 = connections.iter().map(|seen| seen.messages_received).sum();
    let opened = connections.iter().filter(|seen| seen.opened).count() as u64;
    let goodbye = connections.last().is_some_and(|last| {
        let said = last.frames.last().map(|frame| (frame.close_code, &*frame.close_reason));
        last.ended == Some(SeenEnd::ClientClosed) && said == Some((Some(1000), GOODBYE))
    });
    let checks = [
        ("opens told and counted", tally.opens, number(stats.opens)),
        ("opens told and served", tally.opens, opened),
        ("dials and their ends", number(stats.epoch), tally.opens + tally.refused),
        ("retries told and dialled", tally.retries + 1, number(stats.epoch)),
        ("messages sent and counted", tally.sent, number(stats.messages_out)),
        ("messages sent and arrived", tally.sent - tally.lost, arrived),
        ("messages arrived and answered", arrived, tally.received),
        ("goodbyes said and heard", 1, u64::from(goodbye_seen && goodbye)),
    ];
    show(stage);
    for (what, one, other) in checks {
        if one != other {
            return Err(format!("{what}: {one} and {other}"));
        }
    }
    let green = AnsiColor::Green.on_default().bold();
    stage.plain(green, "\nClient and server agree. The story went as told.");
    Ok(())
}

fn show(stage: &mut Stage) {
    let tally = stage.tally.clone();
    stage.chapter("Summary");
    let outage = readable(u64::try_from(tally.longest_outage.as_millis()).unwrap_or(u64::MAX));
    let text = format!(
        "connections opened   {}\n\
         connections lost     {}  (a drop, a restart, a black hole)\n\
         dials refused        {}\n\
         retries              {}\n\
         longest outage       {outage}\n\
         messages sent        {}\n\
         messages received    {}  (echoes)\n\
         messages lost        {}  (written into the black hole: a socket cannot know)",
        tally.opens,
        tally.losses,
        tally.refused,
        tally.retries,
        tally.sent,
        tally.received,
        tally.lost,
    );
    stage.plain(Style::new(), &text);
}
