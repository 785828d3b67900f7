//! One request in one worker.

use std::rc::Rc;

use portcullis_engine::answer::Answer;
use portcullis_engine::{HeaderChange, Passage, RequestId, Step};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::host::{self, Map};
use crate::root::Shell;

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was decided yet.
    Fresh,
    /// The head is held back: a key set is on its way.
    Held,
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
    response: Vec<HeaderChange>,
}

/// How a held request was decided by the root context, for its stream to find.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on; its response is changed so.
    Passed(Vec<HeaderChange>),
    /// It was answered.
    Refused,
}

impl Stream {
    /// A request that just began. Without a shell there is no configuration, and everything is refused.
    pub fn new(id: u32, shell: Option<Rc<Shell>>) -> Self {
        Self { id: RequestId(id.into()), shell, stage: Stage::Fresh, response: Vec::new() }
    }

    /// Where the request stands now: the root context may have decided a held one meanwhile.
    fn stage(&mut self) -> Stage {
        if self.stage == Stage::Held
            && let Some(shell) = &self.shell
            && let Some(verdict) = shell.take_verdict(self.id)
        {
            match verdict {
                Verdict::Passed(response) => {
                    self.stage = Stage::Passed;
                    self.response = response;
                }
                Verdict::Refused => self.stage = Stage::Refused,
            }
        }
        self.stage
    }

    fn body_action(&mut self) -> Action {
        match self.stage() {
            Stage::Passed => Action::Continue,
            // While a verdict is pending the body must wait too, or the whole request would leave unchecked.
            Stage::Fresh | Stage::Held | Stage::Refused => Action::Pause,
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
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
            if matches!(step, Step::Hold) {
                host::set_effective_context(shell.root_id);
                shell.tick_in(engine.next_tick(host::now()));
                host::set_effective_context(context_id(self.id));
            }
            step
        };
        match step {
            Step::Continue(passage) => {
                self.stage = Stage::Passed;
                let action = go_on(&passage);
                self.response = passage.response;
                action
            }
            Step::Hold => {
                self.stage = Stage::Held;
                Action::Pause
            }
            Step::Deny(answer) => {
                self.stage = Stage::Refused;
                refuse(&answer);
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.body_action()
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.body_action()
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.stage();
        for change in &self.response {
            apply(Map::Response, change);
        }
        Action::Continue
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(shell) = &self.shell
            && self.stage == Stage::Held
        {
            shell.forget(self.id);
        }
    }
}

/// The proxy's context id of a request: the engine's ids are made of them.
pub fn context_id(id: RequestId) -> u32 {
    u32::try_from(id.0).unwrap_or(0)
}

/// Carries out the verdict on a request that was held; it is the effective context.
pub fn decide_held(step: Step) -> Option<Verdict> {
    match step {
        Step::Hold => None,
        Step::Deny(answer) => {
            refuse(&answer);
            Some(Verdict::Refused)
        }
        Step::Continue(passage) => match go_on(&passage) {
            Action::Continue => {
                host::continue_request();
                Some(Verdict::Passed(passage.response))
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

/// The answer when the gateway itself fails.
fn refuse_inside() {
    host::send_local_response(500, "portcullis_internal", &[], "");
}

fn apply(map: Map, change: &HeaderChange) -> bool {
    match change {
        HeaderChange::Remove(name) => host::remove_header(map, name),
        HeaderChange::Set(name, value) => host::set_header(map, name, value),
    }
}
