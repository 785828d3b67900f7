//! The revocations of one worker: events of the shell in, requests to send and verdicts out.

use std::time::Duration;

use serde_json::{Map, Value};

use super::entry::{Entry, Target, What};
use super::events::Event;
use super::list::List;
use super::pushed::{Consistency, Look, PushError, PushOptions, Pushed};
use super::table::HashKey;
use crate::claims::Claims;
use crate::key_sets::{
    self, DocumentKind, EventKind, Fetch, FetchId, FetchOutcome, RequestId, Resume, SourceError, TooManyWaiting,
    WaitFor, WaitLimits,
};
use crate::ports::SharedStore;
use crate::shared_list::{Held, OnError, SharedList, Source};
use crate::time::UnixNanos;

/// The longest time between two ticks where pushes take effect by tick.
pub const PUSH_TICK: Duration = Duration::from_millis(50);

/// The ids of the list's fetches lie above this one, those of key sets below.
const FETCH_IDS_AFTER: u64 = 1 << 63;
/// The list's name among sources and in events.
const NAME: &str = "revocation";
/// The tick where nothing is to be done.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The pulled list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// The proxy's cluster to fetch it from.
    pub cluster: String,
    /// `:authority` of the request.
    pub authority: String,
    /// Path and query of the request.
    pub path: String,
    /// The longest time between two fetches; at least [`key_sets::MIN_REFRESH`]. `Cache-Control: max-age` can shorten it.
    pub every: Duration,
    /// The time limit of a fetch.
    pub timeout: Duration,
    /// What happens while there is no list that is young enough.
    pub on_error: OnError,
    /// How long after the last good fetch a list is young enough for [`OnError::Deny`]. Raised to `every` and a little.
    pub max_age: Duration,
    /// The most bytes of a list that are taken. A worker's memory grows by about three times as much while it loads one.
    pub max_bytes: usize,
    /// The most entries of a list.
    pub max_entries: usize,
}

impl ListOptions {
    /// The default of `max_bytes`: 4 MiB, which is 100,000 UUIDs.
    pub const MAX_BYTES: usize = 4 << 20;
    /// The default of `max_entries`.
    pub const MAX_ENTRIES: usize = 200_000;
}

/// Where revocations come from. Without either, nothing is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The pulled list.
    pub list: Option<ListOptions>,
    /// Operators' pushes.
    pub push: Option<PushOptions>,
    /// How many requests may wait for the first list, and how long, where it is [`OnError::Deny`].
    pub wait: WaitLimits,
}

/// Randomness of this worker.
#[derive(Clone, Copy)]
pub struct Seeds {
    /// Another one in each VM, after a reload too.
    pub worker_id: u64,
    /// Spreads retries.
    pub spread: u64,
    /// Makes fingerprints unpredictable.
    pub hash_key: [u8; 16],
}

/// The revocations of one worker.
#[derive(Debug)]
pub struct Revocations {
    pulled: Option<SharedList<List>>,
    pushed: Option<Pushed>,
    generation: u64,
    /// What was last reported about pushes that cannot be read: once is enough.
    push_trouble: Option<PushError>,
    events: Vec<Event>,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    /// Requests to send; hand the outcome to [`Revocations::on_response`].
    pub fetches: Vec<Fetch>,
    /// Requests of clients that have waited long enough.
    pub resume: Vec<(RequestId, Resume)>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is revoked: 401.
    Revoked(Revoked),
    /// The first list is on its way: pass this to [`Revocations::wait`], or answer 503 with one second.
    Wait(WaitFor),
    /// There is no list that is young enough, and it is [`OnError::Deny`]: 503.
    Unavailable {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

/// What revokes a token, and where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// What is revoked.
    pub what: What,
    /// By whom.
    pub by: By,
}

/// Where a revocation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The pulled list.
    List,
    /// An operator's push.
    Push,
}

impl Revocations {
    /// The revocations that `options` speak of.
    ///
    /// # Errors
    /// [`SourceError`] where the list's place cannot be asked.
    pub fn new(options: Options, seeds: Seeds) -> Result<Self, SourceError> {
        let key = HashKey(seeds.hash_key);
        let wait = options.wait;
        let pulled = options.list.map(|list| pulled(list, wait, seeds)).transpose()?;
        let pushed = options.push.map(|push| Pushed::new(push, key));
        Ok(Self { pulled, pushed, generation: 0, push_trouble: None, events: Vec::new() })
    }

    /// The worker starts: takes over what stands in shared data.
    pub fn on_start(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        self.look_for_pushes(|pushed| pushed.on_tick(store, now));
        self.with_lists(now, |lists| lists.on_start(now, store))
    }

