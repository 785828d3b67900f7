//! One request in one worker.

use std::rc::Rc;
use std::time::Duration;

use portcullis_engine::answer::Answer;
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Body, OWN_TIME, RequestId, Step, WAIT_TIME, Wanted, beside_the_service};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::host::{self, Map};
use crate::root::{SeenBody, Shell};
use crate::verdict::{
    Decided, Response, Verdict, answer_locally, apply, go_on, is_there, judge_body, refuse, refuse_inside,
};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was decided yet.
    Fresh,
    /// The head is held back: a key set or an answer is on its way.
    Held,
    /// The head is held back until so much of the body is there.
    Body(Wanted),
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
                Verdict::Body(wanted) => self.stage = Stage::Body(wanted),
                Verdict::Refused => self.stage = Stage::Refused,
            }
        }
        self.stage
    }

    /// More of the body is there, or trailers behind it.
    fn on_body(&mut self, body: SeenBody) -> Action {
        match self.stage() {
            Stage::Passed => Action::Continue,
            Stage::Body(wanted) if body.complete || is_there(wanted, body.size) => self.take_body(body, wanted),
            // While a verdict is pending the body must wait too, or the whole request would leave unchecked.
            Stage::Held => {
                if let Some(shell) = &self.shell {
                    shell.note_body(self.id, body);
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
            Step::NeedBody(wanted) => (Stage::Body(wanted), Action::Pause),
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

    /// Has bans count the response, where it is one that they are about.
    fn count_response(&mut self) {
        let Some((answerable, shell)) = self.response.answerable.take().zip(self.shell.as_ref()) else { return };
        let status = host::header(Map::Response, ":status");
        let status = status.and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok());
        let Some(status) = status else { return };
        let mut engine = shell.engine.borrow_mut();
        engine.count_response(&answerable, status, shell.ports(), host::now());
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

    fn take_body(&mut self, body: SeenBody, wanted: Wanted) -> Action {
        let Some(shell) = self.shell.clone() else { return Action::Pause };
        let step = judge_body(&shell, self.id, body, wanted);
        self.carry_out(step)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.timed(|stream| stream.judge_head(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.timed(|stream| {
            stream.body_size = size;
            let action = stream.on_body(SeenBody { size, complete: end_of_stream, has_trailers: false });
            if end_of_stream {
                stream.note_end();
            }
            action
        })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.timed(|stream| {
            // A body may end here: its last callback then did not say that it was the last.
            let action = stream.on_body(SeenBody { size: stream.body_size, complete: true, has_trailers: true });
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
                    shell.note_body(self.id, SeenBody { size: 0, complete: true, has_trailers: false });
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
        self.count_response();
        beside_the_service(&mut self.response.changes, |name| host::header(Map::Response, name));
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
