//! Descriptors: whose counter a request charges.
//!
//! A descriptor is a list of typed parts in an encoding that has one reading only: each part is its kind, then its name and its
//! value with their lengths before them. `("a", "bc")` and `("ab", "c")` are different descriptors, and so are an empty value
//! and a missing one.

use std::net::{IpAddr, Ipv6Addr};

/// What a part of a descriptor is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum PartKind {
    /// The verified caller.
    Principal = 1,
    /// The OAuth client (`client_id`, `azp`).
    ClientId = 2,
    /// The client that an API key belongs to.
    ApiKey = 3,
    /// The client's address or network.
    Ip = 4,
    /// A request header; the name says which.
    Header = 5,
    /// A claim of the verified token; the name says which.
    Claim = 6,
    /// A variable of the rule's path; the name says which.
    PathVariable = 7,
    /// The route or rule.
    Route = 8,
    /// The request method.
    Method = 9,
    /// A query parameter; the name says which.
    Query = 10,
    /// The one counter for all: a limit without a key.
    Everyone = 11,
    /// The host that the request is for.
    Host = 12,
}

impl PartKind {
    const ALL: [Self; 12] = [
        Self::Principal,
        Self::ClientId,
        Self::ApiKey,
        Self::Ip,
        Self::Header,
        Self::Claim,
        Self::PathVariable,
        Self::Route,
        Self::Method,
        Self::Query,
        Self::Everyone,
        Self::Host,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A part of a descriptor, as [`Descriptor::read`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// What it is taken from.
    pub kind: PartKind,
    /// Which of them; for an identity, who vouches for it.
    pub name: &'a str,
    /// Its value; an address as its four or sixteen bytes. `None`: the request does not have it.
    pub value: Option<&'a [u8]>,
}

/// The bytes of one descriptor; the buffer is reused from request to request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor(Vec<u8>);

impl Descriptor {
    /// An empty descriptor.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was there and starts a descriptor of the limit `limit`.
    pub fn start(&mut self, limit: &str) -> &mut Self {
        self.0.clear();
        self.0.reserve(USUAL_BYTES);
        self.push_with_length(limit.as_bytes());
        self
    }

    /// Adds a part with a value. `name` is empty for kinds of which there is only one.
    pub fn part(&mut self, kind: PartKind, name: &str, value: &[u8]) -> &mut Self {
        self.0.extend([kind as u8, PRESENT]);
        self.push_with_length(name.as_bytes());
        self.push_with_length(value);
        self
    }

    /// Adds a part that the request does not have: all requests without it share a counter.
    pub fn missing(&mut self, kind: PartKind, name: &str) -> &mut Self {
        self.0.extend([kind as u8, ABSENT]);
        self.push_with_length(name.as_bytes());
        self
    }

    /// Adds the client's network: see [`network`].
    pub fn ip(&mut self, address: IpAddr, prefix: Ipv6Prefix) -> &mut Self {
        match network(address, prefix) {
            IpAddr::V4(address) => self.part(PartKind::Ip, "", &address.octets()),
            IpAddr::V6(address) => self.part(PartKind::Ip, "", &address.octets()),
        }
    }

    /// What it was made of: the limit's name, and the parts in their order. `None` for one that was never started.
    pub fn read(&self) -> Option<(&str, Vec<Part<'_>>)> {
        let mut rest = self.0.as_slice();
        let limit = std::str::from_utf8(take_with_length(&mut rest)?).ok()?;
        let mut parts = Vec::new();
        while let Some(((kind, presence), left)) =
            rest.split_first().and_then(|(k, r)| Some(((k, r.first()?), r.get(1..)?)))
        {
            rest = left;
            let name = std::str::from_utf8(take_with_length(&mut rest)?).ok()?;
            let value = if *presence == PRESENT { Some(take_with_length(&mut rest)?) } else { None };
            parts.push(Part { kind: PartKind::of(*kind)?, name, value });
        }
        Some((limit, parts))
    }

    /// The encoded descriptor.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn push_with_length(&mut self, bytes: &[u8]) {
        // A length that does not fit cannot come out of a 32-bit host; it would only merge counters, never split one.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend(length.to_le_bytes());
        self.0.extend(bytes);
    }
}

/// The network that counts as one client: an IPv4 address by itself, an IPv6 address by its first bits.
///
/// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address that it maps.
pub fn network(address: IpAddr, prefix: Ipv6Prefix) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let host_bits = 128u32.saturating_sub(u32::from(prefix.0));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// How many leading bits of an IPv6 address make one client; 64 by default, the least that a customer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv6Prefix(u8);

impl Ipv6Prefix {
    /// A prefix of `bits`; `None` above 128.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= 128 { Some(Self(bits)) } else { None }
    }

