//! What ties a token to its rightful sender.

use std::time::Duration;

use crate::config::schema::{BindingSection, DPOP_ALGORITHMS, Demand};
use crate::config::{Problems, document::member_path};
use crate::jwt::{Algorithm, AlgorithmSet, KeyType};
use crate::proof::{BindingPolicy, DEFAULT_LEEWAY, DEFAULT_MAX_AGE, Demanded};

/// How a provider's tokens are tied to their senders.
#[derive(Debug, Clone)]
pub struct Binding {
    /// What is demanded.
    pub policy: BindingPolicy,
    /// Algorithms of DPoP proofs.
    pub algorithms: AlgorithmSet,
    /// How long after its `iat` a proof is taken.
    pub max_age: Duration,
    /// Drift between the clocks of client and gateway.
    pub leeway: Duration,
    /// Whether a proof must name a nonce.
    pub nonce: bool,
    /// Whether challenges offer DPoP.
    pub offered: bool,
}

/// The longest age of proofs: the store of used ones has room for so many, and a longer window would not fit at all.
const LONGEST_AGE: Duration = Duration::from_secs(3600);
/// The greatest drift between the clocks of client and gateway.
const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

impl Binding {
    /// Compiles a binding; without a section, bound tokens are checked and all others pass.
    pub fn compile(path: &str, section: Option<&BindingSection>, problems: &mut Problems) -> Self {
        let asymmetric = || Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_type() != KeyType::Secret);
        let Some(section) = section else {
            return Self {
                policy: BindingPolicy { mtls: Demanded::WhenPresent, dpop: Demanded::WhenPresent },
                algorithms: asymmetric().filter(|known| DPOP_ALGORITHMS.contains(&known.name())).collect(),
                max_age: DEFAULT_MAX_AGE,
                leeway: DEFAULT_LEEWAY,
                nonce: false,
                offered: false,
            };
        };
        let at = member_path(&member_path(path, "binding"), "dpop_algorithms");
        let mut algorithms = AlgorithmSet::EMPTY;
        for (index, name) in section.dpop_algorithms.iter().enumerate() {
            match asymmetric().find(|algorithm| algorithm.name() == name) {
                Some(algorithm) => algorithms = algorithms.with(algorithm),
                None => problems.add_with_hint(
                    format!("{at}[{index}]"),
                    format!("no algorithm {name:?} for proofs"),
                    "such as \"ES256\" or \"EdDSA\": a proof is signed with a private key",
                ),
            }
        }
        let times = [
            ("dpop_max_age", section.dpop_max_age.0, LONGEST_AGE, "1h"),
            ("dpop_leeway", section.dpop_leeway.0, LONGEST_LEEWAY, "5m"),
        ];
        for (field, span, longest, words) in times {
            if span > longest {
                let at = member_path(&member_path(path, "binding"), field);
                let hint = "used proofs are remembered for as long";
                problems.add_with_hint(at, format!("is longer than {words}"), hint);
            }
        }
        if section.dpop_algorithms.is_empty() && section.dpop != Demand::Never {
            problems.add_with_hint(at, "names no algorithm", "or write `dpop: never`");
        }
        let demanded = |demand| match demand {
            Demand::Never => Demanded::Never,
            Demand::WhenPresent => Demanded::WhenPresent,
            Demand::Required => Demanded::Required,
        };
        Self {
            policy: BindingPolicy { mtls: demanded(section.mtls), dpop: demanded(section.dpop) },
            algorithms,
            max_age: section.dpop_max_age.0,
            leeway: section.dpop_leeway.0,
            nonce: section.dpop_nonce,
            offered: section.dpop != Demand::Never,
        }
    }

    /// Whether the `DPoP` scheme is taken at all.
    pub fn takes_dpop(&self) -> bool {
        self.policy.dpop != Demanded::Never
    }
}
