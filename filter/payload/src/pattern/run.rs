//! Runs a compiled pattern at one position: a backtracking matcher whose work is counted and bounded.

use crate::bytes::{part, rest};

use super::Words;
use super::ops::{self, Class, Op, RUN_CAP, holds, is_word};

/// What may still be spent on one request. Patterns that run into the bound say so, and the request counts as suspicious.
#[derive(Debug)]
pub struct Steps {
    /// Steps that are left.
    pub left: u64,
    /// Steps that were taken.
    pub taken: u64,
    stack: Vec<Choice>,
}

impl Steps {
    /// A budget.
    #[must_use]
    pub fn new(left: u64) -> Self {
        Self { left, taken: 0, stack: Vec::new() }
    }
}

/// One attempt takes no more than this, whatever the text.
const ATTEMPT_STEPS: u32 = 4_000;
const STACK: usize = 96;

#[derive(Debug, Clone, Copy)]
struct Choice {
    code: u32,
    /// The positions to try, from `far` (first) to `near`, counted in bytes from the start of the attempt.
    near: u32,
    far: u32,
}

/// The tables that a pattern's code refers to.
pub struct Matcher<'a> {
    /// The code of all patterns.
    pub ops: &'a [Op],
    /// Their byte classes.
    pub classes: &'a [Class],
    /// Their word lists, sorted.
    pub words: &'a [Words],
}

