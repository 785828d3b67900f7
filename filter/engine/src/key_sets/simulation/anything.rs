//! Anything, in any order.

use proptest::prelude::*;

use super::*;

/// One thing that happens to the gateway.
#[derive(Debug, Clone)]
enum Happening {
    Pass(u64),
    Request(usize, &'static str),
    Forget(usize, u64),
    Reload(usize),
    Become(Provider),
    StepClock(i64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let providers = prop::sample::select(vec![
        Provider::Good("a"),
        Provider::Good("a,b"),
        Provider::Good("b"),
        Provider::Cached("max-age=7", "a"),
        Provider::Slow(1_500, "a,c"),
        Provider::Slow(9_000, "c"),
        Provider::Down,
        Provider::Status(503),
        Provider::Lies(b"keys:"),
        Provider::Lies(b"\x00"),
        Provider::Huge,
        Provider::Lost,
    ]);
    let kids = prop::sample::select(vec!["a", "b", "c", "unknown"]);
    let one = prop_oneof![
        4 => (1u64..3_000).prop_map(Happening::Pass),
        2 => (1_000u64..120_000).prop_map(Happening::Pass),
        6 => (0usize..5, kids).prop_map(|(worker, kid)| Happening::Request(worker, kid)),
        1 => (0usize..5, 0u64..60).prop_map(|(worker, request)| Happening::Forget(worker, request)),
        1 => (0usize..5).prop_map(Happening::Reload),
        3 => providers.prop_map(Happening::Become),
        1 => (-4_000_000i64..4_000_000).prop_map(Happening::StepClock),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_bounds_hold_and_a_good_provider_is_found_again(
        workers in 1usize..=5,
        happenings in happenings(),
    ) {
        let mut gateway = gateway(workers, Provider::Good("a"));
        let (mut requests, mut disturbances, begin) = (0u64, 0u64, gateway.now);
        for happening in happenings {
            match happening {
                Happening::Pass(millis) => gateway.run(millis),
                Happening::Request(index, kid) => {
                    requests += 1;
                    let verdict = gateway.request(index % workers, requests, kid);
                    // Nobody is refused by a worker that has no keys.
                    let has_keys = gateway.kids(index % workers).is_some();
                    prop_assert!(has_keys || !matches!(verdict, Verdict::Refused | Verdict::Allowed));
                }
                Happening::Forget(index, request) => gateway.worker(index % workers).forget(RequestId(request)),
                Happening::Reload(index) => {
                    disturbances += 1;
                    gateway.start(index % workers);
                }
                Happening::Become(provider) => gateway.provider = provider,
                Happening::StepClock(step) => {
                    disturbances += 1;
                    gateway.clock_step = step;
                }
            }
            let waiting: usize = (0..workers).map(|index| gateway.worker(index).waiting()).sum();
            prop_assert!(waiting <= requests as usize);
            // Fetches at their fastest: the retries of a provider that comes and goes, and of a lost leader.
            let seconds = (gateway.now - begin) / 1_000;
            let most = 4 + seconds * 2 + disturbances * 2;
            prop_assert!(gateway.fetches.len() as u64 <= most, "{} fetches in {seconds} s", gateway.fetches.len());
        }
        // Nobody waits for longer than the limit and a tick.
        gateway.run(5_100);
        prop_assert!((0..workers).all(|index| gateway.worker(index).waiting() == 0));
        gateway.provider = Provider::Good("z");
        gateway.run(70_000);
        prop_assert_eq!(gateway.all_kids(), vec![Some("z".to_owned()); workers]);
    }
}
