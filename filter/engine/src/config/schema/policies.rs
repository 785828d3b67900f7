//! Rules and policies: which requests they are about, and what those must fulfil.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    AddressesSection, AuditSection, Check, ConditionSection, CorsSection, CostFromSection, InputSection, Mode,
    PayloadSection, Placed, Priority, PriorityFromSection, ResponsesSection, RolesSection, StatusClass,
};
use crate::config::document::{Node, Problems};
use crate::config::section::{Definitions, OneOrMany, Read};
use crate::{section, words};

section! {
    /// What a request must fulfil. A field that is set replaces the one inherited by `extends` or `use`.
    pub struct PolicySection {
        /// The policy whose fields hold where this one sets none.
        extends: Option<String>,
        /// The provider that must vouch for the caller; one of several with `any`.
        require: Option<RequireSection>,
        /// Scopes that the token must have: 403 without.
        scopes: Option<ScopesSection>,
        /// Roles that the caller must have: 403 without.
        roles: Option<RolesSection>,
        /// Path variables that must equal claims: `{id: sub}` keeps `/users/{id}` for its user. 403 otherwise.
        bind: Option<BTreeMap<String, String>>,
        /// Conditions that must all hold, in CEL: `jwt.tenant == path.tenant`. One, or a list. 403 where one does not hold, or has no answer.
        when: Option<OneOrMany<ConditionSection>>,
        /// Limits that apply, by name.
        limits: Option<Vec<String>>,
        /// Bans that apply, by name, in place of those of `defaults.bans`; an empty list: none.
        bans: Option<Vec<String>>,
        /// What a request costs each of its limits; 1 unless said otherwise.
        cost: Option<u64>,
        /// A response header with the cost: what it says beyond `cost` is charged afterwards.
        cost_from: Option<CostFromSection>,
        /// Statuses of responses for which limits get their charge back: `5xx`, `503`.
        refund_on: Option<OneOrMany<StatusClass>>,
        /// The bound that requests are shed by while their service is slow, by name: 503 (`overloaded`).
        surge: Option<String>,
        /// Which requests `surge` sheds first; `default` unless said otherwise.
        priority: Option<Priority>,
        /// Other priorities for some callers, by a claim of theirs.
        priority_from: Option<PriorityFromSection>,
        /// Rules about request headers.
        headers: Option<HeadersSection>,
        /// The service gets an internal token for the caller.
        internal_token: Option<InternalTokenUse>,
        /// The protected resource that challenges point to (RFC 9728).
        resource: Option<String>,
        /// Which addresses may call, and which may not.
        addresses: Option<AddressesSection>,
        /// Which web pages of other origins may call (CORS).
        cors: Option<CorsSection>,
        /// What responses look like.
        responses: Option<ResponsesSection>,
        /// What requests may look like. Replaces the whole of `defaults.input`.
        input: Option<Placed<InputSection>>,
        /// Attacks that are looked for in what clients send. Replaces the whole of `defaults.payload`.
        payload: Option<PayloadSection>,
        /// Which audit events are written. Replaces the whole of `defaults.audit`.
        audit: Option<AuditSection>,
        /// `monitor` counts and logs what this policy would refuse.
        mode: Option<Mode>,
        /// Single checks that are only monitored: what they would refuse is counted and logged, and goes on.
        monitor: Option<Vec<Check>>,
    }
}

section! {
    /// A rule: a match and what applies. The first rule that matches decides.
    pub struct RuleSection {
        /// The rule's name in logs and counters; its number unless said otherwise.
        name: Option<String>,
        /// Which requests the rule is about. An empty match takes every request.
        r#match: MatchSection,
        /// `public`: nobody has to identify. `nobody`: everybody is refused.
        allow: Option<Allow>,
        /// The policy that applies.
        r#use: Option<String>,
        /// The gateway itself answers, once all checks of the rule have passed.
        serve: Option<Serve>,
        ..policy: PolicySection
    }
}

