//! The calls that a JVM makes for every message. Their arguments are plain numbers.
//!
//! UniFFI's own calls pass structures by value, which JNA handles by reflection: that takes some 10
//! µs each, and sending a text needs five of them. A call with numbers only takes 0.1 µs. These
//! functions do the same as `next_turn` and `send_text`. Their results have UniFFI's form, so that
//! the generated code can read them.

use crate::UniFfiTag;
use crate::api::{Turn, next_turn};
use crate::driver::turns;
use crate::session::{Message, SendOutcome, SendRefused};
use bytes::Bytes;
use std::cell::RefCell;
use std::panic::catch_unwind;
use uniffi::Lower;

/// Nothing was sent. The caller then calls UniFFI's function, which tries again and returns the
/// error.
const LONG_WAY: i32 = -1;
const SENT: i32 = 0;
const QUEUED: i32 = 1;
const DROPPED: i32 = 2;
/// Queued, and older messages were dropped for it. [`take_dropped`] returns them.
const QUEUED_FOR_OTHERS: i32 = 3;

thread_local! {
    /// The messages that the last send on this thread has dropped from the queue.
    static GAVE_WAY: RefCell<Vec<Message>> = const { RefCell::new(Vec::new()) };
    /// The turn that this thread has taken, in UniFFI's form. The buffer is used again for the next
    /// turn.
    static TAKEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How many bytes of that buffer are kept. It is more than a turn of small messages needs.
const KEEP: usize = 256 * 1024;

/// Checks the signature of each symbol, which `Engine.kt` declares too: `Long` is an `i64` and
/// `Int` an `i32` on every system. A pointer or a `usize` would be 32 bits wide on a 32-bit system,
/// where the caller still passes 64, and every argument after it would be read from the wrong
/// place.
const _: unsafe extern "C" fn(i64, i32, i64, i32) -> i32 = wxsocket_send;
const _: unsafe extern "C" fn(i64, i32, i64, i64, i32) -> i32 = wxsocket_next_turn;
const _: unsafe extern "C" fn(i64, i32) -> i32 = wxsocket_take_turn;

/// Returns the pointer for an address that a caller passes. `None` means that no pointer of this
/// process has that value (null, or more than 32 bits on a 32-bit system), so that nothing may be
/// read or written there.
///
/// The address is unsigned: Android on arm64 keeps a tag in its uppermost byte, which makes the
/// number negative, and on a 32-bit system JNA sets the upper half to zero.
fn pointer(address: i64) -> Option<*mut u8> {
    match usize::try_from(address.cast_unsigned()) {
        Ok(0) | Err(_) => None,
        Ok(address) => Some(std::ptr::with_exposed_provenance_mut(address)),
    }
}

/// Sends `len` bytes at the address `data` as a text (UTF-8) or binary message of the task with
/// this number in the turns. Returns one of the constants above.
///
/// # Safety
///
/// At `data` there must be `len` bytes that nothing writes to before this returns.
// SAFETY (of the name): it begins with the name of this library, so no other library has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn wxsocket_send(task: i64, is_text: i32, data: i64, len: i32) -> i32 {
    let bytes: &[u8] = match (usize::try_from(len), pointer(data)) {
        (Ok(0), _) => &[],
        // SAFETY: the caller's promise.
        (Ok(len), Some(data)) => unsafe { std::slice::from_raw_parts(data, len) },
        _ => return LONG_WAY,
    };
    // A panic must not unwind into the JVM.
    catch_unwind(|| send(task, is_text != 0, bytes)).unwrap_or(LONG_WAY)
}

fn send(task: i64, is_text: bool, bytes: &[u8]) -> i32 {
    let Some(task) = turns::task(task) else { return LONG_WAY };
    let message = if is_text {
        let Ok(text) = std::str::from_utf8(bytes) else { return LONG_WAY };
        Message::Text { text: text.to_owned() }
    } else {
        Message::Binary { bytes: Bytes::copy_from_slice(bytes) }
    };
    match task.send(message) {
        Ok(SendOutcome::Sent) => SENT,
        Ok(SendOutcome::Dropped) => DROPPED,
        Ok(SendOutcome::Queued { dropped }) if dropped.is_empty() => QUEUED,
        Ok(SendOutcome::Queued { dropped }) => {
            GAVE_WAY.set(dropped);
            QUEUED_FOR_OTHERS
        }
        Err(SendRefused::NotConnected | SendRefused::QueueFull) => LONG_WAY,
    }
}

/// Returns the messages that the last send on this thread has dropped from the queue. A second call
/// returns none.
pub(crate) fn take_dropped() -> Vec<Message> {
    GAVE_WAY.take()
}

/// Takes a turn as `next_turn` does, and writes it in UniFFI's form to the `room` bytes at the
/// address `out`. Returns the length of the turn. If that is more than `room`, nothing is written,
/// and [`wxsocket_take_turn`] has to be called. If `out` is no address of this process, this
/// returns 0 and takes no turn.
///
/// # Safety
///
/// At `out` there must be `room` bytes that nothing else reads or writes before this returns.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn wxsocket_next_turn(
    done: i64,
    max_events: i32,
    wait_ms: i64,
    out: i64,
    room: i32,
) -> i32 {
    if pointer(out).is_none() {
        return 0;
    }
    let taken = catch_unwind(|| {
        let turn = next_turn(done, max_events, wait_ms);
        TAKEN.with_borrow_mut(|taken| {
            taken.clear();
            <Turn as Lower<UniFfiTag>>::write(turn, taken);
        });
    });
    match taken {
        // SAFETY: the caller's promise.
        Ok(()) => unsafe { wxsocket_take_turn(out, room) },
        Err(_) => 0,
    }
}

