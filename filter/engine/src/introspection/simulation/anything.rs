//! Anything, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One thing that happens to the worker.
#[derive(Debug, Clone)]
enum Happening {
    Request(usize, usize),
    /// The question of this number ends so; it may have ended before.
    Answer(usize, Reply),
    Stray(u64),
    Forget(u64),
    Pass(u64),
    StepClock(i64),
    DropToken(usize, usize),
    DropWhere(usize),
    DropAll,
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Active(u64),
    Inactive,
    Garbage,
    Status(u16),
    NoAnswer,
}

const PROVIDERS: [&str; 2] = ["partner", "other"];
const TOKENS: [&str; 5] = ["a", "b", "c", "d&=%", "e"];

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let reply = prop_oneof![
        4 => (0u64..100).prop_map(Reply::Active),
        2 => Just(Reply::Inactive),
        1 => Just(Reply::Garbage),
        1 => prop::sample::select(vec![400, 401, 500]).prop_map(Reply::Status),
        2 => Just(Reply::NoAnswer),
    ];
    let one = prop_oneof![
        8 => (0usize..2, 0usize..5).prop_map(|(provider, token)| Happening::Request(provider, token)),
        6 => (0usize..40, reply).prop_map(|(question, reply)| Happening::Answer(question, reply)),
        1 => any::<u64>().prop_map(Happening::Stray),
        1 => (0u64..60).prop_map(Happening::Forget),
        3 => (1u64..3_000).prop_map(Happening::Pass),
        1 => (3_000u64..70_000).prop_map(Happening::Pass),
        1 => (-90_000i64..90_000).prop_map(Happening::StepClock),
        1 => (0usize..2, 0usize..5).prop_map(|(provider, token)| Happening::DropToken(provider, token)),
        1 => (0usize..2).prop_map(Happening::DropWhere),
        1 => Just(Happening::DropAll),
    ];
    prop::collection::vec(one, 1..80)
}

/// What the test knows beside the worker.
#[derive(Default)]
struct Known {
    /// Provider and token of each request that waits.
    waiting: BTreeMap<RequestId, (usize, usize)>,
    /// The subjects that an answer has given to exactly this provider's token, while it was awaited.
    active: BTreeSet<String>,
    requests: u64,
}

impl Known {
    /// The subject names provider, token and question, so that an answer for another one shows.
    fn subject(provider: usize, token: usize, question: usize) -> String {
        format!("{provider}/{token}/{question}")
    }

    fn check(&self, fate: &Fate, provider: usize, token: usize) -> Result<(), TestCaseError> {
        if let Fate::Allowed(subject) = fate {
            prop_assert!(subject.starts_with(&format!("{provider}/{token}/")), "{subject} for {provider}/{token}");
            prop_assert!(self.active.contains(subject));
        }
        Ok(())
    }

