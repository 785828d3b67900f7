//! Values that were judged lately and held nothing: what comes with nearly every request (names of parameters and keys, the browser's
//! name, what it accepts, the page that it comes from) is judged once.

use crate::bytes::part;
use crate::verdict::Place;

/// Values that were judged, in a table that never grows: a newer one takes the place of an older one.
#[derive(Default)]
pub struct CleanValues {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    place: u8,
    level: u8,
    length: u8,
    value: [u8; LONGEST],
}

/// Longer values are judged each time.
const LONGEST: usize = 189;
/// 96 KiB in all.
const SLOTS: usize = 512;

impl CleanValues {
    /// Whether values of such a place repeat from request to request. Of cookies and parameters, short ones do: what a session is
    /// called is no shorter than 16 signs.
    pub fn keeps(place: Place, value: &[u8]) -> bool {
        match place {
            Place::Name | Place::UserAgent | Place::Header | Place::Referer | Place::Path => value.len() <= LONGEST,
            Place::Cookie | Place::Query => value.len() < 16,
            _ => false,
        }
    }

    /// Whether this very value was found clean, by the rules of this level, in this place.
    pub fn holds(&self, place: Place, level: u8, value: &[u8]) -> bool {
        self.slots.get(slot_of(value)).is_some_and(|slot| {
            usize::from(slot.length) == value.len()
                && slot.place == place as u8
                && slot.level == level
                && part(&slot.value, 0, value.len()) == value
        })
    }

    /// Keeps a value that was found clean.
    pub fn keep(&mut self, place: Place, level: u8, value: &[u8]) {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot { place: 0, level: 0, length: 0, value: [0; LONGEST] });
        }
        if let Some(slot) = self.slots.get_mut(slot_of(value))
            && let Some(room) = slot.value.get_mut(..value.len())
        {
            room.copy_from_slice(value);
            (slot.place, slot.level, slot.length) = (place as u8, level, value.len() as u8);
        }
    }
}

/// Its own place in the table. Who finds values that share one makes the gateway judge them anew, and no more than that.
fn slot_of(value: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = value.len() as u64;
    for chunk in value.chunks(8) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash = (hash.rotate_left(29) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    (hash >> 55) as usize
}
