//! What the engine and its shell tell each other: steps of requests, changes of headers, callouts and their ends.

use std::time::Duration;

use crate::answer::{Answer, LocalAnswer};
use crate::bans::Answerable;
use crate::callout::Callout;
use crate::key_sets::RequestId;
use crate::limiter::Settlement;
use crate::responses::Dress;
use crate::routes::JudgedRoute;
use crate::walk::Wanted;

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes on, changed so.
    Continue(Passage),
    /// Its head is held back; [`Actions::resume`] will name it.
    Hold,
    /// Its head is held back until so much of its body is there, which goes to [`Engine::on_body`](super::Engine::on_body).
    NeedBody(Wanted),
    /// The gateway itself has the answer.
    Answer(LocalAnswer),
    /// It is answered so.
    Deny(Answer),
}

/// The changes to a request that passes, and to the response that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passage {
    /// Changes to the request's head, in order.
    pub request: Vec<HeaderChange>,
    /// Changes to the response's head, in order.
    pub response: Vec<HeaderChange>,
    /// What the route said about the policy, for [`Engine::check_route`](super::Engine::check_route) once the response is there: the changes to the
    /// request's head may have led to another route.
    pub judged: Option<JudgedRoute>,
    /// Charges of limits that the response may change: for [`Engine::settle`](super::Engine::settle) once it is there.
    pub settlement: Option<Settlement>,
    /// Bans to which its sender answers for the response: for [`Engine::count_response`](super::Engine::count_response) once it is there.
    pub answerable: Option<Box<Answerable>>,
    /// Whether [`Engine::on_sent`](super::Engine::on_sent) and [`Engine::on_answered`](super::Engine::on_answered) want to know of this request.
    pub is_timed: bool,
    /// Further changes, which depend on what the response's head is: [`Dress::changes`].
    pub dress: Option<Dress>,
}

/// A change to a header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Every value of the header is removed.
    Remove(String),
    /// The header has this value and no other.
    Set(String, Vec<u8>),
    /// The header has this value too, on a line of its own.
    Add(String, Vec<u8>),
}

/// What the shell is to do beside the request at hand.
#[derive(Debug, Default)]
pub struct Actions {
    /// Requests to send to providers.
    pub callouts: Vec<Callout>,
    /// Held requests to judge again with [`Engine::resume`](super::Engine::resume).
    pub resume: Vec<RequestId>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

/// How a [`Callout`] ended, as the shell saw it.
#[derive(Debug)]
pub enum FetchResult {
    /// An answer came: its header map in the ABI's serialised form, its trailers, and its body up to one byte more than allowed.
    Answer {
        /// The header map.
        headers: Vec<u8>,
        /// The trailers in the same form; empty where there are none.
        trailers: Vec<u8>,
        /// The body.
        body: Vec<u8>,
    },
    /// Nothing came, or the request could not be sent.
    NoAnswer,
}
