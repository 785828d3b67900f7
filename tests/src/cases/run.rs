//! Lets the engine decide a case, driven as the filter drives it: start, ticks, fetches, held requests judged again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use portcullis_engine::ports::memory::MemoryStore;
use portcullis_engine::ports::{Ports, SoftwareOnly};
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Actions, Body, Callout, Engine, FetchId, FetchResult, RequestId, Seed, Step as Verdict};
use serde_json::{Value, json};

use super::check::{self, End, Failure, Seen};
use super::host;
use super::messages::{changed, filled, lines};
use super::stand_ins::{Known, Store};
use super::template::Template;
use super::{
    ADDRESS_LIST, Case, Decision, EndpointAnswer, Facts, LIMIT_SERVICE, REVOCATION_LIST, Request, ServiceLimit, Step,
    Verdict as Wanted,
};
use crate::rls::{self, Question, Reply};

/// 2027-01-15T08:00:00Z: any time does, as long as all files mean the same.
const NOW: u64 = 1_800_000_000;
/// The longest that a held request is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `case` and compares; every difference is a failure.
///
/// # Errors
/// The case itself cannot be run: a template or its YAML.
pub fn run(case: &Case) -> Result<Vec<Failure>> {
    let mut template = Template::at(case.facts.now.unwrap_or(NOW));
    let configuration = configuration(case, &mut template)?;
    let failure = |line: usize, what: String| Failure { file: case.file.clone(), line, what };
    let mut gateway = match (Gateway::start(case, &configuration)?, &case.problems) {
        (Ok(gateway), None) => gateway,
        (Err(seen), Some(expected)) => {
            let expected: Vec<String> = expected.iter().map(|line| template.fill(line)).collect::<Result<_>>()?;
            return Ok(problem_differences(&expected, &seen)
                .into_iter()
                .map(|what| failure(case.problems_line, what))
                .collect());
        }
        (Ok(_), Some(_)) => return Ok(vec![failure(case.problems_line, "the configuration is accepted".to_owned())]),
        (Err(seen), None) => {
            let what = format!("the configuration is refused:\n    {}", seen.join("\n    "));
            return Ok(vec![failure(1, what)]);
        }
    };
    let mut failures = Vec::new();
    gateway.play(case, &mut template, &mut |_, decision, seen, template| {
        for (line, what) in check::differences(decision, &seen, template)? {
            failures.push(failure(line, what));
        }
        Ok(())
    })?;
    Ok(failures)
}

/// Runs `case` under `mode: monitor`: whatever it refuses goes on and is recorded, except a head that cannot be read.
///
/// # Errors
/// The case itself cannot be run: a template or its YAML.
pub fn run_monitored(case: &Case) -> Result<Vec<Failure>> {
    let mut template = Template::at(case.facts.now.unwrap_or(NOW));
    let mut configuration = configuration(case, &mut template)?;
    if let Some(members) = configuration.as_object_mut() {
        members.insert("mode".to_owned(), json!("monitor"));
    }
    let Ok(mut gateway) = Gateway::start(case, &configuration)? else { return Ok(Vec::new()) };
    let served = served_rules(&configuration);
    let mut failures = Vec::new();
    gateway.play(case, &mut template, &mut |_, decision, seen, _| {
        let mut complain = |what: String| {
            failures.push(Failure {
                file: case.file.clone(),
                line: decision.line,
                what: format!("monitor mode: {what}"),
            });
        };
        let monitored = seen.audited("request_monitored");
        match (&decision.verdict, &seen.end) {
            (_, End::Waiting) | (Wanted::Allow | Wanted::Hold, End::Passed { .. }) => {}
            (Wanted::Answer { .. }, End::Served { .. }) => {}
            // What the gateway itself serves is refused in monitor mode too.
            (Wanted::Deny { reason, .. }, End::Answered { .. })
                if seen.reason().as_ref() == Some(reason) && served.iter().any(|rule| seen.is_of_rule(rule)) => {}
            (Wanted::Deny { reason, .. }, End::Passed { .. } | End::Served { .. }) => {
                if !monitored.contains(reason) {
                    complain(format!("expected {reason} to be recorded, saw {monitored:?}"));
                }
            }
            (Wanted::Deny { reason, .. }, End::Answered { .. }) if UNREADABLE.contains(&reason.as_str()) => {}
            (_, End::Answered { .. })
            | (Wanted::Allow | Wanted::Hold, End::Served { .. })
            | (Wanted::Answer { .. }, End::Passed { .. }) => {
                complain(format!("expected the request to go on, saw {}", seen.summary()))
            }
        }
        Ok(())
    })?;
    Ok(failures)
}

/// The names of the rules that the gateway itself answers.
fn served_rules(configuration: &Value) -> Vec<String> {
    let rules = configuration.get("rules").and_then(Value::as_array).into_iter().flatten();
    let served = rules.filter(|rule| rule.get("serve").is_some());
    served.filter_map(|rule| rule.get("name")?.as_str().map(str::to_owned)).collect()
}

