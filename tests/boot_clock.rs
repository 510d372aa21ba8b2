//! The clock that runs while the device sleeps, from the operating system to the heartbeat that
//! follows a sleep. This process has its own `clock_gettime`, which adds a sleep to that clock
//! only.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(clippy::unwrap_used)]
// The linker uses a function of this file in place of the system's.
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
/// As for the system's function: `time` points to a `timespec` that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    // SAFETY: this is the system's own function, which is called by its number.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && clock == libc::CLOCK_BOOTTIME {
        // SAFETY: the caller's promise.
        unsafe { (*time).tv_sec += SLEPT.load(Ordering::Relaxed) };
    }
    if result == 0 { 0 } else { -1 }
}

// There is only one test, because the clock is that of the whole process.
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

    // The other clocks have not moved, so the engine has used this one.
    let passed = monotonic.elapsed().max(wall.elapsed().unwrap());
    assert!(passed.as_secs() < 3_600, "{passed:?}");
    waiting.finish();
    open.finish();
}
