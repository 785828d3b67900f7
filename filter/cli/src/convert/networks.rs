//! Networks as other proxies write them.

use std::net::IpAddr;

/// A network without bits behind its prefix, which count for nobody else and are an error here; `None`: it is none.
pub fn masked(text: &str) -> Option<String> {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(|a| a.to_string());
    };
    let length: u32 = length.parse().ok()?;
    let address: IpAddr = match address.parse().ok()? {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or_default();
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or_default();
            IpAddr::V6((address.to_bits() & mask).into())
        }
    };
    Some(format!("{address}/{length}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_behind_the_prefix_go() {
        for (text, network) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3/0", Some("0.0.0.0/0")),
            ("10.1.2.3/32", Some("10.1.2.3/32")),
            ("10.1.2.3", Some("10.1.2.3")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("10.0.0.0/33", None),
            ("10.0.0/8", None),
            ("10.0.0.0/-1", None),
        ] {
            assert_eq!(masked(text).as_deref(), network, "{text}");
        }
    }
}
