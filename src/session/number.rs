//! Which numbers of a JSON text a [`Value`](serde_json::Value) can hold.

use alloc::string::ToString;

use serde_json::Number;

/// How many significant digits every 64-bit floating-point number preserves.
const KEPT_DIGITS: usize = f64::DIGITS as usize;

/// Returns whether all numbers of a JSON text can be read into values and written again without
/// losing a digit: integers of 64 bits, and what 64-bit floating point preserves.
pub(super) fn is_kept_by_value(json: &str) -> bool {
    let mut rest = json.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match first {
            b'"' => after_text(after),
            b'-' | b'0'..=b'9' => {
                let in_number = |byte: &u8| {
                    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
                };
                let length = rest.iter().take_while(|byte| in_number(byte)).count();
                let (number, after) = rest.split_at(length);
                let number = core::str::from_utf8(number).unwrap_or_default();
                if !is_kept(number) {
                    return false;
                }
                after
            }
            _ => after,
        };
    }
    true
}

/// Returns what follows a string whose opening quote was consumed.
fn after_text(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b'\\', _, after @ ..] => after,
            [b'"', after @ ..] => return after,
            [_, after @ ..] => after,
            [] => return rest,
        };
    }
}

fn is_kept(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let Ok(value) = number.parse::<f64>() else { return false };
    let signless = |number: &str| number.replace('+', "");
    let written = Number::from_f64(value).map(|value| signless(&value.to_string()));
    if written.is_some_and(|written| written == signless(number)) {
        return true;
    }
    let significand = digits.split(['e', 'E']).next().unwrap_or_default();
    let significant = significand.bytes().filter(u8::is_ascii_digit);
    let count = significant.clone().skip_while(|digit| *digit == b'0').count();
    let zero = significant.clone().all(|digit| digit == b'0');
    zero || count <= KEPT_DIGITS && value.is_normal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_a_value_holds_are_kept() {
        for kept in [
            "0",
            "-0",
            "18446744073709551615",
            "-9223372036854775808",
            "1.0",
            "1.50",
            "-0.0",
            "0e999999",
            "1E+2",
            "2.0546950501119882e-81",
            "5e-324",
            "1.7976931348623157e308",
            "123456789012345e10",
            r#""123456789012345678901234567890""#,
            r#"{"\"1234567890123456789012":[true,null,"\\",1]}"#,
            "",
        ] {
            assert!(is_kept_by_value(kept), "{kept}");
        }
        for lost in [
            "18446744073709551616",
            "-9223372036854775809",
            "100000000000000000000",
            "0.1000000000000000055",
            "1234567890.12345678901",
            "1e-400",
            "4e-324",
            "1e400",
            r#"["\\",18446744073709551616]"#,
            r#"{"a":{"b":18446744073709551616}}"#,
        ] {
            assert!(!is_kept_by_value(lost), "{lost}");
        }
    }
}
