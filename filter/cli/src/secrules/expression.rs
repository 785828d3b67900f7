//! Expressions of PCRE in the syntax that payload rules have, where both mean the same.

use portcullis_payload::own::Pattern;

/// The same expression.
///
/// Engines differ in whether `^` and `$` also mean lines. Here they do where a match refuses, and do not where none refuses: both find more.
///
/// # Errors
/// It has no equal.
pub fn rewritten(source: &str, is_negated: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut is_anchored = false;
    let mut rest = source.chars().peekable();
    let mut class = None;
    let mut repeats = false;
    while let Some(next) = rest.next() {
        let after_repetition = std::mem::take(&mut repeats);
        match (next, class) {
            ('\\', _) => escape(rest.next(), class.is_some(), &mut out)?,
            (']', Some(length)) if length > 0 => {
                class = None;
                out.push(']');
                continue;
            }
            ('[', Some(_)) if matches!(rest.peek(), Some(':')) => out.push('['),
            ('[' | '&' | '~', Some(_)) => {
                out.push('\\');
                out.push(next);
            }
            (']', Some(_)) => out.push_str("\\]"),
            ('^' | '$', None) => {
                is_anchored = true;
                out.push(next);
            }
            ('[', None) => {
                out.push('[');
                out.extend(rest.next_if_eq(&'^'));
                class = Some(0);
                continue;
            }
            ('+', None) if after_repetition => return Err("a possessive repetition".to_owned()),
            ('*' | '+' | '?', None) => {
                repeats = true;
                out.push(next);
            }
            ('{', None) if !is_repetition(rest.clone()) => out.push_str("\\{"),
            ('}', None) => {
                // Behind a repetition `+` would be possessive; behind a bracket of its own it is not, and that is rare.
                repeats = true;
                out.push('}');
            }
            (char::REPLACEMENT_CHARACTER, _) => return Err("an expression that is no UTF-8".to_owned()),
            // Each byte for itself, in brackets too, as PCRE reads it.
            (other, _) if !other.is_ascii() => {
                let mut bytes = [0; 4];
                out.extend(other.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\x{byte:02x}")));
            }
            (other, _) => out.push(other),
        }
        // `[[:alpha:]]`: its inner bracket ends nothing.
        if next == '[' && class.is_some() && rest.peek() == Some(&':') {
            let mut last = ' ';
            for inner in rest.by_ref() {
                out.push(inner);
                if last == ':' && inner == ']' {
                    break;
                }
                last = inner;
            }
        }
        class = class.map(|length: usize| length + 1);
    }
    if is_anchored && !is_negated {
        out.insert_str(0, "(?m)");
    }
    Pattern::parse(&out).map_err(|error| format!("its expression: {error}"))?;
    Ok(out)
}

fn escape(escaped: Option<char>, in_class: bool, out: &mut String) -> Result<(), String> {
    match (escaped, in_class) {
        (None, _) => return Err("an expression that ends in a backslash".to_owned()),
        // Borders of words elsewhere.
        (Some(literal @ ('<' | '>')), _) => out.push(literal),
        (Some('b'), true) => out.push_str("\\x08"),
        (Some('v'), true) => out.push_str("\\n\\x0b\\x0c\\r\\x85"),
        (Some('v'), false) => out.push_str("[\\n\\x0b\\x0c\\r\\x85]"),
        (Some('h'), true) => out.push_str("\\t \\xa0"),
        (Some('h'), false) => out.push_str("[\\t \\xa0]"),
        // Properties, quoting, and what else means something of its own.
        (Some(letter), _) if letter.is_ascii_alphanumeric() && !"abBdDwWsSnrtfxAz".contains(letter) => {
            return Err(format!("an expression with \\{letter}"));
        }
        (Some(other), _) => {
            out.push('\\');
            out.push(other);
        }
    }
    Ok(())
}

/// Whether what stands behind a brace is `3}`, `3,}` or `3,4}`.
fn is_repetition(rest: impl Iterator<Item = char>) -> bool {
    let inside: String = rest.take(16).take_while(|&c| c != '}').collect();
    let (least, most) = inside.split_once(',').unwrap_or((&inside, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most) && inside.len() < 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_written_so() {
        for (theirs, ours) in [
            (r"a\<b", "a<b"),
            ("[[a]", r"[\[a]"),
            ("[[:alpha:]_]", "[[:alpha:]_]"),
            ("[]a]", r"[\]a]"),
            ("[^]a]", r"[^\]a]"),
            (r"[\b]", r"[\x08]"),
            ("{a}", r"\{a}"),
            ("a{,3}", r"a\{,3}"),
            ("a{2,3}", "a{2,3}"),
            ("^a$", "(?m)^a$"),
            (r"\^a\$", r"\^a\$"),
            ("[&&a]", r"[\&\&a]"),
            ("[é]é", r"[\xc3\xa9]\xc3\xa9"),
        ] {
            assert_eq!(rewritten(theirs, false).as_deref(), Ok(ours), "{theirs}");
        }
        assert_eq!(rewritten("^a$", true).as_deref(), Ok("^a$"));
        for without in [r"(?=a)", r"(a)\1", "a++", "a*+", r"\p{L}", r"\Qa\E", "\u{fffd}", r"a\", "(?>a)", "a{2}+"] {
            assert!(rewritten(without, false).is_err(), "{without}");
        }
    }
}
