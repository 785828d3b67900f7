//! What request headers may be there: none that only the gateway may set, and those that the rule asks for.

use crate::answer::{Denial, Reason};
use crate::engine::HeaderChange;
use crate::policy::Rule;

use super::{Stop, Walk};

impl Walk<'_> {
    /// What only the gateway may say is removed from what the client says, on every path, before anything else.
    pub(super) fn remove_identity_headers(&mut self) {
        for (name, _) in self.head.headers().iter() {
            if self.policy.is_identity_header(name)
                && let Ok(name) = std::str::from_utf8(name)
                && !self
                    .found
                    .passage
                    .request
                    .iter()
                    .any(|change| matches!(change, HeaderChange::Remove(n) if n == name))
            {
                self.found.passage.request.push(HeaderChange::Remove(name.to_owned()));
            }
        }
    }

    pub(super) fn check_headers(&mut self, rule: &Rule) -> Result<(), Stop> {
        // A request that was held has been through here, and its head is the same.
        if self.progress.charged_by_address {
            return Ok(());
        }
        let headers = self.head.headers();
        let missing = rule.headers.require.iter().find(|name| headers.get_all(name).next().is_none());
        if let Some(name) = missing {
            self.tolerate(rule.mode, Denial::new(Reason::HeaderMissing, format!("header {name:?}")))?;
        }
        let unwanted = rule.headers.forbid.iter().find(|name| headers.get_all(name).next().is_some());
        if let Some(name) = unwanted {
            self.tolerate(rule.mode, Denial::new(Reason::HeaderForbidden, format!("header {name:?}")))?;
        }
        Ok(())
    }
}
