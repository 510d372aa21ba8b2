//! From options to rules: fills in the preset, checks every bound, names the field at fault.

use super::error::WxError;
use super::millis::Millis;
use super::options::{
    AttemptLimit, BackgroundPolicy, ConnectOptions, HeartbeatOptions, QueueOptions, ReconnectDelay,
    ReconnectOptions,
};
use crate::net::{self, DialOptions, Target, TlsSettings};
use crate::session::{self, Backoff, Config, Heartbeat, QueueLimits, ReconnectPolicy, ReplyMatch};
use std::time::Duration;

const API: &str = "connectSocket";

/// The bound of the wx API for `timeout`, used for every time.
const MAX_MS: i64 = i32::MAX as i64;

/// More than this in one message or queue is a mistake on a phone, and lengths cross the FFI
/// as 32-bit numbers.
const MAX_BYTES: i64 = 1 << 30;

/// What a task runs on.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) config: Config,
    pub(crate) dial: DialOptions,
}

pub(crate) fn resolve(options: ConnectOptions) -> Result<Rules, WxError> {
    let preset = options.preset.unwrap_or_default();
    let mut config = preset.config();
    reconnect(&options.reconnect, &mut config)?;
    heartbeat(options.heartbeat, &mut config)?;
    queue(&options.queue, &mut config.queue)?;
    let max_buffered_bytes = count("max_buffered_bytes", options.max_buffered_bytes, 1, MAX_BYTES)?;
    set(&mut config.max_buffered_bytes, max_buffered_bytes);
    set(&mut config.close_timeout, millis("close_timeout", options.close_timeout)?);
    match options.background {
        None => {}
        Some(BackgroundPolicy::Keep) => config.background_grace = None,
        Some(BackgroundPolicy::Interrupt { grace }) => {
            config.background_grace = millis("background", Some(grace))?;
        }
    }
    config.greeting = options.greeting;
    let max_message_bytes =
        count("max_message_bytes", options.max_message_bytes, 1, MAX_BYTES)?.unwrap_or(16 << 20);
    let dial = DialOptions {
        target: target(&options.url)?,
        header: header(options.header)?,
        protocols: protocols(options.protocols)?,
        tcp_no_delay: options.tcp_no_delay.unwrap_or_else(|| preset.tcp_no_delay()),
        timeout: millis("timeout", options.timeout)?.unwrap_or_else(|| preset.timeout()),
        max_message_bytes,
        tls: TlsSettings::new(options.tls.ca_pem.as_deref())
            .map_err(|reason| invalid("tls.ca_pem", reason))?,
    };
    Ok(Rules { config, dial })
}

pub(crate) fn target(url: &str) -> Result<Target, WxError> {
    Target::parse(url).map_err(|reason| invalid("url", reason))
}

pub(crate) fn header(header: Vec<session::Header>) -> Result<Vec<session::Header>, WxError> {
    for line in &header {
        net::check_header(line).map_err(|reason| invalid("header", reason))?;
    }
    Ok(header)
}

pub(crate) fn protocols(protocols: Vec<String>) -> Result<Vec<String>, WxError> {
    net::check_protocols(&protocols).map_err(|reason| invalid("protocols", reason))?;
    Ok(protocols)
}

fn reconnect(options: &ReconnectOptions, config: &mut Config) -> Result<(), WxError> {
    // Even a policy that is switched off is checked: a typo in it would surface much later.
    let Some(policy) = config.reconnect.as_mut() else { return Ok(()) };
    if let Some(delay) = options.delay {
        policy.backoff = backoff(delay)?;
    }
    match options.max_attempts {
        None => {}
        Some(AttemptLimit::Unlimited) => policy.max_attempts = None,
        Some(AttemptLimit::Attempts { count }) => {
            let field = "reconnect.max_attempts";
            let count = self::count(field, Some(count), 1, i32::MAX.into())?;
            policy.max_attempts = count.and_then(|count| u32::try_from(count).ok());
        }
    }
    set(&mut policy.stable_after, millis("reconnect.stable_after", options.stable_after)?);
    if let Some(codes) = &options.stop_codes {
        policy.stop_codes = numbers("reconnect.stop_codes", codes, 1000..=4999)?;
    }
    if let Some(statuses) = &options.stop_statuses {
        policy.stop_statuses = numbers("reconnect.stop_statuses", statuses, 100..=599)?;
        // Statuses that the app names itself are meant, whatever they come over.
        policy.stop_statuses_need_tls = false;
    }
    set(&mut policy.honour_retry_after, options.honour_retry_after);
    if options.enabled == Some(false) {
        config.reconnect = None::<ReconnectPolicy>;
    }
    Ok(())
}

