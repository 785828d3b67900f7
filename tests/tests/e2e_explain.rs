//! Every case of `tests/cases` that can be sent over a connection, through the real Envoy and through `portcullis explain`:
//! both say the same of every request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use portcullis_cli::configured;
use portcullis_cli::environment::EnvironmentArguments;
use portcullis_cli::explain::Report;
use portcullis_cli::explain::replay::{Answers, Served, Session, Word};
use portcullis_cli::explain::request::{Attributes, serialised};
use portcullis_engine::time::UnixNanos;
use portcullis_tests::cases::messages::{self, lines};
use portcullis_tests::cases::real::{Corpus, Prepared, Reply};
use portcullis_tests::cases::template::Template;
use portcullis_tests::cases::{ADDRESS_LIST, Case, EndpointAnswer, REVOCATION_LIST, Request, Step, Verdict, load_all};
use portcullis_tests::paths::{self, WorkDir};
use portcullis_tests::pki::Pki;
use serde_json::Value;

/// Why requests of the corpus cannot be sent to a gateway on loopback, and how many at most: a number that must grow is
/// looked at by somebody.
const LEFT_OUT: &[(&str, usize)] = &[
    ("a head that HTTP/1.1 cannot carry", 14),
    ("a body of another length than announced", 11),
    ("a header that Envoy joins", 2),
    ("an upgrade, which these listeners refuse", 9),
    ("a limit service", 236),
    ("a request before the first tick", 20),
    ("a request that is looked at while it waits", 7),
    ("a route that Envoy picks again", 4),
    ("a target that Envoy rewrites or routes nowhere", 4),
    ("a stream that stays open", 305),
    ("shared data that fails", 22),
    ("time that has to pass", 70),
];

/// Longer than this nobody waits for a test.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Tally {
    agreed: usize,
    /// Of those: as the case says. The others depend on the time of the case.
    as_written: usize,
    /// Refused by Envoy before the filter sees them, and by the filter if it saw them.
    refused_by_both: usize,
    left_out: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
    /// The cases that have them.
    differing: BTreeSet<PathBuf>,
}

#[test]
fn explain_agrees_with_envoy_on_the_corpus() {
    let cases = load_all(&paths::root().join("tests/cases")).unwrap();
    let tally = compare(cases.clone());
    let left_out: usize = tally.left_out.values().sum();
    let total = tally.agreed + tally.refused_by_both + left_out + tally.differences.len();
    let summary = format!(
        "{} of {total} requests agree ({} as written), {} are refused by Envoy itself and by explain, left out: {:#?}",
        tally.agreed, tally.as_written, tally.refused_by_both, tally.left_out
    );
    println!("{summary}");
    assert!(tally.agreed >= 1200, "{summary}");
    for (reason, count) in &tally.left_out {
        let known = LEFT_OUT.iter().find(|(known, _)| known == reason).map_or(0, |(_, at_most)| *at_most);
        assert!(*count <= known, "{count} requests are left out for {reason:?}, {known} at most: {summary}");
    }
    if tally.differences.is_empty() {
        return;
    }
    // On a busy machine time passes between a request to Envoy and the next one: a limit refills, a wait ends. What is
    // really different is so again.
    println!("once more: {}", tally.differences.join("\n"));
    assert!(tally.differing.len() <= 5, "{} differences:\n{}", tally.differences.len(), tally.differences.join("\n"));
    let again = compare(cases.into_iter().filter(|case| tally.differing.contains(&case.file)).collect());
    assert!(again.differences.is_empty(), "{} differences:\n{}", again.differences.len(), again.differences.join("\n"));
}

