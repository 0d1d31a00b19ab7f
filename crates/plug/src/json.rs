//! The little JSON that is written and read here without the daemon.

use std::fmt::Write;

/// A text as a JSON string, with its quotes.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            // Control characters, and those that a terminal would act on.
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                write!(quoted, "\\u{:04x}", c as u32).expect("a String takes everything");
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The value of a member of the outermost object, if it is a string without escapes.
pub(crate) fn member<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    let text = quoted(value(json, name)?.strip_prefix(b"\"")?)?;
    std::str::from_utf8(text).ok().filter(|text| !text.contains('\\'))
}

/// What a member of the outermost object begins with. If there are several of the name, the last one counts, as it does
/// for the daemon.
fn value<'a>(json: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (mut at, mut depth, mut found) = (0, 0_usize, None);
    while let Some(byte) = json.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let text = quoted(&json[at + 1..])?;
                at += text.len() + 1;
                let value = after_colon(&json[at + 1..]);
                if let (1, Some(value)) = (depth, value.filter(|_| text == name.as_bytes())) {
                    found = Some(value);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The value of a member of the outermost object, if it is an object that is complete.
pub(crate) fn object<'a>(json: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = value(json, name)?;
    let (mut at, mut depth) = (0, 0_usize);
    if value.first() != Some(&b'{') {
        return None;
    }
    loop {
        match value.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => at += quoted(&value[at + 1..])?.len() + 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(&value[..at]);
        }
    }
}

/// What is in quotes, from after the opening quote on.
fn quoted(json: &[u8]) -> Option<&[u8]> {
    let mut escaped = false;
    let end = json.iter().position(|byte| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    })?;
    Some(&json[..end])
}

/// What follows the colon after a member's name.
fn after_colon(json: &[u8]) -> Option<&[u8]> {
    Some(json.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_quoted_and_escaped() {
        for (text, quoted) in [
            ("", r#""""#),
            ("plain, wörtlich 🚢", r#""plain, wörtlich 🚢""#),
            (r#"a "b" \c"#, r#""a \"b\" \\c""#),
            ("a\nb\tc\x1b[31m\0\x7f\u{9b}", r#""a\nb\u0009c\u001b[31m\u0000\u007f\u009b""#),
        ] {
            assert_eq!(string(text), quoted);
        }
    }

    #[test]
    fn a_member_of_the_outermost_object_is_found_and_no_other() {
        for (json, found) in [
            (r#"{"cniVersion":"1.0.0"}"#, Some("1.0.0")),
            ("\n{ \"name\" : \"lan\",\t\"cniVersion\"\n:  \"0.4.0\" }", Some("0.4.0")),
            (r#"{"prevResult":{"cniVersion":"0.3.1"},"cniVersion":"1.1.0"}"#, Some("1.1.0")),
            (r#"{"plugins":[{"cniVersion":"0.3.1"}]}"#, None),
            (r#"{"a":"\"cniVersion\":\"0.3.1\"","b":"cniVersion","cniVersion":"1.1.0"}"#, Some("1.1.0")),
            (r#"{"a":"cniVersion","b":"1"}"#, None),
            (r#"{"cniVersion":1}"#, None),
            (r#"{"cniVersion":null}"#, None),
            (r#"{"cniVersion":"1\u002e0"}"#, None),
            (r#"{"cniVersion":"1.0"#, None),
            (r#"{"cniVersion":"#, None),
            (r#"{"cniVersion"#, None),
            (r#""cniVersion":"1.0.0""#, None),
            ("}]", None),
            ("", None),
        ] {
            assert_eq!(member(json.as_bytes(), "cniVersion"), found, "{json}");
        }
        assert_eq!(member(b"{\"cniVersion\":\"\xff\"}", "cniVersion"), None);
    }

    #[test]
    fn an_object_ends_where_it_began() {
        for (json, found) in [
            (r#"{"ipam":{"type":"static"},"x":1}"#, Some(r#"{"type":"static"}"#)),
            (r#"{"ipam" : {"a":{"b":["}",{}]}} }"#, Some(r#"{"a":{"b":["}",{}]}}"#)),
            (r#"{"ipam":{"a":1},"ipam":{"a":2}}"#, Some(r#"{"a":2}"#)),
            (r#"{"ipam":[{}]}"#, None),
            (r#"{"ipam":{"a":"}"#, None),
            (r#"{"ipam":{]}"#, Some("{]")),
            (r#"{"ipam":"#, None),
            (r#"{"a":{"ipam":{}}}"#, None),
        ] {
            assert_eq!(object(json.as_bytes(), "ipam"), found.map(str::as_bytes), "{json}");
        }
    }
}
