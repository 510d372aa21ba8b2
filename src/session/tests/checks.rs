//! More of [`checker`](super::checker): the queue, the counter, the timers, the wire.

use super::checker::{Trace, Verdict};
use super::sim::{Step, Stimulus};
use super::timeline::{millis, text, wrote};
use crate::session::{
    Event, HeartbeatPayload, Input, Message, NetworkStatus, Output, Phase, SendOutcome, Transmit,
};
use std::collections::VecDeque;
use std::time::Duration;

/// Follows every message of the app from its acceptance to its fate. Messages of one life
/// differ from each other, and from its heartbeats and greeting.
struct Ledger<'a> {
    trace: &'a Trace<'a>,
    waiting: VecDeque<Message>,
    /// Bytes handed out and not known to be written.
    in_flight: usize,
    settled: usize,
}

impl<'a> Ledger<'a> {
    fn new(trace: &'a Trace<'a>) -> Self {
        Self { trace, waiting: VecDeque::new(), in_flight: 0, settled: 0 }
    }

    fn bytes(&self) -> usize {
        self.waiting.iter().map(Message::len).sum()
    }

    /// The machine's own words: not the app's, and no business of the queue.
    fn is_own(&self, message: &Message) -> bool {
        let config = self.trace.config;
        let payload = config.heartbeat.as_ref().map(|heartbeat| &heartbeat.payload);
        config.greeting.as_ref() == Some(message)
            || match (payload, message) {
                (Some(HeartbeatPayload::Text { text: beat }), Message::Text { text }) => {
                    beat == text
                }
                (Some(HeartbeatPayload::Binary { bytes: beat }), Message::Binary { bytes }) => {
                    beat == bytes
                }
                _ => false,
            }
    }