/// Writes the turn that this thread took last to the `room` bytes at the address `out`. Returns the
/// length of the turn; if that is more than `room`, nothing is written and the turn is kept.
/// Returns 0 when there is no turn, and when `out` is no address of this process; then the turn is
/// kept, too.
///
/// # Safety
///
/// As for [`wxsocket_next_turn`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn wxsocket_take_turn(out: i64, room: i32) -> i32 {
    let Some(out) = pointer(out) else { return 0 };
    TAKEN.with_borrow_mut(|taken| {
        let fits = usize::try_from(room).is_ok_and(|room| taken.len() <= room);
        // A turn has at most 1 MiB and one message of at most 1 GiB.
        let len = i32::try_from(taken.len()).unwrap_or(i32::MAX);
        if fits {
            // SAFETY: the caller's promise; `taken` is Rust's own memory, so the two do not
            // overlap.
            unsafe { std::ptr::copy_nonoverlapping(taken.as_ptr(), out, taken.len()) };
            taken.clear();
            taken.shrink_to(KEEP);
        }
        len
    })
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::{ConnectOptions, OverflowPolicy, QueueOptions, connect_socket};

    /// Returns the address as a JVM passes it. On a 32-bit system the upper half is zero.
    fn address(pointer: *const u8) -> i64 {
        (pointer.expose_provenance() as u64).cast_signed()
    }

    #[test]
    fn an_address_is_taken_whole_or_not_at_all() {
        let as_given = |address: i64| pointer(address).map(|pointer| pointer.addr() as u64);
        assert_eq!(as_given(0), None);
        assert_eq!(as_given(0x1000), Some(0x1000));
        assert_eq!(as_given(0xf000_0000), Some(0xf000_0000), "beyond 2 GiB");
        let (beyond, tagged) = (1 << 32 | 0x1000, 0xb400_0000_0000_1000_u64.cast_signed());
        if usize::BITS == 32 {
            assert_eq!(as_given(beyond), None, "not cut down to 0x1000");
            assert_eq!(as_given(tagged), None);
            assert_eq!(as_given(-1), None);
        } else {
            assert_eq!(as_given(beyond), Some(beyond.cast_unsigned()));
            assert_eq!(as_given(tagged), Some(tagged.cast_unsigned()));
        }
    }

    #[test]
    fn nothing_is_read_or_written_at_no_address() {
        let options = ConnectOptions::new("ws://127.0.0.1:1");
        let task = connect_socket(options, None, None).expect("valid");
        task.pause();
        let number = task.join_turns();
        let nowhere: &[i64] = if usize::BITS == 32 { &[0, 1 << 32, -1] } else { &[0] };
        TAKEN.with_borrow_mut(|taken| taken.push(1));
        for &nowhere in nowhere {
            // SAFETY: these are no addresses of this process, so nothing is read or written there.
            unsafe {
                assert_eq!(wxsocket_send(number, 1, nowhere, 1), LONG_WAY);
                assert_eq!(wxsocket_send(number, 1, nowhere, -1), LONG_WAY);
                assert_eq!(wxsocket_next_turn(0, 1, 0, nowhere, 64), 0);
                assert_eq!(wxsocket_take_turn(nowhere, 64), 0);
            }
        }
        assert_eq!(task.buffered_amount(), 0);
        assert_eq!(TAKEN.take(), [1], "kept");
    }

    #[test]
    fn the_short_way_answers_what_the_long_one_does() {
        let queue = QueueOptions {
            messages: Some(2),
            overflow: Some(OverflowPolicy::DropOldest),
            ..QueueOptions::default()
        };
        let options = ConnectOptions { queue, ..ConnectOptions::new("ws://127.0.0.1:1") };
        let task = connect_socket(options, None, None).expect("valid");
        task.pause();
        let number = task.join_turns();
        let send = |is_text: i32, bytes: &[u8]| {
            let len = i32::try_from(bytes.len()).expect("small");
            // SAFETY: the address and the length are those of a slice.
            unsafe { wxsocket_send(number, is_text, address(bytes.as_ptr()), len) }
        };
        assert_eq!(send(1, "é".as_bytes()), QUEUED);
        assert_eq!(send(0, &[]), QUEUED);
        assert_eq!(send(0, &[1, 2]), QUEUED_FOR_OTHERS);
        assert_eq!(take_dropped(), [Message::text("é")]);
        assert_eq!(take_dropped(), []);
        assert_eq!(send(1, &[0xff]), LONG_WAY, "not UTF-8");
        assert_eq!(task.buffered_amount(), 2);
        task.close(1000, String::new()).expect("valid");
        assert_eq!(send(1, b"late"), LONG_WAY);
        drop(task);
        assert_eq!(send(1, b"later"), LONG_WAY);
    }

    #[test]
    fn a_turn_that_does_not_fit_is_kept() {
        let state = crate::SocketState::Closed;
        let turn = Turn { task: 0, version: 0, state, news: None, events: Vec::new() };
        let mut expected = Vec::new();
        <Turn as Lower<UniFfiTag>>::write(turn, &mut expected);
        let mut out = [0_u8; 64];
        let at = address(out.as_mut_ptr());
        let len = i32::try_from(expected.len()).expect("small");
        // All tests of the process share the turns, so this one puts a turn there itself.
        TAKEN.with_borrow_mut(|taken| taken.clone_from(&expected));
        // SAFETY: the array has 64 bytes.
        unsafe {
            assert_eq!(wxsocket_take_turn(at, len - 1), len);
            assert_eq!(out, [0; 64]);
            assert_eq!(wxsocket_take_turn(at, 64), len);
            assert_eq!(wxsocket_take_turn(at, 64), 0, "taken");
        }
        assert_eq!(out[..expected.len()], expected);
    }
}
