//! The key of an upgrade request, and the answer that belongs to it (RFC 6455, 4.1 and 4.2.2).
//!
//! This is not taken from tungstenite, whose `handshake` feature brings a second SHA-1, a general
//! base-N codec and an HTTP parser: 35 KB instead of 30 lines.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

/// The constant that a server appends to the key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns a new `Sec-WebSocket-Key`. `None` means that the system has no random bytes to give.
pub(super) fn new_key() -> Option<String> {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).ok()?;
    Some(base64(&nonce))
}

/// Returns the seed of one connection's masking keys; `None` when the system has no randomness to give.
pub(super) fn new_seed() -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).ok()?;
    Some(seed)
}

/// Returns the `Sec-WebSocket-Accept` that a server must send for `key`.
pub(super) fn accept_key(key: &str) -> String {
    // The RFC asks for SHA-1. Nothing here depends on its strength.
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    base64(hash.finish().as_ref())
}

/// Encodes bytes in base64 (RFC 4648, 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// The examples of RFC 4648, 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn every_key_is_another_of_24_characters() {
        let keys: std::collections::HashSet<_> = (0..100).filter_map(|_| new_key()).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| key.len() == 24 && key.ends_with("==")));
    }
}
