//! Foreign texts in a form for logs.

/// Returns the beginning of a text: at most `most` characters, with unprintable ones escaped.
pub(super) fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            _ if index == most => {
                shown.push_str("...");
                break;
            }
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_escaped() {
        assert_eq!(shown("it's \"\\\" ü", 100), "it's \"\\\" ü");
        assert_eq!(shown("\u{1b}[2J\u{202e}\n", 100), "\\u{1b}[2J\\u{202e}\\n");
        assert_eq!(shown("äöü", 3), "äöü");
        assert_eq!(shown("äöüß", 3), "äöü...");
    }
}
