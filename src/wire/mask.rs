//! Masking keys, and the masking itself (RFC 6455, 5.3).

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The keys of one connection. They come from ChaCha12, which nobody can predict without the seed
/// (RFC 6455, 5.3 and 10.3): a call of the system for each message would cost 20 times as much.
pub(super) struct MaskKeys(StdRng);

impl MaskKeys {
    /// `seed`: from the system's source of randomness, another one for each connection.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    #[inline]
    pub(super) fn next(&mut self) -> [u8; 4] {
        self.0.next_u32().to_ne_bytes()
    }
}

impl std::fmt::Debug for MaskKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKeys")
    }
}

/// Masks a payload in place. The same again unmasks it.
#[inline]
pub(super) fn mask(payload: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let mask = [a, b, c, d, a, b, c, d];
    // Eight bytes at a time, which the compiler turns into vectors.
    let word = u64::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Appends a payload and masks it. Block by block: a copy of 32 KiB at once, by what the standard
/// library uses for it, takes 10 times as long on some processors when source and destination
/// lie badly.
#[inline]
pub(super) fn append_masked(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let (blocks, rest) = payload.as_chunks::<512>();
    for block in blocks {
        let mut block = *block;
        mask(&mut block, key);
        out.extend_from_slice(&block);
    }
    let start = out.len();
    out.extend_from_slice(rest);
    mask(&mut out[start..], key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_byte_of_the_key() {
        let key = [0x6d, 0xb6, 0xb2, 0x80];
        for len in 0..70 {
            for start in 0..8 {
                let mut bytes: Vec<u8> = (0..start + len).map(|number| number as u8).collect();
                mask(&mut bytes[start..], key);
                for (at, byte) in bytes[start..].iter().enumerate() {
                    assert_eq!(*byte, (start + at) as u8 ^ key[at % 4], "{start} {len} {at}");
                }
            }
        }
    }

    #[test]
    fn blocks_make_no_difference() {
        let key = [1, 2, 3, 200];
        for len in [0, 1, 511, 512, 513, 1_024, 5_000] {
            let payload: Vec<u8> = (0..len).map(|number| number as u8).collect();
            let mut out = vec![9];
            append_masked(&mut out, &payload, key);
            mask(&mut out[1..], key);
            assert_eq!(out[1..], payload);
        }
    }

    #[test]
    fn keys_differ_from_message_to_message_and_from_seed_to_seed() {
        let keys = |seed| {
            let mut keys = MaskKeys::new([seed; 32]);
            std::iter::repeat_with(move || keys.next()).take(1_000).collect::<Vec<_>>()
        };
        let all: std::collections::HashSet<_> = keys(1).into_iter().chain(keys(2)).collect();
        // Two of 2 000 random numbers of 32 bits are equal once in 2 000 times; ten never are.
        assert!(all.len() > 1_990, "{}", all.len());
        assert_eq!(keys(1), keys(1));
    }
}
