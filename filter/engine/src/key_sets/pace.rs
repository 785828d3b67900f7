//! How long to wait for the next attempt: early by chance when all is well, later and later when it is not.

use std::time::Duration;

use crate::time::nanos;

/// The longest wait between two attempts while the provider fails.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The wait after the first failure, before jitter.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The wait after a good fetch: `interval`, or up to a tenth less. Never more: a withdrawn key must be gone in time.
pub(super) fn until_refresh(interval: Duration, chance: u64) -> Duration {
    interval.saturating_sub(part_of(interval / 10, chance))
}

/// The wait after `failures` failures in a row: doubled each time up to [`MAX_BACKOFF`] and `refresh`, then up to half
/// less by chance, so that gateways that failed together do not come back together.
pub(crate) fn until_retry(failures: u32, refresh: Duration, chance: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF).min(refresh);
    full.saturating_sub(part_of(full / 2, chance))
}

/// A number without a pattern for this attempt (the finaliser of SplitMix64).
pub(crate) fn chance(seed: u64, attempt: u64) -> u64 {
    let mut mixed = seed.wrapping_add(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// From nothing to all of `span`, as `chance` lies between 0 and its greatest value.
fn part_of(span: Duration, chance: u64) -> Duration {
    let product = u128::from(nanos(span)).saturating_mul(u128::from(chance));
    Duration::from_nanos(u64::try_from(product >> 64).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    #[test]
    fn a_refresh_comes_early_and_never_late() {
        assert_eq!(until_refresh(REFRESH, 0), REFRESH);
        for attempt in 0..1000 {
            let wait = until_refresh(REFRESH, chance(42, attempt));
            assert!((Duration::from_secs(270)..=REFRESH).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn retries_slow_down_to_a_bound() {
        let waits: Vec<u64> = (0..9).map(|failures| until_retry(failures, REFRESH, 0).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(until_retry(u32::MAX, REFRESH, 0), MAX_BACKOFF);
        assert_eq!(until_retry(u32::MAX, Duration::from_secs(5), 0), Duration::from_secs(5));
        assert!(until_retry(1, REFRESH, u64::MAX) >= Duration::from_millis(500));
    }

    #[test]
    fn gateways_with_different_seeds_part_ways() {
        assert_ne!(until_retry(9, REFRESH, chance(1, 5)), until_retry(9, REFRESH, chance(2, 5)));
    }
}
