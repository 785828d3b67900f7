//! What the checks have found out. A walk that stops for something that is not there yet leaves it behind, and goes on with it.

use crate::engine::{Engine, Passage};
use crate::http::RequestHead;
use crate::policy::Policy;
use crate::ports::Ports;
use crate::principal::Principal;
use crate::routes::Selected;
use crate::time::UnixNanos;

use super::payload::Judges;
use super::{NO_RULE, Progress, Walk};

/// What the checks so far have found out about a request.
#[derive(Debug)]
pub struct Found {
    /// The rule that has taken it.
    pub(super) rule: u16,
    /// The path in its one form, once it is known.
    pub(super) path: Option<String>,
    /// Its caller.
    pub(super) principal: Option<Principal>,
    /// Whom the other credentials name, where the rule asks for several.
    pub(super) others: Vec<Principal>,
    /// The caller was let in without an identity, by monitor mode or `on_error: allow`; that is recorded.
    pub(super) let_in: bool,
    /// ... by `on_error: allow`, which excuses from scopes and roles alone.
    pub(super) excused: bool,
    /// What the route said about the policy.
    pub(super) selected: Selected,
    /// What goes on to the service, and back.
    pub(super) passage: Passage,
    /// Which checks the body is read for, once it is there.
    pub(super) judged_by: Judges,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            rule: NO_RULE,
            path: None,
            principal: None,
            others: Vec::new(),
            let_in: false,
            excused: false,
            selected: Selected::Nothing,
            passage: Passage::default(),
            judged_by: Judges::default(),
        }
    }
}

impl<'a> Walk<'a> {
    /// Stops here.
    pub(super) fn suspend(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// Goes on from there.
    pub fn go_on(
        engine: &'a mut Engine,
        policy: &'a Policy,
        head: &'a RequestHead,
        progress: &'a mut Progress,
        ports: Ports<'a>,
        now: UnixNanos,
        found: Found,
    ) -> Self {
        Self { found, ..Self::new(engine, policy, head, progress, ports, now) }
    }
}