/// Refused in monitor mode too: nobody can say what such a head would mean to the service.
const UNREADABLE: &[&str] =
    &["request_malformed", "header_malformed", "header_repeated", "authority_malformed", "host_mismatch"];

/// The case's configuration with its templates filled in.
fn configuration(case: &Case, template: &mut Template) -> Result<Value> {
    let text = template.fill(&case.config)?;
    serde_norway::from_str(&text).with_context(|| format!("{}: the configuration is not YAML", case.file.display()))
}

fn problem_differences(expected: &[String], seen: &[String]) -> Vec<String> {
    if expected == seen {
        return Vec::new();
    }
    let missing = expected.iter().filter(|line| !seen.contains(line)).map(|line| format!("expected: {line}"));
    let unexpected = seen.iter().filter(|line| !expected.contains(line)).map(|line| format!("saw:      {line}"));
    let differences: Vec<String> = missing.chain(unexpected).collect();
    match differences.as_slice() {
        [] => vec![format!("the problems come in another order:\n    {}", seen.join("\n    "))],
        lines => vec![format!("other problems:\n    {}", lines.join("\n    "))],
    }
}

/// The engine with the world around it.
struct Gateway {
    engine: Engine,
    store: Store,
    now: UnixNanos,
    next_tick: UnixNanos,
    /// Fetches under way, with the time of their answer.
    fetches: Vec<(UnixNanos, FetchId, FetchResult)>,
    answers: BTreeMap<String, EndpointAnswer>,
    /// Whose a cluster and path are.
    places: HashMap<(String, String), String>,
    requests: HashMap<RequestId, Known>,
    waiting: VecDeque<RequestId>,
    /// Streams that stay open behind their decision.
    open: VecDeque<RequestId>,
    decided: HashMap<RequestId, Verdict>,
    last_id: u64,
    log: Vec<String>,
    /// What the limit service was asked since the request before.
    asked: Vec<String>,
    /// What it has counted, by descriptor.
    counted: HashMap<String, u64>,
}

/// Takes each decision with what was seen.
type Judge<'j> = &'j mut dyn FnMut(&Request, &Decision, Seen, &mut Template) -> Result<()>;

