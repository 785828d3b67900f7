//! What a verified token may still lack: it is revoked, or has not the scopes that the rule asks for.

use crate::answer::{Denial, Reason};
use crate::policy::{Rule, Who};
use crate::revocation;

use super::{Stop, Walk};

impl Walk<'_> {
    pub(super) fn check_revocation(&mut self, rule: &Rule) -> Result<(), Stop> {
        if self.found.principal.is_none() || !self.policy.revokes {
            return Ok(());
        }
        self.engine.revocations.observe(self.ports.store);
        let revocations = &self.engine.revocations;
        // Not only the one whose word is the identity: with a revoked token, a request lacks what the rule asks for.
        let refused = self
            .found
            .principal
            .iter()
            .chain(&self.found.others)
            .find_map(|principal| revocations.check(principal.claims(), principal.issued_at(), self.now).err());
        let Some(refusal) = refused else { return Ok(()) };
        let denial = match refusal {
            revocation::Refusal::Revoked(revoked) => self.challenged(
                rule,
                Denial::new(Reason::TokenRevoked, format!("{:?}, by {:?}", revoked.what, revoked.by)),
            ),
            revocation::Refusal::Unavailable { retry_after } => {
                let seconds = crate::limits::whole_seconds(retry_after).max(1);
                Denial::new(Reason::RevocationUnavailable, "").retry_after(seconds)
            }
            revocation::Refusal::Wait(_) => Denial::new(Reason::RevocationUnavailable, "no list yet").retry_after(1),
        };
        self.tolerate(rule.mode, denial)
    }

    pub(super) fn check_scopes(&mut self, rule: &Rule) -> Result<(), Stop> {
        let checked = match (&self.found.principal, &rule.who) {
            (Some(_), _) if rule.scopes.is_empty() => Ok(()),
            (Some(principal), _) => match self.policy.providers.get(usize::from(principal.provider)) {
                Some(provider) => rule.scopes.check(principal.claims(), &provider.scopes),
                None => Err(Denial::new(Reason::Internal, "the identity has no provider")),
            },
            // Nobody has no scopes. Whoever was let in without an identity, by monitor mode or by a written `on_error:
            // allow`, was recorded already.
            (None, Who::VouchedFor(required)) if required.optional && !rule.scopes.is_empty() && !self.found.let_in => {
                Err(self.challenged(rule, Denial::new(Reason::CredentialsMissing, "the rule asks for scopes")))
            }
            (None, _) => Ok(()),
        };
        match checked {
            Ok(()) => Ok(()),
            Err(denial) => self.tolerate(rule.mode, self.challenged(rule, denial)),
        }
    }
}
