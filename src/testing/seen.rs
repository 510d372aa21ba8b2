//! What the server keeps of a connection and of its frames.

/// Payload bytes kept per frame.
pub(super) const KEEP_PAYLOAD: usize = 64 * 1024;

/// What the server saw of one connection.
///
/// Counters count everything. Of the frames the last 10,000 are kept (up to 20,000 for a while),
/// of each frame the first 64 KiB, and of all connections together 64 MiB, request heads
/// included; when that is reached, the connection with the most gives up the older half of its
/// frames, and once it has none, its request and its violations. Every connection that lasts is
/// kept, and the last 10,000 that ended (up to 20,000 for a while).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenConnection {
    /// Its number, counted from 1 in the order of acceptance.
    pub index: u64,
    /// When it was accepted, in milliseconds since the server started.
    pub accepted_ms: f64,
    /// The target of the request, with its query; none before a request was read.
    pub request_path: Option<String>,
    /// The headers of the request, in order and in their original case, duplicates included.
    pub headers: Vec<(String, String)>,
    /// The subprotocols offered, in order.
    pub protocols_offered: Vec<String>,
    /// Whether the server upgraded it.
    pub opened: bool,
    /// The frames the client sent, oldest first.
    pub frames: Vec<SeenFrame>,
    /// How many frames are no longer in `frames`.
    pub frames_forgotten: u64,
    /// How many data messages came in, heartbeats not counted.
    pub messages_received: u64,
    /// How many heartbeats came in.
    pub heartbeats_received: u64,
    /// How many payload bytes came in, in frames of any kind.
    pub bytes_received: u64,
    /// What the client did against the protocol (the first 100).
    pub violations: Vec<String>,
    /// How it ended; none while it lasts.
    pub ended: Option<SeenEnd>,
    /// When it ended, in milliseconds since the server started.
    pub ended_ms: Option<f64>,
    /// What it takes, about.
    pub(super) kept_bytes: usize,
}

/// One frame that the client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenFrame {
    /// When it was read, in milliseconds since the server started.
    pub at_ms: f64,
    /// Its kind.
    pub kind: SeenFrameKind,
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// The payload of a text frame, empty for others. What is not UTF-8 is replaced.
    pub text: String,
    /// The payload of a frame other than text and close, empty for those.
    pub bytes: Vec<u8>,
    /// The size of the whole payload, kept or not.
    pub payload_len: u64,
    /// The code of a close frame, none if it is empty.
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
    /// The client's request (or TLS handshake) was none, was not finished, or asked for no
    /// WebSocket.
    BadRequest,
    /// The client sent a close frame, which the server answered.
    ClientClosed,
    /// The server sent a close frame, which the client answered.
    ServerClosed,
    /// The server sent a close frame, which the client did not answer in 10 s.
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
    /// Whether it is upgraded and has not ended.
    pub fn is_open(&self) -> bool {
        self.opened && self.ended.is_none()
    }

    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    /// The kept text frames, heartbeats included, oldest first.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.frames.iter().filter(|f| f.kind == SeenFrameKind::Text);
        texts.map(|frame| frame.text.clone()).collect()
    }

    pub(super) fn forget_frames(&mut self, n: usize) {
        self.frames.drain(..n);
        self.frames.shrink_to_fit();
        self.frames_forgotten += n as u64;
    }

    /// Forgets what came before the frames.
    pub(super) fn forget_head(&mut self) {
        self.request_path = None;
        self.headers = Vec::new();
        self.protocols_offered = Vec::new();
        self.violations = Vec::new();
    }

    /// What the request and the violations take.
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

    /// What the list of frames takes, without their payloads.
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

    /// What its payload takes.
    pub(super) fn cost(&self) -> usize {
        self.text.capacity() + self.bytes.capacity() + self.close_reason.capacity()
    }
}
