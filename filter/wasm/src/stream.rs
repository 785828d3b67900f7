//! One request in one worker.

use std::rc::Rc;
use std::time::Duration;

use portcullis_engine::answer::{Answer, LocalAnswer};
use portcullis_engine::responses::Dress;
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Body, HeaderChange, JudgedRoute, OWN_TIME, Passage, RequestId, Settlement, Step, WAIT_TIME};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::host::{self, Buffer, Map};
use crate::root::{SeenBody, Shell};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was decided yet.
    Fresh,
    /// The head is held back: a key set or an answer is on its way.
    Held,
    /// The head is held back until the body is there, of at most so many bytes.
    Body(usize),
    /// The request goes on.
    Passed,
    /// The request was answered.
    Refused,
}

/// The context of one request.
pub struct Stream {
    id: RequestId,
    shell: Option<Rc<Shell>>,
    stage: Stage,
    response: Response,
    /// How much of the body was there at the last callback.
    body_size: usize,
    /// Since when it is held.
    held_since: UnixNanos,
    /// How long the filter has worked on it, where that is measured.
    spent: Option<Duration>,
}

/// What the response of a request that passed is to be like.
#[derive(Debug, Default)]
pub struct Response {
    changes: Vec<HeaderChange>,
    dress: Option<Dress>,
    /// What the route said about the policy, where the request's head was changed.
    judged: Option<JudgedRoute>,
    /// Charges that depend on the response.
    settlement: Option<Settlement>,
    /// Whether the engine wants to know when the request has gone on as a whole, and when the response comes.
    is_timed: bool,
}

