//! One line about a configuration in which nothing is wrong.

use std::num::NonZeroU32;

use portcullis_engine::bans;
use portcullis_engine::limits::memory_bytes;
use portcullis_engine::policy::Policy;

/// What a policy holds, and what its limits may cost.
pub fn of(policy: &Policy) -> String {
    let mut parts = vec![
        counted(policy.index.rules().len(), "rule"),
        counted(policy.providers.len(), "provider"),
        counted(policy.limits.len(), "limit"),
    ];
    if !policy.bans.is_empty() {
        parts.push(counted(policy.bans.len(), "ban"));
    }
    let bytes: u64 = policy
        .limits
        .iter()
        .filter_map(|limit| {
            let capacity = u32::try_from(limit.capacity).ok().and_then(NonZeroU32::new)?;
            let tables = if limit.lease.is_some() { 2 } else { 1 };
            Some(memory_bytes(capacity).saturating_mul(tables))
        })
        .chain(policy.bans.iter().map(|ban| bans::memory_bytes(&ban.name, ban.capacity)))
        .fold(0, u64::saturating_add);
    if bytes > 0 {
        parts.push(format!("{} of shared memory at most", size(bytes)));
    }
    parts.push(format!("mode {}", policy.mode.as_str()));
    parts.join(", ")
}

/// `1 rule`, `2 rules`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A size in the largest unit of which there is one, with one decimal.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = bytes.saturating_mul(10) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 20), "5.0 MiB");
        assert_eq!(size(u64::MAX / 100), "171798691.8 GiB");
    }
}
