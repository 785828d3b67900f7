//! What the service is told of a request: the key of a limit, as texts.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::limits::{Descriptor, Part, PartKind};

/// What goes out in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Everything, but for the headers that carry credentials (lower-case names).
    Clear {
        /// Those headers.
        secret: Vec<(PartKind, String)>,
    },
    /// Nothing that comes from a client.
    Hashed,
}

/// The longest value that goes out as it is.
const MAX_VALUE_BYTES: usize = 256;
/// Stands for what the request does not have, and for an empty value: Envoy's definition of the protocol asks for one byte at
/// least.
const NOTHING: &str = "-";

/// The entries of a descriptor, key and value: the limit's name, then each part of its key as the configuration writes it.
pub fn entries(descriptor: &Descriptor, values: &Values) -> Vec<(String, String)> {
    let Some((limit, parts)) = descriptor.read() else { return Vec::new() };
    let mut entries: Vec<(String, String)> = vec![("limit".to_owned(), limit.to_owned())];
    for part in parts {
        let key = key(&part);
        let value = value(&part, values);
        match entries.last_mut() {
            // A header on several lines is one list (RFC 9110, 5.3); a parameter that stands twice likewise.
            Some((last, list)) if *last == key && matches!(part.kind, PartKind::Header | PartKind::Query) => {
                list.push(',');
                list.push_str(&value);
            }
            _ => entries.push((key, value)),
        }
    }
    entries
}

/// A limit as one entry: its name, and its whole key as one text, `principal=corp:alice,method=GET`.
pub fn entry(descriptor: &Descriptor, values: &Values) -> Option<(String, String)> {
    let mut entries = entries(descriptor, values).into_iter();
    let (_, limit) = entries.next()?;
    // No value can pass for the border between two.
    let plain = |value: String| value.replace('%', "%25").replace(',', "%2C");
    let parts: Vec<String> = entries.map(|(key, value)| format!("{key}={}", plain(value))).collect();
    Some((limit, parts.join(",")))
}

fn key(part: &Part<'_>) -> String {
    let word = match part.kind {
        PartKind::Principal => "principal",
        PartKind::ClientId => "client_id",
        PartKind::ApiKey => "api_key",
        PartKind::Ip => "ip",
        PartKind::Route if part.name.is_empty() => "rule",
        PartKind::Route => "route",
        PartKind::Method => "method",
        PartKind::Host => "host",
        PartKind::Everyone => "everyone",
        PartKind::Header => return format!("header:{}", part.name),
        PartKind::Claim => return format!("claim:{}", part.name),
        PartKind::PathVariable => return format!("path:{}", part.name),
        PartKind::Query => return format!("query:{}", part.name),
    };
    word.to_owned()
}

