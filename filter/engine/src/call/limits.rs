//! Calls about limits: how much a client has used.

use crate::answer::{Denial, LocalAnswer, Reason};
use crate::http::Method;
use crate::limiter::{Limiter, Question, QuestionError};
use crate::policy::Policy;
use crate::ports::SharedStore;
use crate::time::UnixNanos;

use super::{Call, json_answer};

/// What questions are about.
#[derive(Debug)]
pub struct Limits<'a> {
    /// The counters.
    pub limiter: &'a Limiter,
    /// What the limits are.
    pub policy: &'a Policy,
}

impl Call {
    /// Answers a question about a counter. A `body` of `None` is too long.
    ///
    /// # Errors
    /// A [`Denial`] for a method or a body that means nothing, and where the counters cannot be read.
    pub fn answer_about_limits(
        &self,
        limits: &Limits<'_>,
        body: Option<&[u8]>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<LocalAnswer, Denial> {
        let body = body.ok_or_else(|| Denial::new(Reason::BodyTooLarge, ""))?;
        if self.method != Method::Post {
            let mut denial = Denial::new(Reason::MethodNotAllowed, "");
            denial.headers.push(("allow", "POST".to_owned()));
            return Err(denial);
        }
        let policy = limits.policy;
        let only_provider = match policy.providers.as_slice() {
            [only] => Some(&*only.name),
            _ => None,
        };
        let answered = Question::from_json(body)
            .and_then(|question| question.answer(limits.limiter, &policy.limits, only_provider, store, now));
        match answered {
            Ok(answer) => Ok(json_answer(200, &answer.to_string())),
            Err(error @ QuestionError::Unavailable) => {
                Err(Denial::new(Reason::CallUnavailable, error.to_string()).retry_after(1))
            }
            Err(error) => Err(Denial::new(Reason::BodyMalformed, error.to_string())),
        }
    }
}
