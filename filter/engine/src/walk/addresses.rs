//! The walk's first question to the caller: whether its address may call.

use crate::addresses::Refusal;
use crate::answer::{Denial, Reason};
use crate::limits::whole_seconds;
use crate::policy::Rule;

use super::{Stop, Walk};

impl Walk<'_> {
    /// Whether the client's address may call, where the rule asks for it.
    pub(super) fn check_address(&mut self, rule: &Rule) -> Result<(), Stop> {
        if rule.addresses.is_empty() {
            return Ok(());
        }
        let checked = rule.addresses.check(&self.engine.addresses, self.address(), self.now);
        let Err(refusal) = checked else { return Ok(()) };
        let name = |list: usize| self.policy.address_lists.get(list).map(|list| list.name.as_str()).unwrap_or_default();
        let denied = |detail: String| Denial::new(Reason::AddressDenied, detail);
        let denial = match refusal {
            Refusal::Listed(list) => denied(format!("the list {:?} has it", name(list))),
            Refusal::NotListed => denied("no list that is allowed has it".to_owned()),
            Refusal::Unknown => denied("the proxy does not say which it is".to_owned()),
            Refusal::Unavailable { list, retry_after } => {
                let detail = format!("the list {:?}", name(list));
                Denial::new(Reason::AddressListUnavailable, detail).retry_after(whole_seconds(retry_after).max(1))
            }
        };
        self.tolerate(rule.mode, denial)
    }
}
