//! What a server must not do, each with the close code and the words that answer it.

/// A breach of the protocol by the server. The connection must be failed: nothing that follows it
/// can be understood (RFC 6455, 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// RFC 6455, 5.1: "A server MUST NOT mask any frames that it sends to the client."
    #[error("a masked frame from the server (RFC 6455, 5.1)")]
    Masked,
    /// RFC 6455, 5.2: a reserved bit "MUST be 0 unless an extension is negotiated".
    #[error("a reserved bit is set (RFC 6455, 5.2)")]
    ReservedBit,
    /// RFC 6455, 5.2: opcodes 3 to 7 and 11 to 15 are reserved.
    #[error("reserved opcode {0} (RFC 6455, 5.2)")]
    ReservedOpcode(u8),
    /// RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length".
    #[error("a length that is not in its shortest form (RFC 6455, 5.2)")]
    LengthForm,
    /// RFC 6455, 5.2: the most significant bit of a 64-bit length "MUST be 0".
    #[error("a length of 2^63 bytes or more (RFC 6455, 5.2)")]
    LengthRange,
    /// RFC 6455, 5.5: control frames "MUST NOT be fragmented".
    #[error("a fragmented control frame (RFC 6455, 5.5)")]
    FragmentedControl,
    /// RFC 6455, 5.5: control frames "MUST have a payload length of 125 bytes or less".
    #[error("a control frame of more than 125 bytes (RFC 6455, 5.5)")]
    LongControl,
    /// RFC 6455, 5.4: a continuation frame belongs to a message that has begun.
    #[error("a continuation frame without a message (RFC 6455, 5.4)")]
    NothingToContinue,
    /// RFC 6455, 5.4: "The fragments of one message MUST NOT be interleaved between the fragments
    /// of another message".
    #[error("a new message before the end of a fragmented one (RFC 6455, 5.4)")]
    Interleaved,
    /// RFC 6455, 5.5.1: the first two bytes of a close frame's body, if there is one, are a code.
    #[error("a close frame with half a close code (RFC 6455, 5.5.1)")]
    HalfCloseCode,
    /// RFC 6455, 7.4, and the registry that it begins.
    #[error("close code {0} must not be sent (RFC 6455, 7.4)")]
    CloseCode(u16),
    /// RFC 6455, 5.5.1 and 8.1.
    #[error("the reason of a close frame is not UTF-8 (RFC 6455, 5.5.1)")]
    ReasonNotUtf8,
    /// RFC 6455, 8.1.
    #[error("a text message is not UTF-8 (RFC 6455, 8.1)")]
    TextNotUtf8,
    /// RFC 7692, 7.2.2.
    #[error("a compressed message is not DEFLATE (RFC 7692, 7.2.2)")]
    NotDeflate,
    /// RFC 6455, 7.4.1 and 10.4.
    #[error("a message is larger than the limit of {limit} bytes")]
    TooBig {
        /// The largest payload that is accepted.
        limit: usize,
    },
}

impl Violation {
    /// The close code that tells the server what it did (RFC 6455, 7.4.1): 1002, 1007 or 1009.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            // What is inside is not what the frame says it is.
            Self::TextNotUtf8 | Self::ReasonNotUtf8 | Self::NotDeflate => 1007,
            Self::TooBig { .. } => 1009,
            _ => 1002,
        }
    }
}
