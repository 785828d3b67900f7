//! The walk's middle: which credential was sent, and who is behind it.

use std::rc::Rc;
use std::time::Duration;

use crate::answer::{Denial, Reason};
use crate::config::schema::{Mode, OnError};
use crate::credentials::{self, Credential, TokenSource};
use crate::http::RequestPath;
use crate::internal_token::CredentialKey;
use crate::introspection;
use crate::jwt::error::Quoted;
use crate::jwt::{KeySet, TokenError, UntrustedToken, VerifiedToken};
use crate::key_sets::{Lookup, UnknownKid, WaitFor};
use crate::policy::{Binding, JwtProvider, KeySource, Provider, ProviderKind, Rule, Who};
use crate::ports::CertificateField;
use crate::principal::{Identity, Principal};
use crate::proof::{
    Confirmation, DEFAULT_MAX_PROOF_BYTES, DpopProof, Expectation, Presented, ReplayError, Scheme, TargetUri,
    certificate_sha256_from_hex,
};

use super::{Stop, Walk};

/// Why a credential does not identify its bearer now.
enum Refusal {
    /// It is refused.
    Denied(Denial),
    /// The provider must be asked or waited for, or another check has refused the request already.
    Wait(Stop),
    /// The provider cannot be asked, and the configuration says that the request then goes on.
    LetIn(Denial),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// A verified token, the provider that verified it, and what ties it to its sender.
type Verified<'a> = (u16, &'a Binding, Rc<VerifiedToken>);

impl<'a> Walk<'a> {
    /// Finds out who calls, where the rule wants to know.
    pub(super) fn identify(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        let required = match &rule.who {
            Who::Everybody => return Ok(()),
            Who::Nobody => return self.tolerate(rule.mode, Denial::new(Reason::RuleDenied, "")),
            Who::VouchedFor(required) => required,
        };
        let found = if required.all {
            self.vouched_by_all(&required.providers, path)
        } else {
            self.vouched_by_any(&required.providers, path)
        };
        let denial = match found {
            Ok(Some(principal)) => {
                self.found.principal = Some(principal);
                return Ok(());
            }
            Ok(None) if required.optional => return Ok(()),
            Ok(None) => Denial::new(Reason::CredentialsMissing, ""),
            Err(Refusal::Denied(denial)) => denial,
            Err(Refusal::Wait(stop)) => {
                self.progress.told = std::mem::take(&mut self.found.passage.response);
                return Err(stop);
            }
            Err(Refusal::LetIn(denial)) => {
                self.found.let_in = true;
                self.found.excused = true;
                self.found.unvouched = true;
                return self.tolerate(Mode::Monitor, denial);
            }
        };
        self.found.let_in = true;
        self.tolerate(rule.mode, self.challenged(rule, denial))
    }

    /// Every provider must vouch for the caller; the first one's word is the identity. `None`: nothing was sent at all.
    fn vouched_by_all(&mut self, providers: &[usize], path: &RequestPath<'_>) -> Result<Option<Principal>, Refusal> {
        let mut found = Vec::with_capacity(providers.len());
        let mut excused = Vec::new();
        for index in providers {
            match self.vouched_by_any(std::slice::from_ref(index), path) {
                Ok(principal) => found.push(principal),
                // `on_error: allow` excuses this provider's word, not that of the others.
                Err(Refusal::LetIn(denial)) => excused.push(denial),
                Err(refusal) => return Err(refusal),
            }
        }
        let missing = found.iter().filter(|principal| principal.is_none()).count();
        if missing > 0 && (missing < found.len() || !excused.is_empty()) {
            return Err(Denial::new(Reason::CredentialsMissing, "one of several credentials").into());
        }
        if found.is_empty()
            && let Some(denial) = excused.pop()
        {
            return Err(Refusal::LetIn(denial));
        }
        self.found.unvouched |= !excused.is_empty();
        for denial in excused {
            self.tolerate(Mode::Monitor, denial).map_err(Refusal::Wait)?;
        }
        let mut found = found.into_iter().flatten();
        let first = found.next();
        self.found.others = found.collect();
        Ok(first)
    }

