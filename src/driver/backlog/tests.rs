use super::super::packed::tests::packed;
use super::*;
use crate::session::{ErrorKind, Failure, Header, Message, Refusal, Retry};

fn open(epoch: u64) -> Notice {
    Notice::of(Event::Open { epoch, attempt: 0, unsent: Vec::new() }, None)
}

fn error(epoch: u64) -> Notice {
    let failure = Failure::new(ErrorKind::ConnectionLost, "");
    Notice::of(Event::Error { epoch, failure }, None)
}

fn close(epoch: u64) -> Notice {
    let retry = Some(Retry { attempt: 1, max: None, delay: None });
    let (code, reason, was_clean, unsent) = (1006, String::new(), false, Vec::new());
    Notice::of(Event::Close { epoch, code, reason, was_clean, retry, unsent }, None)
}

fn text(text: &str) -> Notice {
    Notice::Packed(packed(&[text.into()]))
}

fn lines<'a>(notices: impl IntoIterator<Item = &'a Notice>) -> Vec<String> {
    let mut lines = Vec::new();
    for notice in notices {
        match notice {
            Notice::Packed(packed) => lines.extend(packed.messages().map(|message| {
                let Message::Text { text } = message else { panic!("not a text") };
                text
            })),
            Notice::Message { message, .. } => lines.push(message.len().to_string()),
            Notice::Step(step) => lines.push(step_line(step)),
        }
    }
    lines
}

fn step_line(step: &Step) -> String {
    match step.event {
        Event::Open { epoch, .. } => format!("open {epoch}"),
        Event::Error { epoch, .. } => format!("error {epoch}"),
        Event::Close { epoch, .. } => format!("close {epoch}"),
        Event::Message { .. } => panic!("not a step"),
    }
}

fn present(backlog: &Backlog) -> Vec<String> {
    backlog.present().iter().map(|step| step_line(step)).collect()
}

fn filled(notices: impl IntoIterator<Item = Notice>) -> Backlog {
    let mut backlog = Backlog::new();
    for notice in notices {
        backlog.push(notice, false);
    }
    backlog
}

fn assert_counts(backlog: &Backlog) {
    let sum = |of: fn(&Notice) -> usize| backlog.queue.iter().map(of).sum::<usize>();
    assert_eq!(backlog.events, sum(Notice::count));
    assert_eq!(backlog.bytes, sum(Notice::size));
    assert_eq!(backlog.steps, backlog.queue.iter().filter(|notice| notice.is_step()).count());
}

#[test]
fn everything_is_kept_until_somebody_listens() {
    let mut backlog = filled([open(1), text("a"), error(1), close(1), open(2), text("b")]);
    assert!(!backlog.has_some() && backlog.take(10).is_empty());
    backlog.listen(Interest::Everything);
    let mut heard = Vec::new();
    while backlog.has_some() {
        let taken = backlog.take(10);
        assert!(taken.iter().skip(1).all(|notice| !notice.is_step()), "a step comes first");
        heard.extend(lines(&taken));
    }
    assert_eq!(heard, ["open 1", "a", "error 1", "close 1", "open 2", "b"]);
    assert_eq!((backlog.events, backlog.steps, backlog.bytes), (0, 0, 0));
    assert_eq!(backlog.discarded(), 0);
}

#[test]
fn the_present_state_is_the_open_or_the_last_error_and_close() {
    let mut backlog = filled([open(1), error(1), close(1), open(2), close(2), error(3)]);
    backlog.listen(Interest::Steps);
    let mut states = vec![present(&backlog)];
    while backlog.has_some() {
        backlog.take(10);
        states.push(present(&backlog));
    }
    let expected: [&[&str]; 7] = [
        &[],
        &["open 1"],
        &["error 1"],
        &["error 1", "close 1"],
        &["open 2"],
        &["close 2"],
        &["error 3"],
    ];
    assert_eq!(states, expected);
}

#[test]
fn a_step_that_is_put_back_is_not_present_yet() {
    let mut backlog = filled([error(1), close(1), open(2), text("a"), text("b")]);
    backlog.listen(Interest::Everything);
    backlog.take(1);
    backlog.take(1);
    let mut taken = backlog.take(10);
    assert_eq!(lines(&taken), ["open 2", "a", "b"]);
    backlog.put_back(taken.clone());
    assert_eq!(present(&backlog), ["error 1", "close 1"]);
    assert_counts(&backlog);
    backlog.take(10);
    taken.pop_front();
    backlog.put_back(taken);
    assert_eq!(present(&backlog), ["open 2"]);
    assert_eq!(lines(&backlog.take(1)), ["a"]);
    assert_counts(&backlog);
}