impl Gateway {
    /// Starts the engine; the inner error holds the problems of the configuration.
    fn start(case: &Case, configuration: &Value) -> Result<Result<Self, Vec<String>>> {
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
            answers: BTreeMap::new(),
            places: places(configuration),
            requests: HashMap::new(),
            waiting: VecDeque::new(),
            open: VecDeque::new(),
            decided: HashMap::new(),
            last_id: 0,
            log: Vec::new(),
            asked: Vec::new(),
            counted: HashMap::new(),
        }))
    }

    fn play(&mut self, case: &Case, template: &mut Template, judge: Judge<'_>) -> Result<()> {
        let mut is_warm = case.facts.cold_start;
        for step in &case.steps {
            if !is_warm && !matches!(step, Step::Endpoint { .. }) {
                is_warm = true;
                self.advance(Duration::from_secs(1));
            }
            template.now = self.now.as_secs();
            match step {
                Step::Endpoint { whose, answer } => {
                    if !self.places.values().any(|known| known == whose) {
                        return Err(anyhow!("{}: nothing called {whose:?} has a cluster", case.file.display()));
                    }
                    self.answers.insert(whose.clone(), filled(answer, template)?);
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
                    let asked = std::mem::take(&mut self.asked);
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
        self.asked.clear();
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
        let (log, asked) = (std::mem::take(&mut self.log), std::mem::take(&mut self.asked));
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
                let mut changes = passage.response;
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
            let (delay, result) = self.answer(fetch);
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

    /// What the key set endpoint says, and how long it takes.
    fn answer(&mut self, fetch: &Callout) -> (Duration, FetchResult) {
        let place = (fetch.cluster.clone(), fetch.path.clone());
        if let Some(question) = Question::read(&fetch.body).filter(|_| fetch.path == rls::PATH) {
            let texts: Vec<String> = question.descriptors.iter().map(rls::Descriptor::text).collect();
            self.asked.push(format!("{} + {}", texts.join(" | "), question.hits));
            if let Some(EndpointAnswer::Limits(limits)) = self.answers.get(LIMIT_SERVICE) {
                let reply = count(limits, &question, &mut self.counted);
                let grpc = (b"content-type".to_vec(), b"application/grpc".to_vec());
                let headers = host::header_map(&[(b":status".to_vec(), b"200".to_vec()), grpc]);
                let trailers = host::header_map(&[(b"grpc-status".to_vec(), b"0".to_vec())]);
                return (Duration::ZERO, FetchResult::Answer { headers, trailers, body: reply.body().to_vec() });
            }
        }
        match self.places.get(&place).and_then(|provider| self.answers.get(provider)) {
            Some(EndpointAnswer::ByToken(known)) => {
                let form = String::from_utf8_lossy(&fetch.body);
                let token = form.split('&').find_map(|pair| pair.strip_prefix("token="));
                let answer = known.iter().find(|(known, _)| Some(known.as_str()) == token);
                let body = answer.map_or("{\"active\": false}", |(_, answer)| answer.as_str());
                let headers = host::header_map(&[(b":status".to_vec(), b"200".to_vec())]);
                (Duration::ZERO, FetchResult::Answer { headers, trailers: Vec::new(), body: body.as_bytes().to_vec() })
            }
            None | Some(EndpointAnswer::Down | EndpointAnswer::Limits(_)) => (Duration::ZERO, FetchResult::NoAnswer),
            Some(EndpointAnswer::Hanging) => (fetch.timeout, FetchResult::NoAnswer),
            Some(EndpointAnswer::Answer { status, headers, body }) => {
                let mut lines = vec![(b":status".to_vec(), status.to_string().into_bytes())];
                lines.extend(
                    headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())),
                );
                let body = body.clone().into_bytes();
                let max = fetch.max_response_bytes.saturating_add(1);
                let body = body.into_iter().take(max).collect();
                (Duration::ZERO, FetchResult::Answer { headers: host::header_map(&lines), trailers: Vec::new(), body })
            }
        }
    }
}

/// Counts as a limit service does: all descriptors, or none if one refuses.
fn count(limits: &[ServiceLimit], question: &Question, counted: &mut HashMap<String, u64>) -> Reply {
    let cost = question.hits.max(1);
    // In a question for Limitador each entry is a limit.
    let is_split = question.descriptors.iter().any(|descriptor| descriptor.value("limit").is_none());
    let descriptors: Vec<rls::Descriptor> = match question.descriptors.as_slice() {
        [all] if is_split => {
            let entries = all.entries.iter().cloned();
            let of = |(limit, key)| vec![("limit".to_owned(), limit), ("key".to_owned(), key)];
            entries.map(|entry| rls::Descriptor { entries: of(entry), rate: None }).collect()
        }
        separate => separate.to_vec(),
    };
    let known =
        |descriptor: &rls::Descriptor| limits.iter().find(|limit| descriptor.value("limit") == Some(&limit.name));
    let used = |descriptor: &rls::Descriptor| counted.get(&descriptor.text()).copied().unwrap_or(0);
    let is_over = |descriptor: &rls::Descriptor| {
        known(descriptor).is_some_and(|limit| used(descriptor).saturating_add(cost) > limit.most)
    };
    let over: Vec<bool> = descriptors.iter().map(is_over).collect();
    let refused = over.contains(&true);
    if !refused {
        for descriptor in &descriptors {
            *counted.entry(descriptor.text()).or_default() += cost;
        }
    }
    let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    let status = |(descriptor, over): (&rls::Descriptor, &bool)| {
        let limit = known(descriptor).filter(|limit| !limit.is_silent && !is_split)?;
        let left = limit.most.saturating_sub(counted.get(&descriptor.text()).copied().unwrap_or(0));
        Some((if *over { 2 } else { 1 }, byte(limit.most), byte(left), 17))
    };
    let statuses: Option<Vec<_>> = descriptors.iter().zip(&over).map(status).collect();
    Reply { code: if refused { 2 } else { 1 }, statuses: statuses.unwrap_or_default(), headers: Vec::new() }
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

/// Whose every cluster and path is: a provider's key set or introspection endpoint, the list of revoked tokens, or one of addresses.
fn places(configuration: &Value) -> HashMap<(String, String), String> {
    let place = |section: &Value| {
        let text = |member: &str| section.get(member).and_then(Value::as_str).map(str::to_owned);
        Some((text("cluster")?, text("path")?))
    };
    let providers = configuration.get("providers").and_then(Value::as_object).into_iter().flatten();
    let of_providers = providers.filter_map(|(name, provider)| {
        let endpoint = provider.get("jwks").or_else(|| provider.get("introspection"))?;
        Some((place(endpoint)?, name.clone()))
    });
    let list = configuration.get("revocation").and_then(place);
    let lists = configuration.get("address_lists").and_then(Value::as_object).into_iter().flatten();
    let of_lists = lists.filter_map(|(name, list)| Some((place(list)?, format!("{ADDRESS_LIST} {name}"))));
    let service = configuration.pointer("/limit_service/cluster").and_then(Value::as_str);
    let of_service = service.map(|cluster| ((cluster.to_owned(), rls::PATH.to_owned()), LIMIT_SERVICE.to_owned()));
    let of_revocation = list.map(|place| (place, REVOCATION_LIST.to_owned()));
    of_providers.chain(of_revocation).chain(of_lists).chain(of_service).collect()
}
