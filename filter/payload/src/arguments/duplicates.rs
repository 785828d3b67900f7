//! Parameters that are named more than once, joined as servers join them: with a comma (ASP and many others), or with nothing between.
//! An attack that is cut in two shows itself only there.

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
struct Group {
    hash: u64,
    place: Place,
    name: Vec<u8>,
    values: Vec<Vec<u8>>,
}

/// Judges the values of each name that stands more than once in `parts`, and at least once behind the first `earlier` of them, which were
/// judged before.
pub fn inspect(parts: &[Part<'_>], earlier: usize, values: &mut Values<'_, '_>) {
    let repeated = repeated(parts, earlier);
    if repeated.is_empty() || values.count > MOST {
        return;
    }
    let mut groups: Vec<Group> = repeated
        .into_iter()
        .map(|hash| Group { hash, place: Place::Query, name: Vec::new(), values: Vec::new() })
        .collect();
    for part in parts {
        part.each(|place, name, value| {
            let Ok(index) = groups.binary_search_by_key(&hash(name), |group| group.hash) else { return };
            let Some(group) = groups.get_mut(index) else { return };
            if group.values.is_empty() {
                (group.place, group.name) = (place, name.to_vec());
            }
            group.values.push(value.to_vec());
        });
    }
    for group in groups {
        let source = Source { place: group.place, name: &group.name };
        if !values.inspection.known().has(group.place, &group.name) {
            values.inspection.joined(source, &group.values);
        }
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
