//! One configuration in one worker: reads it, ticks, fetches key sets, wakes held requests.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use portcullis_engine::ports::Ports;
use portcullis_engine::{
    Actions, Callout, CounterId, Engine, FetchId, FetchResult, OWN_TIME_EVERY, RequestId, Seed, Step,
};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::host::{self, Level, ProxyHost};
use crate::metrics::{self, Metrics};
use crate::stream::{self, Stream};
use crate::verdict::{self, Decided};

/// What a worker's root and its streams share.
pub struct Shell {
    /// The id of the root context, to which callouts and ticks belong.
    pub root_id: u32,
    /// The engine of the configuration that is in force.
    pub engine: RefCell<Engine>,
    /// The host's abilities, as found at start.
    pub host: ProxyHost,
    metrics: RefCell<Metrics>,
    /// How many requests there were since the last one whose time was measured.
    unmeasured: Cell<u32>,
    tick_millis: Cell<u32>,
    /// Verdicts on requests that were held, until their streams come for them.
    verdicts: RefCell<HashMap<RequestId, Decided>>,
    /// How much of their bodies is there, of requests that are held.
    bodies: RefCell<HashMap<RequestId, SeenBody>>,
    /// Whether the engine wants to know when requests end that have passed.
    pub tracks_requests: bool,
    /// Requests that ended while the engine was busy.
    ended: RefCell<Vec<RequestId>>,
}

/// What of a request's body the proxy holds back.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeenBody {
    /// Its size in bytes.
    pub size: usize,
    /// Whether it is the whole body.
    pub complete: bool,
    /// Whether trailers came behind it.
    pub has_trailers: bool,
}

impl Shell {
    /// The verdict on a request that was held, if there is one by now.
    pub fn take_verdict(&self, id: RequestId) -> Option<Decided> {
        self.verdicts.borrow_mut().remove(&id)
    }

    /// Whether the filter's time on the next request is to be measured: on the first, and then on one of so many.
    pub fn measures_next(&self) -> bool {
        let unmeasured = self.unmeasured.get();
        self.unmeasured.set((unmeasured + 1) % OWN_TIME_EVERY);
        unmeasured == 0
    }

    /// Tells the proxy how long something has taken.
    pub fn record(&self, histogram: &'static str, time: Duration) {
        // In the middle of another event: one measurement less.
        if let Ok(mut metrics) = self.metrics.try_borrow_mut() {
            metrics.record(histogram, time);
        }
    }

    /// Notes how much of a held request's body is there.
    pub fn note_body(&self, id: RequestId, body: SeenBody) {
        self.bodies.borrow_mut().insert(id, body);
    }

    /// A request's stream ended, before its verdict or after.
    pub fn end(&self, id: RequestId) {
        self.verdicts.borrow_mut().remove(&id);
        self.bodies.borrow_mut().remove(&id);
        match self.engine.try_borrow_mut() {
            Ok(mut engine) => {
                engine.end(id, &self.host, host::now());
                self.flush(&mut engine);
            }
            // In the middle of another event: with the next tick.
            Err(_) => self.ended.borrow_mut().push(id),
        }
    }

    /// The whole of a request has gone on to its service.
    pub fn on_sent(&self, id: RequestId) {
        self.engine.borrow_mut().on_sent(id, host::now());
    }

    /// The head of the response to a request is there.
    pub fn on_answered(&self, id: RequestId) {
        let headers = host::header_map(host::Map::Response).unwrap_or_default();
        let mut engine = self.engine.borrow_mut();
        engine.on_answered(id, headers, host::now());
        self.flush(&mut engine);
    }

    /// Ends requests that could not be ended at once.
    fn end_late(&self) {
        for id in self.ended.take() {
            self.end(id);
        }
    }

    /// The ports of the engine on this host.
    pub fn ports(&self) -> Ports<'_> {
        Ports { store: &self.host, signatures: &self.host, attributes: &self.host }
    }

    /// Hands the engine's log lines and counts to the proxy, and what the access log is to know of the request at hand.
    pub fn flush(&self, engine: &mut Engine) {
        for line in engine.take_log() {
            host::log(Level::Warn, &line);
        }
        if let Some(outcome) = engine.take_outcome() {
            for (name, value) in outcome.properties() {
                host::set_property(name, value.as_bytes());
            }
        }
        self.metrics.borrow_mut().flush(engine);
    }

    /// Makes the next tick come in `wanted`, but not sooner than in a millisecond. Speaks for the root context.
    pub fn tick_in(&self, wanted: Duration) {
        let millis = u32::try_from(wanted.as_millis()).unwrap_or(u32::MAX).max(1);
        if self.tick_millis.replace(millis) != millis {
            host::set_tick_period(millis);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A gauge is the sum of what all configurations of all workers have added to it.
        let engine = self.engine.get_mut();
        engine.retire();
        self.metrics.get_mut().flush(engine);
    }
}

/// A variable of the VM's environment: with `1`, this module verifies every signature itself, even where the host could.
/// The verdicts are the same; it serves to compare the two.
const SOFTWARE_SIGNATURES: &str = "PORTCULLIS_SOFTWARE_SIGNATURES";

/// The root context: lives as long as its configuration.
pub struct Root {
    id: u32,
    shell: Option<Rc<Shell>>,
    /// Callouts under way: the proxy's token, the engine's id, the most bytes of an answer that are of use.
    under_way: RefCell<Vec<(u32, FetchId, usize)>>,
}

impl Root {
    /// A root without a configuration yet.
    pub fn new(id: u32) -> Self {
        Self { id, shell: None, under_way: RefCell::new(Vec::new()) }
    }

