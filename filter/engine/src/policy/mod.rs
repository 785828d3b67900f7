//! The checked policy: what the configuration means, compiled once, with nothing left to validate.

mod addresses;
mod authorisation;
mod ban;
mod compile;
mod cors;
mod forms;
mod input;
mod limit;
mod limit_costs;
mod limit_key;
mod limit_service;
mod own_rules;
mod payload;
mod provider;
mod responses;
mod rule;
mod salvage;
mod services;
mod shared_memory;
mod surge;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use portcullis_payload::own::OwnRules;
use serde_json::Value;

use crate::addresses::AddressList;
use crate::answer::LocalDocument;
use crate::audit::Sample;
use crate::bans::Ban;
use crate::config::Problems;
use crate::config::schema::{LimitHeaders, Mode};
use crate::global_limits::LimitService;
use crate::input::SchemaSet;
use crate::introspection::IntrospectionSource;
use crate::key_sets::KeySetSource;
use crate::matching::RuleIndex;
use crate::responses::ResponseRules;
use crate::revocation;
use crate::routes::RouteSelection;

pub use limit::{Limit, Overflow, Tiers};
pub use limit_costs::{CostHeader, Costs, Settling};
pub use limit_key::{KeyPart, LimitKey};
pub use provider::{
    Binding, CertificateRule, Client, JwtProvider, KeySource, OpaqueProvider, Provider, ProviderKind,
    VerifiedCertificate,
};
pub use rule::{HeaderRules, Required, Rule, Who};
pub use services::InternalTokens;
pub use shared_memory::SharedMemory;
pub use surge::{Surge, SurgeUse};

/// Looks up a variable of the VM's environment, where secrets come from.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A checked configuration.
#[derive(Debug)]
pub struct Policy {
    /// Whether refusals are carried out at all.
    pub mode: Mode,
    /// The providers.
    pub providers: Vec<Provider>,
    /// The limits.
    pub limits: Vec<Limit>,
    /// The service that counts global limits; `None` where there are none.
    pub limit_service: Option<LimitService>,
    /// The bounds by which requests are shed.
    pub surges: Vec<Surge>,
    /// The bans.
    pub bans: Vec<Ban>,
    /// Those that apply where no rule does, by index.
    pub default_bans: Vec<usize>,
    /// Which headers tell clients about limits.
    pub limit_headers: LimitHeaders,
    /// The rules, then one entry for each named policy (for routes that name it), then the one for unmatched requests.
    pub rules: Vec<Rule>,
    /// Finds the first rule that matches.
    pub index: RuleIndex,
    /// Where the proxy's routes may name a policy.
    pub routes: RouteSelection,
    /// Where each named policy stands in `rules`.
    pub named: HashMap<String, usize>,
    /// What applies to a request that no rule matches; `None`: 404.
    pub unmatched: Option<usize>,
    /// Whether a request whose path rules take by other methods is told which (405).
    pub names_methods: bool,
    /// Whether any rule says something about CORS, so that preflights are looked at.
    pub answers_preflights: bool,
    /// The lists of addresses, in the order of their names.
    pub address_lists: Vec<AddressList>,
    /// Payload rules that the operator wrote.
    pub own_rules: Rc<OwnRules>,
    /// The schemas that requests must meet.
    pub schemas: SchemaSet,
    /// What responses look like where no rule applies.
    pub responses: Option<Rc<ResponseRules>>,
    /// The share of allowed requests that have an audit event, where no rule applies.
    pub sample: Sample,
    /// Remote key sets, in the order in which providers refer to them.
    pub key_set_sources: Vec<KeySetSource>,
    /// Introspection endpoints.
    pub introspections: Vec<IntrospectionSource>,
    /// Where revocations come from.
    pub revocation: revocation::Options,
    /// Whether anything can be revoked.
    pub revokes: bool,
    /// The gateway's own tokens.
    pub internal_tokens: Option<InternalTokens>,
    /// Documents that the gateway serves to everybody, by path.
    pub documents: Vec<(String, LocalDocument)>,
    /// Headers that only the gateway may set, sorted, lower-case with `-` for `_`.
    pub identity_headers: Vec<String>,
    /// Whether the proxy's access log is told what became of each request.
    pub tells_access_log: bool,
    /// The `realm` of challenges.
    pub realm: String,
    /// What stands before the reason code in a problem document's `type`.
    pub type_base: String,
    /// The most memory that a worker's cache of verified tokens takes.
    pub token_cache_bytes: usize,
    /// How many requests may wait for key sets at the same time.
    pub max_waiting: usize,
    /// How long a request may wait for a key set.
    pub max_wait: Duration,
}

