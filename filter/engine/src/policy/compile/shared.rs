//! Sections that many rules share by inheritance: each is checked where it is written, and once.

use std::rc::Rc;

use crate::config::document::member_path;
use crate::config::schema::PolicySection;
use crate::input::InputRules;
use crate::policy::authorisation::Origin;
use crate::policy::{addresses, cors, input, payload, responses};

use super::Compiler;

impl Compiler<'_> {
    /// Addresses, origins and responses are checked where they are written, and once, however many rules inherit them.
    pub(super) fn check_edges(&mut self) {
        let config = self.config;
        if let Some(everywhere) = &config.defaults.addresses {
            addresses::check("defaults.addresses", everywhere, config, self.problems);
        }
        let policies = config.policies.iter().map(|(name, section)| (member_path("policies", name), section));
        let rules = config.rules.iter().enumerate().map(|(index, rule)| (format!("rules[{index}]"), &rule.policy));
        for (at, section) in policies.chain(rules) {
            if let Some(section) = &section.addresses {
                addresses::check(&member_path(&at, "addresses"), section, config, self.problems);
            }
            if let Some(section) = &section.cors {
                cors::compile(&at, section, self.problems);
            }
            if let Some(section) = &section.payload {
                payload::compile(&member_path(&at, "payload"), section, &self.own, self.problems);
            }
            if let Some(section) = &section.responses {
                responses::compile(&member_path(&at, "responses"), section, self.problems);
            }
        }
    }

    /// What requests may look like is compiled where it is written, and once, however many rules inherit it.
    pub(super) fn compile_inputs(&mut self) {
        let config = self.config;
        self.schemas.compile_named(self.problems);
        let policies = config.policies.values();
        let sections = policies.chain(config.rules.iter().map(|rule| &rule.policy)).map(|section| &section.input);
        for placed in sections.chain([&config.defaults.input]).flatten() {
            let rules = input::compile(placed, &mut self.schemas, self.problems);
            self.inputs.insert(placed.at.clone(), rules);
        }
    }

    pub(super) fn input_rules(
        &mut self,
        section: &PolicySection,
        path: &str,
        origin: &Origin<'_>,
    ) -> Option<Rc<InputRules>> {
        let placed = section.input.as_ref().or(self.config.defaults.input.as_ref())?;
        let rules = self.inputs.get(&placed.at)?.clone()?;
        for name in rules.parameters.path_variables().filter(|name| origin.lacks_variable(name)) {
            let problem =
                format!("the parameter {name:?} of {} is in the path, and `match.path` has no {{{name}}}", placed.at);
            self.problems.add_with_hint(path, problem, "without it, every request would be refused");
        }
        Some(rules)
    }
}
