//! From sections to a policy: names resolved, inheritance flattened, every contradiction reported.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::Value;

use crate::answer::Challenges;
use crate::audit::Sample;
use crate::config::document::member_path;
use crate::config::protobuf_struct;
use crate::config::schema::{
    Allow, AuditSection, Config, HeadersSection, MatchSection, Mode, PolicySection, RouteMetadata, RuleSection,
    ScopesSection, Serve, Unmatched, UnmatchedMethod,
};
use crate::config::{Node, Problems, Read};
use crate::input::{InputRules, schema};
use crate::matching::{Match, RuleIndex};
use crate::payload::PayloadRules;
use crate::proof::Demanded;
use crate::responses::ResponseRules;
use crate::routes::RouteSelection;
use crate::scopes::Scopes;
use crate::strict_json;

use super::authorisation::{self, Origin};
use super::payload::Own;
use super::provider::Surroundings;
use super::{Binding, Environment, HeaderRules, Limit, Policy, Provider, Required, Rule, Who};
use super::{
    addresses, ban, cors, input, limit_costs, limit_service, own_rules, payload, responses, salvage, services, surge,
};

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

/// A header's name in lower case, if it is one (RFC 9110, 5.1) and not the proxy's own.
pub fn header_name(at: &str, name: &str, problems: &mut Problems) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if lower.is_empty() || !lower.bytes().all(token) {
        problems.add(at, format!("{name:?} is no header name"));
        return None;
    }
    Some(lower)
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
            matches.push(self.compile_match(&member_path(&path, "match"), &section.r#match));
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

    /// A header that is always removed is no ground for a decision: only a client can have sent it.
    fn check_match_headers(&mut self, identity_headers: &[String]) {
        for (index, rule) in self.config.rules.iter().enumerate() {
            for name in rule.r#match.headers.keys() {
                if identity_headers.iter().any(|identity| super::same_header(identity, name.as_bytes())) {
                    let at = member_path(&format!("rules[{index}].match.headers"), name);
                    let hint = "match on a header that clients may send, or on the path, the host or the method";
                    self.problems.add_with_hint(
                        at,
                        "only the gateway may set this header: clients choose it here",
                        hint,
                    );
                }
            }
        }
    }

    /// Addresses, origins and responses are checked where they are written, and once, however many rules inherit them.
    fn check_edges(&mut self) {
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
    fn compile_inputs(&mut self) {
        let config = self.config;
        self.schemas.compile_named(self.problems);
        let policies = config.policies.values();
        let sections = policies.chain(config.rules.iter().map(|rule| &rule.policy)).map(|section| &section.input);
        for placed in sections.chain([&config.defaults.input]).flatten() {
            let rules = input::compile(placed, &mut self.schemas, self.problems);
            self.inputs.insert(placed.at.clone(), rules);
        }
    }

    fn input_rules(&mut self, section: &PolicySection, path: &str, origin: &Origin<'_>) -> Option<Rc<InputRules>> {
        let placed = section.input.as_ref().or(self.config.defaults.input.as_ref())?;
        let rules = self.inputs.get(&placed.at)?.clone()?;
        for name in rules.parameters.path_variables().filter(|name| origin.lacks_variable(name)) {
            let problem =
                format!("the parameter {name:?} of {} is in the path, and `match.path` has no {{{name}}}", placed.at);
            self.problems.add_with_hint(path, problem, "without it, every request would be refused");
        }
        Some(rules)
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

    /// Names stand in counters, logs and headers: they are plain words.
    fn check_names(&mut self) {
        let config = self.config;
        let declared = (config.providers.keys().map(|name| ("providers", name)))
            .chain(config.limits.keys().map(|name| ("limits", name)))
            .chain(config.surge.keys().map(|name| ("surge", name)))
            .chain(config.bans.keys().map(|name| ("bans", name)))
            .chain(config.policies.keys().map(|name| ("policies", name)));
        for (section, name) in declared {
            if !is_plain_name(name) {
                self.problems.add_with_hint(member_path(section, name), "is no plain name", PLAIN_NAME);
            }
        }
    }

    /// Every named policy with what it inherits.
    fn flatten_policies(&mut self) -> BTreeMap<String, PolicySection> {
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

    fn limits_exist(&mut self, at: &str, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if !self.limit_names.contains_key(name.as_str()) {
                let known = self.config.limits.keys().map(String::as_str);
                self.problems.add_unknown_name(format!("{at}[{index}]"), "limit", name, known);
            }
        }
    }

    fn compile_match(&mut self, at: &str, section: &MatchSection) -> Option<Match> {
        super::compile_match::compile(at, section, self.problems)
    }

    fn rule_label(
        &mut self,
        path: &str,
        index: usize,
        section: &RuleSection,
        seen: &mut HashMap<String, usize>,
    ) -> String {
        let Some(name) = &section.name else { return index.to_string() };
        let at = member_path(path, "name");
        if !is_plain_name(name) {
            self.problems.add_with_hint(at, format!("{name:?} is no plain name"), PLAIN_NAME);
        } else if let Some(earlier) = seen.insert(name.clone(), index) {
            self.problems.add(at, format!("{name:?} is the name of rules[{earlier}] already"));
        }
        name.clone()
    }

    fn compile_rule(
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

    fn compile_policy(
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

    fn identity_headers(&mut self, providers: &[Option<Provider>]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (index, name) in self.config.identity_headers.iter().enumerate() {
            names.extend(header_name(&format!("identity_headers[{index}]"), name, self.problems));
        }
        for provider in providers.iter().flatten() {
            names.extend(provider.headers.iter().map(|(name, _)| name.clone()));
        }
        let mut names: Vec<String> = names.into_iter().map(|name| name.replace('_', "-")).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// What a plain name is.
pub const PLAIN_NAME: &str = "1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`";

/// Whether a name can stand in counters, logs and headers.
pub fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A header that a rule may speak about. Pseudo-headers and framing belong to the proxy.
fn changeable_header(at: &str, name: &str, field: &str, problems: &mut Problems) -> Option<String> {
    const FRAMING: &[&str] = &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];
    let lower = header_name(at, name, problems)?;
    if matches!(field, "set" | "remove") && FRAMING.contains(&lower.as_str()) {
        problems.add(at, format!("{name:?} belongs to the proxy and cannot be changed"));
        return None;
    }
    Some(lower)
}

/// Takes over from `base` what `section` does not set.
fn inherit(section: &mut PolicySection, base: &PolicySection) {
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

fn sample(section: Option<&AuditSection>) -> Sample {
    section.map_or(Sample::NONE, |section| section.sample_allowed)
}

fn scopes(section: &ScopesSection) -> Scopes {
    Scopes { all: section.all.clone(), any: section.any.clone(), none: section.none.clone() }
}
