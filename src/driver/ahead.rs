//! What was read from the socket and is not told yet, in order.

use super::packed::Packed;
use crate::session::{Input, Message};
use std::collections::VecDeque;

/// While the app has no room, reading goes on until this much waits here, in bytes: a Ping that
/// is among it is answered. It is the size of one read.
const MAX_AHEAD: usize = 64 << 10;

/// What the server has said.
pub(super) enum Heard {
    Packed(Packed),
    /// Larger than those.
    Message(Message),
    /// Needs no room: it is for the session.
    Input(Input),
}

/// What one connection has read and not told.
#[derive(Default)]
pub(super) struct Ahead {
    queue: VecDeque<Heard>,
    messages: usize,
    /// What that takes.
    bytes: usize,
}

impl Ahead {
    pub(super) fn push(&mut self, heard: Heard) {
        let (messages, bytes) = size(&heard);
        self.messages += messages;
        self.bytes += bytes;
        self.queue.push_back(heard);
    }

    pub(super) fn extend(&mut self, packed: Option<Packed>) {
        if let Some(packed) = packed {
            self.push(Heard::Packed(packed));
        }
    }

    /// True: nothing more is to be read for an app that has room for so many messages. `partial`
    /// is what has arrived of the next one, in bytes.
    pub(super) fn is_enough(&self, room: usize, partial: usize) -> bool {
        self.messages >= room && self.bytes + partial >= MAX_AHEAD
    }

    /// Takes what is first: so many messages at most, and what is for the session up to the next
    /// one.
    pub(super) fn take(&mut self, room: usize) -> VecDeque<Heard> {
        if self.messages <= room {
            return std::mem::take(self).queue;
        }
        let (mut taken, mut room) = (VecDeque::new(), room);
        while let Some(mut heard) = self.queue.pop_front() {
            let (mut messages, mut bytes) = size(&heard);
            if messages > room {
                match &mut heard {
                    Heard::Packed(packed) if room > 0 => {
                        let first = packed.split_to(room);
                        (messages, bytes) = (room, first.size());
                        taken.push_back(Heard::Packed(first));
                    }
                    _ => (messages, bytes) = (0, 0),
                }
                self.queue.push_front(heard);
                room = 0;
            } else {
                taken.push_back(heard);
                room -= messages;
            }
            self.messages -= messages;
            self.bytes -= bytes;
            if room == 0 && !matches!(self.queue.front(), Some(Heard::Input(_))) {
                break;
            }
        }
        taken
    }
}

/// Messages, and the bytes that they take.
fn size(heard: &Heard) -> (usize, usize) {
    match heard {
        Heard::Packed(packed) => (packed.count(), packed.size()),
        Heard::Message(message) => (1, message.len()),
        Heard::Input(_) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::packed::tests::packed;
    use super::*;

    fn ahead() -> Ahead {
        let mut ahead = Ahead::default();
        ahead.extend(Some(packed(&["a".into(), "b".into(), "c".into()])));
        ahead.push(Heard::Message("large".into()));
        ahead.push(Heard::Input(Input::Alive { epoch: 7 }));
        ahead.extend(Some(packed(&["d".into()])));
        ahead
    }

    fn words(taken: VecDeque<Heard>) -> String {
        let words = taken.into_iter().flat_map(|heard| match heard {
            Heard::Packed(packed) => packed.messages().collect(),
            Heard::Message(message) => vec![message],
            Heard::Input(_) => vec!["!".into()],
        });
        words.map(|word| String::from_utf8_lossy(word.data().payload).into_owned()).collect()
    }

    #[test]
    fn however_much_room_there_is_everything_comes_in_order() {
        for room in 1..=6 {
            let (mut ahead, mut all) = (ahead(), String::new());
            while !ahead.queue.is_empty() {
                let (before, taken) = (ahead.messages, words(ahead.take(room)));
                assert!(!taken.is_empty() && before - ahead.messages <= room, "{taken}");
                all += &taken;
            }
            assert_eq!((all.as_str(), ahead.messages, ahead.bytes), ("abclarge!d", 0, 0));
        }
    }

    #[test]
    fn what_is_for_the_session_needs_no_room() {
        let mut ahead = ahead();
        assert_eq!(words(ahead.take(0)), "");
        assert_eq!(words(ahead.take(4)), "abclarge!");
        assert_eq!((ahead.messages, ahead.bytes), (1, 6));
        ahead.push(Heard::Input(Input::Alive { epoch: 7 }));
        assert_eq!(words(ahead.take(0)), "");
        assert_eq!(words(ahead.take(1)), "d!");
    }

    #[test]
    fn a_full_app_is_read_for_up_to_a_bound() {
        let mut ahead = Ahead::default();
        assert!(!ahead.is_enough(0, MAX_AHEAD - 1));
        assert!(ahead.is_enough(0, MAX_AHEAD));
        ahead.push(Heard::Message(vec![0; MAX_AHEAD].into()));
        assert!(ahead.is_enough(0, 0) && ahead.is_enough(1, 0) && !ahead.is_enough(2, 0));
    }

    #[test]
    fn empty_messages_have_a_bound_too() {
        let mut ahead = Ahead::default();
        let empty: Vec<Message> = vec!["".into(); 1_000];
        let count = (1..).find(|_| {
            ahead.extend(Some(packed(&empty)));
            ahead.is_enough(0, 0)
        });
        assert!(count.is_some_and(|count| count < 20), "{count:?}");
    }
}
