//! What an operator may ask: how much of a limit a client has used.
//!
//! The table knows clients by their hashes alone, so the operator names the key, part by part as the limit has it. The answer is what
//! this proxy has counted, also of a limit that a service counts for several.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::http::Method;
use crate::limits::{Demand, Descriptor, Reason as LimitReason, whole_seconds};
use crate::policy::{KeyPart, Limit};
use crate::ports::SharedStore;
use crate::strict_json;
use crate::time::UnixNanos;

use super::key::{Parts, describe};
use super::{Limiter, Opened};

/// A question about one counter.
#[derive(Debug)]
pub struct Question {
    limit: String,
    key: Map<String, Value>,
    tier: Option<String>,
}

/// A question that has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuestionError {
    /// The body is no question.
    Malformed(&'static str),
    /// There is no such limit.
    UnknownLimit,
    /// The limit has no such tier.
    UnknownTier,
    /// The key does not name this part of the limit's key, or not as it has to be.
    Part(String),
    /// The key names something that is no part of the limit's key.
    NoPart,
    /// The shared data cannot be used.
    Unavailable,
}

impl std::fmt::Display for QuestionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => f.write_str(what),
            Self::UnknownLimit => f.write_str("there is no such limit"),
            Self::UnknownTier => f.write_str("the limit has no such tier"),
            Self::Part(part) => write!(f, "`key` does not say {part}, or not as text"),
            Self::NoPart => f.write_str("`key` says something that is no part of the limit\'s key"),
            Self::Unavailable => f.write_str("the counters cannot be read"),
        }
    }
}

impl std::error::Error for QuestionError {}

/// How deeply a question may nest.
const MAX_DEPTH: usize = 4;

impl Question {
    /// Reads `{"limit": NAME, "key": {PART: TEXT, ...}, "tier": NAME}`.
    ///
    /// # Errors
    /// [`QuestionError::Malformed`].
    pub fn from_json(body: &[u8]) -> Result<Self, QuestionError> {
        let value = strict_json::parse_value(body, MAX_DEPTH);
        let Ok(Value::Object(mut members)) = value else {
            return Err(QuestionError::Malformed("the body is no JSON object"));
        };
        let Some(Value::String(limit)) = members.remove("limit") else {
            return Err(QuestionError::Malformed("`limit` has to name a limit"));
        };
        let Some(Value::Object(key)) = members.remove("key") else {
            return Err(QuestionError::Malformed("`key` has to be an object of the key\'s parts"));
        };
        let tier = match members.remove("tier") {
            None => None,
            Some(Value::String(tier)) => Some(tier),
            Some(_) => return Err(QuestionError::Malformed("`tier` has to be text")),
        };
        if !members.is_empty() {
            return Err(QuestionError::Malformed("only `limit`, `key` and `tier` can be said"));
        }
        Ok(Self { limit, key, tier })
    }

    /// The counter, as an operator can read it.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub fn answer(
        &self,
        limiter: &Limiter,
        limits: &[Limit],
        only_provider: Option<&str>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<Value, QuestionError> {
        let index = limits.iter().position(|limit| limit.name == self.limit).ok_or(QuestionError::UnknownLimit)?;
        let limit = limits.get(index).ok_or(QuestionError::UnknownLimit)?;
        let opened: &Opened = limiter.opened(index).ok_or(QuestionError::Unavailable)?;
        let tier = self.tier.as_deref().map(|tier| self.tier_of(limit, tier)).transpose()?;
        self.check_key(limit, only_provider)?;
        let descriptor = describe(limit, &NamedKey { key: &self.key, only_provider });
        let algorithm = limiter.at_present(opened.rated(tier)).ok_or(QuestionError::Unavailable)?;
        let most = algorithm.most_at_once();
        let demand = Demand { table: &opened.table, descriptor: descriptor.as_bytes(), algorithm, cost: 0 };
        let (remaining, reset) = match demand.standing(store, now) {
            Ok(Some(standing)) => (standing.remaining, standing.reset_after),
            Ok(None) => (most, std::time::Duration::ZERO),
            Err(denied) => match denied.reason {
                LimitReason::Limit(refused) => (0, refused.reset_after),
                LimitReason::TableFull { .. } => (most, std::time::Duration::ZERO),
                LimitReason::Contended | LimitReason::StoreUnavailable | LimitReason::Corrupt => {
                    return Err(QuestionError::Unavailable);
                }
            },
        };
        Ok(json!({
            "limit": limit.name,
            "scope": if limit.is_global { "global" } else { "local" },
            // A limit service has no word for such a question: asking is charging.
            "counted": "here",
            "tier": self.tier,
            "quota": most,
            "used": most.saturating_sub(remaining),
            "remaining": remaining,
            // Requests in flight end when they do.
            "reset_seconds": (!algorithm.is_in_flight()).then(|| whole_seconds(reset)),
        }))
    }

