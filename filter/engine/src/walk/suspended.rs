//! A walk that stops in the middle, for something that is not there yet, and goes on from there.

use crate::engine::{Engine, Passage};
use crate::http::RequestHead;
use crate::policy::Policy;
use crate::ports::Ports;
use crate::principal::Principal;
use crate::routes::Selected;
use crate::time::UnixNanos;

use super::payload::Judges;
use super::{Progress, Walk};

/// What the checks so far have found out about a request.
#[derive(Debug)]
pub struct Suspended {
    rule: u16,
    path: Option<String>,
    principal: Option<Principal>,
    others: Vec<Principal>,
    let_in: bool,
    excused: bool,
    selected: Selected,
    passage: Passage,
    judged_by: Judges,
}

impl<'a> Walk<'a> {
    /// Stops here.
    pub(super) fn suspend(&mut self) -> Suspended {
        Suspended {
            rule: self.rule,
            path: self.path.take(),
            principal: self.principal.take(),
            others: std::mem::take(&mut self.others),
            let_in: self.let_in,
            excused: self.excused,
            selected: std::mem::replace(&mut self.selected, Selected::Nothing),
            passage: std::mem::take(&mut self.passage),
            judged_by: self.judged_by,
        }
    }

    /// Goes on from there.
    pub fn go_on(
        engine: &'a mut Engine,
        policy: &'a Policy,
        head: &'a RequestHead,
        progress: &'a mut Progress,
        ports: Ports<'a>,
        now: UnixNanos,
        suspended: Suspended,
    ) -> Self {
        let Suspended { rule, path, principal, others, let_in, excused, selected, passage, judged_by } = suspended;
        let walk = Self::new(engine, policy, head, progress, ports, now);
        Self { rule, path, principal, others, let_in, excused, selected, passage, judged_by, ..walk }
    }
}
