//! The engine, driven as the filter drives it: start, ticks, fetches, held requests judged again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use anyhow::{Result, anyhow};
use portcullis_engine::ports::memory::MemoryStore;
use portcullis_engine::ports::{Ports, SoftwareOnly};
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{
    Actions, Body, Engine, FetchId, FetchResult, RequestId, Seed, Step as Verdict, beside_the_service,
};
use serde_json::Value;

use super::check::{End, Seen};
use super::host;
use super::messages::{changed, filled, lines};
use super::others::Others;
use super::stand_ins::{Known, Store};
use super::template::Template;
use super::{Case, Decision, Facts, Request, Step, Verdict as Wanted};

/// 2027-01-15T08:00:00Z: any time does, as long as all files mean the same.
pub const NOW: u64 = 1_800_000_000;
/// The longest that a held request is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The engine with the world around it.
pub struct Gateway {
    engine: Engine,
    store: Store,
    now: UnixNanos,
    next_tick: UnixNanos,
    /// Fetches under way, with the time of their answer.
    fetches: Vec<(UnixNanos, FetchId, FetchResult)>,
    others: Others,
    requests: HashMap<RequestId, Known>,
    waiting: VecDeque<RequestId>,
    /// Streams that stay open behind their decision.
    open: VecDeque<RequestId>,
    decided: HashMap<RequestId, Verdict>,
    last_id: u64,
    log: Vec<String>,
}

/// Takes each decision with what was seen.
pub type Judge<'j> = &'j mut dyn FnMut(&Request, &Decision, Seen, &mut Template) -> Result<()>;

impl Gateway {
    /// Starts the engine; the inner error holds the problems of the configuration.
    pub fn start(case: &Case, configuration: &Value) -> Result<Result<Self, Vec<String>>> {
        let environment = case.facts.environment.clone();
        let secrets = move |name: &str| {
            let text = environment.get(name)?;
            Template::default().fill(text).ok()
        };
        let mut engine = match Engine::new(&host::protobuf_struct(configuration), &secrets, Seed([7; 32])) {
            Ok(engine) => engine,
            Err(problems) => return Ok(Err(problems.iter().map(ToString::to_string).collect())),
        };
        let store = if case.facts.store_fails { Store::Fails } else { Store::Works(MemoryStore::default()) };
        let first_request = UnixNanos::from_secs(case.facts.now.unwrap_or(NOW));
        let warm_up = if case.facts.cold_start { 0 } else { 1 };
        let now = UnixNanos::from_secs(first_request.as_secs().saturating_sub(warm_up));
        let next_tick = now.plus(engine.on_start(&store, now));
        Ok(Ok(Self {
            engine,
            store,
            now,
            next_tick,
            fetches: Vec::new(),
            others: Others::of(configuration),
            requests: HashMap::new(),
            waiting: VecDeque::new(),
            open: VecDeque::new(),
            decided: HashMap::new(),
            last_id: 0,
            log: Vec::new(),
        }))
    }

