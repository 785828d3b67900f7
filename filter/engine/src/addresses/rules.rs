//! What a rule says about addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::list::AddressLists;
use crate::shared_list::Held;
use crate::time::UnixNanos;

/// Which addresses may call, by the indices of lists. Deny beats allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Only addresses in one of these; `None`: all.
    pub allow: Option<Vec<usize>>,
    /// No address in one of these.
    pub deny: Vec<usize>,
}

/// Why an address may not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is in this list: 403.
    Listed(usize),
    /// It is in no list that is allowed: 403.
    NotListed,
    /// The proxy does not say what it is (a Unix socket): 403.
    Unknown,
    /// This list would have to be asked, and is not there: 503.
    Unavailable {
        /// The list.
        list: usize,
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

const SOON: Duration = Duration::from_secs(1);

impl AddressRules {
    /// Whether every address may call; then it need not be known.
    pub fn is_empty(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    /// Whether `address` may call at `now`.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check(&self, lists: &AddressLists, address: Option<IpAddr>, now: UnixNanos) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        let address = address.ok_or(Refusal::Unknown)?;
        let mut missing = None;
        for index in self.deny.iter().copied() {
            let unavailable = |retry_after| Refusal::Unavailable { list: index, retry_after };
            match lists.held(index, now) {
                Held::Ready(set) if set.contains(address) => return Err(Refusal::Listed(index)),
                Held::Ready(_) | Held::Nothing => {}
                Held::Wait(_) => missing = missing.or(Some(unavailable(SOON))),
                Held::Unavailable { retry_after } => missing = missing.or(Some(unavailable(retry_after))),
            }
        }
        // That another list has the address is certain, whatever the missing one says.
        if let Some(missing) = missing {
            return Err(missing);
        }
        let Some(allow) = &self.allow else { return Ok(()) };
        for index in allow.iter().copied() {
            let unavailable = |retry_after| Refusal::Unavailable { list: index, retry_after };
            match lists.held(index, now) {
                Held::Ready(set) if set.contains(address) => return Ok(()),
                Held::Ready(_) => {}
                // Nobody may pass by a list that was never read.
                Held::Nothing | Held::Wait(_) => missing = missing.or(Some(unavailable(SOON))),
                Held::Unavailable { retry_after } => missing = missing.or(Some(unavailable(retry_after))),
            }
        }
        Err(missing.unwrap_or(Refusal::NotListed))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::{AddressList, AddressSource, Builder, Cidr};
    use super::*;

    fn lists(texts: &[&[&str]]) -> AddressLists {
        let list = |cidrs: &&[&str]| {
            let mut builder = Builder::default();
            cidrs.iter().for_each(|cidr| builder.add(Cidr::parse(cidr).unwrap()));
            AddressList { name: "l".into(), source: AddressSource::Inline(Rc::new(builder.build())) }
        };
        AddressLists::new(&texts.iter().map(list).collect::<Vec<_>>(), 1, 2).unwrap()
    }

    fn check(rules: &AddressRules, address: &str) -> Result<(), Refusal> {
        let lists = lists(&[&["10.0.0.0/8", "::1"], &["10.6.6.6"]]);
        rules.check(&lists, address.parse().ok(), UnixNanos::from_secs(1))
    }

    #[test]
    fn deny_beats_allow() {
        let rules = AddressRules { allow: Some(vec![0]), deny: vec![1] };
        assert_eq!(check(&rules, "10.0.0.1"), Ok(()));
        assert_eq!(check(&rules, "10.6.6.6"), Err(Refusal::Listed(1)));
        assert_eq!(check(&rules, "::ffff:10.6.6.6"), Err(Refusal::Listed(1)));
        assert_eq!(check(&rules, "11.0.0.1"), Err(Refusal::NotListed));
    }

    #[test]
    fn an_address_that_nobody_knows_may_not_call_where_addresses_matter() {
        assert_eq!(check(&AddressRules { allow: None, deny: vec![1] }, "unknown"), Err(Refusal::Unknown));
        assert_eq!(check(&AddressRules::default(), "unknown"), Ok(()));
    }
}
