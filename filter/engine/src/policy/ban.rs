//! A compiled ban out of its section.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::bans::{Ban, BanKey, Terms};
use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{BanKeyPart, BanSection, Config, Mode, Offence, StatusClass};
use crate::config::section::OneOrMany;
use crate::limits::descriptor::Ipv6Prefix;

const MAX_CAPACITY: u32 = 16 * 1024 * 1024;
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Compiles a ban. `None` means that problems were added.
pub fn compile(name: &str, section: &BanSection, config: &Config, problems: &mut Problems) -> Option<Ban> {
    let path = member_path("bans", name);
    let before = problems.len();
    let parts = each_once(&member_path(&path, "key"), &section.key.0, BanKeyPart::as_str, problems);
    let responses = responses(&path, section, problems);
    let offences = match &section.count {
        Some(count) => each_once(&member_path(&path, "count"), &count.0, Offence::as_str, problems),
        None if section.count_responses.is_some() => Vec::new(),
        None => vec![Offence::AuthFailure],
    };
    let by_identity = parts.contains(&BanKeyPart::Principal);
    let of_identified = [Offence::Forbidden, Offence::PayloadRule, Offence::Limit];
    if by_identity && let Some(never) = offences.iter().find(|offence| !of_identified.contains(offence)) {
        let problem = format!("{:?} is never the offence of a verified caller", never.as_str());
        problems.add_with_hint(member_path(&path, "count"), problem, "count it by `ip` or `username`");
    }
    if parts.contains(&BanKeyPart::Username) {
        if !config.providers.values().any(|provider| provider.basic.is_some()) {
            let hint = "user names are claimed with `basic`; ban by `ip` or `principal`";
            problems.add_with_hint(member_path(&path, "key"), "no provider knows user names", hint);
        }
        if let Some(never) = offences.iter().find(|offence| matches!(offence, Offence::Unmatched | Offence::Malformed))
        {
            let problem = format!("{:?} comes before a user name is read", never.as_str());
            problems.add_with_hint(member_path(&path, "count"), problem, "count it by `ip`");
        }
    }
    let of_token = parts.iter().find(|part| matches!(part, BanKeyPart::Client | BanKeyPart::Subject));
    if let Some(part) = of_token {
        if !config.providers.values().any(|provider| provider.jwks.is_some() || provider.discovery.is_some()) {
            let problem = format!("no provider takes tokens that name a {}", part.as_str());
            let hint = "JSON Web Tokens do (`jwks`, `discovery`); ban by `ip` or `principal`";
            problems.add_with_hint(member_path(&path, "key"), problem, hint);
        }
        if let Some(never) = offences.iter().find(|offence| matches!(offence, Offence::Unmatched | Offence::Malformed))
        {
            let problem = format!("{:?} comes before a token is read", never.as_str());
            problems.add_with_hint(member_path(&path, "count"), problem, "count it by `ip`");
        }
    }
    let longest = section.ban_max.map_or(section.ban.0, |longest| longest.0);
    if longest < section.ban.0 {
        problems.add(member_path(&path, "ban_max"), "is shorter than `ban`");
    }
    let spans = [
        ("limit", section.limit.window),
        ("ban", section.ban.0),
        ("ban_max", longest),
        ("forget", section.forget.0.max(Duration::from_secs(1))),
    ];
    for (field, span) in spans {
        if !(Duration::from_secs(1)..=LONGEST).contains(&span) && (field != "ban_max" || section.ban_max.is_some()) {
            problems.add(member_path(&path, field), "is not between 1s and 366d");
        }
    }
    let count = u32::try_from(section.limit.requests.get());
    if count.is_err() {
        problems.add(member_path(&path, "limit"), "counts more than 4294967295 offences");
    }
    let capacity = u32::try_from(section.capacity).ok().filter(|capacity| *capacity <= MAX_CAPACITY);
    let capacity = capacity.and_then(NonZeroU32::new);
    if capacity.is_none() {
        let problem = format!("{} is not between 1 and {MAX_CAPACITY}", section.capacity);
        problems.add(member_path(&path, "capacity"), problem);
    }
    let prefix = u8::try_from(section.ipv6_prefix).ok().filter(|bits| (16..=128).contains(bits));
    let prefix = prefix.and_then(Ipv6Prefix::new);
    if prefix.is_none() {
        problems.add(member_path(&path, "ipv6_prefix"), format!("{} is not between 16 and 128", section.ipv6_prefix));
    }
    if problems.len() > before {
        return None;
    }
    let mode = if config.mode == Mode::Monitor { Mode::Monitor } else { section.mode.unwrap_or(Mode::Enforce) };
    Some(Ban {
        name: name.to_owned(),
        key: BanKey { parts, prefix: prefix? },
        offences,
        responses,
        terms: Terms {
            offences: count.ok()?,
            window: section.limit.window,
            ban: section.ban.0,
            ban_max: longest,
            forget: section.forget.0,
        },
        capacity: capacity?,
        overflow: section.on_overflow,
        on_error: section.on_error,
        mode,
    })
}

/// The bans with these names, by their place in the order of all names.
pub fn named(at: &str, names: &[String], config: &Config, problems: &mut Problems) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match config.bans.keys().position(|known| known == name) {
            Some(ban) if !found.contains(&ban) => found.push(ban),
            Some(_) => {}
            None => {
                let known = config.bans.keys().map(String::as_str);
                problems.add_unknown_name(format!("{at}[{index}]"), "ban", name, known);
            }
        }
    }
    found
}

fn responses(path: &str, section: &BanSection, problems: &mut Problems) -> Vec<StatusClass> {
    let Some(OneOrMany(classes)) = &section.count_responses else { return Vec::new() };
    let at = member_path(path, "count_responses");
    if classes.is_empty() {
        problems.add_with_hint(at.clone(), "names no status", "such as `[401, 403, 404]`");
    }
    if classes.iter().any(StatusClass::is_of_server) {
        let hint = "what fails with 5xx is the service; name statuses from 400 to 499, or `4xx`";
        problems.add_with_hint(at.clone(), "names a failure of the service, which is no offence of a client", hint);
    }
    for (index, class) in classes.iter().enumerate() {
        if classes.iter().take(index).any(|earlier| earlier == class) {
            problems.add(format!("{at}[{index}]"), "is named twice");
        }
    }
    classes.clone()
}

fn each_once<W: Copy + PartialEq>(
    at: &str,
    words: &[W],
    name: impl Fn(W) -> &'static str,
    problems: &mut Problems,
) -> Vec<W> {
    if words.is_empty() {
        problems.add(at, "names nothing");
    }
    let mut found: Vec<W> = Vec::with_capacity(words.len());
    for word in words {
        if found.contains(word) {
            problems.add(at, format!("names {:?} twice", name(*word)));
        } else {
            found.push(*word);
        }
    }
    found
}
