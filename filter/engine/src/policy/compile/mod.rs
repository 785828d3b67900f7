//! From sections to a policy: names resolved, inheritance flattened, every contradiction reported.

mod inherit;
mod matches;
mod names;
mod rules;
mod shared;

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use crate::audit::Sample;
use crate::config::document::member_path;
use crate::config::protobuf_struct;
use crate::config::schema::{AuditSection, Config, Mode, RouteMetadata, Unmatched, UnmatchedMethod};
use crate::config::{Node, Problems, Read};
use crate::input::{InputRules, schema};
use crate::matching::RuleIndex;
use crate::payload::PayloadRules;
use crate::responses::ResponseRules;
use crate::routes::RouteSelection;
use crate::strict_json;

pub use self::names::{PLAIN_NAME, header_name, is_plain_name};
use super::authorisation::Origin;
use super::payload::Own;
use super::provider::Surroundings;
use super::{Environment, Limit, Policy, Provider};
use super::{addresses, ban, limit_service, own_rules, payload, responses, salvage, services, surge};

/// How deeply a configuration may nest.
const MAX_DEPTH: usize = 32;

/// Counters address rules by 16 bits, and a few entries are ours.
const MAX_RULES: usize = 60_000;

/// Reads and checks a configuration.
///
/// Envoy hands over a `google.protobuf.Struct` as its serialised bytes, and a `StringValue` as its text: here JSON.
pub fn from_bytes(bytes: &[u8], environment: Environment<'_>) -> Result<Policy, Problems> {
    let mut problems = Problems::default();
    if let Some(document) = protobuf_struct::decode(bytes, MAX_DEPTH).filter(|_| !bytes.is_empty()) {
        return from_value(&document, environment);
    }
    if bytes.trim_ascii().is_empty() {
        problems.add_with_hint("", "there is no configuration", "set `configuration` of the filter; see the reference");
        return Err(problems);
    }
    match strict_json::parse_value(bytes, MAX_DEPTH) {
        Ok(document) => from_value(&document, environment),
        Err(error) => {
            problems.add("", format!("is no well-formed JSON: {error}"));
            Err(problems)
        }
    }
}

/// Checks a configuration that is read already.
pub fn from_value(document: &Value, environment: Environment<'_>) -> Result<Policy, Problems> {
    let mut problems = Problems::default();
    let config = Config::read(&Node::root(document), &mut problems);
    let policy = match config {
        Some(config) => Compiler::new(&config, &mut problems).compile(environment),
        None => {
            if let Some(config) = salvage::readable_part(document, &problems) {
                let mut found = Problems::default();
                Compiler::new(&config, &mut found).compile(environment);
                let further: Vec<_> = salvage::further(document, &problems, &found).cloned().collect();
                problems.extend(further);
            }
            None
        }
    };
    match policy {
        Some(policy) if problems.is_empty() => Ok(policy),
        _ => Err(problems),
    }
}

struct Compiler<'a> {
    config: &'a Config,
    problems: &'a mut Problems,
    provider_names: HashMap<&'a str, usize>,
    limit_names: HashMap<&'a str, usize>,
    /// The URL of each resource's metadata.
    resources: HashMap<&'a str, String>,
    /// What responses look like where a rule says nothing.
    responses: Option<Rc<ResponseRules>>,
    /// What requests may look like, by where that is written; `None`: nothing is checked.
    inputs: HashMap<String, Option<Rc<InputRules>>>,
    /// The schemas of all of them.
    schemas: schema::Compiler<'a>,
    /// Which attacks are looked for where a rule says nothing.
    payload: Option<Rc<PayloadRules>>,
    /// What the operator looks for beside that.
    own: Own<'a>,
}

