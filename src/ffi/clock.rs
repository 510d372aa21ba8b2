//! A clock that runs while the device sleeps. The standard library has none: its `Instant` does not
//! advance during a sleep on Linux, Android and Apple's systems.

use std::time::Duration;

/// Returns the time since a fixed moment before the process began, including the time asleep.
/// `None` means that this system has no such clock.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(crate) fn since_boot() -> Option<Duration> {
    #[cfg(not(target_vendor = "apple"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    // This is `mach_continuous_time` in nanoseconds on Apple's systems (clock_gettime(3)).
    #[cfg(target_vendor = "apple")]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_RAW;

    let mut time = std::mem::MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a `timespec` that lives until the call has returned.
    if unsafe { libc::clock_gettime(CLOCK, time.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call has filled it, and all zeros would be a valid value too.
    let time = unsafe { time.assume_init() };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Returns the time since a fixed moment before the process began, including the time asleep.
/// `None` means that this system has no such clock.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn since_boot() -> Option<Duration> {
    None
}
