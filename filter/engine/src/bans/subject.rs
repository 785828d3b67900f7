//! Who is banned: the parts of a ban's key, as a request has them, and as an operator names them.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::audit;
use crate::config::schema::BanKeyPart;
use crate::limits::Descriptor;
use crate::limits::PartKind;
use crate::limits::descriptor::{Ipv6Prefix, network};

/// What a request knows of its sender so far.
pub struct Subject<'a> {
    /// Asks for the client's address.
    pub address: &'a dyn Fn() -> Option<IpAddr>,
    /// The verified identity: provider and subject.
    pub principal: Option<(&'a str, &'a str)>,
    /// What its credentials claim.
    pub claimed: &'a Claimed,
}

/// What credentials claim, and nobody has verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The user name of `Basic`.
    pub username: Option<Vec<u8>>,
    /// The client of a token.
    pub client: Option<Vec<u8>>,
    /// The subject of a token.
    pub subject: Option<Vec<u8>>,
}

/// The same, kept for the time when the response is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The verified identity: provider and subject.
    pub principal: Option<(String, String)>,
    /// What its credentials claim.
    pub claimed: Claimed,
}

impl Sender {
    /// Gives what is known of the sender.
    pub fn as_subject<T>(&self, then: impl FnOnce(&Subject<'_>) -> T) -> T {
        then(&Subject {
            address: &|| self.address,
            principal: self.principal.as_ref().map(|(provider, name)| (provider.as_str(), name.as_str())),
            claimed: &self.claimed,
        })
    }
}

/// What a ban is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanKey {
    /// The parts, each once.
    pub parts: Vec<BanKeyPart>,
    /// What makes one client of IPv6.
    pub prefix: Ipv6Prefix,
}

/// How far a request must have come for a ban to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The address is known.
    Address,
    /// A name is claimed.
    Claim,
    /// The caller is verified.
    Identity,
}

impl BanKey {
    /// When the ban can be checked first.
    pub fn stage(&self) -> Stage {
        let stage = |part: &BanKeyPart| match part {
            BanKeyPart::Ip => Stage::Address,
            BanKeyPart::Username | BanKeyPart::Client | BanKeyPart::Subject => Stage::Claim,
            BanKeyPart::Principal => Stage::Identity,
        };
        self.parts.iter().map(stage).max().unwrap_or(Stage::Address)
    }

    /// Whether the client's address is part of the key.
    pub fn reads_address(&self) -> bool {
        self.parts.contains(&BanKeyPart::Ip)
    }

    /// Whom a request would be banned as; `None` where it lacks a part.
    pub fn describe(&self, subject: &Subject<'_>) -> Option<Descriptor> {
        let mut descriptor = Descriptor::new();
        descriptor.start("");
        for part in &self.parts {
            match part {
                BanKeyPart::Ip => descriptor.ip((subject.address)()?, self.prefix),
                BanKeyPart::Principal => {
                    let (provider, name) = subject.principal?;
                    descriptor.part(PartKind::Principal, provider, name.as_bytes())
                }
                // No part of a verified identity: what is claimed is told apart from what is known.
                BanKeyPart::Username => {
                    descriptor.part(PartKind::Header, "authorization", subject.claimed.username.as_deref()?)
                }
                BanKeyPart::Client => descriptor.part(PartKind::Header, "client", subject.claimed.client.as_deref()?),
                BanKeyPart::Subject => {
                    descriptor.part(PartKind::Header, "subject", subject.claimed.subject.as_deref()?)
                }
            };
        }
        Some(descriptor)
    }

    /// The parts for operators: an address and a verified subject in clear; of what is only claimed, which may be a password that somebody
    /// typed into the wrong field, the beginning of its SHA-256.
    pub fn shown(&self, subject: &Subject<'_>) -> Vec<(String, String)> {
        let shown = |part: &BanKeyPart| {
            let text = match part {
                BanKeyPart::Ip => (subject.address)().map(|address| self.network(address)),
                BanKeyPart::Principal => {
                    subject.principal.map(|(provider, name)| audit::shortened(&format!("{provider}/{name}")))
                }
                BanKeyPart::Username => subject.claimed.username.as_deref().map(short_hash),
                BanKeyPart::Client => subject.claimed.client.as_deref().map(short_hash),
                BanKeyPart::Subject => subject.claimed.subject.as_deref().map(short_hash),
            };
            Some((shown_name(*part).to_owned(), text?))
        };
        self.parts.iter().filter_map(shown).collect()
    }

