//! One line about a configuration in which nothing is wrong.

use portcullis_engine::policy::{Policy, SharedMemory};

/// What a policy holds, and how much shared memory it may take.
pub fn of(policy: &Policy) -> String {
    let mut parts = vec![
        counted(policy.index.rules().len(), "rule"),
        counted(policy.providers.len(), "provider"),
        counted(policy.limits.len(), "limit"),
    ];
    if !policy.bans.is_empty() {
        parts.push(counted(policy.bans.len(), "ban"));
    }
    parts.extend(shared_memory(policy.shared_memory()));
    parts.push(format!("mode {}", policy.mode.as_str()));
    parts.join(", ")
}

/// How much shared memory it takes at most, and what takes most of it; `None`: it takes none.
fn shared_memory(mut all: Vec<SharedMemory>) -> Option<String> {
    const NAMED: usize = 8;
    let bytes = all.iter().map(|one| one.bytes).fold(0, u64::saturating_add);
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.what.cmp(&b.what)));
    let mut named: Vec<String> =
        all.iter().take(NAMED).map(|one| format!("{} {}", one.what, size(one.bytes))).collect();
    if let rest @ 1.. = all.len().saturating_sub(NAMED) {
        let bytes = all.iter().skip(NAMED).map(|one| one.bytes).fold(0, u64::saturating_add);
        named.push(format!("{rest} more {}", size(bytes)));
    }
    (bytes > 0).then(|| format!("{} of shared memory at most ({})", size(bytes), named.join(", ")))
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
    fn all_that_takes_shared_memory_is_named() {
        let text = r#"{
            "version": 1,
            "limit_service": {"cluster": "limits", "kind": "ratelimit"},
            "providers": {
                "corp": {"issuer": "https://idp.example", "audiences": ["a"], "algorithms": ["ES256"],
                    "jwks": {"cluster": "idp", "path": "/jwks.json"}, "binding": {"dpop": "required"}}
            },
            "limits": {
                "all": {"key": "ip", "rate": "100/min", "capacity": 1000},
                "wide": {"key": "ip", "rate": "1000/min", "capacity": 1000, "scope": "global", "lease": {"size": 10}}
            },
            "bans": {"guessing": {"key": "ip", "count": "auth_failure", "limit": "5/10m", "ban": "15m", "capacity": 1000}},
            "address_lists": {"bad": {"cluster": "lists", "path": "/bad", "max_size": "1MiB"}, "own": {"cidrs": ["192.0.2.0/24"]}},
            "revocation": {"cluster": "idp", "path": "/revoked", "max_size": "2MiB", "push": {}},
            "rules": [{"match": {}, "require": "corp", "limits": ["all", "wide"], "bans": ["guessing"], "addresses": {"deny": ["bad", "own"]}}]
        }"#;
        let value = serde_json::from_str(text).unwrap();
        let policy = Policy::from_value(&value, &|_| None).map_err(|problems| problems.to_string()).unwrap();
        let all = policy.shared_memory();
        let bytes = |what: &str| all.iter().find(|one| one.what == what).map(|one| one.bytes).unwrap_or_default();
        let table = |what: &str| (91_000..95_000).contains(&bytes(what));
        assert!(table("limit all") && table("limit wide") && table("leases of limit wide"), "{all:?}");
        assert_eq!(bytes("leases of limit all"), 0);
        assert_eq!(bytes("proofs of DPoP") >> 20, 5);
        assert_eq!(bytes("key set of corp") >> 10, 257);
        assert_eq!(bytes("records of bans") >> 10, 129);
        assert_eq!((bytes("address list bad") >> 20, bytes("address list own")), (1, 0));
        assert_eq!(bytes("list of revoked tokens") >> 20, 2);
        assert!(bytes("pushed revocations") > 0 && bytes("ban guessing") > 0);
        let said = shared_memory(all).unwrap();
        assert!(
            said.contains(" MiB of shared memory at most (proofs of DPoP 5.7 MiB, list of revoked tokens 2.0 MiB, "),
            "{said}"
        );
        assert!(said.contains(", 2 more ") && said.ends_with(" KiB)"), "{said}");
        assert_eq!(shared_memory(Vec::new()), None);
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 20), "5.0 MiB");
        assert_eq!(size(u64::MAX / 100), "171798691.8 GiB");
    }
}
