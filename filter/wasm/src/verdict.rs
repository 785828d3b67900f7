//! What is done with a request: its verdict, carried out on the proxy.

use std::time::Duration;

use portcullis_engine::answer::{Answer, LocalAnswer};
use portcullis_engine::responses::Dress;
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Answerable, HeaderChange, JudgedRoute, Passage, RequestId, Settlement, Step, Wanted};
use proxy_wasm::types::Action;

use crate::host::{self, Buffer, Map};
use crate::root::{SeenBody, Shell};

/// What the response of a request that passed is to be like.
#[derive(Debug, Default)]
pub struct Response {
    /// Changes to its head, in order.
    pub changes: Vec<HeaderChange>,
    /// Further ones, which depend on what it is.
    pub dress: Option<Dress>,
    /// What the route said about the policy, where the request's head was changed.
    pub judged: Option<JudgedRoute>,
    /// Charges that depend on the response.
    pub settlement: Option<Settlement>,
    /// Bans that may count it.
    pub answerable: Option<Box<Answerable>>,
    /// Whether the engine wants to know when the request has gone on as a whole, and when the response comes.
    pub is_timed: bool,
}

impl From<Passage> for Response {
    fn from(passage: Passage) -> Self {
        Self {
            changes: passage.response,
            dress: passage.dress,
            judged: passage.judged,
            settlement: passage.settlement,
            answerable: passage.answerable,
            is_timed: passage.is_timed,
        }
    }
}

/// What the root context has decided about a held request, for its stream to find.
#[derive(Debug)]
pub struct Decided {
    /// The verdict.
    pub verdict: Verdict,
    /// When what it was held for was there.
    pub at: UnixNanos,
    /// How long the verdict has taken.
    pub spent: Duration,
}

/// How a held request was decided.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on, with such a response.
    Passed(Response),
    /// Its body has to come first, so much of it.
    Body(Wanted),
    /// It was answered.
    Refused,
}

/// Whether enough of a body is there before it has ended.
pub fn is_there(wanted: Wanted, size: usize) -> bool {
    const PREFIX: usize = 5;
    let start = match wanted.is_grpc && size >= PREFIX {
        true => host::buffer(Buffer::Request, PREFIX).unwrap_or_default(),
        false => Vec::new(),
    };
    wanted.is_there(size, &start)
}

/// Gives the engine as much of a body as it wants, or all that there is. The request is the effective context.
pub fn judge_body(shell: &Shell, id: RequestId, body: SeenBody, wanted: Wanted) -> Step {
    let size = body.size.min(wanted.max_bytes);
    let bytes = match size {
        0 => Some(Vec::new()),
        size => host::buffer(Buffer::Request, size),
    };
    let mut engine = shell.engine.borrow_mut();
    let trailers_are_read = !body.has_trailers
        || host::header_map(Map::RequestTrailers).is_some_and(|trailers| engine.on_trailers(id, trailers).is_ok());
    // A body that cannot be read is no empty one, nor are trailers.
    let Some(bytes) = bytes.filter(|bytes| bytes.len() >= size && trailers_are_read) else {
        drop(engine);
        shell.end(id);
        return Step::Deny(Answer {
            status: 500,
            headers: Vec::new(),
            body: String::new(),
            details: INTERNAL.to_owned(),
        });
    };
    let body = wanted.body(&bytes, body.size);
    let step = engine.on_body(id, body, shell.ports(), host::now());
    shell.flush(&mut engine);
    step
}

/// Carries out the verdict on a request that was held, with what is there of its body; it is the effective context.
pub fn decide_held(shell: &Shell, id: RequestId, step: Step, body: SeenBody) -> Option<Verdict> {
    match step {
        Step::Hold => None,
        Step::NeedBody(wanted) if body.complete || is_there(wanted, body.size) => {
            let step = judge_body(shell, id, body, wanted);
            decide_held(shell, id, step, body)
        }
        Step::NeedBody(wanted) => Some(Verdict::Body(wanted)),
        Step::Deny(answer) => {
            refuse(&answer);
            Some(Verdict::Refused)
        }
        Step::Answer(answer) => {
            answer_locally(&answer);
            Some(Verdict::Refused)
        }
        Step::Continue(passage) => match go_on(&passage) {
            Action::Continue => {
                if passage.is_timed && body.complete {
                    shell.on_sent(id);
                }
                host::continue_request();
                Some(Verdict::Passed(passage.into()))
            }
            _ => Some(Verdict::Refused),
        },
    }
}

/// Makes the changes to the request's head. If one fails, the request is refused: it could carry an identity that the
/// client made up.
pub fn go_on(passage: &Passage) -> Action {
    if passage.request.iter().all(|change| apply(Map::Request, change)) {
        return Action::Continue;
    }
    refuse_inside();
    Action::Pause
}

/// Answers with a refusal.
pub fn refuse(answer: &Answer) {
    host::send_local_response(answer.status, &answer.details, &answer.headers, &answer.body);
}

/// Answers with what the gateway itself has.
pub fn answer_locally(answer: &LocalAnswer) {
    host::send_local_response(answer.status, answer.details, &answer.headers, &answer.body);
}

const INTERNAL: &str = "portcullis_internal";

/// The answer when the gateway itself fails.
pub fn refuse_inside() {
    const NO_HEADERS: &[(&str, String)] = &[];
    host::send_local_response(500, INTERNAL, NO_HEADERS, "");
}

/// Makes a change; false where the proxy does not.
pub fn apply(map: Map, change: &HeaderChange) -> bool {
    match change {
        HeaderChange::Remove(name) => host::remove_header(map, name),
        HeaderChange::Set(name, value) => host::set_header(map, name, value),
        HeaderChange::Add(name, value) => host::add_header(map, name, value),
    }
}
