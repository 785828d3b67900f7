//! A compiled limit, and how one is made of its section.

use std::num::{NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{AlgorithmSection, LimitSection, Mode, OnError, OverflowSection, ScopeSection};
use crate::config::units::{CalendarQuota, Period, Rate};
use crate::global_limits::Lease;
use crate::limits::{Algorithm, QuotaError, fixed_window, gcra, in_flight, sliding_window};

use super::limit_key::LimitKey;

pub use crate::limits::Overflow;

/// A limit on requests.
#[derive(Debug)]
pub struct Limit {
    /// The name in the configuration.
    pub name: String,
    /// What is counted.
    pub key: LimitKey,
    /// How much each key may.
    pub algorithm: Algorithm,
    /// How much some clients may instead.
    pub tiers: Option<Tiers>,
    /// The share of the quota, in percent, at which the operator is told.
    pub warn_at: Option<u8>,
    /// How many keys can be told apart at the same time.
    pub capacity: u64,
    /// What happens while the table is full of busy keys.
    pub overflow: Overflow,
    /// What happens if shared data cannot be used.
    pub on_error: OnError,
    /// Whether refusals of this limit are carried out.
    pub mode: Mode,
    /// Whether the limit service counts it too.
    pub is_global: bool,
    /// What the service is asked for ahead.
    pub lease: Option<Lease>,
}

/// What some clients may, by a claim of theirs.
#[derive(Debug)]
pub struct Tiers {
    /// The claim path whose text names the tier.
    pub claim: String,
    /// The tiers by name.
    pub values: Vec<(String, Algorithm)>,
}

impl Limit {
    /// Compiles a limit. `None` means that problems were added.
    pub fn compile(name: &str, section: &LimitSection, default_mode: Mode, problems: &mut Problems) -> Option<Self> {
        let path = member_path("limits", name);
        let before = problems.len();
        let key = LimitKey::compile(&path, section, problems);
        combinations(&path, section, problems);
        let algorithm = own(&path, section, problems);
        const MAX_CAPACITY: u64 = 16 * 1024 * 1024;
        if section.capacity == 0 || section.capacity > MAX_CAPACITY {
            let problem = format!("{} is not between 1 and {MAX_CAPACITY}", section.capacity);
            problems.add(member_path(&path, "capacity"), problem);
        }
        let tiers = algorithm.and_then(|own| tiers(&path, section, &own, problems));
        let lease = algorithm.and_then(|own| lease(&path, section, &own, tiers.as_ref(), problems));
        if problems.len() > before {
            return None;
        }
        let (algorithm, tiers) = beside_each_other(algorithm?, tiers);
        Some(Self {
            name: name.to_owned(),
            key: key?,
            algorithm,
            tiers,
            warn_at: section.warn_at.map(|share| share.0),
            capacity: section.capacity,
            overflow: match section.on_overflow {
                OverflowSection::Deny => Overflow::Deny,
                OverflowSection::Allow => Overflow::Allow,
                OverflowSection::Shared => Overflow::SharedBucket,
            },
            on_error: section.on_error,
            mode: section.mode.unwrap_or(default_mode),
            is_global: section.scope == ScopeSection::Global,
            lease,
        })
    }

    /// Whether the limit can only be charged once the caller is known.
    pub fn needs_principal(&self) -> bool {
        self.key.needs_principal() || self.tiers.is_some()
    }

    /// Whether it counts requests in flight.
    pub fn is_in_flight(&self) -> bool {
        self.algorithm.is_in_flight()
    }

    /// What any client may: the limit's own, then that of each tier with its name.
    pub fn algorithms(&self) -> impl Iterator<Item = (Option<&str>, &Algorithm)> {
        let tiers = self.tiers.iter().flat_map(|tiers| &tiers.values);
        std::iter::once((None, &self.algorithm)).chain(tiers.map(|(name, algorithm)| (Some(name.as_str()), algorithm)))
    }
}

/// What the service is asked for ahead.
fn lease(
    path: &str,
    section: &LimitSection,
    own: &Algorithm,
    tiers: Option<&Tiers>,
    problems: &mut Problems,
) -> Option<Lease> {
    let lease = section.lease.as_ref()?;
    let (path, before) = (member_path(path, "lease"), problems.len());
    if section.scope != ScopeSection::Global {
        let hint = "leave it out, or write `scope: global`: only a limit service is asked ahead";
        problems.add_with_hint(path.clone(), "means nothing to a limit that is counted here alone", hint);
    }
    let most = own.most_at_once().min(MAX_LEASE);
    let size = u32::try_from(lease.size).ok().filter(|size| *size > 1 && u64::from(*size) <= most);
    if size.is_none() {
        let problem = format!("{} is not between 2 and {most}", lease.size);
        let hint = "a lease is a small share of what the limit admits at once: what is not spent of it is lost";
        problems.add_with_hint(member_path(&path, "size"), problem, hint);
    }
    let hint = "what is not spent by then is lost; a second or two are usual";
    if !LEASE_LENGTHS.contains(&lease.r#for.0) {
        problems.add_with_hint(member_path(&path, "for"), "is not between 100ms and 1m", hint);
    } else if own.window().is_some_and(|window| window < lease.r#for.0) {
        problems.add_with_hint(member_path(&path, "for"), "is longer than the limit's window", hint);
    }
    // One question for a lease is asked for every client, whatever its tier.
    for (tier, algorithm) in tiers.iter().flat_map(|tiers| &tiers.values) {
        let most = algorithm.most_at_once();
        if problems.len() == before && lease.size > most {
            let problem = format!("{} is more than the tier {tier:?} ever admits at once: {most}", lease.size);
            let hint = "make it a small share of what the smallest tier admits, or give that tier a limit of its own";
            problems.add_with_hint(member_path(&path, "size"), problem, hint);
        }
        if problems.len() == before && algorithm.window().is_some_and(|window| window < lease.r#for.0) {
            let problem = format!("is longer than the window of the tier {tier:?}");
            problems.add_with_hint(member_path(&path, "for"), problem, hint);
        }
    }
    (problems.len() == before).then_some(Lease { size: size?, length: lease.r#for.0 })
}

/// As many requests may wait for one answer.
const MAX_LEASE: u64 = 10_000;
const LEASE_LENGTHS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Fields that mean nothing beside each other.
fn combinations(path: &str, section: &LimitSection, problems: &mut Problems) {
    let said = [
        ("rate", section.rate.is_some()),
        ("quota", section.quota.is_some()),
        ("concurrency", section.concurrency.is_some()),
    ];
    let mut said = said.into_iter().filter_map(|(field, is_said)| is_said.then_some(field));
    match said.next() {
        None => {
            let hint =
                "set `rate`, such as `1000/min`, `quota`, such as `1000000/month`, or `concurrency`, such as `20`";
            problems.add_with_hint(path, "does not say how much it admits", hint);
        }
        Some(first) => {
            for field in said {
                let hint = "make two limits of it: a rule can name both";
                problems.add_with_hint(member_path(path, field), format!("contradicts `{first}`"), hint);
            }
        }
    }
    let in_flight = section.concurrency.is_some() && section.rate.is_none() && section.quota.is_none();
    let window = match (&section.quota, section.algorithm) {
        _ if in_flight => Some("`concurrency`"),
        (Some(_), _) => Some("a quota"),
        (None, Some(AlgorithmSection::FixedWindow)) => Some("`fixed_window`"),
        (None, Some(AlgorithmSection::SlidingWindow)) => Some("`sliding_window`"),
        (None, None | Some(AlgorithmSection::Gcra)) => None,
    };
    if let (Some(window), Some(_)) = (window, section.burst) {
        let (problem, hint) = match in_flight {
            true => ("means nothing to `concurrency`: all of it may come at once".to_owned(), "leave it out"),
            false => (
                format!("means nothing to {window}, which admits all of its window at once"),
                "leave it out, or use `algorithm: gcra`",
            ),
        };
        problems.add_with_hint(member_path(path, "burst"), problem, hint);
    }
    if let (true, Some(algorithm)) = (in_flight, section.algorithm) {
        let problem = format!("{:?} contradicts `concurrency`, which counts no rate", algorithm.as_str());
        problems.add_with_hint(member_path(path, "algorithm"), problem, "leave it out, or write a `rate`");
    }
    if in_flight && section.scope == ScopeSection::Global {
        let hint = "leave it out: a limit service counts rates, and learns of no request's end";
        problems.add_with_hint(member_path(path, "scope"), "\"global\" means nothing to `concurrency`", hint);
    }
    if let (Some(_), Some(algorithm)) = (&section.quota, section.algorithm) {
        let problem =
            format!("{:?} contradicts `quota`, which counts in days or months of the calendar", algorithm.as_str());
        problems.add_with_hint(member_path(path, "algorithm"), problem, "leave it out, or write a `rate`");
    }
    if section.quota.is_none() && section.warn_at.is_some() {
        let hint = "make it a quota per day or month, or leave it out";
        problems.add_with_hint(member_path(path, "warn_at"), "means nothing without `quota`", hint);
    }
}

/// The limit's own rate or quota.
fn own(path: &str, section: &LimitSection, problems: &mut Problems) -> Option<Algorithm> {
    if let Some(quota) = &section.quota {
        return calendar(&member_path(path, "quota"), quota, problems);
    }
    if let (Some(most), None) = (section.concurrency, &section.rate) {
        return concurrency(&member_path(path, "concurrency"), most, problems);
    }
    let rate = section.rate.as_ref()?;
    let burst = match section.burst.map(NonZeroU64::new) {
        None => rate.requests,
        Some(Some(burst)) => burst,
        Some(None) => {
            problems.add_with_hint(member_path(path, "burst"), "is 0", "a limit admits at least 1 at once");
            return None;
        }
    };
    windowed(&member_path(path, "rate"), section.algorithm, rate, burst, problems)
}

fn windowed(
    at: &str,
    algorithm: Option<AlgorithmSection>,
    rate: &Rate,
    burst: NonZeroU64,
    problems: &mut Problems,
) -> Option<Algorithm> {
    let made = match algorithm {
        None | Some(AlgorithmSection::Gcra) => gcra::Quota::new(rate.requests, rate.window, burst).map(Algorithm::Gcra),
        Some(AlgorithmSection::FixedWindow) => {
            fixed_window::Quota::new(rate.requests, rate.window).map(Algorithm::FixedWindow)
        }
        Some(AlgorithmSection::SlidingWindow) => {
            sliding_window::Quota::new(rate.requests, rate.window).map(Algorithm::SlidingWindow)
        }
    };
    match made {
        Ok(algorithm) => Some(algorithm),
        Err(error @ QuotaError::TooMany { .. }) => {
            problems.add_with_hint(at, error.to_string(), "use `gcra` or `fixed_window`");
            None
        }
        Err(error) => {
            problems.add(at, error.to_string());
            None
        }
    }
}

fn concurrency(at: &str, most: u64, problems: &mut Problems) -> Option<Algorithm> {
    let made = u32::try_from(most).ok().filter(|most| *most <= MAX_CONCURRENCY).and_then(NonZeroU32::new);
    if made.is_none() {
        let problem = format!("{most} is not between 1 and {MAX_CONCURRENCY}");
        problems.add_with_hint(at, problem, "how many requests of one client may be in flight at the same time");
    }
    made.map(|most| Algorithm::InFlight(in_flight::Quota::new(most)))
}

/// More than a proxy carries.
const MAX_CONCURRENCY: u32 = 1_000_000;

fn calendar(at: &str, quota: &CalendarQuota, problems: &mut Problems) -> Option<Algorithm> {
    const DAY: Duration = Duration::from_secs(86_400);
    let made = match quota.period {
        Period::Month => Ok(fixed_window::Quota::monthly(quota.requests)),
        Period::Day => fixed_window::Quota::new(quota.requests, DAY),
    };
    made.map(Algorithm::FixedWindow).map_err(|error| problems.add(at, error.to_string())).ok()
}

/// The tiers; all of them charge the limit's one table, as the limit's own rate does.
fn tiers(path: &str, section: &LimitSection, own: &Algorithm, problems: &mut Problems) -> Option<Tiers> {
    let tiers = section.tiers.as_ref()?;
    let at = member_path(&member_path(path, "tiers"), "values");
    if tiers.values.is_empty() {
        let hint = if own.is_in_flight() { "such as `{gold: 50}`" } else { "such as `{gold: 5000/min}`" };
        problems.add_with_hint(at.clone(), "names no tier", hint);
    }
    let mut values = Vec::new();
    for (name, text) in &tiers.values {
        let at = member_path(&at, name);
        if let Some(algorithm) = tier(&at, &text.0, section, own, problems) {
            values.push((name.clone(), algorithm));
        }
    }
    Some(Tiers { claim: tiers.claim.clone(), values })
}

fn tier(at: &str, text: &str, section: &LimitSection, own: &Algorithm, problems: &mut Problems) -> Option<Algorithm> {
    if own.is_in_flight() {
        let Ok(most) = text.trim().parse() else {
            let problem = format!("{text:?} is not a number of requests in flight");
            problems.add_with_hint(at, problem, "write a whole number, such as `50`");
            return None;
        };
        return concurrency(at, most, problems);
    }
    let made = if section.quota.is_some() {
        let Some(quota) = CalendarQuota::parse(text) else {
            problems.add_with_hint(at, format!("{text:?} is not a quota"), "write `1000000/month` or `10000/day`");
            return None;
        };
        calendar(at, &quota, problems)?
    } else {
        let Some(rate) = Rate::parse(text) else {
            problems.add_with_hint(at, format!("{text:?} is not a rate"), "write `1000/min`, `10/s` or `5/30s`");
            return None;
        };
        windowed(at, section.algorithm, &rate, scaled_burst(own, &rate), problems)?
    };
    // The counter of a window says when the window ends, so that a window of another length would misread it.
    if !matches!(own, Algorithm::Gcra(_)) && made.window() != own.window() {
        problems.add_with_hint(at, format!("{text:?} has another window than the limit"), "tiers share one counter");
        return None;
    }
    Some(made)
}

/// The burst of a tier: it refills in the same time as the limit's own burst, so that a counter means the same share of it
/// in every tier; but one request is always admitted at once.
fn scaled_burst(own: &Algorithm, rate: &Rate) -> NonZeroU64 {
    let Algorithm::Gcra(own) = own else { return rate.requests };
    let time = u128::from(own.burst().get()).saturating_mul(own.window().as_nanos());
    let requests = time.saturating_mul(u128::from(rate.requests.get()));
    let burst = requests
        .checked_div(u128::from(own.requests().get()))
        .and_then(|requests| requests.checked_div(rate.window.as_nanos()))
        .and_then(|burst| u64::try_from(burst).ok());
    burst.and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN)
}

/// Tells each quota of the others that charge the same counters.
fn beside_each_other(own: Algorithm, tiers: Option<Tiers>) -> (Algorithm, Option<Tiers>) {
    let all = tiers.iter().flat_map(|tiers| &tiers.values).map(|(_, algorithm)| algorithm);
    let longest = all.map(Algorithm::longest_debt).fold(own.longest_debt(), Duration::max);
    let beside = |algorithm| match algorithm {
        Algorithm::Gcra(quota) => Algorithm::Gcra(quota.beside(longest)),
        window => window,
    };
    let told = tiers.map(|tiers| Tiers {
        claim: tiers.claim,
        values: tiers.values.into_iter().map(|(name, algorithm)| (name, beside(algorithm))).collect(),
    });
    (beside(own), told)
}