    /// One provider must vouch for the caller, by the one credential that was sent. `None`: none was sent.
    fn vouched_by_any(&mut self, providers: &[usize], path: &RequestPath<'_>) -> Result<Option<Principal>, Refusal> {
        let policy = self.policy;
        let candidates = || {
            let named = providers.iter().filter_map(|index| Some((*index, policy.providers.get(*index)?)));
            named.filter_map(|(index, provider)| Some((u16::try_from(index).ok()?, provider)))
        };
        let sources = candidates().flat_map(|(_, provider)| provider.sources.iter());
        let Some(credential) = credentials::find(self.head, path, sources)? else {
            return self.vouched_by_certificate(candidates());
        };
        self.check_claims(&credential).map_err(Refusal::Wait)?;
        let verified = self.verify(candidates(), &credential);
        let strips = match &verified {
            Ok(principal) => policy.providers.get(usize::from(principal.provider)).is_some_and(|found| found.strip),
            // It may go on all the same, by monitor mode or `on_error: allow`, but not with a credential that the
            // service is never to see.
            Err(_) => candidates().any(|(_, provider)| provider.strip && provider.sources.contains(credential.source)),
        };
        if strips {
            self.found.passage.request.extend(credential.removal(self.head));
        }
        verified.map(Some)
    }