    fn settle(&mut self, message: &Message, how: &str) -> Result<(), String> {
        match self.waiting.pop_front() {
            Some(oldest) if oldest == *message => {
                self.settled += 1;
                Ok(())
            }
            oldest => Err(format!("{} is {how}, the oldest is {oldest:?}", text(message))),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.stimulus {
            Stimulus::Send(message, Ok(SendOutcome::Sent)) => {
                self.waiting.push_back(message.clone());
            }
            Stimulus::Send(message, Ok(SendOutcome::Queued { dropped })) => {
                dropped.iter().try_for_each(|old| self.settle(old, "dropped"))?;
                self.waiting.push_back(message.clone());
            }
            Stimulus::Input(Input::Flushed) => self.in_flight = 0,
            _ => {}
        }
        for output in &step.outputs {
            match output {
                Output::Emit(Event::Open { unsent, .. } | Event::Close { unsent, .. }) => {
                    unsent.iter().try_for_each(|old| self.settle(old, "given back"))?;
                }
                Output::Abort { .. } | Output::HangUp { .. } => self.in_flight = 0,
                _ => {}
            }
        }
        for transmit in &step.written {
            match transmit {
                Transmit::Message(message) if !self.is_own(message) => {
                    self.settle(message, "written")?;
                    self.in_flight += message.len();
                }
                Transmit::Close { .. } if !self.waiting.is_empty() => {
                    return Err(format!("closes before {:?}", self.waiting));
                }
                _ => {}
            }
        }
        if step.phase == Phase::Closed && !self.waiting.is_empty() {
            return Err(format!("{:?} vanished", self.waiting));
        }
        Ok(())
    }
}

pub(super) fn every_message_exactly_once_in_order(trace: &Trace<'_>) -> Verdict {
    let mut ledger = Ledger::new(trace);
    for step in trace.steps {
        ledger.step(step).map_err(|wrong| format!("at {} ms: {wrong}", millis(step.at)))?;
    }
    Ok(ledger.settled)
}

/// The bound of the queue holds for what is accepted while nothing is open. What is accepted for
/// an open connection has a bound of its own, which one message alone may exceed.
pub(super) fn queue_keeps_its_bounds(trace: &Trace<'_>) -> Verdict {
    let (mut ledger, mut judged) = (Ledger::new(trace), 0);
    let limits = &trace.config.queue;
    for step in trace.steps {
        if ledger.step(step).is_err() {
            // Lost or reordered messages are for another check to report.
            return Ok(judged);
        }
        let Stimulus::Send(_, Ok(SendOutcome::Sent | SendOutcome::Queued { .. })) = &step.stimulus
        else {
            continue;
        };
        let (count, bytes) = (ledger.waiting.len(), ledger.bytes());
        let fits = match step.phase {
            Phase::Open { .. } => {
                count == 1 || bytes + 64 * count <= trace.config.max_buffered_bytes
            }
            _ => count <= limits.messages && bytes <= limits.bytes,
        };
        if !fits {
            return Err(format!("at {} ms: {count} messages, {bytes} bytes", millis(step.at)));
        }
        judged += 1;
    }
    Ok(judged)
}

pub(super) fn buffered_amount_adds_up(trace: &Trace<'_>) -> Verdict {
    let (mut ledger, mut judged) = (Ledger::new(trace), 0);
    for step in trace.steps {
        if ledger.step(step).is_err() {
            return Ok(judged);
        }
        let expected = ledger.bytes() + ledger.in_flight;
        if step.buffered != expected {
            let (at, buffered) = (millis(step.at), step.buffered);
            return Err(format!("at {at} ms: {buffered} bytes, should be {expected}"));
        }
        judged += usize::from(expected > 0);
    }
    Ok(judged)
}

/// Whatever sets the counter back at any time. A resume does only after a pause.
fn rearms(stimulus: &Stimulus, paused: &mut bool) -> bool {
    let Stimulus::Input(input) = stimulus else { return false };
    let was_paused = *paused;
    match input {
        Input::Pause => *paused = true,
        Input::Resume | Input::ReconnectNow => *paused = false,
        _ => {}
    }
    match input {
        Input::Network(NetworkStatus { available: true, .. })
        | Input::Foreground(true)
        | Input::ReconnectNow => true,
        Input::Resume => was_paused,
        _ => false,
    }
}

/// Calls back for every dial: its attempt, the one before it unless the counter was set back
/// by right in between, and how many dials there were since then.
fn follow_dials(
    trace: &Trace<'_>,
    mut judge: impl FnMut(&Step, u32, Option<u32>, u32) -> Result<(), String>,
) -> Result<(), String> {
    let Some(policy) = &trace.config.reconnect else { return Ok(()) };
    let (mut previous, mut dials, mut open_since, mut paused) = (None, 0, None, false);
    let mut newest = 0;
    for step in trace.steps {
        if rearms(&step.stimulus, &mut paused) {
            (previous, dials) = (None, 0);
        }
        for output in &step.outputs {
            match output {
                Output::Emit(Event::Open { .. }) => open_since = Some(step.at),
                Output::Emit(Event::Close { .. }) => {
                    let open_for = open_since.take().map(|since: Duration| step.at - since);
                    if open_for.is_some_and(|time| time >= policy.stable_after) {
                        (previous, dials) = (None, 0);
                    }
                }
                // Another dial for the same connection is the same attempt, unless the counter
                // was set back.
                Output::Dial { epoch, attempt, .. } if *epoch == newest => {
                    if previous.is_some_and(|previous| previous != *attempt) {
                        let at = millis(step.at);
                        return Err(format!("at {at} ms: {attempt} after {previous:?}"));
                    }
                    (previous, dials) = (Some(*attempt), dials.max(1));
                }
                Output::Dial { epoch, attempt, .. } => {
                    dials += 1;
                    judge(step, *attempt, previous, dials)?;
                    (previous, newest) = (Some(*attempt), *epoch);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

pub(super) fn never_more_attempts_than_the_limit(trace: &Trace<'_>) -> Verdict {
    let Some(max) = trace.config.reconnect.as_ref().and_then(|policy| policy.max_attempts) else {
        return Ok(0);
    };
    let mut judged = 0;
    follow_dials(trace, |step, attempt, _, dials| {
        judged += 1;
        // The dial that a re-arming asks for is the one beyond the attempts.
        match attempt > max || dials > max + 1 {
            true => Err(format!("at {} ms: attempt {attempt}, dial {dials}", millis(step.at))),
            false => Ok(()),
        }
    })?;
    Ok(judged)
}

pub(super) fn counter_set_back_only_when_earned(trace: &Trace<'_>) -> Verdict {
    let mut judged = 0;
    follow_dials(trace, |step, attempt, previous, _| {
        let fits = match previous {
            Some(previous) => attempt == previous + 1,
            None => attempt <= 1,
        };
        judged += usize::from(previous.is_some());
        match fits {
            true => Ok(()),
            false => Err(format!("at {} ms: {attempt} after {previous:?}", millis(step.at))),
        }
    })?;
    Ok(judged)
}

/// A task that stays away has a reason: paused, offline, too long in the background, or crowded.
pub(super) fn suspended_only_while_held(trace: &Trace<'_>) -> Verdict {
    let (mut paused, mut offline, mut background) = (false, false, false);
    let (mut crowded, mut judged) = (false, 0);
    for step in trace.steps {
        if let Stimulus::Input(input) = &step.stimulus {
            match input {
                Input::Pause => paused = true,
                Input::Resume => paused = false,
                Input::Network(NetworkStatus { available, .. }) => offline = !available,
                Input::Foreground(foreground) => background = !foreground,
                Input::Crowded(now) => crowded = *now,
                Input::ReconnectNow => (paused, offline) = (false, false),
                _ => {}
            }
        }
        if step.phase == Phase::Suspended {
            if !(paused || offline || background || crowded) {
                return Err(format!("at {} ms: nothing holds it", millis(step.at)));
            }
            judged += 1;
        }
    }
    Ok(judged)
}

/// While nothing goes on, only the grace in the background may still run.
pub(super) fn no_timer_is_left_over(trace: &Trace<'_>) -> Verdict {
    let (mut graces, mut judged): (Vec<Duration>, _) = (vec![], 0);
    for step in trace.steps {
        match (&step.stimulus, trace.config.background_grace) {
            (Stimulus::Input(Input::Foreground(false)), Some(grace)) => {
                graces.push(step.at + grace)
            }
            (Stimulus::Input(Input::Foreground(true)), _) => graces.clear(),
            _ => {}
        }
        let fits = match (step.phase, step.next_timeout) {
            (_, None) | (Phase::Open { .. } | Phase::Waiting { .. } | Phase::Closing, _) => true,
            (Phase::Closed, Some(_)) => false,
            (Phase::Idle | Phase::Connecting | Phase::Suspended, Some(due)) => {
                graces.contains(&due)
            }
        };
        if !fits {
            let (at, phase, due) = (millis(step.at), step.phase, step.next_timeout);
            return Err(format!("at {at} ms: {phase:?} waits for {due:?}"));
        }
        judged += usize::from(matches!(step.phase, Phase::Suspended | Phase::Closed));
    }
    Ok(judged)
}

pub(super) fn no_timeout_in_the_past(trace: &Trace<'_>) -> Verdict {
    let mut judged = 0;
    for step in trace.steps {
        if let (Stimulus::Timeout, Some(due)) = (&step.stimulus, step.next_timeout) {
            if due <= step.at {
                return Err(format!("at {} ms: due at {} ms", millis(step.at), millis(due)));
            }
            judged += 1;
        }
    }
    Ok(judged)
}

/// A machine that waits for something knows when it has waited long enough; or else it waits
/// for ever.
pub(super) fn something_will_happen(trace: &Trace<'_>) -> Verdict {
    let mut judged = 0;
    for step in trace.steps {
        let has_heartbeat = trace.config.heartbeat.is_some();
        let latest = match step.phase {
            Phase::Waiting { due } => Some(due.duration_since(step.origin)),
            Phase::Closing => Some(step.at + trace.config.close_timeout),
            Phase::Open { .. } if has_heartbeat => Some(Duration::MAX),
            _ => continue,
        };
        judged += 1;
        if step.next_timeout.is_none() || step.next_timeout > latest {
            let (at, phase, due) = (millis(step.at), step.phase, step.next_timeout);
            return Err(format!("at {at} ms: {phase:?} waits for {due:?}"));
        }
    }
    Ok(judged)
}

pub(super) fn writes_only_while_open_or_closing(trace: &Trace<'_>) -> Verdict {
    let mut judged = 0;
    for step in trace.steps {
        if matches!(step.phase, Phase::Open { .. } | Phase::Closing) {
            continue;
        }
        if let Some(written) = step.written.first() {
            return Err(format!("at {} ms: {}", millis(step.at), wrote(written)));
        }
        judged += 1;
    }
    Ok(judged)
}

pub(super) fn nothing_written_after_close_frame(trace: &Trace<'_>) -> Verdict {
    let (mut closed, mut judged) = (false, 0);
    for step in trace.steps {
        for written in &step.written {
            if closed {
                return Err(format!("at {} ms: {}", millis(step.at), wrote(written)));
            }
            closed = matches!(written, Transmit::Close { .. });
        }
        judged += usize::from(closed);
    }
    Ok(judged)
}

pub(super) fn wants_to_write_exactly_when_it_can(trace: &Trace<'_>) -> Verdict {
    let mut judged = 0;
    for step in trace.steps.iter().filter(|step| step.took_transmits) {
        if step.wanted_transmit == step.written.is_empty() {
            let (at, wanted) = (millis(step.at), step.wanted_transmit);
            return Err(format!("at {at} ms: wanted {wanted}, wrote {:?}", step.written));
        }
        judged += usize::from(step.wanted_transmit);
    }
    Ok(judged)
}