    /// Plays the steps of the case one after the other.
    ///
    /// # Errors
    /// The case itself cannot be run, or what `judge` says.
    pub fn play(&mut self, case: &Case, template: &mut Template, judge: Judge<'_>) -> Result<()> {
        let mut is_warm = case.facts.cold_start;
        for step in &case.steps {
            if !is_warm && !matches!(step, Step::Endpoint { .. }) {
                is_warm = true;
                self.advance(Duration::from_secs(1));
            }
            template.now = self.now.as_secs();
            match step {
                Step::Endpoint { whose, answer } => {
                    if !self.others.places.values().any(|known| known == whose) {
                        return Err(anyhow!("{}: nothing called {whose:?} has a cluster", case.file.display()));
                    }
                    self.others.answers.insert(whose.clone(), filled(answer, template)?);
                }
                Step::Exchange { request, decision } => {
                    for n in 1..=request.times {
                        template.n = n;
                        self.advance(request.after);
                        template.now = self.now.as_secs();
                        let seen = self.exchange(request, decision, &case.facts, template)?;
                        judge(request, decision, seen, template)?;
                    }
                }
                Step::End => {
                    let id = self.open.pop_front().ok_or_else(|| anyhow!("no stream is open"))?;
                    self.engine.end(id, &self.store, self.now);
                }
                Step::Later { after, decision } => {
                    self.advance(*after);
                    let id = self.waiting.pop_front().ok_or_else(|| anyhow!("line {}: nobody waits", decision.line))?;
                    let end = self.end_of(id);
                    if matches!(end, End::Waiting) {
                        self.waiting.push_front(id);
                    } else {
                        self.engine.end(id, &self.store, self.now);
                    }
                    // Others may have been decided at the same time.
                    let own = format!("\"http.request.id\":\"case-{}\"", id.0);
                    let log = std::mem::take(&mut self.log).into_iter();
                    let log = log.filter(|line| !line.contains("\"http.request.id\"") || line.contains(&own)).collect();
                    // Whoever is asked later has been held; a decision need not say so again.
                    let asked = std::mem::take(&mut self.others.asked);
                    let seen = Seen { held: decision.held, end, log, asked };
                    let request = Request { line: decision.line, ..Request::blank(0) };
                    judge(&request, decision, seen, template)?;
                }
            }
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        request: &Request,
        decision: &Decision,
        facts: &Facts,
        template: &mut Template,
    ) -> Result<Seen> {
        self.last_id = self.last_id.saturating_add(1);
        let id = RequestId(self.last_id);
        let mut known = Known {
            lines: lines(request, self.last_id, template)?,
            address: request.address.or(facts.address),
            route_policy: request.route_policy.clone().or_else(|| facts.route_policy.clone()),
            route_name: facts.route_name.clone(),
            virtual_host_policy: facts.virtual_host_policy.clone(),
            certificate: facts.certificate.clone(),
            certificate_is_verified: facts.certificate_is_verified,
            answered_by_proxy: facts.answered_by_proxy,
            response: vec![(b":status".to_vec(), b"200".to_vec())],
            body: template.body(&request.body)?,
        };
        if request.response.iter().any(|(name, _)| name == ":status") {
            known.response.clear();
        }
        for (name, value) in &request.response {
            known.response.push((name.clone().into_bytes(), template.bytes(value)?));
        }
        if let Some(text) = &request.certificate {
            known.certificate.insert("sha256".to_owned(), template.fill(&format!("{{{{sha256 {text}}}}}"))?);
        }
        self.log.clear();
        self.others.asked.clear();
        let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &known };
        let verdict = self.engine.on_request_head(id, host::header_map(&known.lines), ports, self.now);
        let verdict = give_body(&mut self.engine, id, verdict, &known.body, ports, self.now);
        self.requests.insert(id, known);
        let held = verdict == Verdict::Hold;
        if held {
            self.next_tick = self.now.plus(self.engine.next_tick(self.now));
        } else {
            self.decided.insert(id, verdict);
        }
        if held && decision.verdict != Wanted::Hold {
            let deadline = self.now.plus(PATIENCE);
            while !self.decided.contains_key(&id) && self.now < deadline {
                self.advance(Duration::from_millis(10));
            }
        } else if held {
            self.waiting.push_back(id);
        }
        if let Some(policy) = &facts.served_by {
            self.serve_by(id, policy);
        }
        self.log.extend(self.engine.take_log());
        let is_timed = matches!(self.decided.get(&id), Some(Verdict::Continue(passage)) if passage.is_timed);
        if is_timed {
            self.engine.on_sent(id, self.now);
        }
        let end = self.end_of(id);
        match end {
            End::Waiting => {}
            End::Passed { .. } if request.open => self.open.push_back(id),
            _ => self.engine.end(id, &self.store, self.now),
        }
        if let End::Answered { headers, .. } = &end {
            let nonce = headers.iter().find(|(name, _)| name == "dpop-nonce");
            template.nonce = nonce.map(|(_, value)| value.clone()).or(template.nonce.take());
        }
        let (log, asked) = (std::mem::take(&mut self.log), std::mem::take(&mut self.others.asked));
        Ok(Seen { held, end, log, asked })
    }

