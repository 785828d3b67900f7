//! Parameters that are named more than once, joined as servers join them: with a comma, or with nothing between.
//! An attack that is cut in two shows itself only there.

use crate::own::Kind;
use crate::scanner::Inspection;
use crate::verdict::{Place, Source};

use super::{MOST, Values, pairs};

/// Where named values stand.
pub enum Part<'a> {
    /// Pairs of a query, a form or a cookie.
    Pairs(Place, &'a [u8]),
    /// The fields of a multipart body, by name and value.
    Fields(&'a [(&'a [u8], &'a [u8])]),
}

/// Values of one name, in the order in which they came.
pub struct Group {
    hash: u64,
    /// Where each stands.
    places: Vec<Place>,
    /// How each is written.
    names: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

/// The values of each name that stands more than once in `parts`, and at least once behind the first `earlier` of them, which were
/// judged before.
pub fn groups(parts: &[Part<'_>], earlier: usize) -> Vec<Group> {
    let repeated = repeated(parts, earlier).into_iter();
    let mut groups: Vec<Group> =
        repeated.map(|hash| Group { hash, places: Vec::new(), names: Vec::new(), values: Vec::new() }).collect();
    if groups.is_empty() {
        return groups;
    }
    for part in parts {
        part.each(|place, name, value| {
            let Ok(index) = groups.binary_search_by_key(&hash(name), |group| group.hash) else { return };
            let Some(group) = groups.get_mut(index) else { return };
            group.places.push(place);
            group.names.push(name.to_vec());
            group.values.push(value.to_vec());
        });
    }
    groups
}

/// Asks the built-in rules about the values of each group together, but those that are known to hold no attack: each by its own name, for
/// a schema that knows `id` says nothing of `ID`.
pub fn inspect(groups: &[Group], values: &mut Values<'_, '_>) {
    if values.count > MOST {
        return;
    }
    let known = values.inspection.known();
    for group in groups {
        let members = group.places.iter().zip(&group.names).zip(&group.values);
        let judged: Vec<_> = members.filter(|((place, name), _)| !known.has(**place, name)).collect();
        if let [((place, name), _), _, ..] = *judged {
            let together: Vec<Vec<u8>> = judged.iter().map(|(_, value)| (*value).clone()).collect();
            values.inspection.joined(Source { place: *place, name }, &together);
        }
    }
}

/// Asks an operator's rules about the values of each group together: about those of one place, for rules that look only there, then about
/// all of them.
pub fn ask_own(groups: &[Group], inspection: &mut Inspection<'_>) {
    if inspection.settings().own.is_empty() {
        return;
    }
    for group in groups {
        let name = group.names.first().map_or(&b""[..], Vec::as_slice);
        let mut kinds: Vec<Kind> = Vec::new();
        for kind in group.places.iter().filter_map(|place| kind(*place)) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if kinds.len() > 1 {
            for one in &kinds {
                let there = group.places.iter().zip(&group.values).filter(|(place, _)| kind(**place) == Some(*one));
                let there: Vec<Vec<u8>> = there.map(|(_, value)| value.clone()).collect();
                if there.len() > 1 {
                    inspection.own_joined(&[*one], name, &there);
                }
            }
        }
        inspection.own_joined(&kinds, name, &group.values);
    }
}

/// What values of a place are to an operator's rules.
fn kind(place: Place) -> Option<Kind> {
    match place {
        Place::Query => Some(Kind::Query),
        Place::Form => Some(Kind::Form),
        Place::Multipart => Some(Kind::Multipart),
        Place::Cookie => Some(Kind::Cookie),
        _ => None,
    }
}

/// The names, as hashes in ascending order.
fn repeated(parts: &[Part<'_>], earlier: usize) -> Vec<u64> {
    let mut names: Vec<(u64, bool)> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        part.each_name(|name| names.push((hash(name), number >= earlier)));
    }
    names.sort_unstable();
    let same = names.chunk_by(|(one, _), (other, _)| one == other);
    same.filter(|group| group.len() > 1 && group.iter().any(|(_, is_new)| *is_new))
        .filter_map(|group| group.first().map(|(hash, _)| *hash))
        .collect()
}

/// FNV-1a, without regard to case: some servers have none in names. Two names of one hash are joined for nothing, no more.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Part<'_> {
    fn each(&self, mut each: impl FnMut(Place, &[u8], &[u8])) {
        match *self {
            Self::Pairs(place, text) => {
                pairs::each(text, separator(place), place != Place::Cookie, |name, value| each(place, name, value));
            }
            Self::Fields(fields) => fields.iter().for_each(|(name, value)| each(Place::Multipart, name, value)),
        }
    }

    fn each_name(&self, mut each: impl FnMut(&[u8])) {
        match *self {
            Self::Pairs(place, text) => {
                pairs::each_name(text, separator(place), place != Place::Cookie, |name| each(name));
            }
            Self::Fields(fields) => fields.iter().for_each(|(name, _)| each(name)),
        }
    }
}

fn separator(place: Place) -> u8 {
    if place == Place::Cookie { b';' } else { b'&' }
}
