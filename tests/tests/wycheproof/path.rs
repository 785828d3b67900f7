//! The two ways in which a signature is verified.

use std::collections::HashMap;
use std::rc::Rc;

use portcullis_engine::jwt::{Algorithm, KeySet, signature};
use portcullis_engine::ports::SoftwareOnly;
use portcullis_tests::client::{Call, Client};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::paths;
use serde_json::{Value, json};

use super::encode;

/// Whether a signature verifies.
pub struct Question {
    pub algorithm: Algorithm,
    /// The key as a JWK.
    pub jwk: Rc<Value>,
    pub signature: Vec<u8>,
    pub message: Vec<u8>,
}

/// What the verification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Whether it verifies.
    Verdict(bool),
    /// The key is not one that a key set uses.
    KeyRefused,
}

/// A way to verify signatures.
pub trait Path {
    /// Answers every question, in order.
    fn ask(&mut self, questions: &[&Question]) -> Vec<Answer>;
}

/// The engine's software, in this process.
pub struct Software;

impl Path for Software {
    fn ask(&mut self, questions: &[&Question]) -> Vec<Answer> {
        let mut key_sets: HashMap<*const Value, KeySet> = HashMap::new();
        let answer = |question: &&Question| {
            let keys = key_sets.entry(Rc::as_ptr(&question.jwk)).or_insert_with(|| {
                KeySet::from_jwks(json!({"keys": [*question.jwk]}).to_string().as_bytes()).unwrap().0
            });
            keys.keys().first().map_or(Answer::KeyRefused, |key| {
                let Question { algorithm, signature, message, .. } = question;
                Answer::Verdict(signature::verify(*algorithm, key, signature, message, &SoftwareOnly))
            })
        };
        questions.iter().map(answer).collect()
    }
}

/// A real Envoy with a module that verifies as the filter does (`filter/wasm/examples/signatures.rs`).
pub struct Envoy {
    gateway: Gateway,
    /// How many verdicts were those of Envoy's own cryptography.
    pub decided_by_host: usize,
}

impl Envoy {
    pub fn start() -> Self {
        let module = paths::target().join("signatures.wasm");
        assert!(module.is_file(), "no module at {}: run scripts/build --test-module", module.display());
        let gateway = Gateway::builder().filter(json!({})).module(module).start().unwrap();
        Self { gateway, decided_by_host: 0 }
    }
}

impl Path for Envoy {
    fn ask(&mut self, questions: &[&Question]) -> Vec<Answer> {
        // Of 3 KB at most each: below the 1 MiB that Envoy holds of a body.
        const BATCH: usize = 250;
        let mut client = Client::connect(self.gateway.port()).unwrap();
        let mut answers = Vec::new();
        for batch in questions.chunks(BATCH) {
            let lines: Vec<Value> = batch
                .iter()
                .map(|q| json!([q.algorithm.name(), *q.jwk, encode(&q.signature), encode(&q.message)]))
                .collect();
            let answer = client.call(&Call::new("POST", "/").body(json!(lines).to_string())).unwrap();
            assert_eq!(answer.status, 200, "{}", self.gateway.log());
            for answer in answer.body.chunks(2) {
                answers.push(match answer[0] {
                    b'+' => Answer::Verdict(true),
                    b'-' => Answer::Verdict(false),
                    _ => Answer::KeyRefused,
                });
                self.decided_by_host += usize::from(answer[1] - b'0');
            }
        }
        answers
    }
}
