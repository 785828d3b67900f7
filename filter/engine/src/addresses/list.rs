//! The lists of one worker: those of the configuration, and those that are fetched.

use std::rc::Rc;
use std::time::Duration;

use super::feed;
use super::set::AddressSet;
use crate::key_sets::{DocumentKind, Event, EventKind, Fetch, FetchId, FetchOutcome, SourceError, WaitLimits};
use crate::ports::SharedStore;
use crate::shared_list::{Held, SharedList, Source};
use crate::time::UnixNanos;

/// The ids of fetches of address lists lie above this one, those of the list of revoked tokens above twice this one.
const FETCH_IDS_AFTER: u64 = 1 << 62;
/// Each list counts its fetches in so many bits.
const COUNTER_BITS: u32 = 32;
/// The tick where nothing is to be done.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// A list as the configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressList {
    /// Its name in the configuration.
    pub name: String,
    /// Where its entries are.
    pub source: AddressSource,
}

/// Where the entries of a list are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressSource {
    /// In the configuration.
    Inline(Rc<AddressSet>),
    /// At a cluster.
    Feed(FeedOptions),
}

/// A list that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOptions {
    /// Where it is, and how long it holds.
    pub source: Source,
    /// The most bytes of a list that are taken.
    pub max_bytes: usize,
    /// The most entries of a list.
    pub max_entries: usize,
}

/// The lists of one worker, in the order of the configuration.
#[derive(Debug)]
pub struct AddressLists {
    lists: Vec<List>,
}

#[derive(Debug)]
enum List {
    Inline(Rc<AddressSet>),
    Feed { list: Box<SharedList<AddressSet>>, max_bytes: usize },
}

/// What the shell is to do.
#[derive(Debug)]
pub struct Actions {
    /// Requests to send; hand the outcome to [`AddressLists::on_response`].
    pub fetches: Vec<Fetch>,
    /// What happened to which list. A new list of so many ranges in use is not among them: see `loaded`.
    pub events: Vec<(usize, EventKind)>,
    /// Lists of which this worker uses a new version.
    pub loaded: Vec<usize>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

impl AddressLists {
    /// The lists of a configuration on the worker `worker_id`; `spread` is random and spreads retries.
    ///
    /// # Errors
    /// The index of a list that cannot be asked for, and why.
    pub fn new(lists: &[AddressList], worker_id: u64, spread: u64) -> Result<Self, (usize, SourceError)> {
        let compile = |(index, list): (usize, &AddressList)| match &list.source {
            AddressSource::Inline(set) => Ok(List::Inline(Rc::clone(set))),
            AddressSource::Feed(feed) => feed_list(index, feed, worker_id, spread).map_err(|error| (index, error)),
        };
        Ok(Self { lists: lists.iter().enumerate().map(compile).collect::<Result<_, _>>()? })
    }

    /// The worker starts: takes over what stands in shared data.
    pub fn on_start(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        self.with_feeds(now, |_, list| Some(list.on_start(now, store)))
    }

    /// A tick: takes over what other workers have fetched, and begins fetches that are due.
    pub fn on_tick(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        self.with_feeds(now, |_, list| Some(list.on_tick(now, store)))
    }

    /// A fetch has ended; `answer` gives the outcome for the most bytes that are taken.
    pub fn on_response<'a>(
        &mut self,
        fetch: FetchId,
        answer: impl Fn(usize) -> FetchOutcome<'a>,
        now: UnixNanos,
        store: &dyn SharedStore,
    ) -> Actions {
        let of_list = usize::try_from((fetch.0.wrapping_sub(FETCH_IDS_AFTER)) >> COUNTER_BITS).unwrap_or(usize::MAX);
        let max_bytes = match self.lists.get(of_list) {
            Some(List::Feed { max_bytes, .. }) => *max_bytes,
            _ => 0,
        };
        self.with_feeds(now, |index, list| {
            (index == of_list).then(|| list.on_response(fetch, answer(max_bytes), now, store))
        })
    }

    /// Whether the fetch is one of these.
    pub fn is_own_fetch(fetch: FetchId) -> bool {
        (FETCH_IDS_AFTER..FETCH_IDS_AFTER.saturating_mul(2)).contains(&fetch.0)
    }

    /// When the next tick is wanted.
    pub fn next_tick(&self, now: UnixNanos) -> Duration {
        let wanted = self.lists.iter().filter_map(|list| match list {
            List::Inline(_) => None,
            List::Feed { list, .. } => Some(list.next_tick(now)),
        });
        wanted.min().unwrap_or(IDLE_TICK)
    }

    /// What the list at `index` says at `now`.
    pub fn held(&self, index: usize, now: UnixNanos) -> Held<AddressSet> {
        match self.lists.get(index) {
            Some(List::Inline(set)) => Held::Ready(Rc::clone(set)),
            Some(List::Feed { list, .. }) => list.held(now),
            None => Held::Nothing,
        }
    }

    fn with_feeds(
        &mut self,
        now: UnixNanos,
        mut act: impl FnMut(usize, &mut SharedList<AddressSet>) -> Option<crate::key_sets::Actions>,
    ) -> Actions {
        let (mut fetches, mut events, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
        for (index, list) in self.lists.iter_mut().enumerate() {
            let List::Feed { list, .. } = list else { continue };
            let Some(actions) = act(index, list) else { continue };
            fetches.extend(actions.fetches);
            let told = actions.events.into_iter().map(|Event { kind, .. }| kind);
            events.extend(told.filter(|kind| !matches!(kind, EventKind::Loaded { .. })).map(|kind| (index, kind)));
            if list.changed(now).is_some() {
                loaded.push(index);
            }
        }
        Actions { fetches, events, loaded, next_tick: self.next_tick(now) }
    }
}

fn feed_list(index: usize, feed: &FeedOptions, worker_id: u64, spread: u64) -> Result<List, SourceError> {
    let FeedOptions { source, max_bytes, max_entries } = feed.clone();
    let offset = u64::try_from(index).unwrap_or(u64::MAX).checked_shl(COUNTER_BITS).unwrap_or(0);
    let kind = DocumentKind {
        store_prefix: "portcullis/addresses/v1/",
        max_bytes,
        fetch_ids_after: FETCH_IDS_AFTER.saturating_add(offset),
    };
    let parse = move |document: &[u8]| feed::parse(document, max_entries).map_err(|error| error.to_string());
    // Nobody waits for a list: without one, a request is answered at once.
    let wait = WaitLimits { max_waiting: 0, max_wait: Duration::ZERO };
    let list = SharedList::new(kind, source, parse, worker_id, spread, wait)?;
    Ok(List::Feed { list: Box::new(list), max_bytes })
}
