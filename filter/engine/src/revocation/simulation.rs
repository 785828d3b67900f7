//! Several workers, one store, one list server, one clock and operators who push.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::pushed::{CHANGES_KEY, LOG_KEY};
use super::*;
use crate::claims::Claims;
use crate::key_sets::{EventKind, FetchError, FetchOutcome, WaitLimits};
use crate::ports::memory::{MemoryStore, NoStore};
use crate::ports::{Expected, SharedStore};
use crate::time::UnixNanos;

const LIST_A: &str = r#"{"version":1,"tokens":["a"]}"#;
const LIST_B: &str = r#"{"version":1,"tokens":["b"]}"#;

/// More bytes than are taken.
const LONG: &str = concat!(
    r#"{"version":1,"tokens":["b","#,
    "                                                                                                    ",
    r#""0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"]}"#
);

/// What the list server does.
#[derive(Debug, Clone, Copy)]
enum Server {
    Gives(&'static str),
    Down,
}

struct Gateway {
    now: UnixNanos,
    store: MemoryStore,
    workers: Vec<Revocations>,
    server: Server,
    fetches: usize,
    events: Vec<Event>,
}

fn list_options(on_error: OnError) -> ListOptions {
    ListOptions {
        cluster: "idp".into(),
        authority: "idp.example".into(),
        path: "/revoked.json".into(),
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        on_error,
        max_age: Duration::from_secs(60),
        max_bytes: 200,
        max_entries: 3,
    }
}

fn options(on_error: OnError, consistency: Consistency) -> Options {
    let push = PushOptions { consistency, max_entries: 4, ..PushOptions::default() };
    Options { list: Some(list_options(on_error)), push: Some(push), wait: WaitLimits::default() }
}

fn revocations(options: Options, worker: u64) -> Revocations {
    Revocations::new(options, Seeds { worker_id: worker, spread: 7, hash_key: [worker as u8; 16] }).unwrap()
}

fn gateway(options: &Options) -> Gateway {
    let mut gateway = Gateway {
        now: UnixNanos::from_secs(1_000_000),
        store: MemoryStore::default(),
        workers: (1..=3).map(|id| revocations(options.clone(), id)).collect(),
        server: Server::Gives(LIST_A),
        fetches: 0,
        events: Vec::new(),
    };
    for worker in &mut gateway.workers {
        assert_eq!(worker.on_start(gateway.now, &gateway.store).fetches, []);
    }
    gateway
}

fn keeping() -> Gateway {
    gateway(&options(OnError::Keep, Consistency::Immediate))
}

impl Gateway {
    /// Plays so many ticks of 200 ms on each worker.
    fn ticks(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now = self.now.plus(Duration::from_millis(200));
            for worker in &mut self.workers {
                let actions = worker.on_tick(self.now, &self.store);
                for fetch in actions.fetches {
                    assert!(Revocations::is_own_fetch(fetch.id));
                    assert_eq!((fetch.cluster.as_str(), fetch.max_response_bytes), ("idp", 200));
                    self.fetches += 1;
                    let outcome = match self.server {
                        Server::Gives(list) => {
                            FetchOutcome::Answer { status: 200, cache_control: None, body: list.as_bytes() }
                        }
                        Server::Down => FetchOutcome::NoAnswer,
                    };
                    worker.on_response(fetch.id, outcome, self.now, &self.store);
                }
                self.events.extend(worker.take_events());
            }
        }
    }

    fn seconds(&mut self, seconds: usize) {
        self.ticks(seconds * 5);
    }

    /// A request with the token `jti` on each worker.
    fn requests(&mut self, jti: &str) -> Vec<Result<(), Refusal>> {
        let claims = token(jti);
        let Self { workers, store, now, .. } = self;
        let request = |worker: &mut Revocations| {
            worker.observe(store);
            worker.check(&claims, Some(UnixNanos::from_secs(5)), *now)
        };
        workers.iter_mut().map(request).collect()
    }

