//! What a task has to tell its app, before it has the form that the app sees.

use super::packed::Packed;
use crate::net::SocketProfile;
use crate::session::{Event, Failure, Header, Message, Phase};
use std::sync::Arc;

/// What an event costs beside its payload: the value itself and its place in the queue.
const EVENT_OVERHEAD: usize = 256;

/// What one header or one message inside an event costs beside its text.
const PART_OVERHEAD: usize = 64;

/// What the net knows of a connection that has opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) header: Vec<Header>,
    pub(crate) protocol: Option<String>,
    pub(crate) profile: SocketProfile,
}

/// An open, an error or a close: one step in the life of a task.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) event: Event,
    /// Present with [`Event::Open`].
    pub(crate) opening: Option<Box<Opening>>,
}

impl Step {
    pub(super) fn is_final(&self) -> bool {
        matches!(self.event, Event::Close { retry: None, .. })
    }
}

/// Something on its way to the app.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// Small messages, many at a time.
    Packed(Packed),
    /// A message that is too large to be packed.
    Message { epoch: u64, message: Message },
    /// Anything else. Shared, because the task remembers it for those who listen late.
    Step(Arc<Step>),
}

impl Notice {
    /// An event of the session, with what belongs to it.
    pub(super) fn of(event: Event, opening: Option<Box<Opening>>) -> Self {
        match event {
            Event::Message { epoch, message } => Self::Message { epoch, message },
            event => Self::Step(Arc::new(Step { event, opening })),
        }
    }

    /// How many events.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.count(),
            Self::Message { .. } | Self::Step(_) => 1,
        }
    }

    /// Bytes that it keeps in memory. Headers, the body of a refusal and messages that come
    /// back unsent count too: a server chooses how long they are.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Message { message, .. } => message.len(),
            Self::Step(step) => EVENT_OVERHEAD + step_size(step),
        }
    }

    pub(super) fn is_step(&self) -> bool {
        matches!(self, Self::Step(_))
    }
}

fn step_size(step: &Step) -> usize {
    let opening = step.opening.as_ref().map_or(0, |opening| headers_size(&opening.header));
    opening
        + match &step.event {
            Event::Open { unsent, .. } => messages_size(unsent),
            Event::Message { message, .. } => message.len(),
            Event::Error { failure, .. } => failure_size(failure),
            Event::Close { reason, unsent, .. } => reason.len() + messages_size(unsent),
        }
}

fn failure_size(failure: &Failure) -> usize {
    let refusal = failure.refusal.as_ref();
    failure.detail.len()
        + refusal.map_or(0, |refusal| headers_size(&refusal.headers) + refusal.body.len())
}

fn headers_size(headers: &[Header]) -> usize {
    headers.iter().map(|line| PART_OVERHEAD + line.name.len() + line.value.len()).sum()
}

fn messages_size(messages: &[Message]) -> usize {
    messages.iter().map(|message| PART_OVERHEAD + message.len()).sum()
}

/// Where a task is in its life, for those who watch it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) phase: Phase,
    /// Attempts used since the last stable connection.
    pub(crate) attempt: u32,
}

/// The newest steps of a task, as they happen, for those who wait for one of them. It may be
/// ahead of what listeners have heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// The newest open, even if its connection is over.
    pub(crate) open: Option<Arc<Step>>,
    /// The newest error.
    pub(crate) error: Option<Arc<Step>>,
    /// The newest close.
    pub(crate) close: Option<Arc<Step>>,
}

impl News {
    pub(super) fn note(&mut self, step: &Arc<Step>) {
        let place = match step.event {
            Event::Open { .. } => &mut self.open,
            Event::Error { .. } => &mut self.error,
            Event::Close { .. } => &mut self.close,
            Event::Message { .. } => return,
        };
        *place = Some(step.clone());
    }
}
