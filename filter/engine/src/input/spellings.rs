//! Names that a service takes for a declared one: readers of queries and forms fold capitals (ASP.NET), blanks, dots and brackets (PHP, qs),
//! cut at a NUL, or part pairs at `;` too (older Python and Rack).

use portcullis_payload::arguments::percent_decoded;

/// The declared names, as services fold them: made once, when the configuration is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spellings(Vec<Vec<u8>>);

/// Why such a name is refused.
pub const IN_ANOTHER_SPELLING: &str = "in another spelling";

/// What stands between the steps of a folded name: `a[b]` has two.
const STEP: u8 = 0;

impl Spellings {
    /// Those of the declared names.
    pub fn of<'n>(declared: impl Iterator<Item = &'n str>) -> Self {
        Self(declared.map(|name| folded(name.as_bytes())).collect())
    }

    /// Which declared name some reader takes a name for, that is none itself.
    pub fn number(&self, name: &[u8]) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let (whole, steps) = (flat(name), folded(name));
        self.0.iter().position(|known| *known == whole || reaches(known, &steps) || reaches(&steps, known))
    }

    /// Which declared name stands behind a `;` in a query or a form.
    pub fn behind_semicolon(&self, text: &[u8]) -> Option<usize> {
        let pairs = text.split(|byte| *byte == b'&');
        let behind = pairs.flat_map(|pair| pair.split(|byte| *byte == b';').skip(1));
        behind
            .filter_map(|piece| piece.split(|byte| *byte == b'=').next().filter(|name| !name.is_empty()))
            .find_map(|name| self.number(&percent_decoded(name, true)))
    }
}

/// Whether one folded name is another, or the beginning of its steps: `a` is all of `a[b]`.
fn reaches(short: &[u8], long: &[u8]) -> bool {
    long.strip_prefix(short).is_some_and(|more| matches!(more.first(), None | Some(&STEP)))
}

/// A name up to a NUL, without blanks around it, in lower case.
fn plain(name: &[u8]) -> Vec<u8> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    name.trim_ascii().to_ascii_lowercase()
}

/// A name as PHP writes it where its bracket is never closed.
fn flat(name: &[u8]) -> Vec<u8> {
    plain(name).into_iter().map(|byte| if matches!(byte, b'.' | b' ' | b'[') { b'_' } else { byte }).collect()
}

/// The steps of a name: what stands before its brackets, then what stands in each, up to empty ones, which are lists.
fn folded(name: &[u8]) -> Vec<u8> {
    let name = plain(name);
    let mut pieces = name.split(|byte| *byte == b'[');
    let first = pieces.next().unwrap_or_default().trim_ascii();
    let mut steps: Vec<u8> = first.iter().map(|byte| if matches!(byte, b'.' | b' ') { b'_' } else { *byte }).collect();
    for piece in pieces {
        let inner = piece.split(|byte| *byte == b']').next().unwrap_or_default().trim_ascii();
        if inner.is_empty() {
            break;
        }
        steps.push(STEP);
        steps.extend_from_slice(inner);
    }
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spellings() -> Spellings {
        Spellings::of(["count", "cou_nt", "ids[]", "user[name]", "user[mail]"].into_iter())
    }

    #[test]
    fn another_spelling_is_seen() {
        for (name, number) in [
            ("Count", 0),
            ("count[]", 0),
            ("count[0]", 0),
            ("count[a][b]", 0),
            ("count[", 0),
            (" count", 0),
            ("count\t", 0),
            ("count\0x", 0),
            ("cou.nt", 1),
            ("cou nt", 1),
            ("COU[nt", 1),
            ("ids", 2),
            ("ids[0]", 2),
            ("IDS[]", 2),
            ("user", 3),
            ("User[name]", 3),
            ("user[name][]", 3),
            ("user[ name ]", 3),
            ("user[]", 3),
            ("user[MAIL]", 4),
        ] {
            assert_eq!(spellings().number(name.as_bytes()), Some(number), "{name:?}");
        }
    }

    #[test]
    fn other_names_are_other_names() {
        for name in
            ["", "co", "counts", "count_", "countx[]", "x[count]", "user[age]", "username", "ids_", "cou-nt", "\0count"]
        {
            assert_eq!(spellings().number(name.as_bytes()), None, "{name:?}");
        }
    }

    #[test]
    fn a_semicolon_parts_pairs_to_some() {
        for (text, number) in [
            ("note=a;count=x", Some(0)),
            ("note=a;%63ount", Some(0)),
            ("a=1&note=a;b;Count[]=x&c=2", Some(0)),
            ("count=1&note=a;b", None),
            ("count=1;", None),
            ("note=a%3Bcount=x", None),
            ("note=;counts=1", None),
        ] {
            assert_eq!(spellings().behind_semicolon(text.as_bytes()), number, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_declared_name_is_its_own_spelling(name in "[a-zA-Z._ \\[\\]]{1,12}") {
            prop_assert_eq!(Spellings::of([name.as_str()].into_iter()).number(name.as_bytes()), Some(0));
        }
    }
}
