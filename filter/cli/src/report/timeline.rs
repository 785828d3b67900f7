//! Requests over time, in bounded memory.

use std::collections::BTreeMap;

/// How many spans of time are told apart at most.
const CAPACITY: usize = 2048;

/// How many requests ended how: allowed (or unjudged), monitored, refused.
pub type Counts = [u64; 3];

/// Counts by span of time. The spans double where a log reaches further than there is room for.
#[derive(Debug)]
pub struct Timeline {
    /// The length of a span, in seconds.
    seconds: u64,
    spans: BTreeMap<u64, Counts>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { seconds: 1, spans: BTreeMap::new() }
    }
}

/// A bar of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// When it begins, in seconds since 1970.
    pub begins: u64,
    /// What is counted in it.
    pub counts: Counts,
}

impl Timeline {
    /// Counts one of this kind.
    pub fn add(&mut self, time: u64, kind: usize) {
        if let Some(count) = self.spans.entry(time / self.seconds).or_default().get_mut(kind) {
            *count += 1;
        }
        while self.spans.len() > CAPACITY {
            self.widen(2);
        }
    }

    /// First and last instant, in seconds since 1970.
    pub fn range(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.spans.keys().next()?, self.spans.keys().next_back()?);
        Some((first * self.seconds, (last * self.seconds).saturating_add(self.seconds - 1)))
    }

    /// At most `most` bars of the same length, in seconds, without gaps.
    pub fn bars(&self, most: u64) -> (u64, Vec<Bar>) {
        let Some((first, last)) = self.range() else { return (self.seconds, Vec::new()) };
        const LENGTHS: [u64; 13] =
            [1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 86_400, 604_800, 2_419_200, 31_536_000];
        let fits = |length: &u64| *length >= self.seconds && last / length - first / length < most;
        let length =
            LENGTHS.into_iter().find(fits).unwrap_or_else(|| ((last - first) / most.max(1) + 1).max(self.seconds));
        let mut bars: Vec<Bar> =
            (first / length..=last / length).map(|span| Bar { begins: span * length, counts: [0; 3] }).collect();
        for (span, counts) in &self.spans {
            let index = span * self.seconds / length - first / length;
            if let Some(bar) = usize::try_from(index).ok().and_then(|index| bars.get_mut(index)) {
                bar.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        (length, bars)
    }

    fn widen(&mut self, factor: u64) {
        self.seconds = self.seconds.saturating_mul(factor);
        for (span, counts) in std::mem::take(&mut self.spans) {
            let sums = self.spans.entry(span / factor).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_in_one_bar_however_long_the_log() {
        for step in [0, 1, 60, 3600, 86_400, 31_536_000] {
            let mut timeline = Timeline::default();
            (0..5_000).for_each(|number| timeline.add(1_000_000 + number * step, 2));
            let (_, bars) = timeline.bars(60);
            assert!(bars.len() <= 61, "{step}: {}", bars.len());
            assert_eq!(bars.iter().map(|bar| bar.counts[2]).sum::<u64>(), 5_000, "{step}");
        }
    }
}