/// Plays the cases that can be played on both.
fn compare(cases: Vec<Case>) -> Tally {
    let now = seconds();
    let dir = WorkDir::create("explain").unwrap();
    let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
    let mut prepared = Vec::new();
    let mut tally = Tally::default();
    for (number, case) in cases.into_iter().enumerate() {
        let requests = exchanges(&case.steps);
        let facts = &case.facts;
        let reason = if case.config.lines().any(|line| line.starts_with("limit_service:")) {
            "a limit service"
        } else if facts.store_fails {
            "shared data that fails"
        } else if case.steps.iter().any(|step| matches!(step, Step::Exchange { request, .. } if request.open)) {
            "a stream that stays open"
        } else if facts.cold_start {
            "a request before the first tick"
        } else if facts.served_by.is_some() {
            "a route that Envoy picks again"
        } else {
            prepared.extend(Prepared::new(number, case, now, &pki).unwrap());
            continue;
        };
        *tally.left_out.entry(reason).or_default() += requests;
    }
    for case in &prepared {
        for step in case.case.steps.iter().take_while(|step| matches!(step, Step::Endpoint { .. })) {
            let Step::Endpoint { whose, answer } = step else { continue };
            let mut template = Template::at(now);
            template.certificates = case.certificates.as_ref().map(|known| known.ders.clone()).unwrap_or_default();
            case.endpoints[whose].set(filled(answer, &mut template).unwrap());
        }
    }
    let corpus = Corpus::start(&prepared, &pki).unwrap();
    corpus.wait_for_key_sets(&prepared);
    // The cases that wait longest come first.
    prepared.sort_by_key(|case| std::cmp::Reverse(waiting(&case.case.steps)));
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(tally));
    // Most of the time is waiting, for endpoints that do not answer.
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = prepared.get(index) else { break };
                    let file = dir.path().join(format!("{index}.json"));
                    let name = case.case.file.strip_prefix(paths::root()).unwrap_or(&case.case.file).display();
                    if let Err(error) = replay(case, &corpus, file, &tally) {
                        let mut tally = tally.lock().unwrap();
                        tally.differences.push(format!("{name}: {error:#}"));
                        tally.differing.insert(case.case.file.clone());
                    }
                }
            });
        }
    });
    corpus.check_unharmed().unwrap();
    tally.into_inner().unwrap()
}