    /// A tick: takes over what other workers have fetched or taken in, and begins a fetch that is due.
    pub fn on_tick(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        self.look_for_pushes(|pushed| pushed.on_tick(store, now));
        self.with_lists(now, |lists| lists.on_tick(now, store))
    }

    /// A request begins. Where pushes are [`Consistency::Immediate`] this reads a small value from shared data, and what
    /// was pushed on any worker before is in effect; otherwise it does nothing.
    pub fn observe(&mut self, store: &dyn SharedStore) {
        if self.pushed.as_ref().is_some_and(|pushed| pushed.options().consistency == Consistency::Immediate) {
            self.look_for_pushes(|pushed| pushed.observe(store));
        }
    }

    /// Whether the fetch is this one's, and not a key set's.
    pub fn is_own_fetch(fetch: FetchId) -> bool {
        fetch.0 > FETCH_IDS_AFTER
    }

    /// A fetch has ended. An id that is no longer awaited changes nothing.
    pub fn on_response(
        &mut self,
        fetch: FetchId,
        outcome: FetchOutcome<'_>,
        now: UnixNanos,
        store: &dyn SharedStore,
    ) -> Actions {
        self.with_lists(now, |lists| lists.on_response(fetch, outcome, now, store))
    }

    /// Changes whenever a token that was accepted may have to be refused: what was accepted under another generation must
    /// be checked again, and what was accepted under this one need not be.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a token with these claims, issued at `issued_at` (`iat`), may be accepted at `now`. Call
    /// [`Self::observe`] first. Touches nothing but this worker's memory.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check(&self, claims: &Claims, issued_at: Option<UnixNanos>, now: UnixNanos) -> Result<(), Refusal> {
        let revoked = |by| move |what| Refusal::Revoked(Revoked { what, by });
        if let Some(what) = self.pushed.as_ref().and_then(|pushed| pushed.check(claims, issued_at, now)) {
            return Err(revoked(By::Push)(what));
        }
        let Some(pulled) = &self.pulled else { return Ok(()) };
        match pulled.held(now) {
            Held::Ready(list) => list.check(claims, issued_at, now).map(revoked(By::List)).map_or(Ok(()), Err),
            Held::Nothing => Ok(()),
            Held::Wait(wait_for) => Err(Refusal::Wait(wait_for)),
            Held::Unavailable { retry_after } => Err(Refusal::Unavailable { retry_after }),
        }
    }

    /// Lets a client's request wait for the first list. It comes back in [`Actions::resume`], once, unless it is forgotten.
    ///
    /// # Errors
    /// [`TooManyWaiting`]: 503.
    pub fn wait(&mut self, request: RequestId, wait_for: WaitFor, now: UnixNanos) -> Result<(), TooManyWaiting> {
        match &mut self.pulled {
            Some(pulled) => pulled.wait(request, wait_for, now),
            None => Err(TooManyWaiting { retry_after: IDLE_TICK }),
        }
    }

    /// The client of a waiting request has gone.
    pub fn forget(&mut self, request: RequestId) {
        if let Some(pulled) = &mut self.pulled {
            pulled.forget(request);
        }
    }

    /// When the next tick is wanted: sooner while requests wait.
    pub fn next_tick(&self, now: UnixNanos) -> Duration {
        let by_tick = |pushed: &Pushed| pushed.options().consistency == Consistency::Tick;
        let for_pushes = if self.pushed.as_ref().is_some_and(by_tick) { PUSH_TICK } else { IDLE_TICK };
        self.pulled.as_ref().map_or(IDLE_TICK, |pulled| pulled.next_tick(now)).min(for_pushes)
    }

    /// An operator revokes something. Once this returns, it is in effect here, and as [`Consistency`] says elsewhere. An
    /// entry with the same target is joined: the later times hold.
    ///
    /// # Errors
    /// [`PushError`]; nothing was changed, except that after `StoreUnavailable` and `Contended` it may be: push again.
    pub fn push(&mut self, entry: Entry<'static>, store: &dyn SharedStore, now: UnixNanos) -> Result<(), PushError> {
        let what = entry.target.what;
        self.change_pushed(Event::Pushed(what), |pushed| pushed.push(entry, store, now).map(|()| true)).map(|_| ())
    }

    /// An operator takes back something that was pushed; `false` where it was not. What the list revokes stays revoked.
    ///
    /// # Errors
    /// [`PushError`]
    pub fn lift(&mut self, target: &Target<'_>, store: &dyn SharedStore, now: UnixNanos) -> Result<bool, PushError> {
        self.change_pushed(Event::Lifted(target.what), |pushed| pushed.lift(target, store, now))
    }

    /// What was pushed and is not over, oldest first of each kind, in the format of a list. At most [`PushOptions::max_bytes`] and a
    /// few more.
    ///
    /// # Errors
    /// [`PushError`]
    pub fn listing(&self, store: &dyn SharedStore, now: UnixNanos) -> Result<Vec<u8>, PushError> {
        let entries = self.pushed.as_ref().ok_or(PushError::Disabled)?.entries(store, now)?;
        let mut document = Map::new();
        document.insert("version".into(), Value::from(1));
        for what in What::ALL {
            let section = entries.iter().filter(|entry| entry.target.what == what).map(Entry::to_json);
            document.insert(what.section().into(), section.collect());
        }
        Ok(Value::Object(document).to_string().into_bytes())
    }

    /// How many entries this worker's list has, and what was pushed; and the bytes that the list takes.
    pub fn size(&self, now: UnixNanos) -> Size {
        let list = self.pulled.as_ref().and_then(|pulled| match pulled.held(now) {
            Held::Ready(list) => Some(list),
            Held::Nothing | Held::Wait(_) | Held::Unavailable { .. } => None,
        });
        Size {
            listed: list.as_ref().map_or(0, |list| list.len()),
            list_bytes: list.as_ref().map_or(0, |list| list.heap_bytes()),
            pushed: self.pushed.as_ref().map_or(0, Pushed::len),
        }
    }

    /// What happened since the last call, for the log and the counters.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn look_for_pushes(&mut self, look: impl FnOnce(&mut Pushed) -> Result<Look, PushError>) {
        let Some(pushed) = &mut self.pushed else { return };
        let trouble = match look(pushed) {
            // What cannot be read is looked at once for each change, and is not readable because it stayed the same.
            Ok(Look::Same) => self.push_trouble.filter(|trouble| *trouble == PushError::Unreadable),
            Ok(Look::Changed) => {
                self.generation = self.generation.wrapping_add(1);
                self.events.push(Event::PushesLoaded { entries: pushed.len() });
                None
            }
            Err(error) => Some(error),
        };
        match trouble {
            Some(error) if self.push_trouble != trouble => self.events.push(Event::PushesUnavailable(error)),
            _ => {}
        }
        self.push_trouble = trouble;
    }

    fn change_pushed(
        &mut self,
        done: Event,
        change: impl FnOnce(&mut Pushed) -> Result<bool, PushError>,
    ) -> Result<bool, PushError> {
        let result = self.pushed.as_mut().ok_or(PushError::Disabled).and_then(change);
        // A change that failed half-way may be in effect here already.
        self.generation = self.generation.wrapping_add(1);
        match result {
            Ok(true) => self.events.push(done),
            Ok(false) => {}
            Err(error) => self.events.push(Event::PushRefused(error)),
        }
        result
    }

    fn with_lists(&mut self, now: UnixNanos, act: impl FnOnce(&mut SharedList<List>) -> key_sets::Actions) -> Actions {
        let (mut fetches, mut resume) = (Vec::new(), Vec::new());
        if let Some(pulled) = &mut self.pulled {
            let actions = act(pulled);
            (fetches, resume) = (actions.fetches, actions.resume);
            let has_expired = actions.events.iter().any(|event| event.kind == EventKind::Expired);
            let is_loaded = |event: &key_sets::Event| matches!(event.kind, EventKind::Loaded { .. });
            self.events.extend(
                actions.events.into_iter().filter(|event| !is_loaded(event)).map(|event| Event::List(event.kind)),
            );
            if let Some(list) = pulled.changed(now) {
                self.events.push(Event::ListLoaded { entries: list.len() });
                self.generation = self.generation.wrapping_add(1);
            } else if has_expired {
                self.generation = self.generation.wrapping_add(1);
            }
        }
        Actions { fetches, resume, next_tick: self.next_tick(now) }
    }
}

/// How much is revoked, for gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Entries of the list.
    pub listed: usize,
    /// The bytes that the list takes on this worker.
    pub list_bytes: usize,
    /// Entries that were pushed, those that have just expired included.
    pub pushed: usize,
}

/// The pulled list that `options` speak of.
fn pulled(options: ListOptions, wait: WaitLimits, seeds: Seeds) -> Result<SharedList<List>, SourceError> {
    let ListOptions { cluster, authority, path, every, timeout, on_error, max_age, max_bytes, max_entries } = options;
    let kind =
        DocumentKind { store_prefix: "portcullis/revocation/list/v1/", max_bytes, fetch_ids_after: FETCH_IDS_AFTER };
    let source = Source { name: NAME.to_owned(), cluster, authority, path, every, timeout, on_error, max_age };
    let key = HashKey(seeds.hash_key);
    let parse = move |json: &[u8]| List::parse(json, max_entries, key).map_err(|error| error.to_string());
    SharedList::new(kind, source, parse, seeds.worker_id, seeds.spread, wait)
}