fn value(part: &Part<'_>, values: &Values) -> String {
    let Some(bytes) = part.value.filter(|bytes| !bytes.is_empty()) else { return NOTHING.to_owned() };
    let is_own = matches!(part.kind, PartKind::Route | PartKind::Everyone);
    let is_secret = match values {
        Values::Hashed => !is_own,
        Values::Clear { secret } => secret.iter().any(|(kind, name)| *kind == part.kind && name == part.name),
    };
    let text = match part.kind {
        PartKind::Ip => address(bytes),
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    let is_plain = |text: &String| text.len() <= MAX_VALUE_BYTES && !text.chars().any(char::is_control);
    let text = text.filter(|text| !is_secret && is_plain(text)).unwrap_or_else(|| hashed(bytes));
    match part.kind {
        // Two providers may use one name for two callers. A provider's name has no colon.
        PartKind::Principal | PartKind::ClientId | PartKind::ApiKey => format!("{}:{text}", part.name),
        _ => text,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6).map(|address| address.to_string())
}

/// The first half of a SHA-256, in hexadecimal: the same in every proxy.
fn hashed(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let half = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
    std::iter::once("sha256:".to_owned()).chain(half).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::descriptor::Ipv6Prefix;
    use proptest::prelude::*;

    fn clear() -> Values {
        Values::Clear { secret: vec![(PartKind::Header, "x-api-key".to_owned()), (PartKind::Query, "key".to_owned())] }
    }

    fn of(build: impl FnOnce(&mut Descriptor), values: &Values) -> Vec<String> {
        let mut descriptor = Descriptor::new();
        build(descriptor.start("per_client"));
        entries(&descriptor, values).into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn entries_are_named_as_the_configuration_names_the_parts_of_a_key() {
        let build = |d: &mut Descriptor| {
            d.part(PartKind::Principal, "corp", b"alice").part(PartKind::Header, "x-tenant", b"acme");
            d.part(PartKind::Claim, "org.id", b"7").part(PartKind::PathVariable, "id", b"9").part(
                PartKind::Method,
                "",
                b"GET",
            );
            d.part(PartKind::Route, "", b"orders").part(PartKind::Route, "proxy", b"r1");
            d.ip("2001:db8:1:2:3::".parse().unwrap(), Ipv6Prefix::default());
        };
        assert_eq!(
            of(build, &clear()),
            [
                "limit=per_client",
                "principal=corp:alice",
                "header:x-tenant=acme",
                "claim:org.id=7",
                "path:id=9",
                "method=GET",
                "rule=orders",
                "route=r1",
                "ip=2001:db8:1:2::",
            ]
        );
    }

    #[test]
    fn what_is_missing_or_empty_has_a_value_all_the_same() {
        let build = |d: &mut Descriptor| {
            d.missing(PartKind::Header, "x-a").part(PartKind::Header, "x-b", b"").missing(PartKind::Principal, "");
        };
        assert_eq!(of(build, &clear()), ["limit=per_client", "header:x-a=-", "header:x-b=-", "principal=-"]);
    }

    #[test]
    fn a_header_on_several_lines_is_one_entry() {
        let build = |d: &mut Descriptor| {
            d.part(PartKind::Header, "x-a", b"1").part(PartKind::Header, "x-a", b"2");
        };
        assert_eq!(of(build, &clear()), ["limit=per_client", "header:x-a=1,2"]);
    }

    #[test]
    fn a_credential_never_leaves_in_the_clear() {
        let build = |d: &mut Descriptor| {
            d.part(PartKind::Header, "x-api-key", b"geheim").part(PartKind::Header, "x-tenant", b"acme");
        };
        // printf %s geheim | sha256sum
        let key = "header:x-api-key=sha256:addb0f5e7826c857d7376d1bd9bc33c0";
        assert_eq!(of(build, &clear()), ["limit=per_client", key, "header:x-tenant=acme"]);
        let hashed = of(build, &Values::Hashed);
        assert!(hashed.iter().all(|entry| !entry.contains("acme")), "{hashed:?}");
    }

    #[test]
    fn what_is_no_short_plain_text_goes_out_as_a_hash() {
        let long = "x".repeat(257);
        for value in [&b"\xff"[..], b"a\nb", long.as_bytes()] {
            let build = |d: &mut Descriptor| {
                d.part(PartKind::Header, "x-a", value);
            };
            let entries = of(build, &clear());
            assert!(entries[1].starts_with("header:x-a=sha256:") && entries[1].len() == 50, "{entries:?}");
        }
    }

    #[test]
    fn a_whole_key_as_one_text_keeps_its_parts_apart() {
        let of = |values: [&str; 2]| {
            let mut descriptor = Descriptor::new();
            descriptor.start("pair").part(PartKind::Header, "a", values[0].as_bytes());
            descriptor.part(PartKind::Header, "b", values[1].as_bytes());
            entry(&descriptor, &clear()).unwrap()
        };
        assert_eq!(of(["1", "2"]), ("pair".to_owned(), "header:a=1,header:b=2".to_owned()));
        assert_ne!(of(["1,header:b=2", "3"]), of(["1", "2,header:b=3"]));
        assert_ne!(of(["1%2C2", ""]), of(["1,2", ""]));
    }

    proptest! {
        #[test]
        fn no_value_is_empty_or_long(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..4)) {
            let mut descriptor = Descriptor::new();
            descriptor.start("per_client");
            for (index, value) in values.iter().enumerate() {
                descriptor.part(PartKind::Claim, &index.to_string(), value);
            }
            let entries = entries(&descriptor, &clear());
            prop_assert_eq!(entries.len(), values.len() + 1);
            prop_assert!(entries.iter().all(|(key, value)| !key.is_empty() && !value.is_empty() && value.len() <= 256));
        }
    }
}