    /// The client's network: an address, or an IPv6 prefix.
    fn network(&self, address: IpAddr) -> String {
        match network(address, self.prefix) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) if self.prefix.bits() == 128 => address.to_string(),
            IpAddr::V6(address) => format!("{address}/{}", self.prefix.bits()),
        }
    }
}

/// The member under which operators see a part.
pub fn shown_name(part: BanKeyPart) -> &'static str {
    match part {
        BanKeyPart::Ip => "ip",
        BanKeyPart::Principal => "principal",
        BanKeyPart::Username => "username_sha256",
        BanKeyPart::Client => "client_sha256",
        BanKeyPart::Subject => "subject_sha256",
    }
}

fn short_hash(text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[BanKeyPart]) -> BanKey {
        BanKey { parts: parts.to_vec(), prefix: Ipv6Prefix::default() }
    }

    fn with<T>(
        address: &str,
        principal: Option<(&str, &str)>,
        username: Option<&[u8]>,
        of: impl FnOnce(&Subject<'_>) -> T,
    ) -> T {
        let address = address.parse().ok();
        let claimed = Claimed { username: username.map(<[u8]>::to_vec), ..Claimed::default() };
        of(&Subject { address: &|| address, principal, claimed: &claimed })
    }

    #[test]
    fn a_part_that_is_missing_means_no_ban() {
        let both = key(&[BanKeyPart::Ip, BanKeyPart::Username]);
        assert_eq!(with("192.0.2.1", None, None, |subject| both.describe(subject)), None);
        assert_eq!(with("", None, Some(b"alice"), |subject| both.describe(subject)), None);
        assert!(with("192.0.2.1", None, Some(b"alice"), |subject| both.describe(subject)).is_some());
    }

    #[test]
    fn a_claimed_name_is_never_a_verified_one() {
        let claimed = with("", None, Some(b"alice"), |subject| key(&[BanKeyPart::Username]).describe(subject));
        let verified =
            with("", Some(("basic", "alice")), None, |subject| key(&[BanKeyPart::Principal]).describe(subject));
        assert_ne!(claimed, verified);
    }

    #[test]
    fn names_of_different_kinds_are_different_clients() {
        let alice = || Some(b"alice".to_vec());
        let claimed = Claimed { username: alice(), client: alice(), subject: alice() };
        let subject = Subject { address: &|| None, principal: None, claimed: &claimed };
        let parts = [BanKeyPart::Username, BanKeyPart::Client, BanKeyPart::Subject];
        let [name, client, sub] = parts.map(|part| key(&[part]).describe(&subject).unwrap());
        assert!(name != client && client != sub && sub != name);
        for part in parts {
            assert_eq!(key(&[part]).stage(), Stage::Claim);
            let shown = key(&[part]).shown(&subject);
            assert_eq!(shown, [(format!("{}_sha256", part.as_str()), "2bd806c97f0e00af".to_owned())]);
        }
    }

    #[test]
    fn addresses_are_banned_by_their_network() {
        let of = |address: &str| with(address, None, None, |subject| key(&[BanKeyPart::Ip]).describe(subject));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn operators_see_networks_and_no_user_names() {
        let all = key(&[BanKeyPart::Ip, BanKeyPart::Principal, BanKeyPart::Username]);
        let shown = with("2001:db8::1", Some(("corp", "bob")), Some(b"alice"), |subject| all.shown(subject));
        let texts: Vec<&str> = shown.iter().map(|(_, text)| text.as_str()).collect();
        // printf %s alice | sha256sum
        assert_eq!(texts, ["2001:db8::/64", "corp/bob", "2bd806c97f0e00af"]);
    }

    #[test]
    fn the_last_part_says_when_a_ban_can_be_checked() {
        assert_eq!(key(&[BanKeyPart::Ip]).stage(), Stage::Address);
        assert_eq!(key(&[BanKeyPart::Ip, BanKeyPart::Username]).stage(), Stage::Claim);
        assert_eq!(key(&[BanKeyPart::Principal, BanKeyPart::Ip]).stage(), Stage::Identity);
    }
}
