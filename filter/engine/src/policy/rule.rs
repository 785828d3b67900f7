//! A compiled rule.

use std::rc::Rc;

use crate::addresses::AddressRules;
use crate::answer::Challenges;
use crate::audit::Sample;
use crate::authorisation::Authorisation;
use crate::config::schema::{Check, Mode, Serve};
use crate::cors::Cors;
use crate::input::InputRules;
use crate::payload::PayloadRules;
use crate::responses::ResponseRules;
use crate::scopes::Scopes;

use super::{Costs, SurgeUse};

/// What applies to a request: who may pass, with which scopes, how often, with which headers.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The name in logs and counters.
    pub label: String,
    /// Whether refusals of this rule are carried out.
    pub mode: Mode,
    /// Checks whose refusals are only recorded.
    pub monitored: Vec<Check>,
    /// Which addresses may call.
    pub addresses: AddressRules,
    /// Which pages of other origins may call.
    pub cors: Option<Cors>,
    /// What responses look like.
    pub responses: Option<Rc<ResponseRules>>,
    /// Who may pass.
    pub who: Who,
    /// The scopes that the token must have.
    pub scopes: Scopes,
    /// What is asked of the caller beyond scopes.
    pub authorisation: Authorisation,
    /// Limits that need no principal, by index; charged before credentials are read.
    pub limits_by_address: Vec<usize>,
    /// Limits that need the principal, by index.
    pub limits_by_principal: Vec<usize>,
    /// Bans, by index.
    pub bans: Vec<usize>,
    /// What a request costs these limits.
    pub costs: Costs,
    /// The bound by which requests are shed while their service is slow.
    pub surge: Option<SurgeUse>,
    /// Rules about request headers.
    pub headers: HeaderRules,
    /// What the gateway itself answers, once all checks have passed.
    pub serve: Option<Serve>,
    /// What requests may look like.
    pub input: Option<Rc<InputRules>>,
    /// The attacks that are looked for.
    pub payload: Option<Rc<PayloadRules>>,
    /// The share of allowed requests that have an audit event.
    pub sample: Sample,
    /// The audience of the internal token that the service gets.
    pub internal_audience: Option<String>,
    /// The schemes that a challenge offers.
    pub challenges: Challenges,
    /// Where the resource's metadata are, for challenges (RFC 9728).
    pub resource_metadata: Option<String>,
}

/// Who may pass a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Everybody, without a credential.
    Everybody,
    /// Nobody.
    Nobody,
    /// Whoever providers vouch for.
    VouchedFor(Required),
}

/// Whose word a rule needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// The providers, by index.
    pub providers: Vec<usize>,
    /// Whether all of them must vouch for the caller, or one suffices.
    pub all: bool,
    /// Whether a request without any credential passes too.
    pub optional: bool,
}

/// Rules about request headers; all names lower-case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Must be there.
    pub require: Vec<String>,
    /// Must not be there.
    pub forbid: Vec<String>,
    /// Removed before the request goes on.
    pub remove: Vec<String>,
    /// Set before the request goes on.
    pub set: Vec<(String, String)>,
}
