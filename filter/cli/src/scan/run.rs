//! Every request through the rules.

use std::borrow::Cow;
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
    /// Why bodies of its requests are not judged.
    pub unread: Vec<String>,
}

/// Runs all items; each request `repeat` times, of which the fastest counts for the time.
pub fn all(scanner: &Scanner, judges: &Judges, items: &[Item], repeat: u32) -> Vec<Outcome> {
    let mut scratch = Scratch::default();
    let mut one = |item: &Item| {
        let mut outcome = Outcome::default();
        for request in &item.requests {
            let asked = match judges.of(request) {
                Judge::By(asked) => asked,
                Judge::Unmatched(asked) => {
                    outcome.unmatched += 1;
                    asked
                }
                Judge::Nobody => {
                    outcome.unjudged += 1;
                    outcome.refused.push(false);
                    outcome.verdicts.push(Verdict::default());
                    continue;
                }
            };
            let body = request.plain_body(asked.max_inflated).unwrap_or_else(|why| {
                outcome.unread.push(why);
                Cow::Borrowed(&[])
            });
            let (is_attack, verdict, time) = judged(scanner, &asked.settings, &mut scratch, (request, &body), repeat);
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
    (request, body): (&Recorded, &[u8]),
    repeat: u32,
) -> (bool, Verdict, Duration) {
    request.with(body, |request| {
        let mut round = || {
            let start = Instant::now();
            let mut inspection = scanner.begin(settings, scratch);
            arguments::inspect(request, &mut inspection);
            let is_attack = inspection.is_attack() || inspection.verdict().limit().is_some();
            let verdict = inspection.finish();
            (is_attack, verdict, start.elapsed())
        };
        let (is_attack, verdict, first) = round();
        let best = (1..repeat).map(|_| round().2).fold(first, Duration::min);
        (is_attack, verdict, best)
    })
}
