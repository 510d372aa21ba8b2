//! Standard input, line by line. It is read on a thread of its own, because reading it cannot be
//! interrupted.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use wxsocket::Message;

/// The longest line, in bytes, so that a stream without line ends does not fill the memory. It is
/// longer than any message that the engine accepts (16 MiB), even in hex with spaces.
const MAX_LINE: u64 = 64 << 20;

/// What was read from standard input.
pub(crate) enum Line {
    /// A message to send.
    Message(Message),
    /// A line that cannot be sent, and why. The next line is read nevertheless.
    Bad(String),
    /// The end of the input.
    End,
}

/// Input that notes whether what was read last ends within a line.
struct Watched<'a, R> {
    input: R,
    unfinished: &'a AtomicBool,
}

impl<R: BufRead> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Watched<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let filled = self.input.fill_buf()?;
        if let Some(last) = filled.last() {
            self.unfinished.store(*last != b'\n', Ordering::SeqCst);
        }
        Ok(filled)
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }
}

/// Calls `take` with each line, and with `Line::End` at the end. Stops when `take` returns false.
/// While `take` blocks, nothing is read. `unfinished` is true when the input has stopped within a
/// line.
pub(crate) fn read(
    input: impl BufRead,
    binary_hex: bool,
    unfinished: &AtomicBool,
    mut take: impl FnMut(Line) -> bool,
) {
    let mut input = Watched { input, unfinished };
    let mut number = 0_u64;
    loop {
        number += 1;
        let bad = |why: String| Line::Bad(format!("line {number}: {why}"));
        let line = match next(&mut input) {
            Ok(None) => {
                // The last line needs no line end, so it is not unfinished.
                unfinished.store(false, Ordering::SeqCst);
                break;
            }
            Ok(Some(Ok(line))) => parse(line, binary_hex).map_or_else(bad, Line::Message),
            Ok(Some(Err(TooLong))) => bad(format!("longer than {} MiB, not sent", MAX_LINE >> 20)),
            Err(error) => {
                take(Line::Bad(format!("cannot read standard input: {error}")));
                break;
            }
        };
        if !take(line) {
            return;
        }
    }
    take(Line::End);
}

struct TooLong;

/// Returns the next line without its end, which is LF or CR LF. `None` means the end of the input.
fn next(input: &mut impl BufRead) -> io::Result<Option<Result<Vec<u8>, TooLong>>> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    } else if line.len() as u64 == MAX_LINE {
        input.skip_until(b'\n')?;
        return Ok(Some(Err(TooLong)));
    }
    Ok(Some(Ok(line)))
}

fn parse(line: Vec<u8>, binary_hex: bool) -> Result<Message, String> {
    if binary_hex {
        return unhex(&line).map(Message::binary);
    }
    String::from_utf8(line).map(Message::text).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        format!("not valid UTF-8 at byte {at}, not sent (--binary-hex sends bytes)")
    })
}

fn unhex(line: &[u8]) -> Result<Vec<u8>, String> {
    let mut digits = Vec::with_capacity(line.len());
    for (at, byte) in line.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        let digit = char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digits.push(digit.ok_or_else(|| {
            format!("{:?} at column {} is no hex digit, not sent", char::from(*byte), at + 1)
        })?);
    }
    match digits.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect()),
        _ => Err("an odd number of hex digits, not sent".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], binary_hex: bool) -> Vec<Result<Message, String>> {
        let mut lines = Vec::new();
        let mut ended = false;
        let unfinished = AtomicBool::new(false);
        read(input, binary_hex, &unfinished, |line| {
            assert!(!ended);
            match line {
                Line::Message(message) => lines.push(Ok(message)),
                Line::Bad(why) => lines.push(Err(why)),
                Line::End => ended = true,
            }
            true
        });
        assert!(ended && !unfinished.into_inner());
        lines
    }

    #[test]
    fn line_ends_are_cut_and_nothing_else() {
        let lines = all(b"a\n\n b \r\nc\rd\r\r\nlast", false);
        let expected = ["a", "", " b ", "c\rd\r", "last"];
        assert_eq!(lines, expected.map(|line| Ok(Message::text(line))));
        assert_eq!(all(b"", false), []);
    }

    #[test]
    fn bad_lines_are_told_and_skipped() {
        let lines = all(b"\xff\nok\n", false);
        assert!(matches!(&lines[0], Err(why) if why.starts_with("line 1: not valid UTF-8")));
        assert_eq!(lines[1], Ok(Message::text("ok")));
    }

    #[test]
    fn hex_becomes_bytes() {
        let lines = all(b"00 fF\n\nabc\nxy\n", true);
        assert_eq!(lines[0], Ok(Message::binary(vec![0, 255])));
        assert_eq!(lines[1], Ok(Message::binary(vec![])));
        assert_eq!(lines[2], Err("line 3: an odd number of hex digits, not sent".to_owned()));
        assert!(matches!(&lines[3], Err(why) if why.contains("'x' at column 1")));
    }

    #[test]
    fn endless_lines_are_skipped() {
        let mut input = vec![b'x'; usize::try_from(MAX_LINE).expect("fits") + 10];
        input.extend(b"\nok\n");
        let lines = all(&input, false);
        assert!(lines[0].is_err());
        assert_eq!(lines[1..], [Ok(Message::text("ok"))]);
    }
}
