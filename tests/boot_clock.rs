//! The clock that runs while the device sleeps, from the operating system to a question on the
//! wire. This process has its own `clock_gettime`, which adds a sleep to that clock only.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(clippy::unwrap_used)]
// What the linker is to find under the name of the system's function.
#![allow(unsafe_code)]

mod support;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};
use support::*;
use wxsocket::testing::SeenFrameKind;
use wxsocket::*;

/// Seconds that the device has slept.
static SLEPT: AtomicI64 = AtomicI64::new(0);

/// # Safety
///
/// As the system's: `time` points to a `timespec` that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    // SAFETY: the system's own function, which is reached by its number.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && clock == libc::CLOCK_BOOTTIME {
        // SAFETY: the caller's promise.
        unsafe { (*time).tv_sec += SLEPT.load(Ordering::Relaxed) };
    }
    if result == 0 { 0 } else { -1 }
}

// One test: the clock is the process's.
#[test]
fn an_hour_of_sleep_is_noticed_in_every_phase() {
    let (monotonic, wall) = (Instant::now(), SystemTime::now());
    // A task that waits ten minutes for its next dial, and one that is open without a heartbeat.
    let refusing = serve(r#"[{"handshake": {"status": 503}}, {}]"#);
    let mut waiting = Client::connect(patient(refusing.url()));
    waiting.lost(ErrorKind::HttpStatus);
    let server = echo();
    let mut open = Client::connect(patient(server.url()));
    open.open();

    // Less than three seconds is no sleep.
    SLEPT.fetch_add(2, Ordering::Relaxed);
    open.send("nap");
    assert_eq!(open.text(), "nap");
    assert!(matches!(waiting.task().state(), SocketState::Waiting { .. }));

    SLEPT.fetch_add(3_600, Ordering::Relaxed);
    waiting.task().resume();
    assert_eq!(waiting.open().attempt, 1);
    open.send("sleep");
    assert_eq!(open.text(), "sleep");
    let ping = SeenFrameKind::Ping;
    until(&server, |seen| seen.connections[0].frames.iter().any(|frame| frame.kind == ping));

    // The other clocks have not moved, so it is this one that counts.
    let passed = monotonic.elapsed().max(wall.elapsed().unwrap());
    assert!(passed.as_secs() < 3_600, "{passed:?}");
    waiting.finish();
    open.finish();
}
