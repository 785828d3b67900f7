//! Facts about what the walk sees of bans: whoever cannot be counted, and whoever cannot be asked about.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::config::schema::BanKeyPart;
use crate::limits::descriptor::Ipv6Prefix;
use crate::ports::memory::{MemoryStore, NoStore};

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn ban(overflow: BanOverflow, on_error: OnError) -> Ban {
    let span = Duration::from_secs;
    Ban {
        name: "guessing".to_owned(),
        key: BanKey { parts: vec![BanKeyPart::Ip], prefix: Ipv6Prefix::default() },
        offences: vec![Offence::AuthFailure],
        responses: Vec::new(),
        terms: Terms { offences: 1, window: span(60), ban: span(100), ban_max: span(400), forget: span(1000) },
        capacity: NonZeroU32::MIN,
        overflow,
        on_error,
        mode: Mode::Enforce,
    }
}

fn from<T>(host: u8, then: impl FnOnce(&Subject<'_>) -> T) -> T {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, host));
    then(&Subject { address: &|| Some(address), principal: None, claimed: &Claimed::default() })
}

fn offend(bans: &Bans, ban: &Ban, host: u8, store: &dyn SharedStore) -> Vec<&'static str> {
    from(host, |subject| {
        let case = Case { subject, cause: Cause::Refusal(Offence::AuthFailure), rule: "orders", request_id: None };
        bans.offend(0, ban, &case, store, NOW).events
    })
}

#[test]
fn while_all_places_are_taken_a_newcomer_is_not_counted_or_refused_and_nobody_is_let_in() {
    for overflow in [BanOverflow::Allow, BanOverflow::Deny] {
        let (store, ban) = (MemoryStore::default(), ban(overflow, OnError::Deny));
        let bans = Bans::new(std::slice::from_ref(&ban), &store, [1; 16]);
        for host in 1..=32 {
            assert_eq!(offend(&bans, &ban, host, &store), ["begun"]);
        }
        assert_eq!(offend(&bans, &ban, 99, &store), ["overflow"]);
        let check = |host| from(host, |subject| bans.check(0, &ban, subject, &store, NOW));
        let newcomer = check(99);
        match overflow {
            BanOverflow::Allow => assert_eq!(newcomer, Ok(())),
            BanOverflow::Deny => assert_eq!(newcomer, Err(Refusal::Overflow { retry_after: 101 })),
        }
        assert!((1..=32).all(|host| matches!(check(host), Err(Refusal::Banned { .. }))));
        // One bucket, the seed and the ledger, however many clients there were.
        assert_eq!(store.key_count(), 3);
    }
}

#[test]
fn where_nobody_can_be_asked_the_operator_has_chosen() {
    for (on_error, expected) in
        [(OnError::Deny, Err(Refusal::Unavailable(Trouble::StoreUnavailable))), (OnError::Allow, Ok(()))]
    {
        let ban = ban(BanOverflow::Allow, on_error);
        // Opened while the host had shared data, and opened without.
        for bans in [
            Bans::new(std::slice::from_ref(&ban), &MemoryStore::default(), [1; 16]),
            Bans::new(std::slice::from_ref(&ban), &NoStore, [1; 16]),
        ] {
            assert_eq!(from(1, |subject| bans.check(0, &ban, subject, &NoStore, NOW)), expected);
            assert_eq!(offend(&bans, &ban, 1, &NoStore), ["error"]);
        }
    }
}

#[test]
fn all_workers_find_the_same_clients() {
    let (store, ban) = (MemoryStore::default(), ban(BanOverflow::Allow, OnError::Deny));
    // Each offers a seed of its own; the first one's is everybody's.
    let one = Bans::new(std::slice::from_ref(&ban), &store, [1; 16]);
    let other = Bans::new(std::slice::from_ref(&ban), &store, [2; 16]);
    assert_eq!(offend(&one, &ban, 1, &store), ["begun"]);
    assert!(from(1, |subject| other.check(0, &ban, subject, &store, NOW)).is_err());
    assert_eq!(from(2, |subject| other.check(0, &ban, subject, &store, NOW)), Ok(()));
}