#[test]
fn messages_that_nobody_listens_to_are_kept_for_a_while() {
    let mut backlog = filled([open(1)]);
    backlog.listen(Interest::Steps);
    for n in 0..300 {
        backlog.push(text(&n.to_string()), false);
    }
    assert_eq!(lines(&backlog.take(10)), ["open 1"]);
    assert!(!backlog.has_some());
    assert!(backlog.room() > 0, "whoever does not listen to messages does not stop them");
    assert_eq!(backlog.discarded(), 300 - 256);
    assert_counts(&backlog);
    backlog.listen(Interest::Everything);
    assert_eq!(lines(&backlog.take(1000))[0], "44");

    let mut backlog = filled([open(1)]);
    backlog.listen(Interest::Steps);
    let many: Vec<Message> = (0..300).map(|n| n.to_string().as_str().into()).collect();
    backlog.push(Notice::Packed(packed(&many)), false);
    assert_eq!(backlog.discarded(), 300 - 256);
    assert_counts(&backlog);
    let large = Message::from(vec![1; MAX_BYTES]);
    backlog.push(Notice::Message { epoch: 1, message: large.clone() }, false);
    backlog.push(Notice::Message { epoch: 1, message: large }, false);
    assert!(backlog.bytes - backlog.step_bytes <= MAX_BYTES, "{}", backlog.bytes);
    assert_counts(&backlog);
}

#[test]
fn messages_of_a_connection_that_is_over_are_no_news() {
    let mut backlog = filled([open(1)]);
    backlog.listen(Interest::Steps);
    backlog.take(1);
    for notice in [text("old"), error(1), close(1), open(2), text("new")] {
        backlog.push(notice, false);
    }
    let mut heard = Vec::new();
    while backlog.has_some() {
        heard.extend(lines(&backlog.take(10)));
    }
    assert_eq!(heard, ["error 1", "close 1", "open 2"]);
    assert_eq!(backlog.discarded(), 1);
    backlog.listen(Interest::Everything);
    assert_eq!(lines(&backlog.take(10)), ["new"]);
    assert_counts(&backlog);
}

#[test]
fn headers_count_and_what_has_no_room_is_discarded_when_asked() {
    let refusal = Refusal {
        status: 503,
        headers: vec![Header::new("X", "y".repeat(12_000))],
        body: Vec::new(),
        verified: false,
    };
    let mut backlog = Backlog::new();
    let mut refusals = 0;
    while backlog.has_room_to_dial() {
        let mut failure = Failure::new(ErrorKind::HttpStatus, "");
        failure.refusal = Some(refusal.clone());
        backlog.push(Notice::of(Event::Error { epoch: 1, failure }, None), false);
        refusals += 1;
    }
    assert!(refusals < 45, "{refusals} refusals of 12 KB are more than half a mebibyte");
    let mut flood = filled((0..2_000).map(|n| text(&n.to_string())));
    assert!(flood.room() == 0 && flood.has_room_to_dial(), "messages hold up no dial");
    while flood.has_room_to_dial() {
        flood.push(open(1), false);
    }
    assert_eq!(flood.steps, MAX_STEPS);
    while backlog.room() > 0 {
        backlog.push(text("filler"), false);
    }
    assert!(!backlog.push(text("late"), true));
    assert!(backlog.push(close(1), true), "a step is never discarded");
    assert_eq!(backlog.discarded(), 1);
    assert!(!filled([text("a")]).push(text("b"), true), "no step");
}

/// Messages of so many bytes each.
fn messages(count: usize, size: usize) -> impl Iterator<Item = Notice> {
    let message = Message::from(vec![1; size]);
    (0..count).map(move |_| Notice::Message { epoch: 1, message: message.clone() })
}

/// An error of so many bytes.
fn error_of(size: usize) -> Notice {
    let fixed = error(1).size();
    let failure = Failure::new(ErrorKind::ConnectionLost, "x".repeat(size - fixed));
    let notice = Notice::of(Event::Error { epoch: 1, failure }, None);
    assert_eq!(notice.size(), size);
    notice
}