    /// The number of bits.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl Default for Ipv6Prefix {
    fn default() -> Self {
        Self(64)
    }
}

/// Takes bytes and the length before them off the front.
fn take_with_length<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, left) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (taken, left) = left.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Room for most descriptors at once.
const USUAL_BYTES: usize = 128;
const PRESENT: u8 = 1;
const ABSENT: u8 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(parts: &[(&str, &[u8])]) -> Descriptor {
        let mut descriptor = Descriptor::new();
        descriptor.start("limit");
        for (name, value) in parts {
            descriptor.part(PartKind::Header, name, value);
        }
        descriptor
    }

    fn net(address: &str, bits: u8) -> String {
        network(address.parse().unwrap(), Ipv6Prefix::new(bits).unwrap()).to_string()
    }

    #[test]
    fn bytes_that_move_over_a_border_make_another_descriptor() {
        assert_ne!(of(&[("a", b"bc")]), of(&[("ab", b"c")]));
        assert_ne!(of(&[("", b"ab"), ("", b"c")]), of(&[("", b"a"), ("", b"bc")]));
        assert_ne!(of(&[("", b"ab")]), of(&[("", b"a"), ("", b"b")]));
        assert_ne!(of(&[]), of(&[("", b"")]));
    }

    #[test]
    fn an_empty_value_is_not_a_missing_one() {
        let mut missing = Descriptor::new();
        missing.start("limit").missing(PartKind::Header, "x");
        assert_ne!(missing, of(&[("x", b"")]));
    }

    #[test]
    fn kinds_and_limits_are_told_apart() {
        let with = |limit, kind| {
            let mut descriptor = Descriptor::new();
            descriptor.start(limit).part(kind, "", b"alice");
            descriptor
        };
        assert_ne!(with("a", PartKind::Principal), with("a", PartKind::ClientId));
        assert_ne!(with("a", PartKind::Principal), with("b", PartKind::Principal));
    }

    #[test]
    fn a_reused_buffer_remembers_nothing() {
        let mut descriptor = of(&[("x", b"a long value that was here before")]);
        descriptor.start("limit").part(PartKind::Header, "x", b"y");
        assert_eq!(descriptor, of(&[("x", b"y")]));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        assert_eq!(net("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(net("2001:db8:1:2ff:3:4:5:6", 56), "2001:db8:1:200::");
        assert_eq!(net("2001:db8::1", 128), "2001:db8::1");
        assert_eq!(net("2001:db8::1", 0), "::");
        assert_eq!(Ipv6Prefix::new(129), None);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_client() {
        assert_eq!(net("::ffff:192.0.2.1", 64), "192.0.2.1");
        assert_eq!(net("192.0.2.1", 0), "192.0.2.1");
        // Only the mapped form: the deprecated compatible form is another network.
        assert_eq!(net("::192.0.2.1", 128), "::c000:201");
    }

    #[test]
    fn every_kind_of_part_reads_back() {
        for kind in PartKind::ALL {
            let mut descriptor = Descriptor::new();
            descriptor.start("limit").part(kind, "name", b"value").missing(kind, "other");
            let (limit, parts) = descriptor.read().unwrap();
            let parts: Vec<_> = parts.iter().map(|part| (part.kind, part.name, part.value)).collect();
            assert_eq!((limit, parts), ("limit", vec![(kind, "name", Some(&b"value"[..])), (kind, "other", None)]));
        }
        assert_eq!(Descriptor::new().read(), None);
    }

    proptest! {
        #[test]
        fn different_lists_of_parts_never_collide(
            one in prop::collection::vec(("[ab]{0,3}", prop::collection::vec(0..3u8, 0..6)), 0..4),
            two in prop::collection::vec(("[ab]{0,3}", prop::collection::vec(0..3u8, 0..6)), 0..4),
        ) {
            let encoded = |parts: &[(String, Vec<u8>)]| {
                of(&parts.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect::<Vec<_>>())
            };
            prop_assert_eq!(encoded(&one) == encoded(&two), one == two);
        }
    }
}
