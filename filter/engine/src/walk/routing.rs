//! The rule that a request meets: the policy that the route names, else the first that matches.

use crate::answer::{Denial, Reason};
use crate::bans::Stage;
use crate::engine::HeaderChange;
use crate::http::{Method, RequestPath};
use crate::policy::Rule;
use crate::routes::Selected;

use super::{NO_RULE, Stop, Walk};

impl<'a> Walk<'a> {
    /// The rule that applies: the policy that the route names, else the first rule that matches.
    pub(super) fn find_rule(&mut self, path: &RequestPath<'_>) -> Result<Option<&'a Rule>, Stop> {
        let policy = self.policy;
        let selected = policy.routes.select(&policy.named, self.ports.attributes);
        let index = match &selected {
            Selected::Rule(index) => Some(*index),
            Selected::Unknown { by, name } => {
                let detail = format!("the {by} names the policy {name:?}");
                return self.tolerate(policy.mode, Denial::new(Reason::RoutePolicyUnknown, detail)).map(|()| None);
            }
            Selected::Nothing => match policy.index.find(self.head, path) {
                Ok(found) => found.map(|found| found.index).or(policy.unmatched),
                Err(repeated) => {
                    let denial = Denial::new(repeated.reason(), repeated.to_string());
                    return self.tolerate(policy.mode, denial).map(|()| None);
                }
            },
        };
        match index.and_then(|index| Some((index, policy.rules.get(index)?))) {
            Some((index, rule)) => {
                self.found.rule = u16::try_from(index).unwrap_or(NO_RULE);
                self.check_route_headers(rule, &selected)?;
                self.found.selected = selected;
                Ok(Some(rule))
            }
            None => {
                // Whoever is banned does not learn what there is.
                self.check_bans(Stage::Address)?;
                self.tolerate(policy.mode, self.unmatched(path)).map(|()| None)
            }
        }
    }

    /// Where the route named the policy, it must not have been chosen by a header that is now removed: the proxy would
    /// choose again, and another route would serve what this one's policy has judged.
    fn check_route_headers(&mut self, rule: &Rule, selected: &Selected) -> Result<(), Stop> {
        let removed = self.found.passage.request.iter().find_map(|change| match change {
            HeaderChange::Remove(name) => Some(name),
            HeaderChange::Set(..) | HeaderChange::Add(..) => None,
        });
        match removed {
            Some(name) if *selected != Selected::Nothing => {
                let denial = Denial::new(Reason::IdentityHeaderSent, format!("header {name:?}"));
                self.tolerate(rule.mode, denial)
            }
            _ => Ok(()),
        }
    }

    /// No rule takes the request; where the operator wants it, the client is told which methods rules take there.
    fn unmatched(&self, path: &RequestPath<'_>) -> Denial {
        let methods = match self.policy.names_methods {
            true => self.policy.index.find_path_ignoring_method(self.head, path),
            false => Vec::new(),
        };
        if methods.is_empty() {
            return Denial::new(Reason::RouteUnmatched, "");
        }
        let mut denial = Denial::new(Reason::MethodNotAllowed, "rules take this path by other methods");
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        denial.headers.push(("allow", names.join(", ")));
        denial
    }
}
