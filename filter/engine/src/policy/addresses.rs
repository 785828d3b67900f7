//! Lists of addresses, and what rules say about them.

use std::collections::HashMap;
use std::rc::Rc;

use crate::addresses::{AddressList, AddressRules, AddressSource, Builder, Cidr, FeedOptions};
use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{AddressListOnError, AddressListSection, AddressesSection, Config};
use crate::config::section::OneOrMany;
use crate::key_sets::{MIN_REFRESH, is_authority, is_path};
use crate::shared_list::{OnError, Source};

/// Each list counts its fetches in a room of its own; nobody needs so many.
const MAX_LISTS: usize = 256;

/// Compiles the lists, in the order of their names. A list with a problem is left empty, so that the others keep their
/// places.
pub fn lists(config: &Config, problems: &mut Problems) -> Vec<AddressList> {
    if config.address_lists.len() > MAX_LISTS {
        problems.add("address_lists", format!("there are more than {MAX_LISTS}"));
    }
    let compile = |(name, section): (&String, &AddressListSection)| {
        let at = member_path("address_lists", name);
        if !super::compile::is_plain_name(name) {
            problems.add_with_hint(at.clone(), "is no plain name", super::compile::PLAIN_NAME);
        }
        let source = match (&section.cidrs, &section.cluster, &section.path) {
            (Some(cidrs), None, None) => inline(&member_path(&at, "cidrs"), cidrs, problems),
            (None, Some(cluster), Some(path)) => feed(&at, name, section, cluster, path, problems),
            _ => {
                let hint = "write `cidrs: [...]`, or `cluster` and `path` of a list that is fetched";
                problems.add_with_hint(at, "needs its entries, or where they are fetched from", hint);
                AddressSource::Inline(Rc::default())
            }
        };
        AddressList { name: name.clone(), source }
    };
    config.address_lists.iter().map(compile).collect()
}

fn inline(at: &str, cidrs: &[String], problems: &mut Problems) -> AddressSource {
    if cidrs.is_empty() {
        problems.add_with_hint(at, "names no address", "a list that is empty allows nobody, and denies nobody");
    }
    let mut builder = Builder::default();
    for (index, text) in cidrs.iter().enumerate() {
        match Cidr::parse(text) {
            Ok(cidr) => builder.add(cidr),
            Err(error) => {
                problems.add_with_hint(format!("{at}[{index}]"), format!("{text:?} {error}"), error.hint());
            }
        }
    }
    AddressSource::Inline(Rc::new(builder.build()))
}

fn feed(
    at: &str,
    name: &str,
    section: &AddressListSection,
    cluster: &str,
    path: &str,
    problems: &mut Problems,
) -> AddressSource {
    let authority = section.authority.clone().unwrap_or_else(|| cluster.to_owned());
    if !is_path(path) {
        let problem = format!("{path:?} is not a path that begins with `/` and that a request can carry");
        problems.add(member_path(at, "path"), problem);
    }
    if !is_authority(&authority) {
        problems.add_with_hint(
            member_path(at, "authority"),
            format!("{authority:?} is not host or host:port"),
            "set `authority` where the cluster's name is none",
        );
    }
    if section.every.0 < MIN_REFRESH {
        problems.add(member_path(at, "every"), format!("is shorter than {} s", MIN_REFRESH.as_secs()));
    }
    AddressSource::Feed(FeedOptions {
        source: Source {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            authority,
            path: path.to_owned(),
            every: section.every.0,
            timeout: section.timeout.0,
            on_error: match section.on_error {
                AddressListOnError::Keep => OnError::Keep,
                AddressListOnError::Deny => OnError::Deny,
            },
            max_age: section.max_age.0,
        },
        max_bytes: section.max_size.as_usize(),
        max_entries: usize::try_from(section.max_entries).unwrap_or(usize::MAX),
    })
}

/// Compiles what a rule says together with what holds for all rules.
pub fn rules(own: Option<&AddressesSection>, config: &Config) -> AddressRules {
    let indices: HashMap<&str, usize> =
        config.address_lists.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let resolve = |names: Option<&OneOrMany<String>>| -> Option<Vec<usize>> {
        Some(names?.0.iter().filter_map(|name| indices.get(name.as_str()).copied()).collect())
    };
    let everywhere = config.defaults.addresses.as_ref();
    let allow = own.and_then(|own| own.allow.as_ref()).or_else(|| everywhere.and_then(|all| all.allow.as_ref()));
    let deny_own = own.and_then(|own| own.deny.as_ref());
    let mut deny = resolve(deny_own).unwrap_or_default();
    for index in resolve(everywhere.and_then(|all| all.deny.as_ref())).unwrap_or_default() {
        if !deny.contains(&index) {
            deny.push(index);
        }
    }
    AddressRules { allow: resolve(allow), deny }
}

/// Reports what is wrong with one `addresses` section.
pub fn check(at: &str, section: &AddressesSection, config: &Config, problems: &mut Problems) {
    let AddressesSection { allow, deny } = section;
    for (field, names) in [("allow", allow), ("deny", deny)] {
        let Some(names) = names else { continue };
        let at = member_path(at, field);
        if names.0.is_empty() {
            let hint = if field == "allow" { "leave it out to let every address call" } else { "leave it out" };
            problems.add_with_hint(at.clone(), "names no list", hint);
        }
        for name in names.0.iter().filter(|name| !config.address_lists.contains_key(*name)) {
            let known = config.address_lists.keys().map(String::as_str);
            problems.add_unknown_name(at.clone(), "address list", name, known);
        }
    }
    let in_both = |name: &&String| deny.as_ref().is_some_and(|deny| deny.0.contains(*name));
    for name in allow.iter().flat_map(|allow| &allow.0).filter(in_both) {
        problems.add_with_hint(at, format!("allows and denies the list {name:?}"), "deny beats allow: name it once");
    }
}