section! {
    /// Which requests a rule is about: all conditions must hold.
    pub struct MatchSection {
        /// The path: exact, or with `*` (one segment), `{name}` (one captured segment) and a final `**` (the rest).
        path: Option<String>,
        /// The path's beginning, ending at a segment.
        prefix: Option<String>,
        /// A regular expression that matches the whole path (linear time).
        regex: Option<String>,
        /// The host: exact, or `*.example.com`.
        host: Option<String>,
        /// The methods; every one unless said otherwise.
        methods: Option<OneOrMany<String>>,
        /// Conditions on headers: name to exact value, or `*` for any value.
        headers: BTreeMap<String, String>,
    }
}

words! {
    /// A rule's short answer to everybody.
    pub enum Allow {
        /// Nobody has to identify; the other checks of the rule still apply.
        Public = "public",
        /// Nobody may pass: 403.
        Nobody = "nobody",
    }
}

words! {
    /// What the gateway itself answers.
    pub enum Serve {
        /// Pushed revocations: GET lists them, POST adds one, DELETE lifts one.
        Revocations = "revocations",
        /// Bans: GET lists them, POST adds one, DELETE lifts one.
        Bans = "bans",
        /// How much of a limit a client has used: POST asks.
        Limits = "limits",
    }
}

section! {
    /// Words that a token must or must not have among its scopes (`scope`, else `scp`). Whole words are compared.
    pub struct ScopesSection {
        /// Every one of these.
        all: Vec<String>,
        /// At least one of these.
        any: Vec<String>,
        /// None of these.
        none: Vec<String>,
    }
}

section! {
    /// Rules about request headers.
    pub struct HeadersSection {
        /// Headers that a request must have: 400 without.
        require: Vec<String>,
        /// Headers that a request must not have: 400 with.
        forbid: Vec<String>,
        /// Headers removed before the request goes on.
        remove: Vec<String>,
        /// Headers set before the request goes on, replacing what the client sent.
        set: BTreeMap<String, String>,
    }
}

section! {
    /// The internal token that the service of a rule gets.
    pub struct InternalTokenUse {
        /// Its `aud`: the service.
        audience: String,
    }
}

/// Whose word is needed: a provider's name, a list of which one suffices, `{any: [...]}` or `{all: [...]}`.
#[derive(Debug, Clone, PartialEq)]
pub struct RequireSection {
    /// The providers.
    pub providers: Vec<String>,
    /// Whether all of them must vouch for the caller, or one suffices.
    pub all: bool,
    /// Whether a request without any credential passes too, as nobody.
    pub optional: bool,
    /// Where it is written, for later problems.
    pub path: String,
}

section! {
    /// Whose word is needed.
    pub struct RequireObject {
        /// Providers of which one must vouch for the caller.
        any: Option<Vec<String>>,
        /// Providers that must all vouch for the caller; the first one's word is the identity.
        all: Option<Vec<String>>,
        /// A request without any credential passes too, as nobody. A bad credential is refused all the same.
        optional: bool = false,
    }
}

impl Read for RequireSection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let path = node.path.clone();
        let (providers, all, optional) = match node.value {
            Value::Object(_) => match RequireObject::read(node, problems)? {
                RequireObject { any: Some(any), all: None, optional } => (any, false, optional),
                RequireObject { any: None, all: Some(all), optional } => (all, true, optional),
                _ => {
                    problems.add(path, "needs exactly one of `any` and `all`");
                    return None;
                }
            },
            _ => (OneOrMany::read(node, problems)?.0, false, false),
        };
        if providers.is_empty() {
            problems.add(path, "names no provider");
            return None;
        }
        Some(Self { providers, all, optional, path })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let object = RequireObject::schema(definitions);
        definitions.refer("RequireSection", |_| {
            json!({
                "description": "Whose word is needed: a provider's name, a list of which one suffices, or an object.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}, object],
            })
        })
    }
}