/// Plays a case on Envoy and on explain.
fn replay(case: &Prepared, corpus: &Corpus, file: PathBuf, tally: &Mutex<Tally>) -> Result<()> {
    std::fs::write(&file, case.configuration.to_string())?;
    let environment = case.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let filters = configured::load(&file, &EnvironmentArguments { env: environment, assume_env: true })?;
    let filter = filters.first().context("no filter")?;
    // Each side has its own nonces, and its own proofs.
    let mut template = Template::at(seconds());
    template.tag = format!("{}-", file.file_stem().unwrap().display());
    let mut own = Template::at(seconds());
    for template in [&mut template, &mut own] {
        template.certificates = case.certificates.as_ref().map(|known| known.ders.clone()).unwrap_or_default();
    }
    let mut session: Option<Session<'_>> = None;
    let mut answers = Answers::default();
    let mut left_out: Option<&'static str> = None;
    for step in &case.case.steps {
        match step {
            Step::Endpoint { whose, answer } => {
                let is_asked_each_time =
                    case.configuration.pointer(&format!("/providers/{whose}/introspection")).is_some();
                if left_out.is_some() {
                    continue;
                }
                if session.is_some() {
                    template.now = seconds();
                    case.endpoints[whose].set(filled(answer, &mut template)?);
                }
                // What was there from the beginning stands as it was fetched.
                let answer = case.endpoints[whose].answer();
                give(&mut answers, whose, is_asked_each_time, answer);
                if let Some(session) = &mut session {
                    session.answer_with(|known| *known = answers.clone());
                }
            }
            // Such cases are left out as a whole.
            Step::End => {}
            Step::Later { .. } => left_out = left_out.or(Some("a request that is looked at while it waits")),
            Step::Exchange { request, decision } => {
                if request.after > LONGEST_WAIT {
                    left_out = left_out.or(Some("time that has to pass"));
                }
                // A request that waits while others come.
                let waits = (decision.verdict == Verdict::Hold).then_some("a request that is looked at while it waits");
                if let Some(reason) = left_out.or(waits).or_else(|| cannot_be_sent(request)) {
                    left_out = left_out.or(waits);
                    *tally.lock().unwrap().left_out.entry(reason).or_default() += usize::try_from(request.times)?;
                    // Later requests may send its tokens again.
                    for template in [&mut template, &mut own] {
                        template.now = seconds();
                        lines(request, 1, template)?;
                    }
                    continue;
                }
                for n in 1..=request.times {
                    std::thread::sleep(request.after);
                    let now = at_the_beginning_of_a_second();
                    (template.now, own.now) = (now.as_secs(), now.as_secs());
                    (template.n, own.n) = (n, n);
                    let address = request.address.or(case.case.facts.address).unwrap_or(Ipv4Addr::LOCALHOST.into());
                    if session.is_none() {
                        session = Some(Session::start(filter, answers.clone(), now)?);
                    }
                    let session = session.as_mut().context("a session")?;
                    let (seen, nonce) = corpus.send(case, request, address, &mut template)?;
                    template.nonce = nonce.or(template.nonce.take());
                    let said = explain(filter, session, case, request, address, &mut own, now)?;
                    let written = match &decision.verdict {
                        Verdict::Allow => (true, None, "ok".to_owned()),
                        Verdict::Deny { status, reason } => (false, Some(u64::from(*status)), reason.clone()),
                        Verdict::Answer { status } => (true, Some(u64::from(*status)), "ok".to_owned()),
                        Verdict::Hold => (false, None, "hold".to_owned()),
                    };
                    let mut tally = tally.lock().unwrap();
                    match &seen {
                        Reply::Bare(status) if !said.0 && *status >= 400 => tally.refused_by_both += 1,
                        _ if agree(&seen, &said) => {
                            tally.agreed += 1;
                            tally.as_written += usize::from(said == written);
                        }
                        _ => {
                            let name = case.case.file.strip_prefix(paths::root()).unwrap_or(&case.case.file).display();
                            let what = format!(
                                "{name}:{} ({n}): Envoy {seen:?}, explain {said:?}, written {written:?}",
                                request.line
                            );
                            tally.differences.push(what);
                            tally.differing.insert(case.case.file.clone());
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether it passes, the status of an answer, the reason.
type Said = (bool, Option<u64>, String);

fn agree(seen: &Reply, said: &Said) -> bool {
    match seen {
        Reply::Passed => said.0 && said.1.is_none(),
        Reply::Refused(status, reason) => {
            !said.0 && said.1 == Some(u64::from(*status)) && reason.as_ref().is_none_or(|reason| *reason == said.2)
        }
        Reply::Served(status) => said.0 && said.1 == Some(u64::from(*status)),
        // An answer without a body: 304, or 405 to HEAD.
        Reply::Bare(status) => said.0 && said.1 == Some(u64::from(*status)),
    }
}

fn explain(
    filter: &configured::Configured,
    session: &mut Session<'_>,
    case: &Prepared,
    request: &Request,
    address: IpAddr,
    template: &mut Template,
    now: UnixNanos,
) -> Result<Said> {
    let policy = request.route_policy.as_ref().or(case.case.facts.route_policy.as_ref());
    // What the proxy did not verify has no name.
    let facts = &case.case.facts;
    let mut certificate = if facts.certificate_is_verified { facts.certificate.clone() } else { BTreeMap::new() };
    if let (Some(text), Some(known)) = (&request.certificate, &case.certificates) {
        certificate.insert("sha256".to_owned(), hex(&known.ders[text]));
    }
    let attributes = Attributes {
        address,
        route_policy: policy.map(|policy| policy.clone().into_bytes()),
        route_name: Some(case.route_name().to_owned()),
        virtual_host_policy: case.case.facts.virtual_host_policy.clone(),
        certificate,
    };
    let lines = lines(request, 1, template)?;
    let body = template.body(&request.body)?;
    let replayed = session.judge(serialised(&lines)?, &body, &attributes, now);
    let explanation = Report::new(filter, &replayed, None).to_json();
    if let portcullis_engine::Step::Deny(answer) = &replayed.step {
        let nonce = answer.headers.iter().find(|(name, _)| *name == "dpop-nonce");
        template.nonce = nonce.map(|(_, value)| value.clone()).or(template.nonce.take());
    }
    let reason = explanation["reason"].as_str().unwrap_or_default().to_owned();
    Ok((explanation["passes"] == Value::Bool(true), explanation["status"].as_u64(), reason))
}

/// Why a request cannot come over a connection in HTTP/1.1.
fn cannot_be_sent(request: &Request) -> Option<&'static str> {
    let pseudo = |name: &str| name.starts_with(':');
    let own = request.headers.iter().filter(|(name, _)| pseudo(name));
    if request.without.iter().any(|name| pseudo(name)) || own.into_iter().any(|(name, _)| name != ":authority") {
        return Some("a head that HTTP/1.1 cannot carry");
    }
    // `host` is the authority there, and a line break begins the next header.
    let breaks = |value: &str| value.contains("\\x0d") || value.contains("\\x0a");
    if request.headers.iter().any(|(name, value)| name == "host" || breaks(value)) {
        return Some("a head that HTTP/1.1 cannot carry");
    }
    if !request.target.starts_with('/') {
        return Some("a target that Envoy rewrites or routes nowhere");
    }
    let has = |header: &str| request.headers.iter().any(|(name, _)| name == header);
    if has("upgrade") {
        return Some("an upgrade, which these listeners refuse");
    }
    if has("content-length") {
        return Some("a body of another length than announced");
    }
    let lines = |header: &str| request.headers.iter().filter(|(name, _)| name == header).count();
    (lines("authorization") > 1 || lines("origin") > 1).then_some("a header that Envoy joins")
}

fn give(answers: &mut Answers, whose: &str, introspects: bool, answer: EndpointAnswer) {
    let served =
        |status: u16, headers: Vec<(String, String)>, body: String| Served { status, headers, body: body.into() };
    let word = match answer {
        EndpointAnswer::Answer { status, headers, body } => Some(Word::OfEvery(served(status, headers, body))),
        EndpointAnswer::ByToken(known) => {
            Some(Word::Of(known.into_iter().map(|(token, said)| (token, Served::ok(said))).collect()))
        }
        EndpointAnswer::Limits(_) | EndpointAnswer::Down | EndpointAnswer::Hanging => None,
    };
    match word {
        None => {
            answers.key_sets.remove(whose);
            answers.introspections.remove(whose);
        }
        Some(word) if introspects => drop(answers.introspections.insert(whose.to_owned(), word)),
        Some(Word::OfEvery(served)) if whose == REVOCATION_LIST => answers.revocation_list = Some(served),
        Some(Word::OfEvery(served)) if whose.starts_with(ADDRESS_LIST) => {
            let name = whose.trim_start_matches(ADDRESS_LIST).trim_start();
            answers.address_lists.insert(name.to_owned(), served);
        }
        Some(Word::OfEvery(served)) => drop(answers.key_sets.insert(whose.to_owned(), served)),
        Some(Word::Of(_)) => {}
    }
}

/// The SHA-256 of a certificate, as Envoy writes it.
fn hex(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn filled(answer: &EndpointAnswer, template: &mut Template) -> Result<EndpointAnswer> {
    messages::filled(answer, template)
}

fn exchanges(steps: &[Step]) -> usize {
    let times = |step: &Step| match step {
        Step::Exchange { request, .. } => usize::try_from(request.times).unwrap(),
        _ => 0,
    };
    steps.iter().map(times).sum()
}

/// How long the requests wait that are sent.
fn waiting(steps: &[Step]) -> Duration {
    let waits = steps.iter().map(|step| match step {
        Step::Exchange { request, .. } => request.after,
        _ => Duration::ZERO,
    });
    waits.take_while(|wait| *wait <= LONGEST_WAIT).sum()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn seconds() -> u64 {
    since_1970().as_secs()
}

/// Tokens are made for whole seconds: both sides shall judge them in the same one.
fn at_the_beginning_of_a_second() -> UnixNanos {
    while since_1970().subsec_millis() > 700 {
        std::thread::sleep(Duration::from_millis(10));
    }
    UnixNanos(u64::try_from(since_1970().as_nanos()).unwrap())
}
