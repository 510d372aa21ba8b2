//! Is the peer still there? Sends, waits, measures; decides nothing beyond "dead".

use super::config::{Heartbeat, HeartbeatPayload};
use super::io::{Data, Message, Transmit};
use super::progress::Progress;
use super::timers::{Timer, TimerTable};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// A deadline noticed this much too late was slept through: nobody was awake to hear an
/// answer, so its absence proves nothing.
const SLEPT: Duration = Duration::from_secs(2);

/// A probe waits five round trips, and these bounds: a healthy link answers in one, a radio
/// that wakes up needs up to two seconds.
const PROBE_MIN: Duration = Duration::from_millis(2_500);
const PROBE_MAX: Duration = Duration::from_secs(10);

/// What an inbound frame means for the pulse.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// A data message that is not the answer.
    Message,
    /// The answer to a heartbeat; `data` when it came as a message, `newest` unless the heartbeat
    /// is known to be an older one.
    Reply { data: bool, newest: bool },
    /// Ping or Pong that answers nothing.
    Control,
}

#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When the newest heartbeat went out.
    sent_at: Option<Instant>,
    /// The heartbeat whose answer would measure the round trip.
    measuring: Option<Instant>,
    /// The payload of the newest protocol Ping.
    pings: u32,
    /// The payload of the newest one that is answered, or that no answer counts for any more.
    settled: u32,
    /// When the answer to an older heartbeat is due. The newest one does not put that off.
    bound: Option<Instant>,
    /// One deadline was forgiven since the last sign of life.
    forgiven: bool,
    /// A probe was sent, and no sign of life has come since.
    probing: bool,
    /// The time for the answer to a probe was over while nobody listened.
    excused: bool,
    /// How far it and our other bytes have come.
    pub(super) progress: Progress,
    rtt: Option<Duration>,
    smoothed_rtt: Option<Duration>,
}

impl Pulse {
    /// Last and smoothed round trip.
    pub(super) fn rtt(&self) -> (Option<Duration>, Option<Duration>) {
        (self.rtt, self.smoothed_rtt)
    }

    /// A new connection: what is known of the round trip stays, the rest is void.
    pub(super) fn opened(
        &mut self,
        heartbeat: Option<&Heartbeat>,
        timers: &mut TimerTable,
        now: Instant,
    ) {
        self.sent_at = None;
        self.measuring = None;
        self.settled = self.pings;
        self.bound = None;
        self.forgiven = false;
        self.probing = false;
        self.excused = false;
        self.progress = Progress::default();
        if let Some(heartbeat) = heartbeat {
            timers.set(Timer::Heartbeat, now + heartbeat.interval);
        }
    }

    /// The interval is over: wait for life.
    pub(super) fn beat(&mut self, heartbeat: &Heartbeat, timers: &mut TimerTable, now: Instant) {
        self.bound = None;
        self.sent(timers, now, heartbeat.timeout, now + heartbeat.timeout);
    }

    /// Wait for life now, and only briefly: the network changed, or the device slept. With
    /// `in_line`, an older question has not been written and will do.
    pub(super) fn probe(
        &mut self,
        heartbeat: Option<&Heartbeat>,
        in_line: bool,
        timers: &mut TimerTable,
        now: Instant,
    ) {
        let patience = self
            .smoothed_rtt
            .map_or(PROBE_MIN, |rtt| (rtt * 5).clamp(PROBE_MIN, PROBE_MAX))
            .min(heartbeat.map_or(PROBE_MAX, |heartbeat| heartbeat.timeout));
        let running = timers.get(Timer::Answer).filter(|due| *due > now);
        if !in_line || running.is_none() {
            self.bound = running;
        }
        let due = now + patience;
        self.sent(timers, now, patience, running.map_or(due, |running| running.min(due)));
        self.probing = true;
        self.excused = false;
    }

    /// True while a probe is unanswered: somebody has reason to believe that the connection is
    /// dead, and wants another one.
    pub(super) fn is_probing(&self) -> bool {
        self.probing
    }

    fn sent(&mut self, timers: &mut TimerTable, now: Instant, patience: Duration, due: Instant) {
        self.sent_at = Some(now);
        self.progress.expects(patience);
        timers.stop(Timer::Heartbeat);
        timers.set(Timer::Answer, due);
    }

    /// Everything that was handed out is in the kernel. If the heartbeat is part of it, the time
    /// for its answer begins, and so does the round trip.
    pub(super) fn flushed(&mut self, timers: &mut TimerTable, now: Instant) {
        let Some(patience) = self.progress.flushed() else { return };
        self.measuring = Some(now);
        let bound = self.bound.take();
        if let Some(before) = timers.get(Timer::Answer) {
            let due = now + patience;
            let due = bound.map_or(due, |bound| bound.min(due));
            timers.set(Timer::Answer, due.max(before));
        }
    }

