//! The authority of a request: which host the client means.

use std::net::Ipv6Addr;

use super::bytes::UNRESERVED;

/// The longest name that the domain name system knows (RFC 1035, section 2.3.4), written with dots.
const MAX_HOST_BYTES: usize = 253;

/// The host of `host[:port]`, in lower case and without a final dot. User information is refused, and so is every byte
/// by which two readers could see two hosts: commas, escapes, white space.
pub(crate) fn host_of(authority: &[u8]) -> Option<Box<str>> {
    let authority = str::from_utf8(authority).ok()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']')?;
            // One address has many spellings; written out by us, it has one.
            let address = address.parse::<Ipv6Addr>().ok()?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            let name = host.strip_suffix('.').unwrap_or(host);
            let is_label = |label: &str| !label.is_empty() && UNRESERVED.has_all(label.as_bytes());
            (name.len() <= MAX_HOST_BYTES && name.split('.').all(is_label))
                .then(|| (name.to_ascii_lowercase(), port))?
        }
    };
    // `parse` would take a sign, hence the look at each byte.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    port.is_none_or(is_port).then(|| host.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_without_port_and_final_dot() {
        for (authority, host) in [
            ("a.example", "a.example"),
            ("A.Example.", "a.example"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[0:0::0:1]", "[::1]"),
            ("under_score", "under_score"),
        ] {
            assert_eq!(host_of(authority.as_bytes()).as_deref(), Some(host));
        }
    }

    #[test]
    fn an_authority_that_two_readers_could_split_differently_is_refused() {
        let long = "a".repeat(254);
        for bad in [
            "", ".", "..", "a..b", ".a", "a:", "a:x", "a:+1", "a:65536", "a:1:2", "user@a", "a,b", "a b", "a/b", "a?b",
            "a#b", "a%2eb", "[::1", "::1", "[::1]x", "[::1]:", "[zz]", "a\\b", "\u{e9}", ":80", "[]", &long,
        ] {
            assert_eq!(host_of(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_no_host() {
        assert_eq!(host_of(b"a\xff"), None);
    }
}
