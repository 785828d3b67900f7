//! `limit_service`, checked against the limits and providers.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{Config, LimitServiceOnError, LimitServiceValues, ScopeSection};
use crate::credentials::TokenSource;
use crate::global_limits::{LimitService, Values};
use crate::key_sets::is_authority;
use crate::limits::PartKind;

use super::Provider;

/// How long a request may be made to wait.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(5);
/// Requests in flight take memory.
const MAX_IN_FLIGHT: u64 = 65_536;
/// Headers that carry credentials, whether a provider reads them or not.
const SECRET_HEADERS: &[&str] = &["authorization", "proxy-authorization", "cookie", "dpop", "x-api-key"];

/// Compiles the section. `None`: there is none, or problems were added.
pub fn compile(config: &Config, providers: &[Option<Provider>], problems: &mut Problems) -> Option<LimitService> {
    let global: Vec<&String> =
        config.limits.iter().filter(|(_, limit)| limit.scope == ScopeSection::Global).map(|(name, _)| name).collect();
    let Some(section) = &config.limit_service else {
        for name in global {
            let at = member_path(&member_path("limits", name), "scope");
            let hint = "name the service that counts for all proxies in `limit_service`";
            problems.add_with_hint(at, "\"global\" needs a `limit_service`", hint);
        }
        return None;
    };
    let before = problems.len();
    if global.is_empty() {
        let hint = "write `scope: global` on the limits that it is to count";
        problems.add_with_hint("limit_service", "means nothing: no limit is global", hint);
    }
    if section.cluster.is_empty() {
        problems.add("limit_service.cluster", "is empty");
    }
    if section.domain.is_empty() {
        problems.add_with_hint("limit_service.domain", "is empty", "limit services know limits by their domain");
    }
    let authority = section.authority.clone().unwrap_or_else(|| section.cluster.clone());
    if !authority.is_empty() && !is_authority(&authority) {
        problems.add("limit_service.authority", format!("{authority:?} is no host with an optional port"));
    }
    if !TIMEOUTS.contains(&section.timeout.0) {
        let hint = "clients wait for so long when the service hangs; 20ms to 200ms are usual";
        problems.add_with_hint("limit_service.timeout", "is not between 1ms and 5s", hint);
    }
    if section.max_in_flight == 0 || section.max_in_flight > MAX_IN_FLIGHT {
        let problem = format!("{} is not between 1 and {MAX_IN_FLIGHT}", section.max_in_flight);
        problems.add("limit_service.max_in_flight", problem);
    }
    (problems.len() == before).then(|| LimitService {
        cluster: section.cluster.clone(),
        authority,
        kind: section.kind,
        domain: section.domain.clone(),
        timeout: section.timeout.0,
        deny_on_error: section.on_error == LimitServiceOnError::Deny,
        sends_rates: section.send_rates,
        values: match section.values {
            LimitServiceValues::Hashed => Values::Hashed,
            LimitServiceValues::Clear => Values::Clear { secret: secret_parts(providers) },
        },
        max_in_flight: usize::try_from(section.max_in_flight).unwrap_or(usize::MAX),
    })
}

/// The key parts that may hold a credential.
fn secret_parts(providers: &[Option<Provider>]) -> Vec<(PartKind, String)> {
    let sources = providers.iter().flatten().flat_map(|provider| &provider.sources);
    let read = sources.filter_map(|source| match source {
        TokenSource::Header { name, .. } => Some((PartKind::Header, name.clone())),
        TokenSource::Query(name) => Some((PartKind::Query, name.clone())),
        TokenSource::Cookie(_) => None,
    });
    let always = SECRET_HEADERS.iter().map(|name| (PartKind::Header, (*name).to_owned()));
    always.chain(read).collect()
}
