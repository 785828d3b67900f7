//! A rule, or a named policy, out of what it says and inherits.

use std::collections::BTreeMap;

use crate::answer::Challenges;
use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{Allow, HeadersSection, PolicySection, RuleSection, ScopesSection, Serve};
use crate::matching::Match;
use crate::policy::authorisation::{self, Origin};
use crate::policy::{Binding, HeaderRules, Limit, Required, Rule, Who};
use crate::policy::{addresses, ban, cors, limit_costs, payload, responses, surge};
use crate::proof::Demanded;
use crate::scopes::Scopes;

use super::inherit::inherit;
use super::names::changeable_header;
use super::{Compiler, sample};

impl Compiler<'_> {
    pub(super) fn compile_rule(
        &mut self,
        path: &str,
        label: String,
        section: &RuleSection,
        meets: Option<&Match>,
        flat: &BTreeMap<String, PolicySection>,
        limits: &[Option<Limit>],
    ) -> Option<Rule> {
        let config = self.config;
        let mut merged = section.policy.clone();
        if merged.extends.is_some() {
            self.problems.add_with_hint(member_path(path, "extends"), "belongs to a policy", "a rule has `use`");
        }
        let used = section.r#use.as_ref().map(|name| (member_path(path, "use"), name));
        // A rule that speaks for everybody or nobody does not inherit the requirement of the default policy.
        let inherits_default = section.allow.is_none();
        let base = match used {
            Some((at, name)) => match flat.get(name) {
                Some(base) => Some(base),
                None => {
                    self.problems.add_unknown_name(at, "policy", name, config.policies.keys().map(String::as_str));
                    return None;
                }
            },
            None => config.defaults.policy.as_ref().filter(|_| inherits_default).and_then(|name| flat.get(name)),
        };
        if let Some(base) = base {
            inherit(&mut merged, base);
        }
        if section.allow.is_some() && (section.policy.require.is_some() || section.policy.scopes.is_some()) {
            self.problems.add_with_hint(
                member_path(path, "allow"),
                "contradicts `require` or `scopes`",
                "either the rule says who may pass, or everybody (or nobody) may",
            );
        }
        let origin = Origin::rule(&section.policy, meets);
        let mut rule = self.compile_policy(path, label, &merged, &origin, section.allow, limits)?;
        rule.serve = section.serve;
        if section.serve.is_some() && section.policy.surge.is_some() {
            let problem = "means nothing: the gateway itself answers, and no service";
            self.problems.add_with_hint(member_path(path, "surge"), problem, "leave it out");
        }
        rule.surge = rule.surge.filter(|_| section.serve.is_none());
        // What the gateway itself serves is for operators, not for pages of other origins.
        rule.cors = rule.cors.filter(|_| section.serve.is_none());
        if let Some(serve) = section.serve {
            self.check_serve(path, serve, &rule);
        }
        Some(rule)
    }

    pub(super) fn compile_policy(
        &mut self,
        path: &str,
        label: String,
        section: &PolicySection,
        origin: &Origin<'_>,
        allow: Option<Allow>,
        limits: &[Option<Limit>],
    ) -> Option<Rule> {
        let config = self.config;
        let who = match (allow, &section.require) {
            (Some(Allow::Public), _) => Some(Who::Everybody),
            (Some(Allow::Nobody), _) => Some(Who::Nobody),
            (None, Some(require)) => {
                let mut found = Vec::new();
                for name in &require.providers {
                    match self.provider_names.get(name.as_str()) {
                        Some(index) => found.push(*index),
                        None => {
                            let known = config.providers.keys().map(String::as_str);
                            self.problems.add_unknown_name(require.path.clone(), "provider", name, known);
                        }
                    }
                }
                Some(Who::VouchedFor(Required { providers: found, all: require.all, optional: require.optional }))
            }
            (None, None) => {
                self.problems.add_with_hint(
                    path,
                    "does not say who may pass",
                    "set `require`, `use` a policy that does, set `defaults.policy`, or write `allow: public`",
                );
                None
            }
        };
        let names: Vec<&String> = section.limits.iter().flatten().collect();
        if let Some(own) = &section.limits {
            self.limits_exist(&member_path(path, "limits"), own);
        }
        let mut all: Vec<usize> = Vec::new();
        for name in names.into_iter().chain(&config.defaults.limits) {
            match self.limit_names.get(name.as_str()) {
                Some(index) if !all.contains(index) => all.push(*index),
                _ => {}
            }
        }
        let needs_principal =
            |index: &usize| limits.get(*index).and_then(Option::as_ref).is_some_and(Limit::needs_principal);
        let named = all.iter().filter_map(|index| limits.get(*index)?.as_ref());
        for (limit, variable) in named.clone().flat_map(|limit| limit.key.path_variables().map(move |v| (limit, v))) {
            if origin.lacks_variable(variable) {
                let problem =
                    format!("the limit {:?} counts by {{{variable}}}, which `match.path` does not have", limit.name);
                let hint = "without it, all requests of the rule would share one counter";
                self.problems.add_with_hint(path, problem, hint);
            }
        }
        let costs = limit_costs::compile(path, section, origin.is_rule(), named, self.problems);
        let (limits_by_principal, limits_by_address) = all.into_iter().partition(needs_principal);
        let bans = match &section.bans {
            Some(own) => ban::named(&member_path(path, "bans"), own, config, self.problems),
            // What is wrong with these is reported where it is written.
            None => ban::named("", &config.defaults.bans, config, &mut Problems::default()),
        };
        let headers = self.header_rules(&member_path(path, "headers"), section.headers.as_ref());
        if section.internal_token.is_some() && config.internal_tokens.is_none() {
            let hint = "declare `internal_tokens` with an issuer and a key";
            self.problems.add_with_hint(member_path(path, "internal_token"), "there are no internal tokens", hint);
        }
        let resource_metadata = section.resource.as_ref().and_then(|name| {
            let found = self.resources.get(name.as_str()).cloned();
            if found.is_none() && !config.resources.contains_key(name) {
                let known = config.resources.keys().map(String::as_str);
                self.problems.add_unknown_name(member_path(path, "resource"), "resource", name, known);
            }
            found
        });
        let challenges = self.challenges(who.as_ref());
        let authorisation = authorisation::compile(path, section, origin, allow, self.problems);
        let surge = surge::of_rule(path, section, origin, allow, config, self.problems);
        Some(Rule {
            serve: None,
            internal_audience: section.internal_token.as_ref().map(|token| token.audience.clone()),
            challenges,
            resource_metadata,
            label,
            mode: section.mode.unwrap_or(config.mode),
            monitored: section.monitor.clone().unwrap_or_default(),
            addresses: addresses::rules(section.addresses.as_ref(), config),
            // What is wrong with these was reported where it is written.
            cors: section.cors.as_ref().and_then(|section| cors::compile("", section, &mut Problems::default())),
            responses: match &section.responses {
                Some(section) => responses::compile("", section, &mut Problems::default()),
                None => self.responses.clone(),
            },
            sample: sample(section.audit.as_ref().or(config.defaults.audit.as_ref())),
            input: self.input_rules(section, path, origin),
            payload: match &section.payload {
                Some(section) => payload::compile("", section, &self.own, &mut Problems::default()),
                None => self.payload.clone(),
            },
            who: who?,
            scopes: section.scopes.as_ref().map(scopes).unwrap_or_default(),
            authorisation: authorisation?,
            limits_by_address,
            limits_by_principal,
            bans,
            costs: costs?,
            surge,
            headers: headers?,
        })
    }

    /// What the gateway itself serves must be there, and for few.
    fn check_serve(&mut self, path: &str, serve: Serve, rule: &Rule) {
        let at = member_path(path, "serve");
        let (missing, too_many) = match serve {
            Serve::Revocations => {
                let pushes = self.config.revocation.as_ref().is_some_and(|revocation| revocation.push.is_some());
                let missing = ("revocations cannot be pushed", "write `revocation: {push: {}}`");
                ((!pushes).then_some(missing), "lets too many revoke tokens")
            }
            Serve::Bans => {
                let missing = ("there are no bans", "declare one in `bans`");
                (self.config.bans.is_empty().then_some(missing), "lets too many ban clients")
            }
            Serve::Limits => (None, "lets too many ask about other clients"),
        };
        if let Some((problem, hint)) = missing {
            self.problems.add_with_hint(at.clone(), problem, hint);
        }
        // A scope that nobody may have keeps out only those who have it.
        let asks_for_scope = !(rule.scopes.all.is_empty() && rule.scopes.any.is_empty());
        if !matches!(rule.who, Who::VouchedFor(_)) || !asks_for_scope {
            self.problems.add_with_hint(at, too_many, "the rule needs a provider and a scope of its own");
        }
    }

    /// The schemes that the providers of a rule take.
    fn challenges(&self, who: Option<&Who>) -> Challenges {
        let Some(Who::VouchedFor(required)) = who else { return Challenges::default() };
        let mut challenges = Challenges::NONE;
        let sections: Vec<_> = self.config.providers.values().collect();
        for section in required.providers.iter().filter_map(|index| sections.get(*index)) {
            challenges.basic |= section.basic.is_some();
            challenges.api_key |= section.api_keys.is_some();
            if section.jwks.is_some() || section.discovery.is_some() || section.introspection.is_some() {
                let binding = Binding::compile("", section.binding.as_ref(), &mut Problems::default());
                challenges.bearer |= binding.policy.dpop != Demanded::Required;
                if binding.offered {
                    challenges.dpop = Some(binding.algorithms);
                }
            }
        }
        challenges
    }

    fn header_rules(&mut self, at: &str, section: Option<&HeadersSection>) -> Option<HeaderRules> {
        let Some(section) = section else { return Some(HeaderRules::default()) };
        let mut names = |field: &str, names: &[String]| -> Option<Vec<String>> {
            let at = member_path(at, field);
            let read: Vec<_> = names.iter().map(|name| changeable_header(&at, name, field, self.problems)).collect();
            read.into_iter().collect()
        };
        let require = names("require", &section.require);
        let forbid = names("forbid", &section.forbid);
        let remove = names("remove", &section.remove);
        let mut set = Vec::new();
        for (name, value) in &section.set {
            let at = member_path(&member_path(at, "set"), name);
            if !value.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b)) {
                self.problems.add(at.clone(), "the value holds bytes that no header value may hold");
            }
            if let Some(name) = changeable_header(&at, name, "set", self.problems) {
                set.push((name, value.clone()));
            }
        }
        Some(HeaderRules { require: require?, forbid: forbid?, remove: remove?, set })
    }

    pub(super) fn limits_exist(&mut self, at: &str, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if !self.limit_names.contains_key(name.as_str()) {
                let known = self.config.limits.keys().map(String::as_str);
                self.problems.add_unknown_name(format!("{at}[{index}]"), "limit", name, known);
            }
        }
    }
}

fn scopes(section: &ScopesSection) -> Scopes {
    Scopes { all: section.all.clone(), any: section.any.clone(), none: section.none.clone() }
}
