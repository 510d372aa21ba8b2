//! A process that gets no descriptors from the operating system, and a forked process.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // Limits and forks are not in the standard library.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};
use support::*;
use wxsocket::*;

/// The environment variable that is set in the process that a test starts for itself.
const ALONE: &str = "WXSOCKET_TEST_ALONE";

/// Runs the test with this name in a process of its own. Returns true in that process, in which the
/// test has to be done.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// Sets how many descriptors the process may have, and returns the limit before.
fn limit_descriptors(count: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both take the address of such a structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, count);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[track_caller]
fn unavailable(url: String) -> String {
    match connect_socket(once(url), None, None) {
        Err(WxError::Unavailable { reason, err_code, err_msg }) => {
            assert_eq!((err_code, err_msg.as_str()), (600_000, "connectSocket:fail unknown error"));
            reason
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a task that nobody serves"),
    }
}

#[test]
fn a_first_call_without_descriptors_fails_and_a_later_one_works() {
    if !is_alone("a_first_call_without_descriptors_fails_and_a_later_one_works") {
        return;
    }
    let server = echo();
    let before = limit_descriptors(3);
    let reasons = [unavailable(server.url()), unavailable(server.url())];
    limit_descriptors(before);
    for reason in reasons {
        assert!(reason.contains("refuses what the library needs"), "{reason}");
    }
    let mut client = Client::connect(once(server.url()));
    client.open();
    client.send("x");
    assert_eq!(client.text(), "x");
    client.finish();
}

/// Runs in the forked child, which has no thread of the library.
fn in_the_child(url: &str, task: &SocketTask) {
    let reason = unavailable(url.to_owned());
    assert!(reason.contains("forked"), "{reason}");
    assert_eq!(task.ready_state(), ReadyState::Open);
    // The result does not matter. The call has to return, and the parent's server must not get the
    // message.
    let _ = task.send("from the child");
    task.reconnect_now();
    task.pause();
    task.close(1000, String::new()).unwrap();
    assert!(task.events().next_event().is_none());
    task.stats();
}

#[test]
fn a_forked_child_gets_an_error_and_does_not_hang() {
    let server = echo();
    let url = server.url();
    let task = connect_socket(once(url.clone()), None, None).unwrap();
    let events = task.events();
    assert!(matches!(events.next_event(), Some(SocketEvent::Open { .. })));
    // Nothing is going on when the process forks, so no lock is held by a thread that the child
    // does not have.
    std::thread::sleep(Duration::from_millis(100));
    // SAFETY: the child uses no thread of the parent's, and ends by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = catch_unwind(AssertUnwindSafe(|| in_the_child(&url, &task)));
        // SAFETY: the call only ends the process, without running exit handlers of the parent.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 1 }) };
    }
    assert!(child > 0, "no fork");
    let (start, mut status) = (Instant::now(), 0);
    // SAFETY: the child of this process, and the address of an int.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if start.elapsed() > PATIENCE {
            // SAFETY: the child of this process, which has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(status, 0, "the child's assertions");

    // The parent's task still works.
    task.send("from the parent").unwrap();
    let echoed = Message::text("from the parent");
    assert!(
        matches!(events.next_event(), Some(SocketEvent::Message { event }) if event.data == echoed)
    );
    task.close(1000, String::new()).unwrap();
    assert!(events.next_event().unwrap().is_final());
    assert_eq!(server.connection(1).unwrap().texts(), ["from the parent"]);
}