    fn generations(&self) -> Vec<u64> {
        self.workers.iter().map(Revocations::generation).collect()
    }

    fn push(&mut self, worker: usize, json: &str) -> Result<(), PushError> {
        self.workers[worker].push(entry(json), &self.store, self.now)
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }
}

fn token(jti: &str) -> Claims {
    let json = json!({"jti": jti, "sub": "alice", "iss": "i"});
    Claims::new(json.as_object().unwrap().clone())
}

fn entry(json: &str) -> Entry<'static> {
    Entry::from_json(json.as_bytes()).unwrap()
}

fn revoked(by: By) -> Vec<Result<(), Refusal>> {
    vec![Err(Refusal::Revoked(Revoked { what: What::Token, by })); 3]
}

const GOOD: [Result<(), Refusal>; 3] = [Ok(()); 3];

#[test]
fn the_list_is_fetched_once_for_all_workers_and_each_interval() {
    let mut gateway = keeping();
    gateway.seconds(1);
    assert_eq!(gateway.fetches, 1);
    assert_eq!(gateway.requests("a"), revoked(By::List));
    assert_eq!(gateway.requests("b"), GOOD);
    assert_eq!(gateway.count(|event| matches!(event, Event::ListLoaded { entries: 1 })), 3);
    gateway.seconds(100);
    assert!((10..=13).contains(&gateway.fetches), "{}", gateway.fetches);
}

#[test]
fn the_generation_changes_with_the_list_and_not_with_its_refresh() {
    let mut gateway = keeping();
    gateway.seconds(1);
    let before = gateway.generations();
    gateway.seconds(30);
    assert_eq!(gateway.generations(), before);
    gateway.server = Server::Gives(LIST_B);
    gateway.seconds(11);
    assert!(gateway.generations().iter().zip(&before).all(|(now, before)| now != before));
    assert_eq!((gateway.requests("a"), gateway.requests("b")), (GOOD.to_vec(), revoked(By::List)));
}

