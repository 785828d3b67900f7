//! By which settings a request is judged: those of the rule that it meets in a configuration, or the usual ones.

use std::rc::Rc;

use anyhow::{Result, bail};
use portcullis_engine::config::suggest::nearest;
use portcullis_engine::http::path::PathOptions;
use portcullis_engine::http::{Headers, RequestHead, RequestPath};
use portcullis_engine::policy::{Policy, Rule};
use portcullis_payload::Settings;

use super::Arguments;
use super::wire::Recorded;
use crate::configured;
use crate::environment::EnvironmentArguments;

/// What a request is asked.
pub struct Asked {
    pub settings: Settings,
    /// The most that a compressed body may become, in bytes.
    pub max_inflated: usize,
}

/// The settings that requests are judged by.
pub struct Judges {
    /// Where no rule says anything.
    usual: Asked,
    policy: Option<Rc<Policy>>,
    /// Those of each rule; `None`: no payload rules are asked there.
    of_rules: Vec<Option<Asked>>,
    /// The rule that all requests are judged by, whatever they meet.
    chosen: Option<usize>,
    /// The host of requests that name none.
    host: String,
}

/// `max_inflated` of `payload`, unless a rule says otherwise.
const MAX_INFLATED: usize = 1024 * 1024;

/// How a request is judged.
pub enum Judge<'a> {
    /// As this says.
    By(&'a Asked),
    /// As this says, which is not of the configuration: the request meets no rule there.
    Unmatched(&'a Asked),
    /// Not at all: the rule that it meets has no payload rules.
    Nobody,
}

impl Judges {
    /// Those that the command line asks for.
    ///
    /// # Errors
    /// The configuration cannot be read or has mistakes, or it has no such rule.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let changed = |mut settings: Settings, max_inflated| {
            settings.level = arguments.level.unwrap_or(settings.level);
            settings.threshold = arguments.threshold.unwrap_or(settings.threshold);
            Asked { settings, max_inflated }
        };
        let host = arguments.host.clone();
        let Some(path) = &arguments.config else {
            let usual = changed(Settings::default(), MAX_INFLATED);
            return Ok(Self { usual, policy: None, of_rules: Vec::new(), chosen: None, host });
        };
        let filters = configured::load(path, &EnvironmentArguments { assume_env: true, ..Default::default() })?;
        let [filter] = filters.as_slice() else {
            bail!("{} has several filters\n  hint: name a file with one", path.display())
        };
        let policy = Rc::clone(&filter.policy);
        let chosen = arguments.rule.as_ref().map(|name| rule(&policy, name)).transpose()?;
        let settings = |rule: &Rule| rule.payload.as_ref().map(|p| changed(p.settings.clone(), p.max_inflated));
        let of_rules = policy.rules.iter().map(settings).collect();
        let usual = changed(Settings { own: Rc::clone(&policy.own_rules), ..Settings::default() }, MAX_INFLATED);
        Ok(Self { usual, policy: Some(policy), of_rules, chosen, host })
    }

    /// How a request is judged.
    pub fn of(&self, request: &Recorded) -> Judge<'_> {
        let Some(policy) = &self.policy else { return Judge::By(&self.usual) };
        match self.chosen.or_else(|| met(policy, request, &self.host)).and_then(|index| self.of_rules.get(index)) {
            Some(Some(settings)) => Judge::By(settings),
            Some(None) => Judge::Nobody,
            None => Judge::Unmatched(&self.usual),
        }
    }
}

fn rule(policy: &Policy, name: &str) -> Result<usize> {
    let Some(index) = policy.rules.iter().position(|rule| rule.label == name) else {
        let labels = || policy.rules.iter().map(|rule| rule.label.as_str());
        let hint = match nearest(name, labels()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", labels().collect::<Vec<_>>().join(", ")),
        };
        bail!("no rule {name:?}\n  hint: {hint}")
    };
    Ok(index)
}

/// The rule that a request meets; `None` also for what is no request to the gateway.
fn met(policy: &Policy, request: &Recorded, host: &str) -> Option<usize> {
    let given = |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case("host");
    let authority = request.headers.iter().find(given).map_or(host.as_bytes(), |(_, value)| value);
    let mut lines: Vec<(String, &[u8])> = vec![
        (":method".to_owned(), request.method.as_bytes()),
        (":path".to_owned(), &request.target),
        (":scheme".to_owned(), b"https"),
        (":authority".to_owned(), authority),
    ];
    let others = request.headers.iter().filter(|header| !given(header) && !header.0.starts_with(':'));
    lines.extend(others.map(|(name, value)| (name.to_ascii_lowercase(), value.as_slice())));
    let lines: Vec<(&str, &[u8])> = lines.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let head = RequestHead::parse(Headers::from_pairs(&lines).ok()?).ok()?;
    let path = RequestPath::parse_with(head.target(), &PathOptions::default()).ok()?;
    let found = policy.index.find(&head, &path).ok()?;
    found.map(|found| found.index).or(policy.unmatched)
}
