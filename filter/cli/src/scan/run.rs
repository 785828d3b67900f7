//! Every request through the rules.

use std::time::{Duration, Instant};

use portcullis_payload::{Scanner, Scratch, Settings, Verdict, arguments};

use super::corpus::Item;
use super::judges::{Judge, Judges};
use super::wire::Recorded;

/// What became of one item: for each of its requests, whether it was refused.
#[derive(Default)]
pub struct Outcome {
    pub refused: Vec<bool>,
    pub verdicts: Vec<Verdict>,
    pub time: Duration,
    /// How many of its requests meet no rule.
    pub unmatched: usize,
    /// How many of its requests meet a rule without payload rules.
    pub unjudged: usize,
}

/// Runs all items; each request `repeat` times, of which the fastest counts for the time.
pub fn all(scanner: &Scanner, judges: &Judges, items: &[Item], repeat: u32) -> Vec<Outcome> {
    let mut scratch = Scratch::default();
    let mut one = |item: &Item| {
        let mut outcome = Outcome::default();
        for request in &item.requests {
            let settings = match judges.of(request) {
                Judge::By(settings) => settings,
                Judge::Unmatched(settings) => {
                    outcome.unmatched += 1;
                    settings
                }
                Judge::Nobody => {
                    outcome.unjudged += 1;
                    outcome.refused.push(false);
                    outcome.verdicts.push(Verdict::default());
                    continue;
                }
            };
            let (is_attack, verdict, time) = judged(scanner, settings, &mut scratch, request, repeat);
            outcome.refused.push(is_attack);
            outcome.verdicts.push(verdict);
            outcome.time += time;
        }
        outcome
    };
    items.iter().map(&mut one).collect()
}

fn judged(
    scanner: &Scanner,
    settings: &Settings,
    scratch: &mut Scratch,
    request: &Recorded,
    repeat: u32,
) -> (bool, Verdict, Duration) {
    request.with(|request| {
        let mut round = || {
            let start = Instant::now();
            let mut inspection = scanner.begin(settings, scratch);
            arguments::inspect(request, &mut inspection);
            let is_attack = inspection.is_attack();
            let verdict = inspection.finish();
            (is_attack, verdict, start.elapsed())
        };
        let (is_attack, verdict, first) = round();
        let best = (1..repeat).map(|_| round().2).fold(first, Duration::min);
        (is_attack, verdict, best)
    })
}