impl Policy {
    /// Reads and checks a configuration as Envoy hands it over: a serialised `google.protobuf.Struct`, or JSON text.
    ///
    /// # Errors
    /// Every problem found, with its path.
    pub fn from_bytes(bytes: &[u8], environment: Environment<'_>) -> Result<Rc<Self>, Problems> {
        compile::from_bytes(bytes, environment).map(Rc::new)
    }

    /// Checks a configuration that is read already.
    ///
    /// # Errors
    /// Every problem found, with its path.
    pub fn from_value(document: &Value, environment: Environment<'_>) -> Result<Rc<Self>, Problems> {
        compile::from_value(document, environment).map(Rc::new)
    }

    /// The longest `max_age` and leeway of proofs, if any provider takes DPoP.
    pub fn proof_window(&self) -> Option<(Duration, Duration)> {
        let taken = self.bindings().filter(|binding| binding.takes_dpop());
        taken.map(|binding| (binding.max_age, binding.leeway)).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// Whether any provider asks for nonces in proofs.
    pub fn wants_nonces(&self) -> bool {
        self.bindings().any(|binding| binding.nonce)
    }

    fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.providers.iter().filter_map(|provider| match &provider.kind {
            ProviderKind::Jwt(jwt) => Some(&jwt.binding),
            ProviderKind::Opaque(opaque) => Some(&opaque.binding),
            ProviderKind::Clients(_) | ProviderKind::Certificate(_) => None,
        })
    }

    /// Whether `name` (lower-case) is a header that only the gateway may set. `_` counts as `-`: some services read
    /// them as the same.
    pub fn is_identity_header(&self, name: &[u8]) -> bool {
        self.identity_headers.iter().any(|identity| same_header(identity, name))
    }

    /// The name of the rule at `index`, for counters.
    pub fn rule_label(&self, index: u16) -> Option<&str> {
        self.rules.get(usize::from(index)).map(|rule| rule.label.as_str())
    }

    /// What responses look like under the rule at `index`; where there is none, what holds by default.
    pub fn responses_of(&self, index: u16) -> Option<&Rc<ResponseRules>> {
        match self.rules.get(usize::from(index)) {
            Some(rule) => rule.responses.as_ref(),
            None => self.responses.as_ref(),
        }
    }

    /// The share of allowed requests under the rule at `index` that have an audit event; where there is no rule, what holds by default.
    pub fn sample_of(&self, index: u16) -> Sample {
        self.rules.get(usize::from(index)).map_or(self.sample, |rule| rule.sample)
    }

    /// The name of the address list at `index`, for counters.
    pub fn address_list_label(&self, index: u16) -> Option<&str> {
        self.address_lists.get(usize::from(index)).map(|list| list.name.as_str())
    }

    /// The name of the limit at `index`, for counters.
    pub fn limit_label(&self, index: u16) -> Option<&str> {
        self.limits.get(usize::from(index)).map(|limit| limit.name.as_str())
    }

    /// The name of the surge bound at `index`, for counters.
    pub fn surge_label(&self, index: u16) -> Option<&str> {
        self.surges.get(usize::from(index)).map(|surge| surge.name.as_str())
    }

    /// The name of the ban at `index`, for counters.
    pub fn ban_label(&self, index: u16) -> Option<&str> {
        self.bans.get(usize::from(index)).map(|ban| ban.name.as_str())
    }

    /// The bans of the rule at `index`; where there is none, those that hold by default.
    pub fn bans_of(&self, index: u16) -> &[usize] {
        self.rules.get(usize::from(index)).map_or(&self.default_bans, |rule| &rule.bans)
    }

    /// The name of the provider at `index`, for counters.
    pub fn provider_label(&self, index: u16) -> Option<&str> {
        self.providers.get(usize::from(index)).map(|provider| provider.name.as_str())
    }
}

fn same_header(identity: &str, name: &[u8]) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    identity.len() == name.len() && identity.bytes().zip(name).all(|(a, b)| a == fold(*b))
}
