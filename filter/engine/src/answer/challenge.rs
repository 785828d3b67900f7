//! The challenge of a refusal: which schemes the client may use, and what was wrong (RFC 6750, section 3; RFC 9449,
//! section 7).

use std::fmt::Write as _;

use super::denial::Denial;
use super::reason::BearerError;
use crate::jwt::AlgorithmSet;

/// The authentication schemes that a rule takes: one `www-authenticate` line for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenges {
    /// `Bearer` (RFC 6750).
    pub bearer: bool,
    /// `DPoP` (RFC 9449), with these algorithms for proofs.
    pub dpop: Option<AlgorithmSet>,
    /// `Basic` (RFC 7617).
    pub basic: bool,
    /// `ApiKey`: no registered scheme, but a 401 needs a challenge (RFC 9110, section 15.5.2).
    pub api_key: bool,
}

impl Default for Challenges {
    fn default() -> Self {
        Self { bearer: true, ..Self::NONE }
    }
}

impl Challenges {
    /// No scheme.
    pub const NONE: Self = Self { bearer: false, dpop: None, basic: false, api_key: false };
}

/// The values of `www-authenticate` for `denial`.
///
/// No error attribute stands where no credential was sent; an error that only DPoP knows stands in its challenge alone.
pub(super) fn lines(denial: &Denial, realm: &str) -> Vec<String> {
    let error = denial.reason.bearer_error();
    if error == BearerError::None {
        return Vec::new();
    }
    let of_dpop = matches!(error, BearerError::InvalidDpopProof | BearerError::UseDpopNonce);
    let offered = denial.challenges;
    let mut lines = Vec::new();
    // Whatever the rule says: an error must stand in a challenge.
    if offered.bearer || offered == Challenges::NONE {
        let error = if of_dpop { BearerError::Missing } else { error };
        lines.push(format!("Bearer {}", attributes(denial, realm, error)));
    }
    if let Some(algorithms) = offered.dpop.or(of_dpop.then_some(AlgorithmSet::EMPTY)) {
        let mut line = format!("DPoP {}", attributes(denial, realm, error));
        if !algorithms.is_empty() {
            let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
            // A write to a string cannot fail.
            let _ = write!(line, ", algs={}", quoted(&names.join(" ")));
        }
        lines.push(line);
    }
    if offered.basic {
        lines.push(format!("Basic realm={}, charset=\"UTF-8\"", quoted(realm)));
    }
    if offered.api_key {
        lines.push(format!("ApiKey realm={}", quoted(realm)));
    }
    lines
}

fn attributes(denial: &Denial, realm: &str, error: BearerError) -> String {
    let mut attributes = format!("realm={}", quoted(realm));
    if let Some(error) = name(error) {
        let description = quoted(denial.reason.description());
        let _ = write!(attributes, ", error=\"{error}\", error_description={description}");
    }
    if let Some(scope) = &denial.scope {
        let _ = write!(attributes, ", scope={}", quoted(scope));
    }
    if let Some(url) = &denial.resource_metadata {
        let _ = write!(attributes, ", resource_metadata={}", quoted(url));
    }
    attributes
}

const fn name(error: BearerError) -> Option<&'static str> {
    match error {
        BearerError::None | BearerError::Missing => None,
        BearerError::InvalidRequest => Some("invalid_request"),
        BearerError::InvalidToken => Some("invalid_token"),
        BearerError::InsufficientScope => Some("insufficient_scope"),
        BearerError::InvalidDpopProof => Some("invalid_dpop_proof"),
        BearerError::UseDpopNonce => Some("use_dpop_nonce"),
    }
}

/// `text` as a quoted-string (RFC 9110, 5.6.4); bytes that cannot stand in one are left out.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Reason;
    use crate::jwt::Algorithm;

    fn shown(reason: Reason, challenges: Challenges) -> Vec<String> {
        lines(&Denial::new(reason, "").challenges(challenges), "demo")
    }

    fn both() -> Challenges {
        Challenges { dpop: Some(algorithms()), ..Challenges::default() }
    }

    fn dpop() -> Challenges {
        Challenges { dpop: Some(algorithms()), ..Challenges::NONE }
    }

    fn algorithms() -> AlgorithmSet {
        AlgorithmSet::only(Algorithm::Es256).with(Algorithm::EdDsa)
    }

    #[test]
    fn a_rule_that_takes_both_offers_both_and_names_the_algorithms() {
        assert_eq!(
            shown(Reason::CredentialsMissing, both()),
            ["Bearer realm=\"demo\"", "DPoP realm=\"demo\", algs=\"ES256 EdDSA\""]
        );
        assert_eq!(shown(Reason::CredentialsMissing, dpop()), ["DPoP realm=\"demo\", algs=\"ES256 EdDSA\""]);
    }

    #[test]
    fn an_error_of_a_proof_stands_in_the_dpop_challenge_only() {
        for (reason, error) in
            [(Reason::DpopProofReplayed, "invalid_dpop_proof"), (Reason::DpopNonceRequired, "use_dpop_nonce")]
        {
            for challenges in [Challenges::default(), both()] {
                let lines = shown(reason, challenges);
                assert_eq!(lines[0], "Bearer realm=\"demo\"");
                assert!(lines[1].starts_with(&format!("DPoP realm=\"demo\", error=\"{error}\"")), "{lines:?}");
            }
        }
    }

    #[test]
    fn an_error_of_the_token_stands_in_every_challenge() {
        for line in shown(Reason::TokenExpired, both()) {
            assert!(line.contains("error=\"invalid_token\""), "{line}");
        }
    }

    #[test]
    fn what_is_no_matter_of_credentials_has_no_challenge() {
        for reason in [Reason::LimitExceeded, Reason::DpopReplayStoreFull, Reason::RouteUnmatched] {
            assert!(shown(reason, both()).is_empty());
        }
    }

    #[test]
    fn every_scheme_that_a_rule_takes_is_offered() {
        let offered = Challenges { basic: true, api_key: true, ..Challenges::NONE };
        assert_eq!(
            shown(Reason::CredentialsMissing, offered),
            ["Basic realm=\"demo\", charset=\"UTF-8\"", "ApiKey realm=\"demo\""]
        );
    }

    #[test]
    fn the_resource_says_where_its_metadata_are() {
        let denial = Denial::new(Reason::CredentialsMissing, "").resource_metadata("https://a.example/m");
        assert_eq!(lines(&denial, "demo"), ["Bearer realm=\"demo\", resource_metadata=\"https://a.example/m\""]);
    }
}