impl From<Passage> for Response {
    fn from(passage: Passage) -> Self {
        Self {
            changes: passage.response,
            dress: passage.dress,
            judged: passage.judged,
            settlement: passage.settlement,
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
    /// Its body has to come first, of at most so many bytes.
    Body(usize),
    /// It was answered.
    Refused,
}

impl Stream {
    /// A request that just began. Without a shell there is no configuration, and everything is refused.
    pub fn new(id: u32, shell: Option<Rc<Shell>>) -> Self {
        let spent = shell.as_ref().is_some_and(|shell| shell.measures_next()).then_some(Duration::ZERO);
        Self {
            id: RequestId(id.into()),
            shell,
            stage: Stage::Fresh,
            response: Response::default(),
            body_size: 0,
            held_since: UnixNanos(0),
            spent,
        }
    }

    /// Where the request stands now: the root context may have decided a held one meanwhile.
    fn stage(&mut self) -> Stage {
        if self.stage == Stage::Held
            && let Some(shell) = &self.shell
            && let Some(Decided { verdict, at, spent }) = shell.take_verdict(self.id)
        {
            shell.record(WAIT_TIME, at.since(self.held_since));
            self.spent = self.spent.map(|sum| sum.saturating_add(spent));
            match verdict {
                Verdict::Passed(response) => {
                    self.stage = Stage::Passed;
                    self.response = response;
                }
                Verdict::Body(max) => self.stage = Stage::Body(max),
                Verdict::Refused => self.stage = Stage::Refused,
            }
        }
        self.stage
    }

    /// More of the body is there: `size` bytes in all. `end` says that it is the whole.
    fn on_body(&mut self, size: usize, end: bool) -> Action {
        match self.stage() {
            Stage::Passed => Action::Continue,
            Stage::Body(max) if size > max || end => self.take_body(SeenBody { size, complete: end }, max),
            // While a verdict is pending the body must wait too, or the whole request would leave unchecked.
            Stage::Held => {
                if let Some(shell) = &self.shell {
                    shell.note_body(self.id, SeenBody { size, complete: end });
                }
                Action::Pause
            }
            Stage::Body(_) | Stage::Fresh | Stage::Refused => Action::Pause,
        }
    }
}

impl Stream {
    /// Carries out the verdict on the request.
    fn carry_out(&mut self, step: Step) -> Action {
        let (stage, action) = match step {
            Step::Continue(passage) => {
                let action = go_on(&passage);
                self.response = passage.into();
                (if action == Action::Continue { Stage::Passed } else { Stage::Refused }, action)
            }
            Step::Hold => {
                self.held_since = host::now();
                (Stage::Held, Action::Pause)
            }
            Step::NeedBody(max) => (Stage::Body(max), Action::Pause),
            Step::Deny(answer) => {
                refuse(&answer);
                (Stage::Refused, Action::Pause)
            }
            Step::Answer(answer) => {
                answer_locally(&answer);
                (Stage::Refused, Action::Pause)
            }
        };
        self.stage = stage;
        action
    }

    /// The answer instead of the response, where another route served the request than the one it was judged by.
    fn check_route(&mut self) -> Option<Answer> {
        let judged = self.response.judged.take()?;
        let shell = self.shell.as_ref()?;
        let mut engine = shell.engine.borrow_mut();
        let answer = engine.check_route(&judged, shell.ports(), host::now());
        shell.flush(&mut engine);
        answer
    }

    /// Charges what the response says, or gives it back.
    fn settle(&mut self) {
        let Some((settlement, shell)) = self.response.settlement.take().zip(self.shell.as_ref()) else { return };
        let headers = host::header_map(Map::Response).unwrap_or_default();
        let mut engine = shell.engine.borrow_mut();
        engine.settle(&settlement, headers, shell.ports().store, host::now());
        shell.flush(&mut engine);
    }

    /// The request's end has come: it has gone on as a whole, if it has at all.
    fn note_end(&mut self) {
        if self.stage() == Stage::Passed
            && self.response.is_timed
            && let Some(shell) = &self.shell
        {
            shell.on_sent(self.id);
        }
    }

    /// The response's head has come.
    fn note_answer(&mut self) {
        if std::mem::take(&mut self.response.is_timed)
            && let Some(shell) = &self.shell
        {
            shell.on_answered(self.id);
        }
    }

    fn take_body(&mut self, body: SeenBody, max: usize) -> Action {
        let Some(shell) = self.shell.clone() else { return Action::Pause };
        let step = judge_body(&shell, self.id, body, max);
        self.carry_out(step)
    }
}

/// Gives the engine a body that is complete, or longer than `max` bytes. The request is the effective context.
fn judge_body(shell: &Shell, id: RequestId, body: SeenBody, max: usize) -> Step {
    let bytes = match body.size.min(max) {
        0 => Some(Vec::new()),
        size => host::buffer(Buffer::Request, size),
    };
    // A body that cannot be read is no empty one.
    let Some(bytes) = bytes.filter(|bytes| bytes.len() >= body.size.min(max)) else {
        shell.end(id);
        return Step::Deny(Answer {
            status: 500,
            headers: Vec::new(),
            body: String::new(),
            details: INTERNAL.to_owned(),
        });
    };
    let body = if body.size > max { Body::Longer(&bytes) } else { Body::Whole(&bytes) };
    let mut engine = shell.engine.borrow_mut();
    let step = engine.on_body(id, body, shell.ports(), host::now());
    shell.flush(&mut engine);
    step
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.timed(|stream| stream.judge_head(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.timed(|stream| {
            stream.body_size = size;
            let action = stream.on_body(size, end_of_stream);
            if end_of_stream {
                stream.note_end();
            }
            action
        })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.timed(|stream| {
            // A body may end here: its last callback then did not say that it was the last.
            let action = stream.on_body(stream.body_size, true);
            stream.note_end();
            action
        })
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.timed(Self::dress_response)
    }
}

impl Stream {
    /// Does the work, and adds its time to that of the request, where it is measured.
    fn timed<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        if self.spent.is_none() {
            return work(self);
        }
        let begun = host::now();
        let done = work(self);
        let spent = host::now().since(begun);
        self.spent = self.spent.map(|sum| sum.saturating_add(spent));
        done
    }

    fn judge_head(&mut self, end_of_stream: bool) -> Action {
        let Some(shell) = &self.shell else {
            refuse_inside();
            return Action::Pause;
        };
        let step = {
            let mut engine = shell.engine.borrow_mut();
            // An unreadable map is an empty one to the engine, and refused as such.
            let headers = host::header_map(Map::Request).unwrap_or_default();
            let step = engine.on_request_head(self.id, headers, shell.ports(), host::now());
            shell.flush(&mut engine);
            let step = match step {
                // There is no body to wait for.
                Step::NeedBody(_) if end_of_stream => {
                    engine.on_body(self.id, Body::Whole(&[]), shell.ports(), host::now())
                }
                step => step,
            };
            shell.flush(&mut engine);
            if matches!(step, Step::Hold) {
                if end_of_stream {
                    shell.note_body(self.id, SeenBody { size: 0, complete: true });
                }
                host::set_effective_context(shell.root_id);
                shell.tick_in(engine.next_tick(host::now()));
                host::set_effective_context(context_id(self.id));
            }
            step
        };
        let action = self.carry_out(step);
        if end_of_stream {
            self.note_end();
        }
        action
    }

    fn dress_response(&mut self) -> Action {
        self.stage();
        self.note_answer();
        if let Some(answer) = self.check_route() {
            refuse(&answer);
            return Action::Pause;
        }
        self.settle();
        // The map is read only where what is to be done depends on it, and before it is changed.
        let dress = self.response.dress.as_ref();
        let dressed = dress.map(|dress| dress.changes(host::header_map(Map::Response).unwrap_or_default()));
        for change in self.response.changes.iter().chain(dressed.iter().flatten()) {
            apply(Map::Response, change);
        }
        Action::Continue
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Dropped with the stream's context, which the proxy deletes at every end of the stream there is.
        if let Some((shell, spent)) = self.shell.as_ref().zip(self.spent) {
            shell.record(OWN_TIME, spent);
        }
        if let Some(shell) = &self.shell
            && (shell.tracks_requests || matches!(self.stage, Stage::Held | Stage::Body(_)))
        {
            shell.end(self.id);
        }
    }
}

/// The proxy's context id of a request: the engine's ids are made of them.
pub fn context_id(id: RequestId) -> u32 {
    u32::try_from(id.0).unwrap_or(0)
}

/// Carries out the verdict on a request that was held, with what is there of its body; it is the effective context.
pub fn decide_held(shell: &Shell, id: RequestId, step: Step, body: SeenBody) -> Option<Verdict> {
    match step {
        Step::Hold => None,
        Step::NeedBody(max) if body.complete || body.size > max => {
            let step = judge_body(shell, id, body, max);
            decide_held(shell, id, step, body)
        }
        Step::NeedBody(max) => Some(Verdict::Body(max)),
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
fn go_on(passage: &Passage) -> Action {
    if passage.request.iter().all(|change| apply(Map::Request, change)) {
        return Action::Continue;
    }
    refuse_inside();
    Action::Pause
}

fn refuse(answer: &Answer) {
    host::send_local_response(answer.status, &answer.details, &answer.headers, &answer.body);
}

fn answer_locally(answer: &LocalAnswer) {
    host::send_local_response(answer.status, answer.details, &answer.headers, &answer.body);
}

const INTERNAL: &str = "portcullis_internal";

/// The answer when the gateway itself fails.
fn refuse_inside() {
    const NO_HEADERS: &[(&str, String)] = &[];
    host::send_local_response(500, INTERNAL, NO_HEADERS, "");
}

fn apply(map: Map, change: &HeaderChange) -> bool {
    match change {
        HeaderChange::Remove(name) => host::remove_header(map, name),
        HeaderChange::Set(name, value) => host::set_header(map, name, value),
        HeaderChange::Add(name, value) => host::add_header(map, name, value),
    }
}
