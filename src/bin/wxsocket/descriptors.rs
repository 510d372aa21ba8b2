//! Checks whether there are enough file descriptors to begin.

/// How many descriptors the program opens before the first connection: two runtimes (three each)
/// and the pair that carries signals.
#[cfg(unix)]
const NEEDED: usize = 8;

/// Checks that the system gives the descriptors that are needed to begin. It must be called while
/// there is only one thread. The first runtime that is built opens the pair for signals, and panics
/// if it gets none; this builds one after the check.
///
/// # Errors
///
/// That of the system when it does not give enough.
#[cfg(unix)]
pub(crate) fn check() -> std::io::Result<()> {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    let held: std::io::Result<Vec<File>> = (2..NEEDED).map(|_| File::open("/dev/null")).collect();
    let pair = UnixStream::pair();
    // They are closed before the program needs them.
    drop((held?, pair?));
    tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn check() -> std::io::Result<()> {
    Ok(())
}
