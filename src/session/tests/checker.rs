//! The invariants of the contract, each a named check over the record of a whole life.
//!
//! A check answers how often it found something to judge, or what is wrong. The counts are
//! summed up over many lives: an invariant that never had anything to judge is a failure of
//! the test, not a success of the machine.

use super::checks;
use super::sim::{Step, Stimulus};
use super::timeline::{millis, say};
use crate::session::{Config, Event, Input, Output, Phase, ReadyState};
use std::collections::HashMap;

/// What a check looks at.
pub(super) struct Trace<'a> {
    pub(super) config: &'a Config,
    pub(super) steps: &'a [Step],
}

/// How often there was something to judge; or what is wrong.
pub(super) type Verdict = Result<usize, String>;

pub(super) type Check = fn(&Trace<'_>) -> Verdict;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("one connection at a time", one_connection_at_a_time),
    ("only the newest dial is heard", only_the_newest_dial_is_heard),
    ("no dial after close", no_dial_after_close),
    ("at most one Open, and first", at_most_one_open_and_first),
    ("messages between Open and Close", messages_between_open_and_close),
    ("at most one Error, just before the Close", at_most_one_error_just_before_close),
    ("exactly one Close", exactly_one_close),
    ("nothing of an older epoch", nothing_of_an_older_epoch),
    ("nothing after the final Close", nothing_after_the_final_close),
    ("the state changes before the event", state_changes_before_event),
    ("the final Close has the caller's words", final_close_has_the_callers_words),
    ("clean means that both closed", clean_means_that_both_closed),
    ("the queue keeps its bounds", checks::queue_keeps_its_bounds),
    ("every message exactly once, in order", checks::every_message_exactly_once_in_order),
    ("bufferedAmount adds up", checks::buffered_amount_adds_up),
    ("never more attempts than the limit", checks::never_more_attempts_than_the_limit),
    ("the counter is set back only when earned", checks::counter_set_back_only_when_earned),
    ("suspended only while held", checks::suspended_only_while_held),
    ("no timer is left over", checks::no_timer_is_left_over),
    ("no timeout in the past", checks::no_timeout_in_the_past),
    ("something will happen", checks::something_will_happen),
    ("writes only while open or closing", checks::writes_only_while_open_or_closing),
    ("nothing is written after the close frame", checks::nothing_written_after_close_frame),
    ("it wants to write exactly when it can", checks::wants_to_write_exactly_when_it_can),
];

/// Panics if an invariant does not hold.
#[track_caller]
pub(super) fn assert_sound(config: &Config, steps: &[Step]) {
    let trace = Trace { config, steps };
    for (name, check) in CHECKS {
        if let Err(wrong) = check(&trace) {
            panic!("{name}: {wrong}");
        }
    }
}

impl<'a> Trace<'a> {
    pub(super) fn outputs(&self) -> impl Iterator<Item = (&'a Step, &'a Output)> + use<'a> {
        self.steps.iter().flat_map(|step| step.outputs.iter().map(move |output| (step, output)))
    }

    fn events(&self) -> impl Iterator<Item = (&'a Step, &'a Event)> + use<'a> {
        self.outputs().filter_map(|(step, output)| match output {
            Output::Emit(event) => Some((step, event)),
            _ => None,
        })
    }
}

pub(super) fn is_final(output: &Output) -> bool {
    matches!(output, Output::Emit(Event::Close { retry: None, .. }))
}

fn epoch_of(event: &Event) -> u64 {
    match event {
        Event::Open { epoch, .. }
        | Event::Message { epoch, .. }
        | Event::Error { epoch, .. }
        | Event::Close { epoch, .. } => *epoch,
    }
}

fn wrong(step: &Step, output: &Output) -> String {
    format!("at {} ms: {}", millis(step.at), say(output))
}