    fn tier_of(&self, limit: &Limit, tier: &str) -> Result<usize, QuestionError> {
        let tiers = limit.tiers.as_ref().ok_or(QuestionError::UnknownTier)?;
        tiers.values.iter().position(|(name, _)| name == tier).ok_or(QuestionError::UnknownTier)
    }

    /// Every part that is said must be one of the key's, and well-formed; all must be said, and one of each `first_of`. A key that
    /// is only nearly right would be another, unused counter.
    fn check_key(&self, limit: &Limit, only_provider: Option<&str>) -> Result<(), QuestionError> {
        let named = NamedKey { key: &self.key, only_provider };
        let is_known = |name: &String| name == PROVIDER || limit.key.parts().any(|part| part.text() == *name);
        if !self.key.keys().all(is_known) {
            return Err(QuestionError::NoPart);
        }
        for choice in limit.key.choices() {
            let is_said = |part: &&KeyPart| self.key.contains_key(&part.text());
            if let Some(bad) = choice.iter().filter(is_said).find(|part| !named.add(&mut Descriptor::new(), part)) {
                return Err(QuestionError::Part(bad.text()));
            }
            if !choice.iter().any(|part| is_said(&part)) {
                let missing = if let [only] = choice.as_slice() { only.text() } else { "any part".to_owned() };
                return Err(QuestionError::Part(missing));
            }
        }
        Ok(())
    }
}

/// Which provider vouches for the principal, where there are several.
const PROVIDER: &str = "provider";

/// A key whose parts are named.
struct NamedKey<'a> {
    key: &'a Map<String, Value>,
    only_provider: Option<&'a str>,
}

impl Parts for NamedKey<'_> {
    fn add(&self, descriptor: &mut Descriptor, part: &KeyPart) -> bool {
        let (kind, name) = part.kind();
        let Some(value) = self.key.get(&part.text()) else { return false };
        match (part, value) {
            (KeyPart::Principal | KeyPart::ClientId | KeyPart::ApiKey, Value::String(text)) => {
                let provider = self.key.get(PROVIDER).map_or(self.only_provider, Value::as_str);
                let Some(provider) = provider else { return false };
                descriptor.part(kind, provider, text.as_bytes());
            }
            (KeyPart::Ip(prefix), Value::String(text)) => {
                let Ok(address) = text.parse::<IpAddr>() else { return false };
                descriptor.ip(address, *prefix);
            }
            (KeyPart::Header(_) | KeyPart::Query(_), Value::Array(values)) => {
                let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
                let Some(texts) = texts.filter(|texts| !texts.is_empty()) else { return false };
                for text in texts {
                    descriptor.part(kind, name, text.as_bytes());
                }
            }
            (KeyPart::Method, Value::String(text)) => {
                let Ok(method) = Method::parse(text.as_bytes()) else { return false };
                descriptor.part(kind, name, method.counted_as().as_bytes());
            }
            (_, Value::String(text)) => {
                descriptor.part(kind, name, text.as_bytes());
            }
            _ => return false,
        }
        true
    }
}
