//! Bans on the walk: whether the sender is banned, and what its offences lead to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answer::{Denial, Reason};
use crate::bans::{Answerable, Case, Cause, Claimed, Offence, Refusal, Sender, Stage, Subject};
use crate::config::schema::Mode;
use crate::counters::{CounterId, Verdict};
use crate::credentials::{Credential, TokenSource};
use crate::engine::plain_text;
use crate::jwt::{DEFAULT_MAX_TOKEN_BYTES, UntrustedToken};

use super::{Stop, Walk};

impl Walk<'_> {
    /// Whether the sender is banned, as far as it is known at this stage. A request that was held comes by here again.
    pub(super) fn check_bans(&mut self, stage: Stage) -> Result<(), Stop> {
        let policy = self.policy;
        for index in policy.bans_of(self.found.rule) {
            let Some(ban) = policy.bans.get(*index).filter(|ban| ban.key.stage() == stage) else { continue };
            let (bans, store, now) = (&self.engine.bans, self.ports.store, self.now);
            let found = self.as_subject(|subject| bans.check(*index, ban, subject, store, now));
            let Err(refusal) = found else { continue };
            let name = &ban.name;
            let (denial, (refused, watched)) = match refusal {
                Refusal::Banned { retry_after, strikes } => {
                    let detail = format!("ban {name:?}, strikes {strikes}");
                    (Denial::new(Reason::Banned, detail).retry_after(retry_after), ("refused", "monitored"))
                }
                Refusal::Overflow { retry_after } => {
                    let detail = format!("ban {name:?}: its table has no place");
                    let denial = Denial::new(Reason::BanOverflow, detail).retry_after(retry_after);
                    (denial, ("overflow_refused", "overflow_monitored"))
                }
                Refusal::Unavailable(trouble) => {
                    let detail = format!("ban {name:?}: {trouble}");
                    (Denial::new(Reason::BansUnavailable, detail).retry_after(1), ("error", "error"))
                }
            };
            let mode = if ban.is_monitored() { Mode::Monitor } else { self.rule_mode() };
            let is_watched = mode == Mode::Monitor;
            // One that waited was told of already.
            if is_watched {
                if self.progress.noted_bans.contains(index) {
                    continue;
                }
                self.progress.noted_bans.push(*index);
            }
            let event = if is_watched { watched } else { refused };
            self.engine.counters.add(CounterId::Ban(number(*index), event));
            self.tolerate(mode, denial)?;
        }
        Ok(())
    }

    /// As [`Self::check_bans`] for what a credential claims, before anybody has verified it.
    pub(super) fn check_claims(&mut self, credential: &Credential<'_>) -> Result<(), Stop> {
        let policy = self.policy;
        let bans = policy.bans_of(self.found.rule).iter().filter_map(|index| policy.bans.get(*index));
        if !bans.into_iter().any(|ban| ban.key.stage() == Stage::Claim) {
            return Ok(());
        }
        if !claim(&mut self.progress.claimed, credential) {
            return Ok(());
        }
        self.check_bans(Stage::Claim)
    }

    /// As [`Self::check_bans`], once the body is there for which the request has waited: it may have been long in coming.
    pub(super) fn check_bans_again(&mut self) -> Result<(), Stop> {
        self.check_bans(Stage::Address)?;
        if self.progress.claimed != Claimed::default() {
            self.check_bans(Stage::Claim)?;
        }
        if self.found.principal.is_some() {
            self.check_bans(Stage::Identity)?;
        }
        Ok(())
    }

    /// Counts a refusal, where it is an offence: the one place where offences come from.
    ///
    /// What was only watched counts for bans that are only watched, and once for each request, as if it had ended there.
    pub(super) fn count_offence(&mut self, denial: &Denial, verdict: Verdict) {
        let Some(offence) = Offence::of(denial.reason) else { return };
        let policy = self.policy;
        let bans = policy.bans_of(self.found.rule);
        if bans.is_empty() {
            return;
        }
        let is_first = !std::mem::replace(&mut self.progress.offended, true);
        for index in bans {
            let Some(ban) = policy.bans.get(*index).filter(|ban| ban.offences.contains(&offence)) else { continue };
            let counts = if ban.is_monitored() { is_first } else { verdict == Verdict::Denied };
            if !counts {
                continue;
            }
            let (bans, store, now) = (&self.engine.bans, self.ports.store, self.now);
            let rule = policy.rule_label(self.found.rule).unwrap_or("none");
            let request_id = plain_text(self.head.headers(), "x-request-id");
            let outcome = self.as_subject(|subject| {
                let case = Case { subject, cause: Cause::Refusal(offence), rule, request_id };
                bans.offend(*index, ban, &case, store, now)
            });
            self.engine.take_up_offence(*index, outcome);
        }
    }

    /// Who answers for the service's response, where a ban counts it.
    ///
    /// As with refusals, a rule that is only watched counts for bans that are only watched; and for those a request ends where it
    /// would have been refused. A check that its rule watches by name ends nothing, now or later: the response counts. Whoever was let in without an identity, because nobody could
    /// vouch for it, is not to blame for what the service says to that.
    pub(super) fn answerable(&self) -> Option<Box<Answerable>> {
        let policy = self.policy;
        let counts = |index: &usize| {
            let ban = policy.bans.get(*index).filter(|ban| !ban.responses.is_empty())?;
            let counts = match ban.is_monitored() {
                true => !self.progress.would_end,
                false => self.rule_mode() == Mode::Enforce && !self.found.unvouched,
            };
            counts.then_some(*index)
        };
        let bans: Vec<usize> = policy.bans_of(self.found.rule).iter().filter_map(counts).collect();
        if bans.is_empty() {
            return None;
        }
        let needs_address = |index: &usize| policy.bans.get(*index).is_some_and(|ban| ban.key.reads_address());
        let address = bans.iter().any(needs_address).then(|| self.address()).flatten();
        let sender = self.as_subject(|subject| Sender {
            address,
            principal: subject.principal.map(|(provider, name)| (provider.to_owned(), name.to_owned())),
            claimed: subject.claimed.clone(),
        });
        let request_id = plain_text(self.head.headers(), "x-request-id").map(str::to_owned);
        Some(Box::new(Answerable { rule: self.found.rule, bans, sender, request_id }))
    }

    /// What is known of the sender so far.
    fn as_subject<T>(&self, then: impl FnOnce(&Subject<'_>) -> T) -> T {
        let principal = self.found.principal.as_ref().and_then(|principal| {
            let provider = self.policy.provider_label(principal.provider)?;
            Some((provider, principal.subject()?))
        });
        then(&Subject { address: &|| self.address(), principal, claimed: &self.progress.claimed })
    }

    fn rule_mode(&self) -> Mode {
        let rule = self.policy.rules.get(usize::from(self.found.rule));
        self.mode(rule.map_or(self.policy.mode, |rule| rule.mode))
    }
}

fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// Keeps what a credential claims, right or wrong; false where that is nothing.
fn claim(claimed: &mut Claimed, credential: &Credential<'_>) -> bool {
    if let Some(name) = claimed_name(credential) {
        claimed.username = Some(name);
        return true;
    }
    let Ok(token) = UntrustedToken::parse(&credential.token, DEFAULT_MAX_TOKEN_BYTES) else { return false };
    let text = |text: &str| (text.len() <= MAX_CLAIMED_BYTES).then(|| text.as_bytes().to_vec());
    let (client, subject) = (token.unverified_client().and_then(text), token.unverified_subject().and_then(text));
    let found = client.is_some() || subject.is_some();
    claimed.client = client.or(claimed.client.take());
    claimed.subject = subject.or(claimed.subject.take());
    found
}

/// The user name of `Basic` credentials (RFC 7617).
fn claimed_name(credential: &Credential<'_>) -> Option<Vec<u8>> {
    let TokenSource::Header { scheme: Some(scheme), .. } = credential.source else { return None };
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let mut name = STANDARD.decode(&credential.token).ok()?;
    name.truncate(name.iter().position(|b| *b == b':')?);
    Some(name)
}

/// No client and no subject that there is has a longer name; operators cannot write one.
const MAX_CLAIMED_BYTES: usize = 1024;