    /// The response comes from a route whose metadata name this policy.
    fn serve_by(&mut self, id: RequestId, policy: &str) {
        let (Some(known), Some(Verdict::Continue(passage))) = (self.requests.get(&id), self.decided.get(&id)) else {
            return;
        };
        let Some(judged) = &passage.judged else { return };
        let known = Known { route_policy: Some(policy.to_owned()), ..known.clone() };
        let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &known };
        if let Some(answer) = self.engine.check_route(judged, ports, self.now) {
            self.decided.insert(id, Verdict::Deny(answer));
        }
    }

    fn end_of(&mut self, id: RequestId) -> End {
        let known = self.requests.get(&id).map(|known| known.lines.as_slice()).unwrap_or_default();
        match self.decided.remove(&id) {
            None | Some(Verdict::Hold) => End::Waiting,
            Some(Verdict::NeedBody(_)) => End::Waiting,
            Some(Verdict::Answer(answer)) => End::Served {
                status: answer.status,
                headers: answer.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
                body: answer.body.to_string(),
            },
            Some(Verdict::Deny(answer)) => End::Answered {
                status: answer.status,
                headers: answer.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
                body: answer.body,
            },
            Some(Verdict::Continue(passage)) => {
                let known_response = self.requests.get(&id).map(|known| known.response.clone()).unwrap_or_default();
                if let Some(settlement) = &passage.settlement {
                    self.engine.settle(settlement, host::header_map(&known_response), &self.store, self.now);
                    self.log.extend(self.engine.take_log());
                }
                if let (Some(answerable), Some(known)) = (&passage.answerable, self.requests.get(&id)) {
                    let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: known };
                    self.engine.count_response(answerable, status(&known_response), ports, self.now);
                    self.log.extend(self.engine.take_log());
                }
                let mut changes = passage.response;
                beside_the_service(&mut changes, |name| {
                    let found = known_response.iter().find(|(known, _)| known == name.as_bytes());
                    found.map(|(_, value)| value.clone())
                });
                if let Some(dress) = &passage.dress {
                    changes.extend(dress.changes(host::header_map(&known_response)));
                }
                End::Passed {
                    forwarded: changed(known, &passage.request),
                    response: changed(&known_response, &changes),
                }
            }
        }
    }

    /// Lets time pass: ticks and answers come when they are due.
    fn advance(&mut self, span: Duration) {
        let end = self.now.plus(span);
        loop {
            let answer = self.fetches.iter().map(|(due, ..)| *due).min();
            let next = answer.map_or(self.next_tick, |due| due.min(self.next_tick));
            if next > end {
                break;
            }
            self.now = next.max(self.now);
            let due = self.fetches.iter().position(|(due, ..)| *due <= self.now);
            let nobody = Known::default();
            let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &nobody };
            let actions = match due {
                Some(index) => {
                    let (_, id, result) = self.fetches.swap_remove(index);
                    self.engine.on_fetch_result(id, result, ports, self.now)
                }
                None => self.engine.on_tick(ports, self.now),
            };
            self.carry_out(actions);
        }
        self.now = end;
    }

    fn carry_out(&mut self, actions: Actions) {
        for fetch in &actions.callouts {
            let (delay, result) = self.others.answer(fetch);
            self.fetches.push((self.now.plus(delay), fetch.id, result));
        }
        for id in actions.resume {
            let Some(known) = self.requests.get(&id) else { continue };
            let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: known };
            let Some(verdict) = self.engine.resume(id, ports, self.now) else { continue };
            match give_body(&mut self.engine, id, verdict, &known.body, ports, self.now) {
                Verdict::Hold => {}
                verdict => {
                    self.decided.insert(id, verdict);
                }
            }
        }
        self.log.extend(self.engine.take_log());
        self.next_tick = self.now.plus(actions.next_tick.max(Duration::from_millis(1)));
    }
}

fn status(response: &[(Vec<u8>, Vec<u8>)]) -> u16 {
    let status = response.iter().find(|(name, _)| name == b":status");
    status.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or_default()
}

/// The verdict on a request whose whole body is there, where the engine asks for it.
fn give_body(
    engine: &mut Engine,
    id: RequestId,
    verdict: Verdict,
    body: &[u8],
    ports: Ports<'_>,
    now: UnixNanos,
) -> Verdict {
    match verdict {
        Verdict::NeedBody(wanted) => engine.on_body(id, Body::of(body, wanted), ports, now),
        verdict => verdict,
    }
}
