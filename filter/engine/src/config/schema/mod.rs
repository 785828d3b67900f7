//! Every section of the configuration as the operator writes it. `policy` compiles them.

mod audit;
mod authorisation;
mod bans;
mod edge;
mod input;
mod limit_costs;
mod limits;
mod payload;
mod payload_rules;
mod policies;
mod providers;
mod services;
mod surge;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use self::audit::*;
pub use self::authorisation::*;
pub use self::bans::*;
pub use self::edge::*;
pub use self::input::*;
pub use self::limit_costs::*;
pub use self::limits::*;
pub use self::payload::*;
pub use self::payload_rules::*;
pub use self::policies::*;
pub use self::providers::*;
pub use self::services::*;
pub use self::surge::*;
use super::section::{Definitions, Read as _};
use super::units::{Size, Span};
use crate::{section, words};

words! {
    /// What happens when a check refuses a request.
    pub enum Mode {
        /// The request is refused.
        Enforce = "enforce",
        /// The refusal is counted and logged, and the request goes on.
        Monitor = "monitor",
    }
}

words! {
    /// What happens to a request that no rule matches.
    pub enum Unmatched {
        /// It is answered with 404.
        Deny = "deny",
        /// `defaults.policy` applies to it.
        Policy = "policy",
    }
}

words! {
    /// What happens to a request whose path rules take by other methods only.
    pub enum UnmatchedMethod {
        /// It is answered with 404, as if there were nothing.
        NotFound = "not_found",
        /// It is answered with 405, and `Allow` names the methods.
        NotAllowed = "not_allowed",
    }
}

words! {
    /// What happens when the host or our own code fails, not the client.
    pub enum OnError {
        /// The request is refused.
        Deny = "deny",
        /// The request goes on, counted.
        Allow = "allow",
    }
}

section! {
    /// The configuration of the filter.
    pub struct Config {
        /// Version of the configuration's form. This module reads version 1.
        version: u64,
        /// `monitor` counts and logs what would be refused, and refuses nothing.
        mode: Mode = "enforce",
        /// Who vouches for callers, by name.
        providers: BTreeMap<String, ProviderSection>,
        /// Limits that rules can name, shared by all workers.
        limits: BTreeMap<String, LimitSection>,
        /// The service that counts limits of `scope: global` for several proxies.
        limit_service: Option<LimitServiceSection>,
        /// Bounds that rules can name, of requests in flight to services: who comes while a service is slow is shed, by priority.
        surge: BTreeMap<String, SurgeSection>,
        /// Bans that rules can name: who fails too often is refused for a while. Shared by all workers.
        bans: BTreeMap<String, BanSection>,
        /// Named bundles of requirements that rules use.
        policies: BTreeMap<String, PolicySection>,
        /// What holds where a rule says nothing.
        defaults: DefaultsSection = {},
        /// JSON Schemas (draft 2020-12) that `input` can name, and that `$ref: "#/schemas/NAME"` leads to.
        schemas: BTreeMap<String, Value>,
        /// Payload rules of your own, by name; they are asked wherever payload rules are.
        payload_rules: BTreeMap<String, OwnRuleSection>,
        /// The rules; the first that matches a request applies.
        rules: Vec<RuleSection>,
        /// How Envoy's own routes name the policy of a request, before any rule is asked.
        routes: RoutesSection = {},
        /// Lists of addresses that rules can allow or deny, by name.
        address_lists: BTreeMap<String, AddressListSection>,
        /// Tokens that are worth nothing before their time.
        revocation: Option<RevocationSection>,
        /// The gateway's own short-lived tokens for services.
        internal_tokens: Option<InternalTokensSection>,
        /// Protected resources with metadata of their own (RFC 9728), by name. Each is served to everybody at its well-known path.
        resources: BTreeMap<String, ResourceSection>,
        /// Tells the proxy's access log what became of each request: in Envoy `%FILTER_STATE(wasm.portcullis.NAME:PLAIN)%`, where `NAME` is `rule`, `verdict`, `reason` or `principal`.
        access_log: bool = false,
        /// How refusals are worded.
        answers: AnswersSection = {},
        /// Request headers that only the gateway may set, beside those named by `forward`: always removed from what a client sends.
        identity_headers: Vec<String>,
        /// The most memory that each worker spends on verified tokens, so that they need no second verification; 0 switches it off.
        token_cache: Size = "8MiB",
        /// The greatest number of requests per worker that wait for a key set at the same time.
        max_waiting: u64 = 256,
        /// How long a request waits for a first key set before it is answered with 503.
        max_wait: Span = "5s",
    }
}