    fn vouched_by_certificate(
        &mut self,
        mut candidates: impl Iterator<Item = (u16, &'a Provider)>,
    ) -> Result<Option<Principal>, Refusal> {
        let found = candidates.find_map(|(index, provider)| match &provider.kind {
            ProviderKind::Certificate(rule) => Some((index, rule)),
            _ => None,
        });
        let Some((provider, rule)) = found else { return Ok(None) };
        let Some(certificate) = rule.identify(self.ports.attributes)? else { return Ok(None) };
        let credential = CredentialKey::new(provider, certificate.claims().subject().unwrap_or_default().as_bytes());
        let identity = Identity::Certificate(Rc::new(certificate));
        Ok(Some(Principal { provider, identity, credential }))
    }

    /// Verifies a credential by the provider that it belongs to.
    fn verify(
        &mut self,
        candidates: impl Iterator<Item = (u16, &'a Provider)>,
        credential: &Credential<'_>,
    ) -> Result<Principal, Refusal> {
        let mut tokens: Vec<(u16, &Provider, &JwtProvider)> = Vec::new();
        let mut opaque = None;
        for (index, provider) in candidates.filter(|(_, provider)| provider.sources.contains(credential.source)) {
            match &provider.kind {
                ProviderKind::Clients(clients) => {
                    let client = clients.identify(&credential.token, self.now)?;
                    let credential = self.credential_key(index, &credential.token);
                    return Ok(Principal { provider: index, identity: Identity::Client(client), credential });
                }
                ProviderKind::Jwt(jwt) => tokens.push((index, provider, jwt)),
                ProviderKind::Opaque(settings) if opaque.is_none() => opaque = Some((index, provider, settings)),
                ProviderKind::Opaque(_) | ProviderKind::Certificate(_) => {}
            }
        }
        let token: &[u8] = &credential.token;
        let (index, binding, identity) = match (self.verify_jwt(&tokens, token, opaque.is_some())?, opaque) {
            (Some((index, binding, verified)), _) => (index, binding, Identity::Token(verified)),
            (None, Some((index, provider, settings))) => {
                let active = self.ask_about(provider, settings.on_error, token)?;
                (index, &settings.binding, Identity::Opaque(active))
            }
            (None, None) => return Err(denied(&TokenError::NotCompactJws)),
        };
        let principal = Principal { provider: index, identity, credential: self.credential_key(index, token) };
        self.check_binding(binding, credential, &principal)?;
        Ok(principal)
    }

    /// Hashing the credential is only worth its time where internal tokens are kept under the hash.
    fn credential_key(&self, provider: u16, credential: &[u8]) -> CredentialKey {
        match self.engine.minter {
            Some(_) => CredentialKey::new(provider, credential),
            None => CredentialKey::from_bytes([0; 32]),
        }
    }

    /// Verifies a JSON Web Token by the provider that its issuer points to. `None`: it is none of theirs, and
    /// `else_opaque` says that another provider may know it.
    fn verify_jwt(
        &mut self,
        candidates: &[(u16, &'a Provider, &'a JwtProvider)],
        token: &[u8],
        else_opaque: bool,
    ) -> Result<Option<Verified<'a>>, Refusal> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let max_bytes = candidates.iter().map(|(_, provider, _)| provider.max_credential_bytes).max().unwrap_or(0);
        if token.len() <= max_bytes {
            for (index, _, jwt) in candidates {
                if let Some(cached) = self.engine.tokens.get(*index, token) {
                    return match cached.still_valid(&jwt.verifier, self.now) {
                        Ok(()) => Ok(Some((*index, &jwt.binding, cached))),
                        Err(error) => {
                            self.engine.tokens.remove(*index, token);
                            Err(denied(&error))
                        }
                    };
                }
            }
        }
        let untrusted = match UntrustedToken::parse(token, max_bytes) {
            Ok(untrusted) => untrusted,
            Err(TokenError::NotCompactJws) if else_opaque => return Ok(None),
            Err(error) => return Err(denied(&error)),
        };
        // The issuer is not verified yet: it only picks the provider that will verify it.
        let issuer = untrusted.unverified_issuer();
        let named =
            || candidates.iter().find(|(_, _, jwt)| jwt.verifier.issuer.as_deref() == issuer && issuer.is_some());
        let any = || candidates.iter().find(|(_, _, jwt)| jwt.verifier.issuer.is_none());
        let Some((index, provider, jwt)) = named().or_else(any) else {
            if else_opaque {
                return Ok(None);
            }
            return Err(denied(&TokenError::IssuerRefused { issuer: Quoted::new(issuer.unwrap_or_default()) }));
        };
        if token.len() > provider.max_credential_bytes {
            return Err(denied(&TokenError::TooLarge { max_bytes: provider.max_credential_bytes }));
        }
        let keys = self.keys(provider, jwt)?;
        let verified = jwt.verifier.verify(untrusted, &keys, self.ports.signatures, self.now);
        let verified = match verified {
            Err(error) if error.newer_keys_may_help() => self.verify_with_newer_keys(provider, jwt, token, error)?,
            verified => verified.map_err(|error| denied(&error))?,
        };
        let verified = Rc::new(verified);
        self.engine.tokens.insert(*index, token, Rc::clone(&verified));
        Ok(Some((*index, &jwt.binding, verified)))
    }

    /// Asks the provider about an opaque token, unless its answer is at hand.
    fn ask_about(
        &mut self,
        provider: &Provider,
        on_error: OnError,
        token: &[u8],
    ) -> Result<Rc<introspection::ActiveToken>, Refusal> {
        let now = self.now;
        let answered = self.progress.answered.iter().find_map(|answer| answer.lookup(&provider.name, token, now));
        let known = answered.unwrap_or_else(|| self.engine.introspection.lookup(&provider.name, token, now));
        let (reason, retry_after) = match known {
            introspection::Lookup::Active(active) => return Ok(active),
            introspection::Lookup::Refused(refusal) => {
                let reason = Reason::from_code(refusal.name()).unwrap_or(Reason::TokenInactive);
                return Err(Denial::new(reason, refusal.to_string()).into());
            }
            introspection::Lookup::Wait(question) => match self.progress.gave_up {
                Some(gave_up) => gave_up,
                None => return Err(Refusal::Wait(Stop::Ask(question))),
            },
            introspection::Lookup::Unavailable { retry_after } => (Reason::ProviderUnavailable, retry_after),
        };
        let denial = unavailable(reason, provider, retry_after);
        Err(match on_error {
            OnError::Deny => Refusal::Denied(denial),
            OnError::Allow => Refusal::LetIn(denial),
        })
    }

    /// Whether the sender of a token is the one that it was issued to (RFC 8705, RFC 9449).
    fn check_binding(
        &mut self,
        binding: &Binding,
        credential: &Credential<'_>,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        let scheme = match credential.source {
            TokenSource::Header { scheme: Some(scheme), .. } if scheme.eq_ignore_ascii_case("DPoP") => Scheme::Dpop,
            _ => Scheme::Bearer,
        };
        let refused = |reason: Reason, error: &dyn std::fmt::Display| Denial::new(reason, error.to_string());
        let confirmation = Confirmation::of(principal.claims()).map_err(|error| refused(error.reason(), &error))?;
        let proof = match scheme {
            Scheme::Bearer => None,
            Scheme::Dpop => self.verify_proof(binding, &credential.token)?,
        };
        let asks_for_certificate = confirmation.x5t_s256.is_some() || binding.policy.mtls_is_required();
        let certificate_sha256 = asks_for_certificate.then(|| self.certificate_sha256()).flatten();
        let presented = Presented { dpop: proof.as_ref(), certificate_sha256, scheme };
        confirmation.check(&presented, binding.policy).map_err(|error| refused(error.reason(), &error))?;
        let Some(proof) = &proof else { return Ok(()) };
        // A proof that cannot be remembered could come again.
        let Some(store) = &self.engine.replays else {
            return Err(Denial::new(Reason::DpopReplayStoreUnavailable, "there is no store").retry_after(1).into());
        };
        // A request has one proof, and one that was held comes by here again.
        if self.progress.used_proof {
            return Ok(());
        }
        // Last, so that only the holder of a good token takes a place in the store.
        store.first_use(proof, self.ports.store, self.now).map_err(|error| {
            let denial = refused(error.reason(), &error);
            match error {
                ReplayError::Replayed => denial,
                ReplayError::Full { retry_after } => {
                    denial.retry_after(crate::limits::whole_seconds(retry_after).max(1))
                }
                ReplayError::Unavailable(_) => denial.retry_after(1),
            }
        })?;
        self.progress.used_proof = true;
        Ok(())
    }

