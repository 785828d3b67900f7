//! What goes on to the service.

use crate::answer::Denial;
use crate::engine::HeaderChange;
use crate::forward;
use crate::internal_token::Caller;
use crate::policy::Rule;

use super::{Stop, Walk};

impl Walk<'_> {
    /// What goes on to the service.
    pub(super) fn forward(&mut self, rule: &Rule) -> Result<(), Stop> {
        let policy = self.policy;
        let provider =
            self.found.principal.as_ref().and_then(|p| Some((p, policy.providers.get(usize::from(p.provider))?)));
        if let Some((principal, provider)) = provider {
            let changes = forward::claim_headers(principal.claims(), &provider.headers);
            match changes {
                Ok(changes) => self.found.passage.request.extend(changes),
                Err(denial) => self.tolerate(rule.mode, denial)?,
            }
        }
        self.add_internal_token(rule)?;
        let removed = rule.headers.remove.iter().filter(|name| self.head.headers().get_all(name).next().is_some());
        self.found.passage.request.extend(removed.map(|name| HeaderChange::Remove(name.clone())));
        let set = rule.headers.set.iter();
        self.found
            .passage
            .request
            .extend(set.map(|(name, value)| HeaderChange::Set(name.clone(), value.clone().into_bytes())));
        Ok(())
    }

    /// The gateway's own short-lived token, where the rule gives one to the service.
    fn add_internal_token(&mut self, rule: &Rule) -> Result<(), Stop> {
        let (Some(audience), Some(principal)) = (&rule.internal_audience, &self.found.principal) else { return Ok(()) };
        let Some(header) = self.policy.internal_tokens.as_ref().map(|tokens| tokens.header.as_str()) else {
            return Ok(());
        };
        let provider = self.policy.providers.get(usize::from(principal.provider));
        let token = match (&mut self.engine.minter, provider) {
            (Some(minter), Some(provider)) => {
                // Where several credentials were asked for, the service must not take the word of one that has ended.
                let credentials = std::iter::once(principal).chain(&self.found.others);
                let ends = credentials.filter_map(|credential| credential.expires_at(self.policy)).min();
                let (claims, credential) = (principal.claims(), principal.credential);
                let caller = Caller { claims, scopes: &provider.scopes, credential };
                minter.token(caller, audience, ends, self.now)
            }
            _ => return Ok(()),
        };
        match token {
            Ok(token) => {
                let value = if header == "authorization" { format!("Bearer {token}") } else { token.to_string() };
                self.found.passage.request.push(HeaderChange::Set(header.to_owned(), value.into_bytes()));
                Ok(())
            }
            Err(error) => self.tolerate(rule.mode, Denial::new(error.reason(), error.to_string())),
        }
    }
}
