//! File descriptors: whether there are enough of them to begin with.

/// What the program opens before the first connection, and a few more: two runtimes (three each)
/// and the pair that carries signals.
#[cfg(unix)]
const NEEDED: usize = 8;

/// An error if the system does not give what is needed to begin. To be called while there is only
/// one thread: the runtime makes its pair for signals the first time one is built, and panics if
/// it gets none.
#[cfg(unix)]
pub(crate) fn check() -> std::io::Result<()> {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    let held: std::io::Result<Vec<File>> = (2..NEEDED).map(|_| File::open("/dev/null")).collect();
    let pair = UnixStream::pair();
    // Given back before they are used.
    drop((held?, pair?));
    tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn check() -> std::io::Result<()> {
    Ok(())
}