impl Matcher<'_> {
    /// Runs the code at `code` forward from `position`; gives the end of the match.
    pub fn forward(&self, code: u16, text: &[u8], position: usize, steps: &mut Steps) -> Option<usize> {
        self.run::<false>(code, text, position, steps)
    }

    /// Runs the code at `code` backward from `position`; gives the start of the match.
    pub fn backward(&self, code: u16, text: &[u8], position: usize, steps: &mut Steps) -> Option<usize> {
        self.run::<true>(code, text, position, steps)
    }

    fn run<const BACK: bool>(&self, code: u16, text: &[u8], start: usize, steps: &mut Steps) -> Option<usize> {
        steps.stack.clear();
        let most = u32::try_from(steps.left).map_or(ATTEMPT_STEPS, |left| left.min(ATTEMPT_STEPS));
        let (mut left, mut bytes) = (most, 0);
        let found = self.attempt::<BACK>(code, text, start, (&mut left, &mut bytes), &mut steps.stack);
        let taken = u64::from(most - left) + u64::from(bytes);
        steps.left = steps.left.saturating_sub(taken);
        steps.taken += taken;
        found
    }

    /// The farthest position of a choice at which the operation behind it can match at all, or its last one.
    #[inline]
    fn farthest(&self, choice: &Choice, byte_at: impl Fn(u32) -> Option<u8>) -> u32 {
        let op = self.ops.get(choice.code as usize).copied().unwrap_or_default();
        let mut here = choice.far;
        match op {
            [ops::BYTE | ops::TWO_BYTES | ops::THREE_BYTES, byte, ..] => {
                while here > choice.near && byte_at(here) != Some(byte) {
                    here -= 1;
                }
            }
            [kind @ (ops::CLASS | ops::RUN | ops::RUN_HIGH | ops::RUN_HIGHER | ops::RUN_HIGHEST), a, low, _]
                if kind == ops::CLASS || low > 0 =>
            {
                let page = if kind == ops::CLASS { usize::from(low) } else { ops::page(kind) };
                let Some(class) = self.classes.get(usize::from(a) + 256 * page) else { return here };
                while here > choice.near && !byte_at(here).is_some_and(|byte| holds(class, byte)) {
                    here -= 1;
                }
            }
            _ => {}
        }
        here
    }

    fn attempt<const BACK: bool>(
        &self,
        code: u16,
        text: &[u8],
        start: usize,
        (attempt, bytes): (&mut u32, &mut u32),
        stack: &mut Vec<Choice>,
    ) -> Option<usize> {
        // Positions are distances from `start`, in the direction of the run.
        let place = |distance: u32| {
            let distance = distance as usize;
            if BACK { start.checked_sub(distance) } else { start.checked_add(distance) }
        };
        let byte_at = |distance: u32| -> Option<u8> {
            let at = place(distance)?;
            let at = if BACK { at.checked_sub(1)? } else { at };
            text.get(at).copied()
        };
        let (mut at, mut here) = (u32::from(code), 0u32);
        loop {
            *attempt = attempt.checked_sub(1)?;
            let &[kind, a, low, high] = self.ops.get(at as usize)?;
            let goes_on = match kind {
                ops::BYTE => {
                    byte_at(here) == Some(a) && {
                        here += 1;
                        at += 1;
                        true
                    }
                }
                ops::TWO_BYTES => {
                    byte_at(here) == Some(a) && byte_at(here + 1) == Some(low) && {
                        here += 2;
                        at += 1;
                        true
                    }
                }
                ops::THREE_BYTES => {
                    byte_at(here) == Some(a) && byte_at(here + 1) == Some(low) && byte_at(here + 2) == Some(high) && {
                        here += 3;
                        at += 1;
                        true
                    }
                }
                ops::CLASS => {
                    let class = self.classes.get(usize::from(a) + 256 * usize::from(low))?;
                    byte_at(here).is_some_and(|byte| holds(class, byte)) && {
                        here += 1;
                        at += 1;
                        true
                    }
                }
                ops::RUN | ops::RUN_HIGH | ops::RUN_HIGHER | ops::RUN_HIGHEST => {
                    let class = self.classes.get(usize::from(a) + 256 * ops::page(kind))?;
                    let limit = if high == 255 { RUN_CAP } else { usize::from(high) };
                    let takes = |byte: &&u8| holds(class, **byte);
                    let from = place(here)?;
                    let count = match BACK {
                        true => part(text, 0, from).iter().rev().take(limit).take_while(takes).count(),
                        false => rest(text, from).iter().take(limit).take_while(takes).count(),
                    } as u32;
                    *bytes += count / 4;
                    let least = u32::from(low);
                    count >= least && {
                        at += 1;
                        if count > least {
                            push(stack, Choice { code: at, near: here + least, far: here + count - 1 })?;
                        }
                        here += count;
                        true
                    }
                }
                ops::SPLIT => {
                    push(stack, Choice { code: at + u32::from(low) + 256 * u32::from(high), near: here, far: here })?;
                    at += 1;
                    true
                }
                ops::JUMP => {
                    at += u32::from(low) + 256 * u32::from(high);
                    true
                }
                ops::BOUNDARY => {
                    let border = place(here)?;
                    let before = border.checked_sub(1).and_then(|i| text.get(i)).is_some_and(|&b| is_word(b));
                    let after = text.get(border).is_some_and(|&b| is_word(b));
                    at += 1;
                    before != after
                }
                ops::START => {
                    at += 1;
                    place(here) == Some(0)
                }
                ops::END => {
                    at += 1;
                    place(here) == Some(text.len())
                }
                ops::WORD => {
                    let list = self.words.get(usize::from(low) + 256 * usize::from(high))?;
                    let from = place(here)?;
                    let rest = text.get(from..)?;
                    let in_word = |b: u8| is_word(b) || matches!(b, b'.' | b'-');
                    let phrases = a == 1;
                    let length = rest.iter().take(40).take_while(|&&b| phrases || in_word(b)).count();
                    // The longest first, then shorter ones that end at a border.
                    let mut found = None;
                    let mut end = length;
                    while end > 0 && found.is_none() {
                        let word = rest.get(..end)?;
                        let complete = phrases || end == length || rest.get(end).is_some_and(|&b| !is_word(b));
                        if complete && list.holds(word) {
                            found = Some(end);
                        }
                        end -= 1;
                    }
                    match found {
                        Some(end) if !BACK => {
                            here += end as u32;
                            at += 1;
                            true
                        }
                        _ => false,
                    }
                }
                _ => return place(here),
            };
            if !goes_on {
                let choice = stack.last_mut()?;
                at = choice.code;
                here = self.farthest(choice, byte_at);
                *bytes += (choice.far - here) / 4;
                if here > choice.near {
                    choice.far = here - 1;
                } else {
                    stack.pop();
                }
            }
        }
    }
}

/// A pattern that leaves more choices open than this does not match.
fn push(stack: &mut Vec<Choice>, choice: Choice) -> Option<()> {
    (stack.len() < STACK).then(|| stack.push(choice))
}
