//! Ranges of addresses.

use std::net::{IpAddr, Ipv6Addr};

/// A range of addresses in the notation of RFC 4632 and RFC 4291.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`. An address with bits behind the prefix is refused: it says two things.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if bits.is_empty() || bits.len() > 3 || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let cidr = Self { address, bits };
        (bits <= longest && cidr.masked(address) == Some(cidr.masked_self()?) && cidr.is_exact()).then_some(cidr)
    }

    /// Whether the address is in the range. An IPv4 address inside of an IPv6 one counts as the IPv4 address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == self.masked_self()
    }

    fn masked_self(&self) -> Option<u128> {
        self.masked(self.address)
    }

    fn is_exact(&self) -> bool {
        Some(number(self.address)) == self.masked_self()
    }

    /// The address with all bits behind the prefix cleared; `None` where the prefix is longer than the address.
    fn masked(&self, address: IpAddr) -> Option<u128> {
        let length: u8 = if address.is_ipv4() { 32 } else { 128 };
        let shift = u32::from(length.checked_sub(self.bits)?);
        let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
        Some(number(address) & mask)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Reads an address; an IPv4 address inside of an IPv6 one is the IPv4 address.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    // A zone names an interface of one machine: no request has it.
    let address: IpAddr = text.parse().ok()?;
    Some(match address {
        IpAddr::V6(v6) if v6 == Ipv6Addr::UNSPECIFIED => address,
        other => other.to_canonical(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        Cidr::parse(range).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_holds_what_its_prefix_says() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1/128", "::1", "::2"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
        ] {
            assert!(contains(range, inside), "{range} {inside}");
            assert!(!contains(range, outside), "{range} {outside}");
        }
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"), "an IPv4 address inside of an IPv6 one");
        assert!(!contains("::/0", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/ 8",
            "::/129",
            "2001:db8::1/32",
            "x/8",
            "10.0.0.0/8/8",
            "fe80::1%eth0/64",
            "010.0.0.0/8",
            "10.0.0.0/256",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
