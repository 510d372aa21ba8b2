//! What the server records of a connection and of its frames.

/// How many payload bytes of a frame are kept.
pub(super) const KEEP_PAYLOAD: usize = 64 * 1024;

/// What the server has recorded of one connection.
///
/// The counters count everything. Of the frames the last 10,000 are kept (up to 20,000 for a
/// while), and the first 64 KiB of each. All connections together are kept up to 64 MiB, request
/// heads included. When that is reached, the older half of the frames of the largest connection is
/// discarded or, when it has no frames, its request and its violations. Every connection that has
/// not ended is kept, and the last 10,000 that ended (up to 20,000 for a while).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenConnection {
    /// Its number, counted from 1 in the order of acceptance.
    pub index: u64,
    /// When it was accepted, in milliseconds since the server started.
    pub accepted_ms: f64,
    /// The target of the request, with its query; absent before a request was read.
    pub request_path: Option<String>,
    /// The headers of the request, in order and in their original case, duplicates included.
    pub headers: Vec<(String, String)>,
    /// The sub-protocols that the client offered, in order.
    pub protocols_offered: Vec<String>,
    /// True when the server has upgraded it.
    pub opened: bool,
    /// The frames the client sent, oldest first.
    pub frames: Vec<SeenFrame>,
    /// How many frames are no longer in `frames`.
    pub frames_forgotten: u64,
    /// How many data messages were received. Heartbeats do not count.
    pub messages_received: u64,
    /// How many heartbeats were received.
    pub heartbeats_received: u64,
    /// How many payload bytes were received, in frames of any kind.
    pub bytes_received: u64,
    /// What the client did against the protocol (the first 100 violations).
    pub violations: Vec<String>,
    /// How it ended; absent while it lasts.
    pub ended: Option<SeenEnd>,
    /// When it ended, in milliseconds since the server started; absent while it lasts.
    pub ended_ms: Option<f64>,
    /// The memory that it takes, about, in bytes.
    pub(super) kept_bytes: usize,
}

/// One frame that the client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenFrame {
    /// When it was read, in milliseconds since the server started.
    pub at_ms: f64,
    /// Its kind.
    pub kind: SeenFrameKind,
    /// True when it is the last frame of its message.
    pub fin: bool,
    /// The payload of a text frame, empty for others. What is not UTF-8 is replaced by U+FFFD.
    pub text: String,
    /// The payload of a frame other than text and close, empty for those.
    pub bytes: Vec<u8>,
    /// The size of the whole payload, kept or not.
    pub payload_len: u64,
    /// The code of a close frame; absent if the frame is empty, and for other frames.
    pub close_code: Option<u16>,
    /// The reason of a close frame; empty for other frames.
    pub close_reason: String,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeenFrameKind {
    /// A text message or its first fragment.
    Text,
    /// A binary message or its first fragment.
    Binary,
    /// A further fragment of a message.
    Continuation,
    /// A protocol ping.
    Ping,
    /// A protocol pong.
    Pong,
    /// A close frame.
    Close,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeenEnd {
    /// The server reset it right after accepting it, as its script said.
    Refused,
    /// The server answered the request with something other than an upgrade, as its script said.
    Rejected,
    /// The client's request (or TLS handshake) was not valid, was not completed, or did not ask for
    /// a WebSocket.
    BadRequest,
    /// The client sent a close frame, which the server answered.
    ClientClosed,
    /// The server sent a close frame, which the client answered.
    ServerClosed,
    /// The server sent a close frame, which the client did not answer within 10 s.
    CloseIgnored,
    /// The server reset it (RST).
    ServerDropped,
    /// The server ended its stream without a close frame (FIN).
    ServerEof,
    /// The client ended its stream without finishing a closing handshake (FIN).
    ClientEof,
    /// The client reset it (RST), or the connection broke.
    ClientReset,
    /// The client broke the protocol; see [`SeenConnection::violations`].
    Violation,
    /// The server was shut down.
    Shutdown,
}

impl SeenConnection {
    /// Returns true when it is upgraded and has not ended.
    pub fn is_open(&self) -> bool {
        self.opened && self.ended.is_none()
    }

    /// Returns the value of the first header of that name. Case does not matter.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    /// Returns the payloads of the kept text frames, heartbeats included, oldest first.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.frames.iter().filter(|f| f.kind == SeenFrameKind::Text);
        texts.map(|frame| frame.text.clone()).collect()
    }

    pub(super) fn forget_frames(&mut self, n: usize) {
        self.frames.drain(..n);
        self.frames.shrink_to_fit();
        self.frames_forgotten += n as u64;
    }

    /// Discards the request and the violations.
    pub(super) fn forget_head(&mut self) {
        self.request_path = None;
        self.headers = Vec::new();
        self.protocols_offered = Vec::new();
        self.violations = Vec::new();
    }

    /// Returns the memory of the request and the violations, in bytes.
    pub(super) fn head_cost(&self) -> usize {
        let names = self.protocols_offered.iter().chain(&self.violations);
        let names = names.chain(&self.request_path);
        let names: usize = names.map(|name| size_of::<String>() + name.capacity()).sum();
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.capacity() + value.capacity()).sum();
        names + headers + self.headers.capacity() * size_of::<(String, String)>()
    }

    pub(super) fn cost(&self) -> usize {
        let payloads: usize = self.frames.iter().map(SeenFrame::cost).sum();
        self.head_cost() + self.list_cost() + payloads
    }

    /// Returns the memory of the list of frames, without their payloads, in bytes.
    pub(super) fn list_cost(&self) -> usize {
        self.frames.capacity() * size_of::<SeenFrame>()
    }
}

impl SeenFrame {
    pub(super) fn new(at_ms: f64, kind: SeenFrameKind, fin: bool, payload: &[u8]) -> SeenFrame {
        let kept = &payload[..payload.len().min(KEEP_PAYLOAD)];
        let mut frame = SeenFrame {
            at_ms,
            kind,
            fin,
            text: String::new(),
            bytes: Vec::new(),
            payload_len: payload.len() as u64,
            close_code: None,
            close_reason: String::new(),
        };
        match kind {
            SeenFrameKind::Text => frame.text = String::from_utf8_lossy(kept).into_owned(),
            SeenFrameKind::Close => {
                if let Some((code, reason)) = kept.split_first_chunk() {
                    frame.close_code = Some(u16::from_be_bytes(*code));
                    frame.close_reason = String::from_utf8_lossy(reason).into_owned();
                }
            }
            _ => frame.bytes = kept.to_vec(),
        }
        frame
    }

    /// Returns the memory of its payload, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.text.capacity() + self.bytes.capacity() + self.close_reason.capacity()
    }
}