    /// Carries out what the engine wants: fetches, held requests to judge again, the next tick.
    fn carry_out(&self, shell: &Shell, actions: Actions) {
        for callout in actions.callouts {
            self.dispatch(shell, &callout);
        }
        for id in actions.resume {
            self.resume(shell, id);
        }
        // A request that was judged again may have to ask another provider, with the next tick.
        let next_tick = actions.next_tick.min(shell.engine.borrow().next_tick(host::now()));
        shell.tick_in(next_tick);
    }

    fn dispatch(&self, shell: &Shell, callout: &Callout) {
        let length = callout.body.len().to_string();
        let mut headers = vec![
            (":method", callout.method.as_str()),
            (":path", callout.path.as_str()),
            (":authority", callout.authority.as_str()),
        ];
        headers.extend(callout.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let body = (!callout.body.is_empty()).then_some(callout.body.as_slice());
        if body.is_some() {
            headers.push(("content-length", length.as_str()));
        }
        match self.dispatch_http_call(&callout.cluster, headers, body, vec![], callout.timeout) {
            Ok(token) => self.under_way.borrow_mut().push((token, callout.id, callout.max_response_bytes)),
            Err(status) => {
                let cluster = &callout.cluster;
                host::log(
                    Level::Error,
                    &format!("portcullis: cluster {cluster:?} cannot be called ({status:?}): is it in envoy.yaml?"),
                );
                self.answered(shell, callout.id, FetchResult::NoAnswer);
            }
        }
    }

    fn answered(&self, shell: &Shell, id: FetchId, result: FetchResult) {
        let actions = {
            let mut engine = shell.engine.borrow_mut();
            let actions = engine.on_fetch_result(id, result, shell.ports(), host::now());
            shell.flush(&mut engine);
            actions
        };
        self.carry_out(shell, actions);
    }

    fn resume(&self, shell: &Shell, id: RequestId) {
        if host::set_effective_context(stream::context_id(id)) {
            let at = host::now();
            let step = {
                let mut engine = shell.engine.borrow_mut();
                let step = engine.resume(id, shell.ports(), at);
                shell.flush(&mut engine);
                step
            };
            let verdict = step.and_then(|step| match step {
                Step::Hold => None,
                step => {
                    let body = shell.bodies.borrow_mut().remove(&id).unwrap_or_default();
                    verdict::decide_held(shell, id, step, body)
                }
            });
            if let Some(verdict) = verdict {
                let spent = host::now().since(at);
                shell.verdicts.borrow_mut().insert(id, Decided { verdict, at, spent });
            }
        }
        host::set_effective_context(self.id);
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, trailers: usize) {
        let Some(shell) = self.shell.clone() else { return };
        let found = {
            let mut under_way = self.under_way.borrow_mut();
            let position = under_way.iter().position(|(known, _, _)| *known == token);
            position.map(|index| under_way.swap_remove(index))
        };
        let Some((_, id, max)) = found else { return };
        // No headers: the cluster did not answer (timeout, reset, no healthy host).
        let result = match host::header_map(host::Map::CalloutResponse).filter(|_| headers > 0) {
            None => FetchResult::NoAnswer,
            Some(headers) => {
                // Only gRPC has any that matter.
                let trailers = (trailers > 0).then(|| host::header_map(host::Map::CalloutTrailers)).flatten();
                // One byte more than allowed shows that the body is too large.
                let body = host::buffer(host::Buffer::CalloutResponse, body_size.min(max.saturating_add(1)));
                FetchResult::Answer { headers, trailers: trailers.unwrap_or_default(), body: body.unwrap_or_default() }
            }
        };
        self.answered(&shell, id, result);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let environment = |name: &str| std::env::var(name).ok();
        let host = match environment(SOFTWARE_SIGNATURES).as_deref() {
            Some("1") => ProxyHost::without_signatures(),
            _ => ProxyHost::probe(),
        };
        match Engine::new(&configuration, &environment, seed()) {
            Ok(mut engine) => {
                let verification = if host.verifies_signatures() { "the host" } else { "this module" };
                host::log(Level::Info, &format!("portcullis: {}; signatures by {verification}", engine.summary()));
                let next_tick = engine.on_start(&host, host::now());
                let shell = Shell {
                    root_id: self.id,
                    tracks_requests: engine.tracks_requests(),
                    ended: RefCell::default(),
                    engine: RefCell::new(engine),
                    host,
                    metrics: RefCell::default(),
                    unmeasured: Cell::new(0),
                    tick_millis: Cell::new(0),
                    verdicts: RefCell::default(),
                    bodies: RefCell::default(),
                };
                shell.tick_in(next_tick);
                self.shell = Some(Rc::new(shell));
                true
            }
            Err(problems) => {
                metrics::count_once(&CounterId::Configuration("refused").name(|_| None));
                let count = problems.len();
                host::log(Level::Error, &format!("portcullis: the configuration is refused, {count} problem(s):"));
                for problem in problems.iter() {
                    host::log(Level::Error, &format!("portcullis: {problem}"));
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Some(shell) = self.shell.clone() else { return };
        shell.end_late();
        let actions = {
            let mut engine = shell.engine.borrow_mut();
            let actions = engine.on_tick(shell.ports(), host::now());
            shell.flush(&mut engine);
            actions
        };
        self.carry_out(&shell, actions);
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.shell.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Fresh randomness from the host, different in every worker and at every start.
fn seed() -> Seed {
    let mut seed = [0; 32];
    // Without randomness hashes can be predicted by a client, but no verdict depends on it: the time has to do.
    if getrandom::fill(&mut seed).is_err() {
        for (byte, time) in seed.iter_mut().zip(host::now().0.to_le_bytes().iter().cycle()) {
            *byte = *time;
        }
    }
    Seed(seed)
}
