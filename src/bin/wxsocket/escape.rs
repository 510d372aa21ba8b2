//! Text of the other side, fit for a terminal: a server must not move the cursor, rename the
//! window, begin a line of its own or turn the direction of writing, and not fill the screen.

/// The longest piece of such text in a line of the timeline, in characters.
const MAX_SHOWN: usize = 200;

/// The beginning of a text, and its size if that is not all.
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

/// All of a text, in one line.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown
}

fn push(shown: &mut String, c: char) {
    if is_acted_upon(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
}

/// Whether a terminal does something with a character instead of showing it: controls, line and
/// paragraph separators, and what the bidirectional algorithm obeys (Unicode Standard Annex 9, 2).
fn is_acted_upon(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn the_direction_of_writing_stays() {
        for c in ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{200f}', '\u{61c}', '\u{2028}']
        {
            let text = format!("a{c}b");
            let escaped = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(printable(&text), escaped);
            assert_eq!(visible(&text), escaped);
            assert_eq!(quoted(&text), format!("\"{escaped}\""));
        }
    }
}
