//! The corpus of `tests/cases` against the engine.
#![allow(clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use portcullis_engine::answer::Reason;
use portcullis_tests::cases::{Case, Step, Verdict, check::Failure, load_all, run};
use portcullis_tests::paths;

/// Reasons that no case can show, and why.
const WITHOUT_A_CASE: &[(Reason, &str)] = &[
    (Reason::Ok, "it is no refusal"),
    (Reason::Internal, "only a defect of ours leads to it"),
    (Reason::DpopReplayStoreFull, "it takes 65,536 proofs within two minutes; the store has its own tests"),
];

fn corpus() -> Vec<Case> {
    load_all(&paths::root().join("tests/cases")).unwrap_or_else(|error| panic!("{error:#}"))
}

fn all_hold(run: fn(&Case) -> anyhow::Result<Vec<Failure>>) {
    let cases = corpus();
    let mut failures = Vec::new();
    for case in &cases {
        match run(case) {
            Ok(found) => failures.extend(found.iter().map(ToString::to_string)),
            Err(error) => failures.push(format!("{}: {error:#}", case.file.display())),
        }
    }
    assert!(failures.is_empty(), "{} of {} cases differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn every_case_is_decided_as_it_is_written() {
    all_hold(run::run);
}

#[test]
fn in_monitor_mode_every_refusal_is_recorded_and_the_request_goes_on() {
    all_hold(run::run_monitored);
}

#[test]
fn every_reason_for_a_refusal_has_a_case() {
    let mut shown = BTreeSet::new();
    for case in corpus() {
        for step in case.steps {
            let (Step::Exchange { decision, .. } | Step::Later { decision, .. }) = step else { continue };
            shown.extend(decision.monitored);
            if let Verdict::Deny { reason, .. } = decision.verdict {
                shown.insert(reason);
            }
        }
    }
    let exempt = |reason: &Reason| WITHOUT_A_CASE.iter().any(|(exempt, _)| exempt == reason);
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !exempt(reason) && !shown.contains(reason.code()))
        .map(|r| r.code())
        .collect();
    assert!(missing.is_empty(), "no case in tests/cases shows {missing:?}");
    let unknown: Vec<&String> = shown.iter().filter(|code| Reason::from_code(code).is_none()).collect();
    assert!(unknown.is_empty(), "cases show reasons that do not exist: {unknown:?}");
}