/// From its dial on, a connection is there until its dial failed or we let go of it.
fn one_connection_at_a_time(trace: &Trace<'_>) -> Verdict {
    let (mut there, mut open, mut dials): (Option<(u64, u64)>, _, _) = (None, false, 0);
    for step in trace.steps {
        if let Stimulus::Input(Input::DialFailed { dial, .. } | Input::GiveUp { dial, .. }) =
            &step.stimulus
        {
            there.take_if(|(_, number)| number == dial && !open);
        }
        for output in &step.outputs {
            match output {
                Output::Dial { epoch, dial, .. } => {
                    if let Some((other, _)) = there.replace((*epoch, *dial)) {
                        return Err(format!("{} beside {other}", wrong(step, output)));
                    }
                    open = false;
                    dials += 1;
                }
                Output::Abort { epoch } | Output::HangUp { epoch, .. } => {
                    if there.take().map(|(epoch, _)| epoch) != Some(*epoch) {
                        return Err(format!("{}: it is not there", wrong(step, output)));
                    }
                }
                Output::Emit(Event::Open { .. }) => open = true,
                Output::Emit(_) => {}
            }
        }
    }
    Ok(dials)
}

/// Only the newest dial has a result. One that was given up for another may still end, and
/// nobody hears how.
fn only_the_newest_dial_is_heard(trace: &Trace<'_>) -> Verdict {
    let (mut newest, mut judged) = (0, 0);
    for step in trace.steps {
        if let Stimulus::Input(
            Input::Opened { dial }
            | Input::DialFailed { dial, .. }
            | Input::GiveUp { dial, .. }
            | Input::DialProgress { dial },
        ) = &step.stimulus
            && *dial != newest
        {
            if let Some(output) = step.outputs.first() {
                return Err(format!("{} because of dial {dial}", wrong(step, output)));
            }
            judged += 1;
        }
        for output in &step.outputs {
            if let Output::Dial { dial, .. } = output {
                if *dial <= newest {
                    return Err(format!("{}: number {dial} was used", wrong(step, output)));
                }
                newest = *dial;
            }
        }
    }
    Ok(judged)
}

fn no_dial_after_close(trace: &Trace<'_>) -> Verdict {
    let (mut closed, mut judged) = (false, 0);
    for step in trace.steps {
        closed |= matches!(step.stimulus, Stimulus::Input(Input::Close { .. }));
        judged += usize::from(closed);
        for output in &step.outputs {
            if closed && matches!(output, Output::Dial { .. }) {
                return Err(wrong(step, output));
            }
            closed |= is_final(output);
        }
    }
    Ok(judged)
}

fn at_most_one_open_and_first(trace: &Trace<'_>) -> Verdict {
    let mut told: HashMap<u64, usize> = HashMap::new();
    let mut opens = 0;
    for (step, event) in trace.events() {
        let before = told.entry(epoch_of(event)).or_default();
        if matches!(event, Event::Open { .. }) {
            if *before > 0 {
                return Err(wrong(step, &Output::Emit(event.clone())));
            }
            opens += 1;
        }
        *before += 1;
    }
    Ok(opens)
}

fn messages_between_open_and_close(trace: &Trace<'_>) -> Verdict {
    let (mut open, mut messages) = (None, 0);
    for (step, event) in trace.events() {
        match event {
            Event::Open { epoch, .. } => open = Some(*epoch),
            Event::Error { .. } | Event::Close { .. } => open = None,
            Event::Message { epoch, .. } if open == Some(*epoch) => messages += 1,
            Event::Message { .. } => return Err(wrong(step, &Output::Emit(event.clone()))),
        }
    }
    Ok(messages)
}

fn at_most_one_error_just_before_close(trace: &Trace<'_>) -> Verdict {
    let (mut failed, mut errors) = (None, 0);
    for (step, event) in trace.events() {
        match (failed.take(), event) {
            (Some(epoch), Event::Close { epoch: closed, .. }) if *closed == epoch => {}
            (Some(_), _) => return Err(wrong(step, &Output::Emit(event.clone()))),
            (None, Event::Error { epoch, .. }) => {
                failed = Some(*epoch);
                errors += 1;
            }
            (None, _) => {}
        }
    }
    match failed {
        Some(epoch) => Err(format!("the Error of {epoch} is the last word")),
        None => Ok(errors),
    }
}

