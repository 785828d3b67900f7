//! An address or a network as it is written, strictly.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of one network, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cidr {
    /// IPv4, or IPv6 addresses that stand for IPv4 (`::ffff:192.0.2.0/120`, RFC 4291, 2.5.5.2).
    V4(u32, u32),
    /// IPv6.
    V6(u128, u128),
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CidrError {
    /// What stands before the slash is no address.
    Address,
    /// What stands behind the slash is no length of a prefix.
    Prefix {
        /// The longest prefix of such an address.
        max: u8,
    },
    /// The address has bits behind its prefix: perhaps one host is meant, perhaps the whole network.
    HostBits {
        /// The network, with the same prefix.
        network: String,
        /// The address alone.
        host: String,
    },
}

impl CidrError {
    /// A way out.
    pub fn hint(&self) -> String {
        match self {
            Self::Address => "write `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`".to_owned(),
            Self::Prefix { max } => format!("a prefix has 0 to {max} bits"),
            Self::HostBits { network, host } => format!("write {network:?} for the network, {host:?} for the one host"),
        }
    }
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("is no address or network"),
            Self::Prefix { .. } => f.write_str("has no valid prefix length"),
            Self::HostBits { .. } => f.write_str("has bits set behind its prefix"),
        }
    }
}

impl std::error::Error for CidrError {}

impl Cidr {
    /// Reads an address (a network of one) or a network.
    ///
    /// # Errors
    /// [`CidrError`]; nothing is guessed: leading zeros, zones, netmasks and host bits are refused.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let (bits, value) = match address {
            IpAddr::V4(address) => (32, u128::from(address.to_bits())),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        let length =
            prefix.map_or(Some(bits), |text| prefix_length(text, bits)).ok_or(CidrError::Prefix { max: bits })?;
        let host_bits = u32::from(bits.saturating_sub(length));
        // A shift by all 128 bits is no shift in Rust.
        let mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit.wrapping_sub(1));
        let (first, last) = (value & !mask, value | mask);
        if first != value {
            let network = match address {
                IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(first).unwrap_or(u32::MAX)).to_string(),
                IpAddr::V6(_) => Ipv6Addr::from_bits(first).to_string(),
            };
            return Err(CidrError::HostBits { network: format!("{network}/{length}"), host: address.to_string() });
        }
        Ok(match (u32::try_from(first), u32::try_from(last)) {
            (Ok(first), Ok(last)) if bits == 32 => Self::V4(first, last),
            _ => match (mapped(first), mapped(last)) {
                (Some(first), Some(last)) => Self::V4(first, last),
                _ => Self::V6(first, last),
            },
        })
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn mapped(bits: u128) -> Option<u32> {
    Ipv6Addr::from_bits(bits).to_ipv4_mapped().map(Ipv4Addr::to_bits)
}

/// Decimal digits without sign and leading zeros.
fn prefix_length(text: &str, max: u8) -> Option<u8> {
    let is_plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|length| is_plain && *length <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_become_ranges() {
        assert_eq!(Cidr::parse("192.0.2.7"), Ok(Cidr::V4(0xc000_0207, 0xc000_0207)));
        assert_eq!(Cidr::parse("192.0.2.0/24"), Ok(Cidr::V4(0xc000_0200, 0xc000_02ff)));
        assert_eq!(Cidr::parse("0.0.0.0/0"), Ok(Cidr::V4(0, u32::MAX)));
        assert_eq!(Cidr::parse("::/0"), Ok(Cidr::V6(0, u128::MAX)));
        assert_eq!(Cidr::parse("::1"), Ok(Cidr::V6(1, 1)));
        assert_eq!(Cidr::parse("2001:db8::/127"), Ok(Cidr::V6(0x2001_0db8 << 96, (0x2001_0db8 << 96) | 1)));
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(Cidr::parse("::ffff:192.0.2.0/120"), Cidr::parse("192.0.2.0/24"));
        assert_eq!(Cidr::parse("::ffff:c000:0207"), Cidr::parse("192.0.2.7"));
        assert_eq!(Cidr::parse("::ffff:0:0/96"), Cidr::parse("0.0.0.0/0"));
        assert!(matches!(Cidr::parse("::/95"), Ok(Cidr::V6(..))), "a wider one is IPv6");
    }

    #[test]
    fn host_bits_are_an_error_that_says_both_ways_out() {
        let error = Cidr::parse("192.0.2.7/24").unwrap_err();
        assert_eq!(error.hint(), "write \"192.0.2.0/24\" for the network, \"192.0.2.7\" for the one host");
        assert!(matches!(Cidr::parse("2001:db8::1/64"), Err(CidrError::HostBits { .. })));
        assert!(matches!(Cidr::parse("255.255.255.255/0"), Err(CidrError::HostBits { .. })));
    }

    #[test]
    fn nothing_is_guessed() {
        for text in [
            "",
            "/",
            "x",
            "192.0.2",
            "192.0.2.256",
            "192.0.02.1",
            " 192.0.2.1",
            "fe80::1%eth0",
            "[::1]",
            "192.0.2.1:80",
        ] {
            assert_eq!(Cidr::parse(text), Err(CidrError::Address), "{text:?}");
        }
        for text in [
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2.0/024",
            "192.0.2.0/+24",
            "192.0.2.0/-1",
            "192.0.2.0/24/24",
            "192.0.2.0/255.255.255.0",
            "::/129",
            "::/ 1",
            "::/256",
        ] {
            assert!(matches!(Cidr::parse(text), Err(CidrError::Prefix { .. })), "{text:?}");
        }
    }
}
