//! UTF-8 that arrives in pieces. A cut may be anywhere, inside a character too, and the first
//! byte that cannot be UTF-8 is found when it arrives.

/// These bytes are not UTF-8, whatever follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// Checks a piece that is whole.
pub(super) fn check(bytes: &[u8]) -> Result<(), Invalid> {
    // Most short messages are ASCII, for which this takes a tenth of the time.
    if bytes.is_ascii() {
        return Ok(());
    }
    std::str::from_utf8(bytes).map(drop).map_err(|_| Invalid)
}

/// Checks a piece of which more will come. How many bytes are whole characters: all but the last
/// three at most.
pub(super) fn check_part(bytes: &[u8]) -> Result<usize, Invalid> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Invalid),
    }
}

/// The start of a character whose end has not arrived.
#[derive(Debug, Default)]
pub(super) struct Partial {
    bytes: [u8; 4],
    len: usize,
}

impl Partial {
    /// Appends what has arrived to `text`, and keeps the start of a character at its end.
    pub(super) fn append(&mut self, text: &mut String, bytes: &[u8]) -> Result<(), Invalid> {
        let mut bytes = bytes;
        while self.len > 0
            && let [first, rest @ ..] = bytes
        {
            self.push(*first, text)?;
            bytes = rest;
        }
        // What is cut off is set aside before the check, so that each byte is checked once.
        let (whole, cut) = bytes.split_at(bytes.len() - cut_off(bytes));
        text.push_str(std::str::from_utf8(whole).map_err(|_| Invalid)?);
        cut.iter().try_for_each(|byte| self.push(*byte, text))
    }

    fn push(&mut self, byte: u8, text: &mut String) -> Result<(), Invalid> {
        self.bytes[self.len] = byte;
        self.len += 1;
        match std::str::from_utf8(&self.bytes[..self.len]) {
            Ok(character) => {
                text.push_str(character);
                self.len = 0;
                Ok(())
            }
            // A character has four bytes at most, so this ends before the array does.
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(Invalid),
        }
    }

    /// How many bytes of the character have arrived, at most three.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

/// How many bytes at the end may be the start of a character whose rest is not there.
fn cut_off(bytes: &[u8]) -> usize {
    for (at, byte) in bytes.iter().rev().take(3).enumerate() {
        let size = match byte {
            0x80..0xc0 => continue,
            ..0x80 => 1,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        return if at + 1 < size { at + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<(String, usize), Invalid> {
        let (mut partial, mut text, mut at) = (Partial::default(), String::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            partial.append(&mut text, &bytes[at..cut])?;
            at = cut;
        }
        Ok((text, partial.len()))
    }

    #[test]
    fn every_character_survives_every_cut() {
        let text = "a\u{7f}\u{80}é\u{7ff}\u{800}€\u{ffff}\u{10000}😀\u{10ffff}z";
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let appended = append_in_pieces(bytes, &[first, second]);
                assert_eq!(appended, Ok((text.to_owned(), 0)), "{first} {second}");
            }
        }
    }

    /// As the standard library says of the whole, so do the pieces: for every sequence of three
    /// bytes out of those at which the table of RFC 3629 changes, at every cut.
    #[test]
    fn the_pieces_and_the_whole_agree() {
        let edges = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
            0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff,
        ];
        for first in edges {
            for second in edges {
                for third in edges {
                    for bytes in [[first, second, third, 0x80], [first, second, third, 0x41]] {
                        agree(&bytes);
                    }
                }
            }
        }
    }

    fn agree(bytes: &[u8; 4]) {
        let expected = match std::str::from_utf8(bytes) {
            Ok(text) => Ok((text.to_owned(), 0)),
            Err(error) if error.error_len().is_some() => Err(Invalid),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                Ok((valid.into_owned(), bytes.len() - error.valid_up_to()))
            }
        };
        assert_eq!(check(bytes).is_ok(), matches!(expected, Ok((_, 0))), "{bytes:x?}");
        let whole = expected.as_ref().map(|(text, _)| text.len()).map_err(|_| Invalid);
        assert_eq!(check_part(bytes), whole, "{bytes:x?}");
        for cut in 0..=bytes.len() {
            assert_eq!(append_in_pieces(bytes, &[cut]), expected, "{bytes:x?} at {cut}");
        }
    }

    #[test]
    fn what_cannot_be_a_character_is_found_at_its_first_byte() {
        for bytes in [&b"\xc0"[..], b"\xf5", b"\xed\xa0", b"\xf4\x90", b"\xe0\x80", b"\x80"] {
            let (mut partial, mut text) = (Partial::default(), String::new());
            let (last, first) = bytes.split_last().expect("not empty");
            assert_eq!(partial.append(&mut text, first), Ok(()));
            assert_eq!(partial.append(&mut text, &[*last]), Err(Invalid), "{bytes:x?}");
        }
    }
}
