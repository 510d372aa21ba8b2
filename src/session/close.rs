//! What an app may say when it closes (RFC 6455, 7.4; the WebSocket API, `close()`).

/// A close frame's payload is at most 125 bytes, two of them the code (RFC 6455, 5.5).
pub const MAX_REASON_BYTES: usize = 123;

/// Why a close was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseRefused {
    /// The code is neither 1000 nor 3000 to 4999.
    Code,
    /// The reason is longer than 123 bytes of UTF-8.
    Reason,
}

/// Checks the code and the reason of a close that the app asks for.
pub fn check_close(code: u16, reason: &str) -> Result<(), CloseRefused> {
    if code != 1000 && !(3000..=4999).contains(&code) {
        return Err(CloseRefused::Code);
    }
    if reason.len() > MAX_REASON_BYTES {
        return Err(CloseRefused::Reason);
    }
    Ok(())
}
