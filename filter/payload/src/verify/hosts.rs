//! Hosts of URLs that point inside: loopback, private networks, metadata services, in every base that resolvers read.

use crate::bytes::{at, find, part, rest};
use crate::rules::id;
use crate::scanner::Evidence;
use crate::verdict::Place;

/// Looks at the host of every URL in the value.
pub fn judge(text: &[u8], evidence: &mut Evidence<'_>) {
    let mut from = 0;
    let mut looked = 0;
    while let Some(found) = find(text, b"//", from) {
        from = found + 2;
        looked += 1;
        if looked > 64 {
            return;
        }
        let scheme = found > 0 && at(text, found - 1) == b':';
        if !scheme && found != 0 {
            continue;
        }
        let mut authority = rest(text, found + 2);
        let end = authority
            .iter()
            .position(|b| {
                matches!(
                    b,
                    b'/' | b'?' | b'#' | b' ' | b'"' | b'\'' | b'<' | b'>' | b'\n' | b')' | b',' | b'}' | b'|' | b'`'
                )
            })
            .unwrap_or(authority.len());
        authority = part(authority, 0, end);
        let prose = text.len() > end + found + 200 || text.iter().filter(|&&b| b == b' ' || b == b'\n').count() > 2;
        let start_of_value = found == 0
            || (find(text, b"://", 0).is_some_and(|first| first + 1 == found)
                && part(text, 0, found).iter().all(|b| !b.is_ascii_whitespace()));
        // What stands before the last `@` is a user; `\` ends the authority for browsers, not for others.
        for host in authority.split(|&b| b == b'@' || b == b'\\') {
            one(host, prose || !start_of_value, evidence);
        }
    }
}

fn one(host: &[u8], prose: bool, evidence: &mut Evidence<'_>) {
    let host = strip_port(host);
    if host.is_empty() {
        return;
    }
    match classify(host) {
        Some(Kind::Metadata) => evidence.add(id::SSRF_METADATA_HOST, host),
        Some(Kind::Disguised) => evidence.add(id::SSRF_DISGUISED_ADDRESS, host),
        Some(Kind::Loopback) if prose || !value_place(evidence) => evidence.add(id::SSRF_LOOPBACK_IN_TEXT, host),
        Some(Kind::Loopback) => evidence.add(id::SSRF_LOOPBACK, host),
        Some(Kind::Private) if !prose && value_place(evidence) => evidence.add(id::SSRF_PRIVATE_ADDRESS, host),
        _ => {}
    }
}

fn value_place(evidence: &Evidence<'_>) -> bool {
    !matches!(evidence.place(), Place::Referer | Place::Header | Place::UserAgent)
}

enum Kind {
    Metadata,
    Disguised,
    Loopback,
    Private,
}

fn strip_port(host: &[u8]) -> &[u8] {
    if host.first() == Some(&b'[') {
        let end = host.iter().position(|&b| b == b']').unwrap_or(host.len());
        return part(host, 0, end + 1);
    }
    match host.iter().rposition(|&b| b == b':') {
        Some(colon) if rest(host, colon + 1).iter().all(u8::is_ascii_digit) => part(host, 0, colon),
        _ => host,
    }
}

const METADATA: &[&[u8]] = &[
    b"metadata.google.internal",
    b"metadata",
    b"instance-data",
    b"metadata.tencentyun.com",
    b"metadata.packet.net",
    b"rancher-metadata",
    b"metadata.nicmanager.com",
    b"metadata.goog",
];
/// Names whose DNS answers with an inside address: services for exactly this.
const REBINDING: &[&[u8]] = &[
    b".nip.io",
    b".sslip.io",
    b".xip.io",
    b".localtest.me",
    b".lvh.me",
    b".localh.st",
    b".r3dir.me",
    b".rbndr.us",
    b".1u.ms",
    b".localdomain.pw",
    b".vcap.me",
    b".lacolhost.com",
    b".burpcollaborator.net",
    b".oastify.com",
    b".interact.sh",
    b".oast.fun",
    b".oast.me",
    b".oast.pro",
    b".oast.site",
    b".oast.live",
    b".oast.online",
    b".bugscan.io",
    b".ceye.io",
    b".dnslog.cn",
    b".yoogle.com",
];

