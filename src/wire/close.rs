//! The payload of a close frame (RFC 6455, 5.5.1).

use super::violation::Violation;

/// What a close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseFrame<'a> {
    /// The close code; `None`: the frame was empty, which is reported as 1005.
    pub(crate) code: Option<u16>,
    /// The reason, at most 123 bytes, perhaps empty.
    pub(crate) reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        let (code, reason) = match payload {
            [] => return Ok(Self { code: None, reason: "" }),
            [_] => return Err(Violation::HalfCloseCode),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !may_be_sent(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::ReasonNotUtf8)?;
        Ok(Self { code: Some(code), reason })
    }
}

/// Whether a close frame may carry this code: those that are assigned and not reserved for use
/// inside one program (RFC 6455, 7.4.1, and the registry it begins), and those for libraries and
/// applications (7.4.2).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