    fn verify_proof(
        &mut self,
        binding: &Binding,
        token: &[u8],
    ) -> Result<Option<crate::proof::VerifiedProof>, Refusal> {
        let values = self.head.headers().get_all("dpop");
        let refused = |reason: Reason, detail: String| Refusal::Denied(Denial::new(reason, detail));
        let proof = DpopProof::parse(values, DEFAULT_MAX_PROOF_BYTES);
        let Some(proof) = proof.map_err(|error| refused(error.reason(), error.to_string()))? else { return Ok(None) };
        let Some(uri) = TargetUri::of_request(self.head) else {
            return Err(refused(Reason::RequestMalformed, "the request has no URI".to_owned()));
        };
        let nonces = match (binding.nonce, &self.engine.nonces) {
            (false, _) => None,
            (true, Some(issuer)) => Some((issuer.accepted(self.now), issuer.fresh(self.now))),
            (true, None) => return Err(Denial::new(Reason::DpopNonceUnavailable, "no nonces").retry_after(1).into()),
        };
        let expectation = Expectation {
            method: self.head.method().as_str(),
            uri: &uri,
            access_token: Some(token),
            nonces: nonces.as_ref().map(|(accepted, _)| accepted),
            max_age: binding.max_age,
            leeway: binding.leeway,
        };
        match proof.verify(&expectation, binding.algorithms, self.ports.signatures, self.now) {
            Ok(verified) => Ok(Some(verified)),
            Err(error) => {
                let mut denial = Denial::new(error.reason(), error.to_string());
                if let (Reason::DpopNonceRequired, Some((_, fresh))) = (error.reason(), nonces) {
                    denial = denial.dpop_nonce(fresh);
                }
                Err(denial.into())
            }
        }
    }

    fn certificate_sha256(&self) -> Option<[u8; 32]> {
        let attributes = self.ports.attributes;
        // The token says which certificate it is bound to; whether an authority vouches for that certificate is another
        // matter (RFC 8705, section 2.2 allows self-signed ones). The TLS handshake has proved the key.
        let hex = attributes.client_certificate(CertificateField::Sha256)?;
        certificate_sha256_from_hex(&hex)
    }

    fn keys(&mut self, provider: &Provider, jwt: &JwtProvider) -> Result<Rc<KeySet>, Refusal> {
        if let KeySource::Fixed(keys) = &jwt.keys {
            return Ok(Rc::clone(keys));
        }
        match self.engine.key_sets.lookup(&provider.name, self.now) {
            Lookup::Ready { keys, .. } => Ok(keys),
            Lookup::Wait(wait_for) => Err(self.wait(provider, wait_for)),
            Lookup::Unavailable { retry_after } => {
                Err(unavailable(Reason::KeysUnavailable, provider, retry_after).into())
            }
        }
    }

    /// The key set lacks the token's key: perhaps it was rotated. One refetch tells, however many ask.
    fn verify_with_newer_keys(
        &mut self,
        provider: &Provider,
        jwt: &JwtProvider,
        token: &[u8],
        error: TokenError,
    ) -> Result<VerifiedToken, Refusal> {
        if let KeySource::Fixed(_) = jwt.keys {
            return Err(denied(&error));
        }
        let kid_hash = 0;
        match self.engine.key_sets.unknown_kid(&provider.name, kid_hash, self.now, self.ports.store) {
            UnknownKid::Refuse => Err(denied(&error)),
            UnknownKid::Wait(wait_for) => Err(self.wait(provider, wait_for)),
            UnknownKid::Unavailable { retry_after } => {
                Err(unavailable(Reason::KeysUnavailable, provider, retry_after).into())
            }
            UnknownKid::Retry => {
                let keys = self.keys(provider, jwt)?;
                let untrusted = UntrustedToken::parse(token, provider.max_credential_bytes).map_err(|e| denied(&e))?;
                let verified = jwt.verifier.verify(untrusted, &keys, self.ports.signatures, self.now);
                verified.map_err(|error| denied(&error))
            }
        }
    }

    fn wait(&self, provider: &Provider, wait_for: WaitFor) -> Refusal {
        match self.progress.gave_up {
            Some((reason, retry_after)) => unavailable(reason, provider, retry_after).into(),
            None => Refusal::Wait(Stop::Wait { provider: provider.name.as_str().into(), wait_for }),
        }
    }
}

fn denied(error: &TokenError) -> Refusal {
    Denial::new(error.reason(), error.to_string()).into()
}

fn unavailable(reason: Reason, provider: &Provider, retry_after: Duration) -> Denial {
    let detail = format!("provider {:?}", provider.name);
    Denial::new(reason, detail).retry_after(crate::limits::whole_seconds(retry_after).max(1))
}
