//! Several workers, one store, one provider and one clock, played through: what clients see of the key sets' life.

mod anything;
mod faults;
mod life;
mod unknown_kid;
mod waiting;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::ports::SharedStore;
use crate::ports::memory::MemoryStore;
use crate::time::UnixNanos;

const PROVIDER: &str = "corp";
const ISSUER: &str = "https://idp.example/realms/x";
const KID_HASH: u64 = 0xabcd;

/// A key set in the simulation: the text `keys:a,b`.
type Kids = BTreeSet<String>;

fn parse(body: &[u8]) -> Result<Kids, String> {
    let text = std::str::from_utf8(body).map_err(|_| "not text")?;
    let kids = text.strip_prefix("keys:").ok_or("not a key set")?;
    let kids: Kids = kids.split(',').filter(|kid| !kid.is_empty()).map(str::to_owned).collect();
    if kids.is_empty() { Err("no usable key".into()) } else { Ok(kids) }
}

/// How the provider behaves.
#[derive(Debug, Clone)]
enum Provider {
    /// Answers with these keys.
    Good(&'static str),
    /// The same, with a `cache-control`.
    Cached(&'static str, &'static str),
    /// Answers after so many milliseconds; after the time limit the proxy gives up.
    Slow(u64, &'static str),
    /// Refuses the connection.
    Down,
    /// Answers with this status.
    Status(u16),
    /// Answers 200 with this body.
    Lies(&'static [u8]),
    /// Answers with more than may be read.
    Huge,
    /// Never answers, and the proxy never says so.
    Lost,
}

#[derive(Debug, Clone)]
enum Reply {
    Answer(u16, Option<&'static str>, Vec<u8>),
    TooLarge,
    NoAnswer,
}

struct Peer {
    key_sets: KeySets<Kids>,
    next_tick: u64,
}

struct Gateway {
    /// True time in milliseconds; what the workers see is `clock_step` off.
    now: u64,
    clock_step: i64,
    store: Box<dyn SharedStore>,
    workers: Vec<Option<Peer>>,
    source: KeySetSource,
    provider: Provider,
    in_flight: Vec<(u64, usize, FetchId, Reply)>,
    /// When each request for a key set (or metadata) was sent, and its path.
    fetches: Vec<(u64, String)>,
    resumed: Vec<(usize, RequestId, Resume)>,
    events: Vec<(usize, EventKind)>,
    vms: u64,
}

fn source() -> KeySetSource {
    KeySetSource {
        provider: PROVIDER.into(),
        cluster: "idp".into(),
        location: Location::Jwks { authority: "idp.example".into(), path: "/jwks.json".into() },
        refresh: Duration::from_secs(60),
        keep_stale: Duration::from_secs(600),
        unknown_kid_cooldown: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
    }
}

fn gateway(workers: usize, provider: Provider) -> Gateway {
    Gateway::new(source(), workers, provider, Box::new(MemoryStore::default()))
}

impl Gateway {
    fn new(source: KeySetSource, workers: usize, provider: Provider, store: Box<dyn SharedStore>) -> Self {
        let mut gateway = Self {
            now: 1_000_000_000,
            clock_step: 0,
            store,
            workers: (0..workers).map(|_| None).collect(),
            source,
            provider,
            in_flight: Vec::new(),
            fetches: Vec::new(),
            resumed: Vec::new(),
            events: Vec::new(),
            vms: 0,
        };
        for index in 0..workers {
            gateway.start(index);
        }
        gateway
    }

    fn clock(&self) -> UnixNanos {
        UnixNanos(self.now.saturating_add_signed(self.clock_step) * 1_000_000)
    }

    /// Starts a worker, or reloads its VM: the old one's memory and its fetches are gone.
    fn start(&mut self, index: usize) {
        self.vms += 1;
        self.in_flight.retain(|(_, worker, ..)| *worker != index);
        let limits = WaitLimits::default();
        let mut key_sets = KeySets::new(vec![self.source.clone()], parse, self.vms, 7, limits).unwrap();
        let actions = key_sets.on_start(self.clock(), self.store.as_ref());
        assert_eq!(actions.fetches, [], "a VM that only proves the configuration must not fetch");
        self.workers[index] = Some(Peer { key_sets, next_tick: self.now });
        self.carry_out(index, actions);
    }

    /// The worker's VM is gone for good.
    fn stop(&mut self, index: usize) {
        self.in_flight.retain(|(_, worker, ..)| *worker != index);
        self.workers[index] = None;
    }

    fn worker(&mut self, index: usize) -> &mut KeySets<Kids> {
        &mut self.workers[index].as_mut().unwrap().key_sets
    }

    fn carry_out(&mut self, index: usize, actions: Actions) {
        for fetch in actions.fetches {
            self.send(index, fetch);
        }
        self.resumed.extend(actions.resume.into_iter().map(|(request, resume)| (index, request, resume)));
        self.events.extend(actions.events.into_iter().map(|event| (index, event.kind)));
        let next_tick = self.now + u64::try_from(actions.next_tick.as_millis()).unwrap();
        self.workers[index].as_mut().unwrap().next_tick = next_tick;
    }

    fn send(&mut self, index: usize, fetch: Fetch) {
        assert_eq!((fetch.cluster.as_str(), fetch.max_response_bytes), ("idp", MAX_RESPONSE_BYTES));
        self.fetches.push((self.now, fetch.path.clone()));
        let good = |cache, kids: &str| Reply::Answer(200, cache, format!("keys:{kids}").into_bytes());
        let time_limit = u64::try_from(fetch.timeout.as_millis()).unwrap();
        let (delay, reply) = match self.provider.clone() {
            Provider::Good(kids) => (40, good(None, kids)),
            Provider::Cached(cache, kids) => (40, good(Some(cache), kids)),
            Provider::Slow(delay, kids) if delay < time_limit => (delay, good(None, kids)),
            Provider::Slow(..) => (time_limit, Reply::NoAnswer),
            Provider::Down => (1, Reply::NoAnswer),
            Provider::Status(status) => (40, Reply::Answer(status, Some("max-age=9999"), b"keys:evil".to_vec())),
            Provider::Lies(body) => (40, Reply::Answer(200, None, body.to_vec())),
            Provider::Huge => (40, Reply::TooLarge),
            Provider::Lost => return,
        };
        let reply = match reply {
            Reply::Answer(200, ..) if fetch.path.ends_with("/.well-known/openid-configuration") => {
                let metadata = serde_json::json!({ "issuer": ISSUER, "jwks_uri": "https://keys.example/k" });
                Reply::Answer(200, None, metadata.to_string().into_bytes())
            }
            reply => reply,
        };
        self.in_flight.push((self.now + delay, index, fetch.id, reply));
    }

    /// Plays `millis` of time.
    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let tick = (0..self.workers.len())
                .filter_map(|index| Some((self.workers[index].as_ref()?.next_tick, index)))
                .min();
            let answer = self.in_flight.iter().map(|(at, ..)| *at).min();
            let next = tick.map(|(at, _)| at).into_iter().chain(answer).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let now = self.clock();
            if answer == Some(next) {
                let position = self.in_flight.iter().position(|(at, ..)| *at == next).unwrap();
                let (_, index, id, reply) = self.in_flight.remove(position);
                let outcome = match &reply {
                    Reply::Answer(status, cache, body) => {
                        let cache_control = cache.map(str::as_bytes);
                        FetchOutcome::Answer { status: *status, cache_control, body }
                    }
                    Reply::TooLarge => FetchOutcome::TooLarge,
                    Reply::NoAnswer => FetchOutcome::NoAnswer,
                };
                let peer = self.workers[index].as_mut().unwrap();
                let actions = peer.key_sets.on_response(id, outcome, now, self.store.as_ref());
                self.carry_out(index, actions);
            } else if let Some((_, index)) = tick {
                let peer = self.workers[index].as_mut().unwrap();
                let actions = peer.key_sets.on_tick(now, self.store.as_ref());
                self.carry_out(index, actions);
            }
        }
        self.now = end;
    }

    /// The kids that a worker would judge with now.
    fn kids(&mut self, index: usize) -> Option<String> {
        let now = self.clock();
        match self.worker(index).lookup(PROVIDER, now) {
            Lookup::Ready { keys, .. } => Some(keys.iter().cloned().collect::<Vec<_>>().join(",")),
            _ => None,
        }
    }

    fn all_kids(&mut self) -> Vec<Option<String>> {
        (0..self.workers.len()).map(|index| self.kids(index)).collect()
    }

    /// A request comes whose token names `kid`: the shell's part of the walk.
    fn request(&mut self, index: usize, request: u64, kid: &str) -> Verdict {
        let now = self.clock();
        let Self { workers, store, .. } = self;
        let Peer { key_sets, next_tick } = workers[index].as_mut().unwrap();
        let wait_for = match key_sets.lookup(PROVIDER, now) {
            Lookup::Ready { keys, .. } if keys.contains(kid) => return Verdict::Allowed,
            Lookup::Ready { .. } => match key_sets.unknown_kid(PROVIDER, KID_HASH, now, store.as_ref()) {
                UnknownKid::Refuse => return Verdict::Refused,
                UnknownKid::Unavailable { .. } => return Verdict::Unavailable,
                UnknownKid::Retry => return self.request(index, request, kid),
                UnknownKid::Wait(wait_for) => wait_for,
            },
            Lookup::Unavailable { .. } => return Verdict::Unavailable,
            Lookup::Wait(wait_for) => wait_for,
        };
        match key_sets.wait(PROVIDER, RequestId(request), wait_for, now) {
            Err(TooManyWaiting { .. }) => Verdict::Unavailable,
            Ok(()) => {
                let soon = self.now + u64::try_from(key_sets.next_tick(now).as_millis()).unwrap();
                *next_tick = soon.min(*next_tick);
                Verdict::Waits
            }
        }
    }

    /// What became of those that waited, in order: each one's token is judged again where it may be.
    fn judged(&mut self, kid: &str) -> Vec<Verdict> {
        let resumed = std::mem::take(&mut self.resumed);
        let judge = |(index, request, resume): (usize, RequestId, Resume)| match resume {
            Resume::Retry => self.request(index, request.0, kid),
            Resume::GiveUp { retry_after } => {
                assert!((1..=60).contains(&retry_after.as_secs()) && retry_after.subsec_nanos() == 0);
                Verdict::Unavailable
            }
        };
        resumed.into_iter().map(judge).collect()
    }

    fn count(&self, wanted: impl Fn(&EventKind) -> bool) -> usize {
        self.events.iter().filter(|(_, kind)| wanted(kind)).count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Refused,
    Unavailable,
    Waits,
}