fn classify(host: &[u8]) -> Option<Kind> {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if METADATA.contains(&host) {
        return Some(Kind::Metadata);
    }
    if REBINDING.iter().any(|name| host.ends_with(name) || Some(host) == name.get(1..))
        || host == b"spoofed.burpcollaborator.net"
    {
        return Some(Kind::Disguised);
    }
    if host == b"localhost"
        || host.ends_with(b".localhost")
        || host == b"localhost.localdomain"
        || host == b"ip6-localhost"
    {
        return Some(Kind::Loopback);
    }
    if let Some(inner) = host.strip_prefix(b"[") {
        return v6(inner.strip_suffix(b"]").unwrap_or(inner));
    }
    let (address, plain) = v4(host)?;
    let [a, b, c, _] = address.to_be_bytes();
    let inside = matches!((a, b), (127 | 0 | 10, _) | (169, 254) | (192, 168) | (172, 16..=31) | (100, 64..=127));
    if (a, b) == (169, 254) || matches!(address, 0x6464_64c8 | 0xa83f_8110) || (a, b, c) == (192, 0, 0) {
        return Some(Kind::Metadata);
    }
    match (plain, inside) {
        (false, _) => Some(Kind::Disguised),
        (true, true) if a == 127 || a == 0 => Some(Kind::Loopback),
        (true, true) => Some(Kind::Private),
        _ => None,
    }
}

fn v6(inner: &[u8]) -> Option<Kind> {
    if inner.iter().any(|b| !(b.is_ascii_hexdigit() || matches!(b, b':' | b'.' | b'%'))) {
        return None;
    }
    if inner.starts_with(b"fd00:ec2:")
        || find(inner, b"a9fe:a9fe", 0).is_some()
        || find(inner, b"169.254.", 0).is_some()
    {
        return Some(Kind::Metadata);
    }
    let zeros = inner.iter().all(|b| matches!(b, b'0' | b':' | b'1'));
    if zeros && inner.contains(&b':') && inner.iter().filter(|&&b| b == b'1').count() <= 1 {
        return Some(Kind::Loopback);
    }
    if inner.starts_with(b"::ffff:") || inner.starts_with(b"0:0:0:0:0:ffff:") || inner.starts_with(b"64:ff9b::") {
        return Some(Kind::Disguised);
    }
    (inner.starts_with(b"fe80:") || inner.starts_with(b"fc") || inner.starts_with(b"fd")).then_some(Kind::Private)
}

/// Reads what `inet_aton` reads: one to four numbers, each decimal, octal or hexadecimal. The flag says whether it was the plain
/// form: four decimal numbers.
fn v4(host: &[u8]) -> Option<(u32, bool)> {
    if !at(host, 0).is_ascii_digit() || host.len() > 60 {
        return None;
    }
    let (mut parts, mut count, mut plain) = ([0u64; 4], 0usize, true);
    for piece in host.split(|&b| b == b'.') {
        let slot = parts.get_mut(count)?;
        count += 1;
        let (digits, base) = match piece {
            [b'0', b'x', tail @ ..] => (tail, 16),
            [b'0', tail @ ..] if !tail.is_empty() => (tail, 8),
            _ => (piece, 10),
        };
        plain &= base == 10;
        if digits.is_empty() || digits.len() > 24 {
            return None;
        }
        for &digit in digits {
            let value = crate::bytes::hex(digit).filter(|&v| u32::from(v) < base)?;
            *slot = slot.wrapping_mul(u64::from(base)).wrapping_add(u64::from(value)) & 0xffff_ffff_ffff;
        }
    }
    let address = match (count, parts) {
        (1, [a, ..]) => a,
        (2, [a, b, ..]) => a << 24 | (b & 0xff_ffff),
        (3, [a, b, c, _]) => a << 24 | (b & 0xff) << 16 | (c & 0xffff),
        (4, [a, b, c, d]) => (a & 0xff) << 24 | (b & 0xff) << 16 | (c & 0xff) << 8 | (d & 0xff),
        _ => return None,
    };
    // Numbers above 255 wrap in some resolvers: written on purpose.
    plain &= count == 4 && parts.iter().all(|&p| p < 256);
    if count == 1 && host.len() < 8 && plain_number(host) {
        return None;
    }
    u32::try_from(address & 0xffff_ffff).ok().map(|a| (a, plain))
}

fn plain_number(host: &[u8]) -> bool {
    host.iter().all(u8::is_ascii_digit) && host != b"0"
}