impl<'a> Compiler<'a> {
    fn new(config: &'a Config, problems: &'a mut Problems) -> Self {
        let numbered = |names: Vec<&'a String>| names.into_iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
        Self {
            provider_names: numbered(config.providers.keys().collect()),
            limit_names: numbered(config.limits.keys().collect()),
            resources: HashMap::new(),
            responses: None,
            inputs: HashMap::new(),
            schemas: schema::Compiler::new(&config.schemas),
            payload: None,
            own: Own { names: &config.payload_rules, rules: Rc::default() },
            config,
            problems,
        }
    }

    fn compile(mut self, environment: Environment<'_>) -> Option<Policy> {
        let config = self.config;
        if config.version != 1 {
            self.problems.add_with_hint("version", format!("{} is not known", config.version), "write `version: 1`");
        }
        self.check_names();
        let mut key_set_sources = Vec::new();
        let mut introspections = Vec::new();
        let mut documents = Vec::new();
        let internal_tokens = config
            .internal_tokens
            .as_ref()
            .and_then(|section| services::internal_tokens(section, environment, self.problems))
            .map(|(tokens, document)| {
                documents.push(document);
                tokens
            });
        let mut resources = HashMap::new();
        for (name, section) in &config.resources {
            if let Some(resource) = services::resource(name, section, self.problems) {
                if let Some((path, _)) = documents.iter().find(|(path, _)| *path == resource.document.0) {
                    let problem = format!("its document would stand where another one stands, at {path:?}");
                    self.problems.add(member_path("resources", name), problem);
                }
                resources.insert(name.as_str(), resource.metadata_url);
                documents.push(resource.document);
            }
        }
        self.resources = resources;
        let revocation = config.revocation.as_ref().map(|section| services::revocation(section, self.problems));
        let mut providers = Vec::new();
        for (name, section) in &config.providers {
            let mut around = Surroundings {
                environment,
                key_sets: &mut key_set_sources,
                introspections: &mut introspections,
                problems: &mut *self.problems,
            };
            providers.push(Provider::compile(name, section, &mut around));
        }
        let limits: Vec<Option<Limit>> = config
            .limits
            .iter()
            .map(|(name, section)| Limit::compile(name, section, Mode::Enforce, self.problems))
            .collect();
        let limit_service = limit_service::compile(config, &providers, self.problems);
        let bans: Vec<_> =
            config.bans.iter().map(|(name, section)| ban::compile(name, section, config, self.problems)).collect();
        let surges: Vec<_> =
            config.surge.iter().map(|(name, section)| surge::compile(name, section, self.problems)).collect();
        let default_bans = ban::named("defaults.bans", &config.defaults.bans, config, self.problems);
        let address_lists = addresses::lists(config, self.problems);
        let dress = config.defaults.responses.as_ref();
        let responses = dress.and_then(|section| responses::compile("defaults.responses", section, self.problems));
        self.responses = responses.clone();
        self.own.rules = own_rules::compile(config, self.problems);
        let looked_for = config.defaults.payload.as_ref();
        self.payload =
            looked_for.and_then(|section| payload::compile("defaults.payload", section, &self.own, self.problems));
        self.check_edges();
        self.compile_inputs();
        let flat = self.flatten_policies();
        self.limits_exist("defaults.limits", &config.defaults.limits);
        if let Some(name) = &config.defaults.policy
            && !config.policies.contains_key(name)
        {
            let known = config.policies.keys().map(String::as_str);
            self.problems.add_unknown_name("defaults.policy", "policy", name, known);
        }
        if config.rules.len() > MAX_RULES {
            self.problems.add("rules", format!("there are more than {MAX_RULES}"));
            return None;
        }
        let mut rules = Vec::new();
        let mut matches = Vec::new();
        let mut labels = HashMap::new();
        for (index, section) in config.rules.iter().enumerate() {
            let path = format!("rules[{index}]");
            matches.push(matches::compile(&member_path(&path, "match"), &section.r#match, self.problems));
            let label = self.rule_label(&path, index, section, &mut labels);
            let meets = matches.last().and_then(Option::as_ref);
            rules.push(self.compile_rule(&path, label, section, meets, &flat, &limits));
        }
        let mut named = HashMap::new();
        for (name, section) in &flat {
            named.insert(name.clone(), rules.len());
            let path = member_path("policies", name);
            let label = format!("policy-{name}");
            let origin = Origin::policy(config.policies.get(name));
            rules.push(self.compile_policy(&path, label, section, &origin, None, &limits));
        }
        let routes = self.route_selection(&named);
        let unmatched = match (config.defaults.unmatched, &config.defaults.policy) {
            (Unmatched::Deny, _) => None,
            (Unmatched::Policy, Some(name)) => {
                let inherited = flat.get(name).cloned();
                rules.push(inherited.and_then(|section| {
                    let (at, label) = ("defaults.policy", "unmatched".to_owned());
                    self.compile_policy(at, label, &section, &Origin::policy(None), None, &limits)
                }));
                Some(rules.len() - 1)
            }
            (Unmatched::Policy, None) => {
                self.problems.add_with_hint(
                    "defaults.unmatched",
                    "there is no default policy",
                    "set `defaults.policy`",
                );
                None
            }
        };
        if unmatched.is_some() && config.defaults.unmatched_method == UnmatchedMethod::NotAllowed {
            let hint = "leave one of the two out";
            let problem = "means nothing where `unmatched: policy` gives every request a rule";
            self.problems.add_with_hint("defaults.unmatched_method", problem, hint);
        }
        let mut identity_headers = self.identity_headers(&providers);
        // A header of its own for internal tokens is the gateway's alone; `authorization` is the clients' too.
        let own_header = internal_tokens.as_ref().map(|tokens| tokens.header.replace('_', "-"));
        identity_headers.extend(own_header.filter(|header| header != "authorization"));
        self.check_match_headers(&identity_headers);
        Some(Policy {
            mode: config.mode,
            providers: providers.into_iter().collect::<Option<_>>()?,
            limits: limits.into_iter().collect::<Option<_>>()?,
            limit_service,
            surges: surges.into_iter().collect::<Option<_>>()?,
            bans: bans.into_iter().collect::<Option<_>>()?,
            default_bans,
            answers_preflights: rules.iter().flatten().any(|rule| rule.cors.is_some()),
            limit_headers: config.defaults.limit_headers,
            rules: rules.into_iter().collect::<Option<_>>()?,
            index: RuleIndex::new(matches.into_iter().collect::<Option<_>>()?),
            routes,
            named,
            unmatched,
            names_methods: config.defaults.unmatched_method == UnmatchedMethod::NotAllowed,
            address_lists,
            own_rules: self.own.rules,
            schemas: self.schemas.finish(self.problems),
            responses,
            sample: sample(config.defaults.audit.as_ref()),
            key_set_sources,
            introspections,
            revokes: revocation.is_some(),
            revocation: revocation.unwrap_or_default(),
            internal_tokens,
            documents,
            identity_headers,
            tells_access_log: config.access_log,
            realm: config.answers.realm.clone(),
            type_base: config.answers.type_base.clone(),
            max_waiting: usize::try_from(config.max_waiting).unwrap_or(usize::MAX),
            token_cache_bytes: config.token_cache.as_usize(),
            max_wait: config.max_wait.0,
        })
    }

    fn route_selection(&mut self, named: &HashMap<String, usize>) -> RouteSelection {
        let section = &self.config.routes;
        let mut names = HashMap::new();
        for (route, policy) in &section.names {
            match named.get(policy) {
                Some(index) => {
                    names.insert(route.clone(), *index);
                }
                None => {
                    let at = member_path("routes.names", route);
                    self.problems.add_unknown_name(at, "policy", policy, named.keys().map(String::as_str));
                }
            }
        }
        RouteSelection {
            route_metadata: section.metadata.contains(&RouteMetadata::Route),
            names,
            virtual_host_metadata: section.metadata.contains(&RouteMetadata::VirtualHost),
        }
    }
}

fn sample(section: Option<&AuditSection>) -> Sample {
    section.map_or(Sample::NONE, |section| section.sample_allowed)
}
