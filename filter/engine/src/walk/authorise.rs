//! The walk's step after scopes: roles, path variables that must equal claims, conditions.

use crate::answer::{Denial, Reason};
use crate::condition::Subject;
use crate::http::RequestPath;
use crate::matching::{PathCondition, PathPattern};
use crate::policy::{Rule, Who};

use super::{Stop, Walk};

impl<'a> Walk<'a> {
    /// Checks what a rule asks of the caller beyond scopes.
    pub(super) fn authorise(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        // Nobody has no roles and no claims. Whoever was let in without an identity was recorded already.
        let is_nobody = self.found.principal.is_none();
        if is_nobody
            && rule.authorisation.needs_identity()
            && !self.found.let_in
            && matches!(&rule.who, Who::VouchedFor(required) if required.optional)
        {
            let denial = Denial::new(Reason::CredentialsMissing, "the rule asks for roles or claims");
            self.tolerate(rule.mode, self.challenged(rule, denial))?;
        }
        self.check_roles(rule)?;
        self.check_path(rule, path)?;
        self.check_conditions(rule, path)
    }

    fn check_roles(&mut self, rule: &Rule) -> Result<(), Stop> {
        let Some(principal) = &self.found.principal else { return Ok(()) };
        if rule.authorisation.roles.is_empty() {
            return Ok(());
        }
        let checked = match self.policy.providers.get(usize::from(principal.provider)) {
            Some(provider) => rule.authorisation.roles.check(principal.claims(), &provider.roles_from),
            None => Err(Denial::new(Reason::Internal, "the identity has no provider")),
        };
        checked.or_else(|denial| self.tolerate(rule.mode, denial))
    }

    /// Compares the path's variables with claims. A policy that the Envoy route names has no variables, and so refuses.
    fn check_path(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        let pattern = self.pattern();
        for binding in &rule.authorisation.bind {
            let Some(principal) = &self.found.principal else {
                // `on_error: allow` lets nobody in, and nobody has a path of their own.
                if self.found.let_in && !self.found.excused {
                    return Ok(());
                }
                let denial = Denial::new(Reason::PathClaimMismatch, "nobody is identified");
                return self.tolerate(rule.mode, denial);
            };
            let mut captures = pattern.into_iter().flat_map(|pattern| pattern.captures(path));
            let segment = captures.find_map(|(name, value)| (name == binding.variable).then_some(value));
            if let Err(mismatch) = binding.check(segment.as_deref(), principal.claims()) {
                return self.tolerate(rule.mode, Denial::new(Reason::PathClaimMismatch, mismatch.to_string()));
            }
        }
        Ok(())
    }

    fn check_conditions(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        for (index, condition) in rule.authorisation.when.iter().enumerate() {
            // In monitor mode the missing identity is recorded already. `on_error: allow` is no answer to a condition.
            if condition.condition.reads_identity() && self.found.let_in && !self.found.excused {
                continue;
            }
            let policy = self.policy;
            let principal = self.found.principal.as_ref();
            let subject = Subject {
                head: self.head,
                path,
                pattern: self.pattern(),
                claims: principal.map(|principal| principal.claims()),
                provider: principal.and_then(|principal| policy.provider_label(principal.provider)),
                address: &|| self.address(),
                attributes: self.ports.attributes,
                is_identity_header: &|name| policy.is_identity_header(name),
                now: self.now,
            };
            let checked = condition.check(index, &subject);
            if let Err(denial) = checked {
                self.tolerate(rule.mode, denial)?;
            }
        }
        Ok(())
    }

    /// The pattern of the rule's path; a named policy has none.
    pub(super) fn pattern(&self) -> Option<&'a PathPattern> {
        match &self.policy.index.rules().get(usize::from(self.found.rule))?.path {
            Some(PathCondition::Pattern(pattern)) => Some(pattern),
            _ => None,
        }
    }
}
