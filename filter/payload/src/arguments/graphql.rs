//! Documents of GraphQL: the document as one value, and each string in it as an argument of its own, by the name it is given to.
//! On the way it is counted what makes a document expensive.

use crate::bytes::{at, contains, part, rest};
use crate::own::Kind;
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::Values;
use super::json;

/// What a document costs whoever answers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// How deep its selections are nested.
    pub depth: usize,
    /// Fields that get another name.
    pub aliases: usize,
    /// Directives.
    pub directives: usize,
}

/// From how much on a document is abuse, whoever it comes from, and from how much on where a policy asks for level 2.
const DEPTHS: (usize, usize) = (20, 12);
const ALIASES: (usize, usize) = (100, 15);
const DIRECTIVES: (usize, usize) = (50, 10);
const DOCUMENTS: (usize, usize) = (25, 10);

/// Whether a text is a document, by how it begins.
pub fn is_document(text: &[u8]) -> bool {
    let text = blanks(text);
    if let Some(inner) = text.strip_prefix(b"{") {
        let inner = blanks(inner);
        return inner.starts_with(b"...") || at(inner, 0).is_ascii_alphabetic() || at(inner, 0) == b'_';
    }
    let word = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let after = rest(text, word);
    let is_next = |known: &[u8]| known.contains(&at(blanks(after), 0)) && contains(after, b"{");
    match part(text, 0, word) {
        b"query" | b"mutation" | b"subscription" => {
            let named = blanks(after);
            let name = named.iter().take_while(|b| is_name(**b)).count();
            is_next(b"{(@") || (name > 0 && b"{(@".contains(&at(blanks(rest(named, name)), 0)))
        }
        b"fragment" => contains(part(after, 0, 256), b" on ") && contains(after, b"{"),
        _ => false,
    }
}

/// Hands on the strings of a document, and notes what it costs. The document itself is one value of its place already.
pub fn inspect(text: &[u8], source: Source<'_>, values: &mut Values<'_, '_>) {
    let mut cost = Cost::default();
    let (mut braces, mut parens) = (0usize, 0usize);
    let mut argument: &[u8] = b"";
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        match byte {
            b'#' => i += rest(text, i).iter().position(|&b| b == b'\n').unwrap_or(text.len()),
            b'"' => {
                let mut string = Vec::new();
                i += string_at(rest(text, i), &mut string);
                values.own(Kind::Json, argument, &string);
                values.give(Place::Json, argument, &string);
                continue;
            }
            b'(' | b'[' => parens += 1,
            b')' | b']' => parens = parens.saturating_sub(1),
            b'{' if parens == 0 => {
                braces += 1;
                cost.depth = cost.depth.max(braces);
            }
            b'}' if parens == 0 => braces = braces.saturating_sub(1),
            b'@' => cost.directives += 1,
            _ if is_name(byte) => {
                let end = i + rest(text, i).iter().take_while(|b| is_name(**b)).count();
                if at(blanks(rest(text, end)), 0) == b':' {
                    argument = part(text, i, end);
                    cost.aliases += usize::from(parens == 0);
                }
                i = end;
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    judge(cost, source, values);
}

fn judge(cost: Cost, source: Source<'_>, values: &mut Values<'_, '_>) {
    let signs = [
        (cost.depth, DEPTHS, id::GRAPHQL_DEPTH, id::GRAPHQL_DEEP),
        (cost.aliases, ALIASES, id::GRAPHQL_ALIASES, id::GRAPHQL_MANY_ALIASES),
        (cost.directives, DIRECTIVES, id::GRAPHQL_DIRECTIVES, id::GRAPHQL_MANY_DIRECTIVES),
    ];
    for (seen, most, rule, strict) in signs {
        over(seen, most, (rule, strict), source, values);
    }
}

/// Notes how many documents came in one request.
pub fn judge_batch(documents: usize, values: &mut Values<'_, '_>) {
    let source = Source { place: Place::Json, name: b"query" };
    over(documents, DOCUMENTS, (id::GRAPHQL_BATCH, id::GRAPHQL_MANY_DOCUMENTS), source, values);
}

fn over(
    seen: usize,
    (most, strict): (usize, usize),
    rules: (crate::RuleId, crate::RuleId),
    source: Source<'_>,
    values: &mut Values<'_, '_>,
) {
    if seen > most {
        values.inspection.note(rules.0, source, format!("{seen}").as_bytes());
    } else if seen > strict {
        values.inspection.note(rules.1, source, format!("{seen}").as_bytes());
    }
}

/// Writes the string that `text` starts with; gives its length. A block string ends with three quotes and has no escapes but those.
fn string_at(text: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(block) = text.strip_prefix(b"\"\"\"") else { return 1 + json::unescape(rest(text, 1), b'"', out) };
    out.clear();
    let mut i = 0;
    while i < block.len() {
        let tail = rest(block, i);
        if tail.starts_with(b"\\\"\"\"") {
            out.extend_from_slice(b"\"\"\"");
            i += 4;
        } else if tail.starts_with(b"\"\"\"") {
            return 3 + i + 3;
        } else {
            out.push(at(block, i));
            i += 1;
        }
    }
    text.len()
}

/// The text behind what GraphQL skips: blanks, commas, comments.
fn blanks(text: &[u8]) -> &[u8] {
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => i += 1,
            b'#' => i += rest(text, i).iter().position(|&b| b == b'\n').unwrap_or(text.len()),
            _ => break,
        }
    }
    rest(text, i)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_known_by_its_beginning() {
        for text in [
            "{user{name}}",
            " # a\n query Q($id: ID!) {user(id: $id) {name}}",
            "query{a}",
            "query @a {a}",
            "mutation M{a}",
            "subscription{a}",
            "fragment F on User {name}",
            "{...F}",
            "query Q @live { a }",
        ] {
            assert!(is_document(text.as_bytes()), "{text}");
        }
        for text in [
            "query",
            "query the users",
            "queries {a}",
            "{}",
            "{\"a\": 1}",
            "[a]",
            "a{b}",
            "",
            "select a",
            "mutations are {x}",
            "fragment of a text",
            "query language",
            "{ 7 }",
        ] {
            assert!(!is_document(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn strings_are_read_as_the_language_says() {
        let mut out = Vec::new();
        for (text, read, length) in [
            (r#""a\u0041\"b" c"#, "aA\"b", 12),
            (r#""""a "b" \""" \u0041""" c"#, "a \"b\" \"\"\" \\u0041", 23),
            (r#""open"#, "open", 5),
            (r#""""open"#, "open", 7),
            (r#""" c"#, "", 2),
        ] {
            assert_eq!((string_at(text.as_bytes(), &mut out), &*out), (length, read.as_bytes()), "{text}");
        }
    }
}