    fn resumed(&mut self, resumed: Vec<(RequestId, Resume)>, now: UnixNanos) -> Result<(), TestCaseError> {
        for (request, resume) in resumed {
            let Some((provider, token)) = self.waiting.remove(&request) else {
                return Err(TestCaseError::fail(format!("{request:?} does not wait")));
            };
            if let Resume::Retry(answered) = resume {
                let lookup = answered.lookup(PROVIDERS[provider], TOKENS[token].as_bytes(), now);
                self.check(&fate(lookup.expect("the answer is about the token")), provider, token)?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_waiter_is_resumed_once_and_only_a_tokens_own_answer_counts(
        happenings in happenings(),
    ) {
        let limits = WaitLimits { max_waiting: 12, ..WaitLimits::default() };
        let sources = PROVIDERS.map(|provider| IntrospectionSource {
            provider: provider.into(),
            cluster: provider.into(),
            max_in_flight: 3,
            max_cache_bytes: 4_000,
            ..source()
        });
        let mut gateway = Gateway::new(sources.into(), limits);
        let mut known = Known::default();
        for happening in happenings {
            match happening {
                Happening::Request(provider, token) => {
                    known.requests += 1;
                    let fate = gateway.request_at(PROVIDERS[provider], known.requests, TOKENS[token]);
                    known.check(&fate, provider, token)?;
                    if matches!(fate, Fate::Asks(_) | Fate::Joins) {
                        known.waiting.insert(RequestId(known.requests), (provider, token));
                    }
                    if let Fate::Asks(_) = fate {
                        let callout = gateway.sent.last().unwrap();
                        prop_assert_eq!(callout.cluster.as_str(), PROVIDERS[provider]);
                        prop_assert_eq!(token_of(callout), TOKENS[token]);
                    }
                }
                Happening::Answer(number, reply) => {
                    let Some(callout) = gateway.sent.get(number).cloned() else { continue };
                    let provider = PROVIDERS.iter().position(|name| *name == callout.cluster).unwrap();
                    let token = TOKENS.iter().position(|token| *token == token_of(&callout)).unwrap();
                    let subject = Known::subject(provider, token, number);
                    let answer = |body: String| (200, body);
                    let (status, body) = match reply {
                        Reply::Active(seconds) => {
                            let exp = gateway.clock().as_secs() + seconds;
                            known.active.insert(subject.clone());
                            answer(format!(r#"{{"active":true,"sub":"{subject}","exp":{exp}}}"#))
                        }
                        Reply::Inactive => answer(format!(r#"{{"active":false,"sub":"{subject}"}}"#)),
                        Reply::Garbage => answer(format!(r#"{{"active":"true","sub":"{subject}"}}"#)),
                        Reply::Status(status) => (status, active(&subject)),
                        Reply::NoAnswer => (0, String::new()),
                    };
                    let outcome = match status {
                        0 => FetchOutcome::NoAnswer,
                        status => FetchOutcome::Answer { status, cache_control: None, body: body.as_bytes() },
                    };
                    let resumed = gateway.answer(callout.id, outcome);
                    known.resumed(resumed, gateway.clock())?;
                }
                Happening::Stray(id) => {
                    // Drawn from 2^64: it is nobody's, and wakes only those who have waited too long.
                    let resumed = gateway.answer_json(FetchId(id), &active("stray"));
                    let all_give_up = resumed.iter().all(|(_, resume)| matches!(resume, Resume::GiveUp { .. }));
                    prop_assert!(all_give_up);
                    known.resumed(resumed, gateway.clock())?;
                }
                Happening::Forget(request) => {
                    gateway.introspection.forget(RequestId(request));
                    known.waiting.remove(&RequestId(request));
                }
                Happening::Pass(millis) => {
                    let resumed = gateway.run(millis);
                    known.resumed(resumed, gateway.clock())?;
                }
                Happening::StepClock(step) => gateway.now = gateway.now.saturating_add_signed(step),
                Happening::DropToken(provider, token) => {
                    gateway.introspection.drop_token(PROVIDERS[provider], TOKENS[token].as_bytes());
                }
                Happening::DropWhere(provider) => gateway.introspection.drop_where(PROVIDERS[provider], |_| true),
                Happening::DropAll => gateway.introspection.drop_all(),
            }
            prop_assert_eq!(gateway.introspection.waiting(), known.waiting.len());
            prop_assert!(gateway.introspection.waiting() <= 12 && gateway.introspection.in_flight() <= 6);
        }
        // Nobody waits for longer than the limit and a tick, and no question is under way for ever.
        let resumed = gateway.run(6_200);
        known.resumed(resumed, gateway.clock())?;
        prop_assert!(known.waiting.is_empty());
        prop_assert_eq!((gateway.introspection.waiting(), gateway.introspection.in_flight()), (0, 0));
        // A good server is found again.
        gateway.run(10_000);
        gateway.introspection.drop_all();
        let id = gateway.ask(9_999, "fresh");
        gateway.answer_json(id, &active("fresh"));
        prop_assert_eq!(gateway.request(10_000, "fresh"), allowed("fresh"));
    }
}
