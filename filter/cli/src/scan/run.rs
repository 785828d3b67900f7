//! Every request through the rules.

use std::time::{Duration, Instant};

use portcullis_payload::{Scanner, Scratch, Settings, Verdict, arguments};

use super::corpus::Item;

/// What became of one item: for each of its requests, whether it was refused.
pub struct Outcome {
    pub refused: Vec<bool>,
    pub verdicts: Vec<Verdict>,
    pub time: Duration,
}

/// Runs all items; each request `repeat` times, of which the last counts for the time.
pub fn all(scanner: &Scanner, settings: &Settings, items: &[Item], repeat: u32) -> Vec<Outcome> {
    let mut scratch = Scratch::default();
    items
        .iter()
        .map(|item| {
            let (mut refused, mut verdicts, mut time) = (Vec::new(), Vec::new(), Duration::ZERO);
            for request in &item.requests {
                request.with(|request| {
                    let mut best = Duration::MAX;
                    for round in 0..repeat.max(1) {
                        let start = Instant::now();
                        let mut inspection = scanner.begin(settings, &mut scratch);
                        arguments::inspect(request, &mut inspection);
                        let attack = inspection.is_attack();
                        let verdict = inspection.finish();
                        best = best.min(start.elapsed());
                        if round == 0 {
                            refused.push(attack);
                            verdicts.push(verdict);
                        }
                    }
                    time += best;
                });
            }
            Outcome { refused, verdicts, time }
        })
        .collect()
}
