//! What must stand in a text for an expression to match it: a cheap search before the costly one. It may find less than there
//! is, never more.

use regex_syntax::hir::{Class, Hir, HirKind};

/// More alternatives than these are no cheap search.
const MOST: usize = 64;

/// Lower-case texts one of which stands in every match, or `None`.
pub fn needed(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut best = Best::default();
    best.part(hir);
    best.found()
}

/// About how many states the expression has; what is repeated counts each time, also inside of what is repeated.
pub fn states(hir: &Hir) -> u64 {
    let sum = |parts: &[Hir]| parts.iter().map(states).fold(0, u64::saturating_add);
    match hir.kind() {
        HirKind::Empty => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) | HirKind::Look(_) => 1,
        HirKind::Capture(capture) => states(&capture.sub),
        HirKind::Concat(parts) => sum(parts),
        HirKind::Alternation(parts) => sum(parts).saturating_add(1),
        HirKind::Repetition(repetition) => {
            let times = u64::from(repetition.max.unwrap_or(repetition.min).max(1));
            states(&repetition.sub).saturating_add(1).saturating_mul(times)
        }
    }
}

/// The best of what the parts of a sequence need.
#[derive(Default)]
struct Best {
    best: Option<Vec<Vec<u8>>>,
    /// The bytes that follow one another up to here.
    run: Vec<u8>,
}

impl Best {
    fn found(mut self) -> Option<Vec<Vec<u8>>> {
        self.end_run();
        self.best
    }

    fn part(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => self.run.extend(literal.0.iter().map(u8::to_ascii_lowercase)),
            HirKind::Class(class) => match letter(class) {
                Some(letter) => self.run.push(letter),
                None => self.end_run(),
            },
            // It takes no byte: what is around it stands side by side.
            HirKind::Look(_) => {}
            HirKind::Capture(capture) => self.part(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.part(part)),
            HirKind::Alternation(parts) => {
                self.end_run();
                let mut all = Vec::new();
                for part in parts {
                    match needed(part) {
                        Some(texts) if all.len() + texts.len() <= MOST => all.extend(texts),
                        _ => return,
                    }
                }
                self.candidate(all);
            }
            HirKind::Repetition(repetition) => {
                if repetition.min > 0 {
                    // The first time follows what was before.
                    self.part(&repetition.sub);
                }
                self.end_run();
            }
        }
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.candidate(vec![run]);
    }

    /// Takes the texts if the shortest of them is longer than that of the best ones so far, or there are fewer of them.
    fn candidate(&mut self, texts: Vec<Vec<u8>>) {
        let worth = |texts: &[Vec<u8>]| (texts.iter().map(Vec::len).min().unwrap_or(0), usize::MAX - texts.len());
        if worth(&texts).0 > 0 && self.best.as_ref().is_none_or(|best| worth(&texts) > worth(best)) {
            self.best = Some(texts);
        }
    }
}

/// The letter, in lower case, that a class is in both of its cases.
fn letter(class: &Class) -> Option<u8> {
    let ends: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
    };
    match ends[..] {
        [(upper, a), (lower, b)] if upper == a && lower == b => {
            let letter = u8::try_from(lower).ok().filter(u8::is_ascii_lowercase)?;
            (u32::from(letter.to_ascii_uppercase()) == upper).then_some(letter)
        }
        _ => None,
    }
}