#[test]
fn a_list_is_kept_while_the_server_is_down_or_lies() {
    for server in [
        Server::Down,
        Server::Gives("<html>"),
        Server::Gives(r#"{"version":2,"tokens":["b"]}"#),
        Server::Gives(r#"{"version":1,"tokens":["b","c","d","e"]}"#),
        Server::Gives(LONG),
    ] {
        let mut gateway = keeping();
        gateway.seconds(1);
        gateway.server = server;
        gateway.seconds(1_000);
        assert_eq!(gateway.requests("a"), revoked(By::List), "{server:?}");
        assert_eq!(gateway.requests("b"), GOOD, "{server:?}");
        assert!(gateway.count(|event| matches!(event, Event::List(EventKind::FetchFailed { .. }))) > 3);
        assert_eq!(gateway.count(|event| matches!(event, Event::List(EventKind::StaleServed))), 3);
    }
}

#[test]
fn an_update_with_too_many_entries_or_bytes_says_so() {
    let mut gateway = keeping();
    gateway.server = Server::Gives(r#"{"version":1,"tokens":["b","c","d","e"]}"#);
    gateway.seconds(1);
    let event = gateway.events.iter().find(|event| matches!(event, Event::List(EventKind::FetchFailed { .. })));
    let text = event.unwrap().to_string();
    assert!(text.starts_with("the list cannot be fetched: more than 3 entries (failure 1 in a row"), "{text}");
    assert!(event.unwrap().is_trouble());
    let long = FetchError::TooLarge { max_bytes: 200 };
    gateway.events.clear();
    gateway.server = Server::Gives(LONG);
    gateway.seconds(3);
    assert!(
        gateway.count(|event| matches!(event, Event::List(EventKind::FetchFailed { error, .. }) if *error == long)) > 0
    );
}

#[test]
fn without_a_list_keep_accepts_and_deny_does_not() {
    let mut gateway = keeping();
    gateway.server = Server::Down;
    assert_eq!(gateway.requests("a"), GOOD);
    gateway.seconds(100);
    assert_eq!(gateway.requests("a"), GOOD);

    let mut gateway = self::gateway(&options(OnError::Deny, Consistency::Immediate));
    gateway.server = Server::Down;
    assert!(gateway.requests("b").iter().all(|verdict| matches!(verdict, Err(Refusal::Wait(_)))));
    gateway.seconds(100);
    assert!(gateway.requests("b").iter().all(|verdict| matches!(verdict, Err(Refusal::Unavailable { .. }))));
    gateway.server = Server::Gives(LIST_A);
    gateway.seconds(11);
    assert_eq!(gateway.requests("b"), GOOD);
}

#[test]
fn a_list_that_grows_too_old_denies_and_changes_the_generation() {
    let mut gateway = gateway(&options(OnError::Deny, Consistency::Immediate));
    gateway.seconds(1);
    gateway.server = Server::Down;
    gateway.seconds(55);
    assert_eq!(gateway.requests("b"), GOOD);
    let before = gateway.generations();
    gateway.seconds(10);
    assert!(gateway.requests("b").iter().all(|verdict| matches!(verdict, Err(Refusal::Unavailable { .. }))));
    assert!(
        gateway.generations().iter().zip(&before).all(|(now, before)| now != before),
        "cached tokens are asked again"
    );
    assert_eq!(gateway.count(|event| matches!(event, Event::List(EventKind::Expired))), 3);
    gateway.server = Server::Gives(LIST_A);
    gateway.seconds(11);
    assert_eq!(gateway.requests("b"), GOOD);
}

#[test]
fn a_request_may_wait_for_the_first_list() {
    let mut gateway = gateway(&options(OnError::Deny, Consistency::Immediate));
    let Err(Refusal::Wait(wait_for)) = gateway.requests("b")[0] else { panic!("no wait") };
    let request = crate::RequestId(1);
    let Gateway { workers, store, now, .. } = &mut gateway;
    assert_eq!(workers[0].wait(request, wait_for, *now), Ok(()));
    assert!(workers[0].next_tick(*now) <= Duration::from_millis(50));
    let fetch = workers[0].on_tick(*now, store).fetches[0].id;
    let outcome = FetchOutcome::Answer { status: 200, cache_control: None, body: LIST_A.as_bytes() };
    let actions = workers[0].on_response(fetch, outcome, *now, store);
    assert_eq!(actions.resume, [(request, crate::key_sets::Resume::Retry)]);
    workers[0].forget(request);
    assert_eq!(gateway.requests("b")[0], Ok(()));
}

#[test]
fn a_push_holds_on_all_workers_at_their_next_request() {
    let mut gateway = keeping();
    gateway.seconds(1);
    let before = gateway.generations();
    assert_eq!(gateway.requests("x"), GOOD);
    assert_eq!(gateway.push(1, r#"{"jti":"x"}"#), Ok(()));
    assert_eq!(gateway.requests("x"), revoked(By::Push));
    assert_eq!(gateway.requests("y"), GOOD);
    assert!(gateway.generations().iter().zip(&before).all(|(now, before)| now != before));
    let after = gateway.generations();
    gateway.seconds(5);
    gateway.requests("x");
    assert_eq!(gateway.generations(), after, "only a change changes it");
}

#[test]
fn a_push_by_tick_holds_here_at_once_and_elsewhere_at_the_tick() {
    let mut gateway = gateway(&options(OnError::Keep, Consistency::Tick));
    gateway.seconds(1);
    assert!(gateway.workers[0].next_tick(gateway.now) <= PUSH_TICK);
    gateway.push(1, r#"{"sub":"alice","before":6}"#).unwrap();
    let by_subject = Err(Refusal::Revoked(Revoked { what: What::Subject, by: By::Push }));
    assert_eq!(gateway.requests("x"), [Ok(()), by_subject, Ok(())]);
    gateway.ticks(1);
    assert_eq!(gateway.requests("x"), [by_subject; 3]);
}

#[test]
fn a_worker_that_starts_later_knows_what_was_pushed_and_pulled() {
    let mut gateway = keeping();
    gateway.seconds(1);
    gateway.push(1, r#"{"jti":"x"}"#).unwrap();
    gateway.workers[0] = revocations(options(OnError::Deny, Consistency::Tick), 9);
    gateway.workers[0].on_start(gateway.now, &gateway.store);
    assert_eq!(gateway.requests("x"), revoked(By::Push));
    assert_eq!(gateway.requests("a"), revoked(By::List));
}

#[test]
fn a_lifted_push_is_gone_everywhere_and_the_list_stays() {
    let mut gateway = keeping();
    gateway.seconds(1);
    gateway.push(0, r#"{"jti":"a"}"#).unwrap();
    gateway.push(0, r#"{"jti":"x","until":1000500}"#).unwrap();
    let target = |json: &str| Target::from_json(json.as_bytes()).unwrap();
    let Gateway { workers, store, now, .. } = &mut gateway;
    assert_eq!(workers[2].lift(&target(r#"{"jti":"x","iss":"i"}"#), store, *now), Ok(false));
    assert_eq!(workers[2].lift(&target(r#"{"sub":"x"}"#), store, *now), Ok(false));
    assert_eq!(workers[2].lift(&target(r#"{"jti":"x"}"#), store, *now), Ok(true));
    assert_eq!(workers[2].lift(&target(r#"{"jti":"x"}"#), store, *now), Ok(false));
    assert_eq!(workers[2].lift(&target(r#"{"jti":"a"}"#), store, *now), Ok(true));
    assert_eq!(gateway.requests("x"), GOOD);
    assert_eq!(gateway.requests("a"), revoked(By::List));
}

#[test]
fn a_listing_has_the_format_of_a_list() {
    let mut gateway = keeping();
    for json in
        [r#"{"sub":"alice","before":6,"until":1000100}"#, r#"{"jti":"x","iss":"i"}"#, r#"{"iss":"j","before":7}"#]
    {
        gateway.push(0, json).unwrap();
    }
    let listing = gateway.workers[1].listing(&gateway.store, gateway.now).unwrap();
    let expected = concat!(
        r#"{"clients":[],"issuers":[{"before":7,"iss":"j","until":1086400}],"#,
        r#""subjects":[{"before":6,"sub":"alice","until":1000100}],"#,
        r#""tokens":[{"iss":"i","jti":"x","until":1086400}],"version":1}"#
    );
    assert_eq!(String::from_utf8(listing.clone()).unwrap(), expected);
    assert!(list::List::parse(&listing, 3, table::HashKey([1; 16])).is_ok());
    gateway.now = gateway.now.plus(Duration::from_secs(100));
    let later = gateway.workers[1].listing(&gateway.store, gateway.now).unwrap();
    assert!(!String::from_utf8(later).unwrap().contains("alice"), "what is over is not listed");
}

#[test]
fn a_full_store_refuses_the_push_and_drops_nothing_that_holds() {
    let mut gateway = keeping();
    for jti in ["p", "q", "r", "s"] {
        gateway.push(0, &format!(r#"{{"jti":"{jti}","until":1000100}}"#)).unwrap();
    }
    assert_eq!(gateway.push(1, r#"{"jti":"t"}"#), Err(PushError::Full));
    assert!(gateway.workers[1].take_events().contains(&Event::PushRefused(PushError::Full)));
    for jti in ["p", "q", "r", "s"] {
        assert_eq!(gateway.requests(jti), revoked(By::Push));
    }
    assert_eq!(gateway.requests("t"), GOOD);
    assert_eq!(gateway.push(1, r#"{"jti":"s","until":1000200}"#), Ok(()), "the same again takes no room");
    gateway.now = gateway.now.plus(Duration::from_secs(100));
    assert_eq!(gateway.push(1, r#"{"jti":"t"}"#), Ok(()), "what is over makes room");
    assert_eq!((gateway.requests("t"), gateway.requests("s")), (revoked(By::Push), revoked(By::Push)));
    assert_eq!(gateway.requests("p"), GOOD);
}

#[test]
fn the_bytes_of_pushes_are_bounded_too() {
    let push = PushOptions { max_bytes: 2_000, ..PushOptions::default() };
    let mut gateway = gateway(&Options { push: Some(push), ..Options::default() });
    let long = |n: usize| format!(r#"{{"jti":"{n}{}"}}"#, "x".repeat(900));
    assert_eq!(gateway.push(0, &long(1)), Ok(()));
    assert_eq!(gateway.push(0, &long(2)), Ok(()));
    assert_eq!(gateway.push(0, &long(3)), Err(PushError::Full));
    assert!(gateway.store.get(LOG_KEY).unwrap().unwrap().0.len() <= 2_008);
}

#[test]
fn a_push_holds_until_its_time_or_for_the_default_lifetime() {
    let mut gateway = keeping();
    gateway.push(0, r#"{"jti":"x","until":1000010}"#).unwrap();
    gateway.push(0, r#"{"jti":"y"}"#).unwrap();
    assert_eq!(gateway.push(0, r#"{"jti":"z","until":1000000}"#), Err(PushError::AlreadyOver));
    let start = gateway.now;
    let mut at = |seconds, jti| {
        gateway.now = start.plus(Duration::from_secs(seconds));
        gateway.requests(jti) == revoked(By::Push)
    };
    assert!(at(9, "x") && !at(10, "x"));
    assert!(at(86_399, "y") && !at(86_400, "y"));
}

#[test]
fn the_latest_time_of_all_can_be_read_back() {
    let mut gateway = keeping();
    gateway.push(0, r#"{"sub":"alice","before":253402300799}"#).unwrap();
    gateway.push(0, "{\"jti\":\"line\\nbreak \\u2028 \\\\ \\\" \\u0000\"}").unwrap();
    assert!(gateway.requests("x").iter().all(|verdict| matches!(verdict, Err(Refusal::Revoked(_)))));
    assert!(gateway.workers[2].listing(&gateway.store, gateway.now).is_ok());
}

#[test]
fn a_clock_that_leaps_forward_and_comes_back_finds_what_was_pushed() {
    let mut gateway = keeping();
    gateway.push(0, r#"{"jti":"x","until":1000100}"#).unwrap();
    let true_time = gateway.now;
    gateway.now = true_time.plus(Duration::from_secs(1_000));
    assert_eq!(gateway.requests("x"), GOOD);
    gateway.push(0, r#"{"jti":"y"}"#).unwrap();
    gateway.now = true_time;
    assert_eq!(gateway.requests("x"), revoked(By::Push));
    gateway.now = UnixNanos::from_secs(10);
    gateway.seconds(2);
    gateway.push(2, r#"{"jti":"z"}"#).unwrap();
    gateway.ticks(1);
    for jti in ["x", "y", "z"] {
        assert_eq!(gateway.requests(jti), revoked(By::Push), "{jti}");
    }
}

#[test]
fn a_change_that_its_writer_did_not_announce_is_found_within_a_second() {
    let mut gateway = keeping();
    gateway.push(0, r#"{"jti":"x"}"#).unwrap();
    gateway.seconds(1);
    let (announced, _) = gateway.store.get(CHANGES_KEY).unwrap().unwrap();
    gateway.push(0, r#"{"jti":"y"}"#).unwrap();
    let (_, version) = gateway.store.get(CHANGES_KEY).unwrap().unwrap();
    gateway.store.compare_and_set(CHANGES_KEY, &announced, Expected::Unchanged(version)).unwrap();
    assert_eq!(gateway.requests("y")[1], Ok(()));
    gateway.ticks(6);
    assert_eq!(gateway.requests("y"), revoked(By::Push));
    gateway.push(1, r#"{"jti":"z"}"#).unwrap();
    assert_eq!(gateway.requests("z"), revoked(By::Push));
}

#[test]
fn two_workers_that_push_at_the_same_time_lose_nothing() {
    let (store, done, now) = (MemoryStore::default(), AtomicUsize::new(0), UnixNanos::from_secs(1_000));
    let options = Options { push: Some(PushOptions::default()), ..Options::default() };
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let (store, done, options) = (&store, &done, options.clone());
            scope.spawn(move || {
                let mut mine = revocations(options, worker);
                for n in 0..50 {
                    let pushed = entry(&format!(r#"{{"jti":"{worker}-{n}"}}"#));
                    while let Err(error) = mine.push(pushed.clone(), store, now) {
                        assert_eq!(error, PushError::Contended);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                    assert!(mine.check(&token(&format!("{worker}-{n}")), None, now).is_err());
                }
            });
        }
        let (store, done, options) = (&store, &done, options.clone());
        scope.spawn(move || {
            let mut reader = revocations(options, 9);
            while done.load(Ordering::SeqCst) < 200 {
                let before = done.load(Ordering::SeqCst);
                reader.observe(store);
                assert!(reader.size(now).pushed >= before, "what a push has confirmed is seen by the next request");
            }
        });
    });
    let mut reader = revocations(options, 10);
    reader.observe(&store);
    assert_eq!(reader.size(now).pushed, 200);
    assert_eq!(store.key_count(), 2);
}

#[test]
fn what_is_not_ours_is_reported_once_and_what_was_read_stays() {
    let mut gateway = keeping();
    gateway.push(0, r#"{"jti":"x"}"#).unwrap();
    gateway.seconds(1);
    let (_, version) = gateway.store.get(LOG_KEY).unwrap().unwrap();
    let garbage = [9u64.to_le_bytes().as_slice(), b"{\"jti\":7}"].concat();
    gateway.store.compare_and_set(LOG_KEY, &garbage, Expected::Unchanged(version)).unwrap();
    gateway.seconds(10);
    assert_eq!(gateway.requests("x"), revoked(By::Push));
    assert_eq!(gateway.count(|event| matches!(event, Event::PushesUnavailable(PushError::Unreadable))), 3);
    assert_eq!(gateway.push(0, r#"{"jti":"y"}"#), Err(PushError::Unreadable));
    assert_eq!(gateway.workers[0].listing(&gateway.store, gateway.now), Err(PushError::Unreadable));
}

#[test]
fn without_shared_data_a_push_is_refused() {
    let mut worker = revocations(options(OnError::Keep, Consistency::Immediate), 1);
    for _ in 0..10 {
        worker.observe(&NoStore);
    }
    let unavailable = Event::PushesUnavailable(PushError::StoreUnavailable);
    assert_eq!(worker.take_events(), [unavailable]);
    let now = UnixNanos::from_secs(5);
    assert_eq!(worker.push(entry(r#"{"jti":"x"}"#), &NoStore, now), Err(PushError::StoreUnavailable));
}

#[test]
fn where_nothing_is_switched_on_nothing_is_revoked_or_read() {
    let mut worker = revocations(Options::default(), 1);
    let (store, now) = (MemoryStore::default(), UnixNanos::from_secs(5));
    assert_eq!(worker.on_start(now, &store).fetches, []);
    assert_eq!(worker.on_tick(now, &store).fetches, []);
    worker.observe(&store);
    assert_eq!(worker.check(&token("a"), None, now), Ok(()));
    assert_eq!(worker.push(entry(r#"{"jti":"x"}"#), &store, now), Err(PushError::Disabled));
    assert_eq!(worker.listing(&store, now), Err(PushError::Disabled));
    assert_eq!(store.key_count(), 0);
}

#[test]
fn a_place_that_cannot_be_asked_is_refused() {
    let list = ListOptions { path: "revoked".into(), ..list_options(OnError::Keep) };
    let seeds = Seeds { worker_id: 1, spread: 2, hash_key: [3; 16] };
    assert!(Revocations::new(Options { list: Some(list), ..Options::default() }, seeds).is_err());
}
