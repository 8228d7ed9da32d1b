//! JSON with a line for each value.

use serde::de::IgnoredAny;

/// What stands before a value, for each level.
const INDENT: &str = "  ";

/// The longest result, in bytes: deep nesting makes much of little.
const LONGEST: usize = 64 * 1024;

/// Returns JSON with line breaks and indents, its values as they were written. `None` if it is not JSON, or
/// would become too long.
pub(super) fn pretty(json: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut characters = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(INDENT));
    };
    while let Some(character) = characters.next() {
        if out.len() > LONGEST {
            return None;
        }
        if in_text {
            out.push(character);
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = character == '"';
                out.push(character);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_were_written() {
        for (json, expected) in [
            ("1.50e+400", "1.50e+400"),
            (" [ ] ", "[]"),
            ("{}", "{}"),
            ("[1,2]", "[\n  1,\n  2\n]"),
            (
                r#"{"a":[{},"{,:\"\\"] , "12345678901234567890123":null}"#,
                "{\n  \"a\": [\n    {},\n    \"{,:\\\"\\\\\"\n  ],\n  \"12345678901234567890123\": null\n}",
            ),
            ("\"😀 \\ud83d\\ude00\"", "\"😀 \\ud83d\\ude00\""),
        ] {
            assert_eq!(pretty(json).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_not_json_or_grows_too_much_stays_as_it_is() {
        for text in ["", "hello", "{", "[1,]", "{} {}", "'a'"] {
            assert_eq!(pretty(text), None, "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        assert!(pretty(&deep).is_some());
        let many = format!("{}{}1{}", "[".repeat(100), "1,".repeat(8000), "]".repeat(100));
        assert_eq!(pretty(&many), None);
    }
}