fn backoff(delay: ReconnectDelay) -> Result<Backoff, WxError> {
    let or_zero = |field, time| time_between(field, time, 0);
    let positive = |field, time| time_between(field, time, 1);
    match delay {
        ReconnectDelay::Fixed { delay } => Ok(Backoff::Fixed(or_zero("reconnect.delay", delay)?)),
        ReconnectDelay::FullJitter { first, min, max, slow_after, slow } => {
            if max < min {
                let reason = format!("{max} is less than min ({min})");
                return Err(invalid("reconnect.delay.max", reason));
            }
            Ok(Backoff::FullJitter {
                first: or_zero("reconnect.delay.first", first)?,
                min: positive("reconnect.delay.min", min)?,
                max: positive("reconnect.delay.max", max)?,
                slow_after: positive("reconnect.delay.slow_after", slow_after)?,
                slow: positive("reconnect.delay.slow", slow)?,
            })
        }
    }
}

fn heartbeat(options: HeartbeatOptions, config: &mut Config) -> Result<(), WxError> {
    let asked = options != HeartbeatOptions::default();
    let off = options.enabled == Some(false);
    // A preset without a heartbeat (`browser`) gets the one of `wx` once anything is asked.
    let base = config
        .heartbeat
        .take()
        .or_else(|| asked.then(|| super::preset::Preset::Wx.config().heartbeat).flatten());
    let Some(mut heartbeat) = base else { return Ok(()) };
    if let Some(payload) = options.payload {
        heartbeat.payload = payload;
        // The preset's answer belongs to the preset's question.
        if heartbeat.payload == session::HeartbeatPayload::Ping {
            heartbeat.reply = None;
        }
    }
    set(&mut heartbeat.interval, millis("heartbeat.interval", options.interval)?);
    set(&mut heartbeat.timeout, millis("heartbeat.timeout", options.timeout)?);
    if let Some(reply) = options.reply {
        check_reply(&reply)?;
        heartbeat.reply = Some(reply);
    }
    set(&mut heartbeat.strict, options.strict);
    set(&mut heartbeat.deliver_reply, options.deliver_reply);
    set(&mut heartbeat.idle_driven, options.idle_driven);
    check_strict(&heartbeat)?;
    config.heartbeat = (!off).then_some(heartbeat);
    Ok(())
}

fn check_reply(reply: &ReplyMatch) -> Result<(), WxError> {
    let reason = match reply {
        ReplyMatch::Prefix { prefix } if prefix.is_empty() => {
            "an empty prefix would hide every text message"
        }
        ReplyMatch::JsonField { name, .. } if name.is_empty() => "the field's name is empty",
        _ => return Ok(()),
    };
    Err(invalid("heartbeat.reply", reason))
}

fn check_strict(heartbeat: &Heartbeat) -> Result<(), WxError> {
    let answerable =
        heartbeat.reply.is_some() || heartbeat.payload == session::HeartbeatPayload::Ping;
    if heartbeat.strict && !answerable {
        return Err(invalid("heartbeat.strict", "say which reply counts (heartbeat.reply)"));
    }
    Ok(())
}

fn queue(options: &QueueOptions, limits: &mut QueueLimits) -> Result<(), WxError> {
    set(&mut limits.messages, count("queue.messages", options.messages, 1, i32::MAX.into())?);
    set(&mut limits.bytes, count("queue.bytes", options.bytes, 1, MAX_BYTES)?);
    limits.max_age = millis("queue.max_age", options.max_age)?;
    set(&mut limits.overflow, options.overflow);
    if options.enabled == Some(false) {
        limits.messages = 0;
    }
    Ok(())
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn invalid(field: &str, reason: impl Into<String>) -> WxError {
    WxError::invalid(API, field, reason)
}

fn between(field: &str, value: i64, min: i64, max: i64) -> Result<i64, WxError> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(invalid(field, format!("{value} is not between {min} and {max}")))
}

fn time_between(field: &str, time: Millis, min: i64) -> Result<Duration, WxError> {
    if (min..=MAX_MS).contains(&time.0) {
        return Ok(time.to_duration());
    }
    Err(invalid(field, format!("{time} is not between {min} and {MAX_MS} ms")))
}

fn millis(field: &str, time: Option<Millis>) -> Result<Option<Duration>, WxError> {
    time.map(|time| time_between(field, time, 1)).transpose()
}

fn count(field: &str, value: Option<i64>, min: i64, max: i64) -> Result<Option<usize>, WxError> {
    let to_usize = |value| usize::try_from(value).unwrap_or(usize::MAX);
    value.map(|value| between(field, value, min, max).map(to_usize)).transpose()
}

fn numbers(
    field: &str,
    values: &[i32],
    bounds: std::ops::RangeInclusive<i32>,
) -> Result<Vec<u16>, WxError> {
    let check = |value: &i32| {
        between(field, (*value).into(), (*bounds.start()).into(), (*bounds.end()).into())
            .map(|value| u16::try_from(value).unwrap_or(u16::MAX))
    };
    values.iter().map(check).collect()
}
