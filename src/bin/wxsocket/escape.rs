//! Makes text of the peer safe for a terminal. A peer must not move the cursor, rename the window,
//! begin a line of its own (not even where the terminal wraps a long one), change the direction of
//! writing or hide a part of its text.

/// How many characters of such text a line of the timeline shows at most.
const MAX_SHOWN: usize = 200;

/// Returns the beginning of a text, and its size if that is not all of it.
pub(crate) fn visible(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", printable(&text[..end]), text.len()),
        None => printable(text),
    }
}

/// As [`visible`], between quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    let quote = |text: &str| {
        let mut shown = String::from('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                shown.push('\\');
            }
            push(&mut shown, c);
        }
        shown.push('"');
        shown
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", quote(&text[..end]), text.len()),
        None => quote(text),
    }
}

/// Returns all of a text in one line.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown
}

fn push(shown: &mut String, c: char) {
    if is_acted_upon(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
}

/// Returns true when a terminal acts upon a character instead of showing it: controls, line and
/// paragraph separators, what the bidirectional algorithm obeys (Unicode Standard Annex 9, 2), and
/// what takes no room or looks like a space. The joiners U+200C and U+200D are not among them,
/// because scripts and emoji need them.
pub(crate) fn is_acted_upon(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}'
            | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The beginning of each further row of a long line. No line of the program begins with it.
const CONTINUED: &str = "… ";

/// The smallest width of a row, in columns.
const MIN_ROW: usize = 10;

/// Returns how many columns a character takes at most. A character outside ASCII may take two.
pub(crate) fn width(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

/// Splits a text into rows that fit `columns`. The first row has `used` columns already. So the
/// terminal never wraps the text itself, which it would do without a mark.
pub(crate) fn rows(text: &str, used: usize, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    // The last column stays free: some terminals wrap as soon as it is written.
    let room = columns.saturating_sub(1).max(MIN_ROW);
    let mut shown = String::with_capacity(text.len());
    let mut at = used;
    for c in text.chars() {
        if at + width(c) > room {
            shown.push('\n');
            shown.push_str(CONTINUED);
            at = CONTINUED.chars().map(width).sum();
        }
        shown.push(c);
        at += width(c);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_escaped_once() {
        assert_eq!(quoted("a\rb\u{1b}\"c\\中"), r#""a\rb\u{1b}\"c\\中""#);
        let long = "x".repeat(5_000);
        assert!(quoted(&long).ends_with("x\"… (5000 bytes)"));
    }

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(visible("中文"), "中文");
        assert_eq!(printable("a\u{85}b\u{9b}"), "a\\u{85}b\\u{9b}");
        let long = "x".repeat(5_000);
        assert!(visible(&long).ends_with("… (5000 bytes)"));
        assert_eq!(printable(&long), long);
    }

    #[test]
    fn what_takes_no_room_is_shown() {
        for c in "\u{200b}\u{2060}\u{feff}\u{ad}\u{180e}\u{3164}\u{e0001}\u{e0041}".chars() {
            let escaped = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(printable(&format!("a{c}b")), escaped);
        }
        assert_eq!(printable("👩\u{200d}🚀"), "👩\u{200d}🚀");
    }

    #[test]
    fn every_row_after_the_first_is_marked() {
        assert_eq!(rows("short", 2, Some(20)), "short");
        assert_eq!(rows(&"x".repeat(50), 2, None), "x".repeat(50));
        for columns in [1, 11, 20, 80] {
            let text = rows(&"ab中".repeat(100), 23, Some(columns));
            for row in text.lines().skip(1) {
                assert!(row.starts_with("… "), "{row}");
                let wide: usize = row.chars().map(width).sum();
                assert!(wide < columns.max(11), "{columns}: {row}");
            }
            assert_eq!(text.replace("\n… ", ""), "ab中".repeat(100));
        }
    }

    #[test]
    fn the_direction_of_writing_stays() {
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}\u{2028}".chars() {
            let text = format!("a{c}b");
            let escaped = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(printable(&text), escaped);
            assert_eq!(visible(&text), escaped);
            assert_eq!(quoted(&text), format!("\"{escaped}\""));
        }
    }
}
