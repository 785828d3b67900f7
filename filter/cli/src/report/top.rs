//! The most frequent of very many, in bounded memory.

use std::collections::HashMap;

/// How many keys are counted at the same time.
pub const CAPACITY: usize = 4096;

/// Counts by key, for the largest of them.
///
/// Where there are more keys than room, the rarer half is given up and its counts go to the rest: who comes up again and again
/// stays, whatever crowd is around.
#[derive(Debug, Default)]
pub struct Top<V> {
    counts: HashMap<String, (u64, V)>,
    /// What was counted of keys that were given up.
    pub rest: u64,
}

impl<V: Default> Top<V> {
    /// Counts one of `key`; gives what is kept with it.
    pub fn add(&mut self, key: &str) -> &mut V {
        if self.counts.len() >= CAPACITY && !self.counts.contains_key(key) {
            self.give_up_half();
        }
        let (count, value) = self.counts.entry(key.to_owned()).or_default();
        *count += 1;
        value
    }

    /// How many keys are counted now.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// The largest, with their counts: by count, then by name.
    pub fn largest(&self, most: usize) -> Vec<(&str, u64, &V)> {
        let mut all: Vec<_> = self.counts.iter().map(|(key, (count, value))| (key.as_str(), *count, value)).collect();
        all.sort_by(|(a, count_a, _), (b, count_b, _)| count_b.cmp(count_a).then(a.cmp(b)));
        all.truncate(most);
        all
    }

    fn give_up_half(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(count, _)| *count).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let (median, mut spare) = (*median, CAPACITY / 2);
        self.counts.retain(|_, (count, _)| {
            // Of those at the median, as many as there is room for.
            let stays = *count > median || (*count == median && spare > 0);
            if stays {
                spare = spare.saturating_sub(1);
            } else {
                self.rest += *count;
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_counted_is_lost() {
        let mut top = Top::<()>::default();
        for number in 0..50_000_u32 {
            top.add(&number.to_string());
            top.add("often");
        }
        assert!(top.len() <= CAPACITY);
        assert_eq!(top.largest(1), [("often", 50_000, &())]);
        let kept: u64 = top.largest(usize::MAX).iter().map(|(_, count, _)| count).sum();
        assert_eq!(kept + top.rest, 100_000);
    }
}
