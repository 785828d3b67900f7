//! What the checks have found out. A walk that stops for something that is not there yet leaves it behind, and goes on with it.

use crate::engine::Passage;
use crate::http::Headers;
use crate::principal::Principal;
use crate::routes::Selected;

use super::payload::Judges;
use super::{NO_RULE, Walk};

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
    /// A provider could not be asked, and the request goes on without its word, by `on_error: allow`.
    pub(super) unvouched: bool,
    /// What the route said about the policy.
    pub(super) selected: Selected,
    /// What goes on to the service, and back.
    pub(super) passage: Passage,
    /// Which checks the body is read for, once it is there.
    pub(super) judged_by: Judges,
    /// What the body ended in.
    pub(super) trailers: Headers,
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
            unvouched: false,
            selected: Selected::Nothing,
            passage: Passage::default(),
            judged_by: Judges::default(),
            trailers: Headers::default(),
        }
    }
}

impl Found {
    /// The body that it waits for ends in these trailers.
    pub fn end_in(&mut self, trailers: Headers) {
        self.trailers = trailers;
    }
}

impl Walk<'_> {
    /// Stops here.
    pub(super) fn suspend(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// Goes on from there.
    pub fn go_on(self, found: Found) -> Self {
        Self { found, ..self }
    }
}
