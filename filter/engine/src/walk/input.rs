//! Input validation on the walk: sizes early, parameters once the caller is known, the body once it is there.

use crate::config::schema::Mode;
use crate::http::RequestPath;
use crate::input::{InputRules, Refusal, Typed, TypedBody};
use crate::policy::Rule;

use super::{Stop, Walk};

impl<'a> Walk<'a> {
    /// Sizes and counts of the head: they cost little, so that they come before who is calling.
    pub(super) fn check_input_sizes(&mut self, rule: &Rule) -> Result<(), Stop> {
        let Some(rules) = &rule.input else { return Ok(()) };
        for refusal in rules.oversized(self.head) {
            self.tolerate_input(rule, rules, refusal)?;
        }
        Ok(())
    }

    /// Parameters. Gives those that payload rules need not judge.
    pub(super) fn check_parameters(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<Vec<Typed>, Stop> {
        let Some(rules) = &rule.input else { return Ok(Vec::new()) };
        let pattern = self.pattern();
        let variable = |name: &str| {
            let mut captures = pattern.into_iter().flat_map(|pattern| pattern.captures(path));
            captures.find_map(|(known, value)| (known == name).then_some(value))
        };
        match rules.parameters.check(&self.policy.schemas, self.head, variable) {
            Ok(typed) => Ok(typed),
            Err(refusal) => self.tolerate_input(rule, rules, refusal).map(|()| Vec::new()),
        }
    }

    /// How much of the body has to be read.
    pub(super) fn body_for_input(&mut self, rule: &Rule) -> Result<Option<usize>, Stop> {
        let Some(rules) = &rule.input else { return Ok(None) };
        match rules.needs_body(self.head) {
            Ok(is_needed) => Ok(is_needed.then_some(rules.max_body)),
            Err(refusal) => self.tolerate_input(rule, rules, refusal).map(|()| None),
        }
    }

    /// Checks the body. Gives what of it payload rules need not judge.
    pub(super) fn check_input_body(&mut self, rule: &Rule, body: &[u8], is_whole: bool) -> Result<TypedBody, Stop> {
        let Some(rules) = rule.input.as_ref().filter(|_| self.found.judged_by.input.is_some()) else {
            return Ok(TypedBody::default());
        };
        match rules.check_body(&self.policy.schemas, self.head, body, is_whole) {
            Ok(known) => Ok(known),
            Err(refusal) => self.tolerate_input(rule, rules, refusal).map(|()| TypedBody::default()),
        }
    }

    fn tolerate_input(&mut self, rule: &Rule, rules: &InputRules, refusal: Refusal) -> Result<(), Stop> {
        let mode = if rules.mode == Mode::Monitor { Mode::Monitor } else { rule.mode };
        self.tolerate(mode, refusal.into())
    }
}
