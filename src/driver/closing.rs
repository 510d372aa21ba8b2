//! Reads the peer's close frame, and says what is wrong with it.
//!
//! tungstenite replaces a close code that it does not allow with 1002 "Protocol violation", before
//! the frame is given out. Its list differs from the registry (it does not know 1014), and a peer
//! may send these very words. So where they appear, the frame is read again from the bytes that
//! came last: nothing follows a close frame, so it stands at their end.

use crate::session::{ErrorKind, Failure};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What tungstenite puts in the place of a frame whose code it does not allow.
const REPLACED: (u16, &str) = (1002, "Protocol violation");

/// FIN and the opcode of a close frame (RFC 6455, 5.2).
const CLOSE: u8 = 0x88;

/// The code and the reason of a close frame, or the breach that it is. `last_read` are the last
/// bytes that were read from the peer.
pub(super) fn check(
    frame: Option<CloseFrame>,
    last_read: &[u8],
) -> Result<(Option<u16>, String), Failure> {
    let Some(frame) = frame else { return Ok((None, String::new())) };
    let mut said = (u16::from(frame.code), frame.reason.as_str());
    if said == REPLACED {
        let illegal = || Failure::new(ErrorKind::Protocol, "a close code that must not be sent");
        said = at_the_end(last_read).ok_or_else(illegal)?;
    }
    let (code, reason) = said;
    if !may_be_sent(code) {
        let detail = format!("close code {code} must not be sent (RFC 6455, 7.4)");
        return Err(Failure::new(ErrorKind::Protocol, detail));
    }
    Ok((Some(code), reason.to_owned()))
}

/// Whether a close frame may carry this code: those that are assigned and not reserved for use
/// inside one program (RFC 6455, 7.4.1, and the registry it begins), and those for libraries and
/// applications (7.4.2).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The close frame at the end of these bytes, which has the given words or a code that
/// tungstenite replaces.
fn at_the_end(bytes: &[u8]) -> Option<(u16, &str)> {
    let replaced = |code| !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999);
    (2..=125_u8).find_map(|len| {
        let frame = bytes.len().checked_sub(usize::from(len) + 2).map(|start| &bytes[start..])?;
        let [CLOSE, said_len, high, low, reason @ ..] = frame else { return None };
        let said = (u16::from_be_bytes([*high, *low]), std::str::from_utf8(reason).ok()?);
        (*said_len == len && (said == REPLACED || replaced(said.0))).then_some(said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten() -> Option<CloseFrame> {
        Some(CloseFrame { code: REPLACED.0.into(), reason: REPLACED.1.into() })
    }

    #[test]
    fn a_replaced_frame_is_read_from_the_wire() {
        let genuine = [&b"..\x88\x14\x03\xea"[..], REPLACED.1.as_bytes()].concat();
        assert_eq!(check(rewritten(), &genuine), Ok((Some(1002), REPLACED.1.to_owned())));
        let gateway = b"\x82\x01\x88\x88\x04\x03\xf6ab";
        assert_eq!(check(rewritten(), gateway), Ok((Some(1014), "ab".to_owned())));
        let details = [
            (&b"\x88\x02\x00\x00"[..], "close code 0 must not be sent (RFC 6455, 7.4)"),
            (b"\x88\x04\x03\xedno", "close code 1005 must not be sent (RFC 6455, 7.4)"),
            // What follows a close frame breaks the protocol too.
            (b"\x88\x02\x00\x00\x89\x00", "a close code that must not be sent"),
            (b"", "a close code that must not be sent"),
        ];
        for (bytes, detail) in details {
            let failure = check(rewritten(), bytes).expect_err("a breach");
            assert_eq!((failure.kind, &*failure.detail), (ErrorKind::Protocol, detail));
        }
    }

    #[test]
    fn an_untouched_frame_is_checked_too() {
        let frame = |code: u16| Some(CloseFrame { code: code.into(), reason: "x".into() });
        assert_eq!(check(None, b""), Ok((None, String::new())));
        assert_eq!(check(frame(4000), b""), Ok((Some(4000), "x".to_owned())));
        // While the task is closing, tungstenite replaces nothing.
        assert!(check(frame(1006), b"").is_err());
    }
}