/// Every connection that was begun has its Close once something else follows it, and none
/// has two.
fn exactly_one_close(trace: &Trace<'_>) -> Verdict {
    let mut closes: HashMap<u64, usize> = HashMap::new();
    let mut newest = 0;
    for (step, output) in trace.outputs() {
        match output {
            // Another dial for the same connection, which has not ended.
            Output::Dial { epoch, .. } if *epoch == newest && !closes.contains_key(epoch) => {}
            Output::Dial { epoch, .. } => {
                if newest > 0 && closes.get(&newest) != Some(&1) {
                    return Err(format!("{}, but {newest} had no Close", wrong(step, output)));
                }
                newest = *epoch;
            }
            Output::Emit(Event::Close { epoch, .. }) => {
                let count = closes.entry(*epoch).or_default();
                *count += 1;
                if *count > 1 {
                    return Err(wrong(step, output));
                }
            }
            _ => {}
        }
    }
    let phase = trace.steps.last().map(|step| step.phase);
    let is_over = matches!(phase, Some(Phase::Waiting { .. } | Phase::Suspended | Phase::Closed));
    match newest {
        0 => Ok(closes.len()),
        _ if is_over && !closes.contains_key(&newest) => {
            Err(format!("{newest} is over without a Close"))
        }
        _ => Ok(closes.len()),
    }
}

fn nothing_of_an_older_epoch(trace: &Trace<'_>) -> Verdict {
    let (mut newest, mut judged) = (0, 0);
    for (step, output) in trace.outputs() {
        let epoch = match output {
            Output::Dial { epoch, .. } => {
                if *epoch < newest {
                    return Err(wrong(step, output));
                }
                *epoch
            }
            Output::Emit(event) => epoch_of(event),
            _ => continue,
        };
        if epoch < newest {
            return Err(format!("{}, after {newest} began", wrong(step, output)));
        }
        judged += usize::from(epoch > 1);
        newest = epoch;
    }
    Ok(judged)
}

fn nothing_after_the_final_close(trace: &Trace<'_>) -> Verdict {
    let (mut closed, mut judged) = (false, 0);
    for step in trace.steps {
        judged += usize::from(closed);
        for output in &step.outputs {
            if closed {
                return Err(wrong(step, output));
            }
            closed = is_final(output);
        }
        if closed && step.phase != Phase::Closed {
            return Err(format!("at {} ms: {:?} after the end", millis(step.at), step.phase));
        }
    }
    Ok(judged)
}

/// What `readyState` says inside the callback.
fn state_changes_before_event(trace: &Trace<'_>) -> Verdict {
    let mut events = 0;
    for (step, event) in trace.events() {
        let state = step.phase.ready_state();
        let fits = match event {
            Event::Open { .. } => state == ReadyState::Open,
            Event::Message { .. } => matches!(state, ReadyState::Open | ReadyState::Closing),
            Event::Error { .. } => matches!(state, ReadyState::Connecting | ReadyState::Closed),
            Event::Close { retry: Some(_), .. } => state == ReadyState::Connecting,
            Event::Close { retry: None, .. } => state == ReadyState::Closed,
        };
        if !fits {
            return Err(format!("{} in {:?}", wrong(step, &Output::Emit(event.clone())), state));
        }
        events += 1;
    }
    Ok(events)
}

fn final_close_has_the_callers_words(trace: &Trace<'_>) -> Verdict {
    let (mut asked, mut judged) = (None, 0);
    for step in trace.steps {
        if let (Stimulus::Input(Input::Close { code, reason }), None) = (&step.stimulus, &asked) {
            asked = Some((*code, reason.clone()));
        }
        for output in &step.outputs {
            let Output::Emit(Event::Close { code, reason, retry, .. }) = output else { continue };
            if let Some((wanted, words)) = &asked {
                if retry.is_some() || (code, reason) != (wanted, words) {
                    return Err(wrong(step, output));
                }
                judged += 1;
            }
        }
    }
    Ok(judged)
}

fn clean_means_that_both_closed(trace: &Trace<'_>) -> Verdict {
    let mut judged = 0;
    for step in trace.steps {
        let peer_closed = matches!(step.stimulus, Stimulus::Input(Input::CloseReceived { .. }));
        for output in &step.outputs {
            if let Output::Emit(Event::Close { was_clean: true, .. }) = output {
                if !peer_closed {
                    return Err(wrong(step, output));
                }
                judged += 1;
            }
        }
    }
    Ok(judged)
}