#[test]
fn reading_stops_at_each_bound_and_goes_on_when_half_of_each_is_free() {
    let of = |notices: Vec<Notice>| {
        let backlog = filled(notices);
        (backlog.room(), backlog.has_room_to_dial(), backlog.is_roomy())
    };
    let none = || Vec::new();
    assert_eq!(of(none()), (MAX_EVENTS, true, true));
    // Events.
    assert_eq!(of(messages(MAX_EVENTS / 2, 0).collect()), (MAX_EVENTS / 2, true, true));
    assert_eq!(of(messages(MAX_EVENTS / 2 + 1, 0).collect()), (MAX_EVENTS / 2 - 1, true, false));
    assert_eq!(of(messages(MAX_EVENTS, 0).collect()), (0, true, false));
    // Bytes.
    assert_eq!(of(messages(1, MAX_BYTES / 2).collect()), (MAX_EVENTS - 1, true, true));
    assert_eq!(of(messages(1, MAX_BYTES / 2 + 1).collect()), (MAX_EVENTS - 1, true, false));
    assert_eq!(of(messages(1, MAX_BYTES - 1).collect()), (MAX_EVENTS - 1, true, false));
    assert_eq!(of(messages(1, MAX_BYTES).collect()), (0, true, false));
    // Steps.
    let steps = |count: usize| (0..count).map(|_| open(1)).collect();
    assert_eq!(of(steps(MAX_STEPS / 2)), (MAX_EVENTS - MAX_STEPS / 2, true, true));
    assert_eq!(of(steps(MAX_STEPS / 2 + 1)), (MAX_EVENTS - MAX_STEPS / 2 - 1, true, false));
    assert_eq!(of(steps(MAX_STEPS - 1)), (MAX_EVENTS - MAX_STEPS + 1, true, false));
    assert_eq!(of(steps(MAX_STEPS)), (MAX_EVENTS - MAX_STEPS, false, false));
    // Bytes of steps.
    assert_eq!(of(vec![error_of(MAX_STEP_BYTES / 2)]), (MAX_EVENTS - 1, true, true));
    assert_eq!(of(vec![error_of(MAX_STEP_BYTES / 2 + 1)]), (MAX_EVENTS - 1, true, false));
    assert_eq!(of(vec![error_of(MAX_STEP_BYTES - 1)]), (MAX_EVENTS - 1, true, false));
    assert_eq!(of(vec![error_of(MAX_STEP_BYTES)]), (MAX_EVENTS - 1, false, false));
}

#[test]
fn it_is_empty_when_everything_is_taken_and_over_after_the_final_event() {
    let mut backlog = filled([open(1)]);
    backlog.listen(Interest::Everything);
    assert!(!backlog.is_empty());
    backlog.take(1);
    assert!(backlog.is_empty() && !backlog.is_over() && !backlog.is_complete());
    let (code, reason, unsent) = (1000, String::new(), Vec::new());
    let last = Event::Close { epoch: 1, code, reason, was_clean: true, retry: None, unsent };
    backlog.push(Notice::of(last, None), false);
    assert!(backlog.is_complete() && !backlog.is_over());
    backlog.take(1);
    assert!(backlog.is_complete() && backlog.is_over());
}

#[test]
fn messages_that_nobody_listens_to_never_stop_the_reading() {
    for size in [1, 4 << 10, 64 << 10, MAX_BYTES] {
        let message = || Notice::Message { epoch: 1, message: Message::from(vec![1; size]) };
        let mut backlog = filled([open(1)]);
        backlog.listen(Interest::Steps);
        backlog.take(1);
        for _ in 0..1_100 {
            backlog.push(message(), false);
            assert!(backlog.room() > 0 && backlog.is_roomy(), "{size}");
        }
        assert_counts(&backlog);

        // The same if the mailbox was full before somebody came.
        let mut backlog = filled([open(1)]);
        while backlog.room() > 0 {
            backlog.push(message(), false);
        }
        backlog.listen(Interest::Steps);
        assert!(backlog.room() > 0 && backlog.is_roomy(), "{size}");
        assert!(backlog.events <= MAX_UNHEARD + 1 && backlog.bytes <= MAX_BYTES + 1024);
        assert_counts(&backlog);
    }
}

#[test]
fn no_message_is_heard_after_the_error() {
    let mut backlog = filled([open(1), text("a"), error(1), close(1)]);
    backlog.listen(Interest::Steps);
    backlog.take(1);
    assert_eq!(lines(&backlog.take(1)), ["error 1"]);
    backlog.listen(Interest::Everything);
    assert_eq!(lines(&backlog.take(10)), ["close 1"]);
    assert_eq!(backlog.discarded(), 1);
}
