//! What a policy takes over from those that it extends, and a rule from the policy that it uses.

use std::collections::BTreeMap;

use crate::config::document::member_path;
use crate::config::schema::PolicySection;

use super::Compiler;

impl Compiler<'_> {
    /// Every named policy with what it inherits.
    pub(super) fn flatten_policies(&mut self) -> BTreeMap<String, PolicySection> {
        let config = self.config;
        let mut flat = BTreeMap::new();
        for (name, section) in &config.policies {
            let mut merged = section.clone();
            let mut line = vec![name.as_str()];
            let mut next = section.extends.as_deref();
            while let Some(base) = next {
                let Some(base_section) = config.policies.get(base) else {
                    // Reported once, where it is written.
                    if line.len() == 1 {
                        let at = member_path(&member_path("policies", name), "extends");
                        let known = config.policies.keys().map(String::as_str);
                        self.problems.add_unknown_name(at, "policy", base, known);
                    }
                    break;
                };
                if line.contains(&base) {
                    let at = member_path(&member_path("policies", name), "extends");
                    line.push(base);
                    self.problems.add(at, format!("goes round in a circle: {}", line.join(" -> ")));
                    break;
                }
                line.push(base);
                inherit(&mut merged, base_section);
                next = base_section.extends.as_deref();
            }
            flat.insert(name.clone(), merged);
        }
        flat
    }
}

/// Takes over from `base` what `section` does not set.
pub(super) fn inherit(section: &mut PolicySection, base: &PolicySection) {
    section.require = section.require.take().or_else(|| base.require.clone());
    section.scopes = section.scopes.take().or_else(|| base.scopes.clone());
    section.roles = section.roles.take().or_else(|| base.roles.clone());
    section.bind = section.bind.take().or_else(|| base.bind.clone());
    section.when = section.when.take().or_else(|| base.when.clone());
    section.limits = section.limits.take().or_else(|| base.limits.clone());
    section.bans = section.bans.take().or_else(|| base.bans.clone());
    section.cost = section.cost.or(base.cost);
    section.cost_from = section.cost_from.take().or_else(|| base.cost_from.clone());
    section.refund_on = section.refund_on.take().or_else(|| base.refund_on.clone());
    section.surge = section.surge.take().or_else(|| base.surge.clone());
    section.priority = section.priority.or(base.priority);
    section.priority_from = section.priority_from.take().or_else(|| base.priority_from.clone());
    section.headers = section.headers.take().or_else(|| base.headers.clone());
    section.internal_token = section.internal_token.take().or_else(|| base.internal_token.clone());
    section.resource = section.resource.take().or_else(|| base.resource.clone());
    section.addresses = section.addresses.take().or_else(|| base.addresses.clone());
    section.cors = section.cors.take().or_else(|| base.cors.clone());
    section.input = section.input.take().or_else(|| base.input.clone());
    section.payload = section.payload.take().or_else(|| base.payload.clone());
    section.responses = section.responses.take().or_else(|| base.responses.clone());
    section.audit = section.audit.take().or_else(|| base.audit.clone());
    section.mode = section.mode.or(base.mode);
    section.monitor = section.monitor.take().or_else(|| base.monitor.clone());
}