    /// What to send, so that the peer answers.
    pub(super) fn question(&mut self, heartbeat: Option<&Heartbeat>) -> Transmit {
        self.measuring = None;
        self.progress.asked();
        match heartbeat.map_or(&HeartbeatPayload::Ping, |heartbeat| &heartbeat.payload) {
            HeartbeatPayload::Text { text } => Transmit::Own(Message::text(text.clone())),
            HeartbeatPayload::Binary { bytes } => Transmit::Own(Message::binary(bytes.clone())),
            HeartbeatPayload::Ping => {
                self.pings = self.pings.wrapping_add(1);
                Transmit::Ping(Bytes::copy_from_slice(&self.pings.to_be_bytes()))
            }
        }
    }

    /// What this Pong is: the answer to the newest Ping or to the one before, once; or nothing.
    /// The one before may be answered in time although a probe was put in line meanwhile.
    pub(super) fn ponged(&mut self, payload: &[u8]) -> Frame {
        let Ok(number) = payload.try_into().map(u32::from_be_bytes) else { return Frame::Control };
        let behind = self.pings.wrapping_sub(number);
        if behind > 1 || behind >= self.pings.wrapping_sub(self.settled) {
            return Frame::Control;
        }
        self.settled = number;
        Frame::Reply { data: false, newest: behind == 0 }
    }

    /// The device slept: an answer to what was asked before it says nothing of the time after it.
    pub(super) fn settle(&mut self) {
        self.settled = self.pings;
    }

    /// A frame arrived.
    pub(super) fn heard(
        &mut self,
        heartbeat: Option<&Heartbeat>,
        frame: Frame,
        timers: &mut TimerTable,
        now: Instant,
    ) {
        let is_reply = matches!(frame, Frame::Reply { .. });
        let is_data = matches!(frame, Frame::Message | Frame::Reply { data: true, .. });
        let answers = is_reply || (is_data && heartbeat.is_some_and(Heartbeat::any_answers));
        let measures = answers && !matches!(frame, Frame::Reply { newest: false, .. });
        if measures && let Some(sent) = self.measuring.take() {
            self.measured(now.saturating_duration_since(sent));
        }
        let alive = is_reply || !heartbeat.is_some_and(|heartbeat| heartbeat.strict);
        if alive {
            self.forgiven = false;
            self.probing = false;
            self.excused = false;
        }
        let awaited = timers.is_set(Timer::Answer);
        if alive && awaited {
            timers.stop(Timer::Answer);
        }
        let Some(heartbeat) = heartbeat else { return };
        let restarts = is_reply || (heartbeat.idle_driven && is_data);
        if restarts && (alive || !awaited) {
            timers.set(Timer::Heartbeat, now + heartbeat.interval);
        } else if alive && awaited {
            self.next_beat(heartbeat, timers, now);
        }
    }

    /// Nothing was heard by `due`. True: the peer is gone.
    pub(super) fn missed(
        &mut self,
        heartbeat: Option<&Heartbeat>,
        timers: &mut TimerTable,
        due: Instant,
        now: Instant,
        read_paused: bool,
    ) -> Missed {
        if read_paused {
            // Nobody listened, so nobody can say that nothing was said.
            self.excused = self.probing;
            if let Some(heartbeat) = heartbeat {
                self.next_beat(heartbeat, timers, now);
            }
            return Missed::Excused;
        }
        if now.saturating_duration_since(due) >= SLEPT && !self.forgiven {
            self.forgiven = true;
            return Missed::AskAgain;
        }
        Missed::Dead
    }

    /// Whatever was said while nobody listened is heard only now: give it time. True: a probe was
    /// excused meanwhile, and is to be asked again.
    pub(super) fn listening_again(&mut self, timers: &mut TimerTable, now: Instant) -> bool {
        if let Some(due) = timers.get(Timer::Answer) {
            timers.set(Timer::Answer, due.max(now + PROBE_MIN));
            return false;
        }
        std::mem::take(&mut self.excused)
    }

    fn next_beat(&self, heartbeat: &Heartbeat, timers: &mut TimerTable, now: Instant) {
        let due = self.sent_at.unwrap_or(now) + heartbeat.interval;
        timers.set(Timer::Heartbeat, due.max(now));
    }

    fn measured(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
        // RFC 6298, 2: one eighth of each new sample.
        self.smoothed_rtt = Some(match self.smoothed_rtt {
            Some(old) => (old * 7 + rtt) / 8,
            None => rtt,
        });
    }
}

/// What a missed deadline means.
pub(super) enum Missed {
    Excused,
    AskAgain,
    Dead,
}

impl Heartbeat {
    /// No message in particular is the answer, so the first one is.
    fn any_answers(&self) -> bool {
        self.reply.is_none() && self.payload != HeartbeatPayload::Ping
    }

    /// Is this message the answer, rather than something for the app?
    pub(super) fn is_reply(&self, data: Data<'_>) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.matches(data))
    }
}
