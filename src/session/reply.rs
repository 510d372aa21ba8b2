//! Which message answers a heartbeat.

use super::config::ReplyMatch;
use super::io::Data;

/// A longer text is never taken for the answer to a heartbeat, so it is not parsed.
const JSON_REPLY_MAX: usize = 4 * 1024;

impl ReplyMatch {
    /// True when this message is the answer.
    pub(super) fn matches(&self, Data { is_text, payload }: Data<'_>) -> bool {
        match self {
            Self::Text { text } => is_text && text.as_bytes() == payload,
            Self::Binary { bytes } => !is_text && bytes == payload,
            Self::Prefix { prefix } => is_text && payload.starts_with(prefix.as_bytes()),
            Self::JsonField { name, value } => {
                is_text
                    && payload.len() <= JSON_REPLY_MAX
                    && may_have_field(payload, name)
                    && has_field(payload, name, value.as_deref())
            }
        }
    }
}

/// False when no object in this JSON text can have a field of this name. Every message that
/// arrives is checked while the session is locked, and searching costs a small part of what
/// parsing costs.
fn may_have_field(text: &[u8], name: &str) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    if text.contains(name) {
        return true;
    }
    // JSON may write any character of the name as `\u` and four digits (RFC 8259, 7), and
    // these as a backslash and one more character.
    let is_special = |c: char| c.is_control() || matches!(c, '"' | '\\' | '/');
    text.contains(if name.contains(is_special) { "\\" } else { "\\u" })
}

fn has_field(text: &[u8], name: &str, value: Option<&str>) -> bool {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(text) else { return false };
    match (object.get(name), value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(serde_json::Value::String(found)), Some(wanted)) => found == wanted,
        (Some(found), Some(wanted)) => {
            let found = found.to_string();
            found == wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_only_when_the_field_may_be_in_it() {
        let busy = br#"{"type":"news","text":"two\nlines","at":[1,2,3]}"#;
        assert!(!may_have_field(busy, "pong"), "neither the name nor a way to write it");
        assert!(!may_have_field(b"", "pong"));
        assert!(may_have_field(busy, "at"));
        assert!(may_have_field(br#"{"news":"pong"}"#, "pong"), "parsing settles this one");
    }

    #[test]
    fn a_name_is_found_however_json_writes_it() {
        let field = |name: &str| ReplyMatch::JsonField { name: name.to_owned(), value: None };
        for (name, text) in [
            ("pong", r#"{"\u0070ong":1}"#),
            ("心跳", r#"{"\u5fc3\u8df3":1}"#),
            ("心跳", r#"{"心跳":1}"#),
            ("a/b", r#"{"a\/b":1}"#),
            ("a/b", r#"{"a/b":1}"#),
            (r#"say "hi""#, r#"{"say \"hi\"":1}"#),
            (r"a\b", r#"{"a\\b":1}"#),
            ("two\nlines", r#"{"two\nlines":1}"#),
            ("", r#"{"":1}"#),
        ] {
            assert!(
                field(name).matches(Data { is_text: true, payload: text.as_bytes() }),
                "{text}"
            );
        }
    }
}
