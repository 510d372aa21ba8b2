//! A descriptor that becomes readable when the wall clock jumps or the device resumes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer that never expires. The system cancels it when the wall clock changes in another way
/// than by the passing of time, and a resume is such a change (timerfd_create(2),
/// `TFD_TIMER_CANCEL_ON_SET`). It costs one descriptor and causes no other wake-ups.
#[derive(Debug)]
pub(crate) struct ClockJumps(File);

impl ClockJumps {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes numbers only.
        let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_REALTIME, flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened it, so nothing else owns it.
        let jumps = Self(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }));
        jumps.arm()?;
        Ok(jumps)
    }

    /// Sets the timer, so that the system cancels it at the next jump.
    fn arm(&self) -> io::Result<()> {
        let never = libc::timespec { tv_sec: libc::time_t::MAX, tv_nsec: 0 };
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = libc::itimerspec { it_interval: zero, it_value: never };
        let flags = libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET;
        // SAFETY: the descriptor is open for as long as `self` is borrowed, `timer` lives until
        // the call has returned, and null means that the old value is not wanted.
        let result = unsafe {
            libc::timerfd_settime(self.as_raw_fd(), flags, &raw const timer, std::ptr::null_mut())
        };
        match io::Error::last_os_error() {
            _ if result == 0 => Ok(()),
            // The clock has just jumped again. The timer is set nevertheless.
            error if is_jump(&error) => Ok(()),
            error => Err(error),
        }
    }

    /// Registers the descriptor with the runtime of the caller.
    pub(crate) fn watch(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is that of the file that `self` owns and never replaces, so it is
        // open and the same for as long as `self` lives.
        Ok(unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }?)
    }

    /// Takes one jump and sets the timer for the next.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the clock has not jumped.
    pub(crate) fn take(&self) -> io::Result<()> {
        match (&self.0).read(&mut [0; 8]) {
            Err(error) if is_jump(&error) => self.arm(),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("the end of time")),
        }
    }
}

fn is_jump(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

impl AsRawFd for ClockJumps {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_jump_there_is_nothing_to_take() {
        let jumps = ClockJumps::new().expect("this system has it");
        for _ in 0..2 {
            let nothing = jumps.take().expect_err("the clock has not jumped");
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
            jumps.arm().expect("it may be armed again");
        }
    }
}