section! {
    /// What holds where a rule says nothing.
    pub struct DefaultsSection {
        /// The policy of rules without `use`.
        policy: Option<String>,
        /// What happens to a request that no rule matches.
        unmatched: Unmatched = "deny",
        /// What happens to a request whose path rules take by other methods only.
        unmatched_method: UnmatchedMethod = "not_found",
        /// Limits that apply to every request, beside those of its rule.
        limits: Vec<String>,
        /// Bans that apply where a rule names none of its own, and to requests that no rule matches.
        bans: Vec<String>,
        /// Which headers tell clients about limits.
        limit_headers: LimitHeaders = "standard",
        /// `deny` applies to every rule, beside its own; `allow` to every rule that has none of its own.
        addresses: Option<AddressesSection>,
        /// What requests may look like where a rule says nothing: `{}` for the limits that fit most services.
        input: Option<Placed<InputSection>>,
        /// Attacks that are looked for in what clients send, where a rule says nothing.
        payload: Option<PayloadSection>,
        /// What responses look like where a rule says nothing, and where no rule applies.
        responses: Option<ResponsesSection>,
        /// Which audit events are written where a rule says nothing, and where no rule applies.
        audit: Option<AuditSection>,
    }
}

section! {
    /// How Envoy's own routes name the policy of a request. The route's metadata beat its name, that beats the metadata of its virtual host, and those beat the rules.
    pub struct RoutesSection {
        /// Whose metadata are read, each for about 0.3 us per request: `filter_metadata: {portcullis: {policy: NAME}}`.
        metadata: Vec<RouteMetadata> = ["route"],
        /// Policies of routes by the route's `name`.
        names: BTreeMap<String, String>,
    }
}

words! {
    /// Whose metadata may name a policy.
    pub enum RouteMetadata {
        /// The route's.
        Route = "route",
        /// The virtual host's.
        VirtualHost = "virtual_host",
    }
}

section! {
    /// How refusals are worded.
    pub struct AnswersSection {
        /// The `realm` of challenges (RFC 9110, 11.5).
        realm: String = "portcullis",
        /// What stands before the reason code in the `type` of a problem document (RFC 9457, 3.1.1).
        type_base: String = "urn:portcullis:reason:",
    }
}

/// The JSON Schema (draft 2020-12) of the whole configuration.
pub fn json_schema() -> Value {
    let mut definitions = Definitions::default();
    let root = Config::schema(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portcullis configuration",
        "$ref": root.get("$ref").cloned().unwrap_or(Value::Null),
        "$defs": definitions.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::{Node, Problems};

    fn read(document: Value) -> (Option<Config>, Problems) {
        let mut problems = Problems::default();
        let config = Config::read(&Node::root(&document), &mut problems);
        (config, problems)
    }

    fn problem_lines(document: Value) -> Vec<String> {
        read(document).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_default_reads() {
        let provider = json!({"jwks": {}});
        let limit = json!({"key": "ip", "rate": "1/s"});
        let document = json!({
            "version": 1,
            "providers": {"p": provider},
            "limits": {"l": limit},
            "policies": {"q": {}},
            "rules": [{"match": {}}],
        });
        let (config, problems) = read(document);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(config.unwrap().mode, Mode::Enforce);
    }

    #[test]
    fn all_mistakes_come_at_once_with_path_and_hint() {
        let lines = problem_lines(json!({
            "version": "one",
            "mode": "enforced",
            "polices": {},
            "limits": {"l": {"key": 7, "rate": "fast"}},
            "rules": [{"match": {"path": 3, "method": "GET"}, "allow": "everybody"}],
        }));
        assert_eq!(
            lines,
            [
                "version: \"one\" is not a whole number of 0 or more",
                "mode: \"enforced\" is not known here; did you mean \"enforce\"?",
                "limits.l.key: expected a key part, a list of them or `first_of`, found a number",
                "limits.l.rate: \"fast\" is not a rate; write `1000/min`, `10/s` or `5/30s`",
                "rules[0].match.path: expected text, found a number",
                "rules[0].match.method: unknown field; did you mean \"methods\"?",
                "rules[0].allow: \"everybody\" is not known here; one of \"public\", \"nobody\"",
                "polices: unknown field; did you mean \"policies\"?",
            ]
        );
    }

    #[test]
    fn numbers_of_a_struct_arrive_as_doubles() {
        let (config, problems) = read(json!({"version": 1.0, "max_waiting": "300"}));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(config.unwrap().max_waiting, 300);
    }

    #[test]
    fn the_json_schema_describes_every_section_and_refuses_unknown_fields() {
        let schema = json_schema();
        let rule = &schema["$defs"]["RuleSection"];
        assert_eq!(rule["additionalProperties"], json!(false));
        assert_eq!(rule["required"], json!(["match"]));
        assert!(rule["properties"]["use"]["description"].as_str().unwrap().contains("policy"));
        assert!(rule["properties"]["scopes"].is_object(), "shared fields of a policy belong to the rule too");
    }
}
