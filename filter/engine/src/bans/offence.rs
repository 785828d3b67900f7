//! Which refusals are offences, and of which kind; and those that the service sees.

use crate::answer::Reason;
pub use crate::config::schema::Offence;

/// What counted against a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The gateway has refused a request.
    Refusal(Offence),
    /// The service has answered a request with this status.
    Response(u16),
}

impl Cause {
    /// The word in counters, in the log and for operators: one of a fixed list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refusal(offence) => offence.as_str(),
            Self::Response(_) => "response",
        }
    }
}

impl Offence {
    /// The kind of offence that a refusal for `reason` is; `None` for what happens to honest clients too.
    ///
    /// No offence: that nothing was sent, that a credential has ended or is not valid yet, what the gateway or an identity provider
    /// is to blame for (each 5xx, keys that are not known yet, claims that are missing), and whatever a web page can
    /// make the browsers of others do (a preflight).
    pub const fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::CredentialsInvalid
            | Reason::CredentialsMalformed
            | Reason::CertificateRefused
            | Reason::TokenMalformed
            | Reason::TokenTooLarge
            | Reason::TokenEncrypted
            | Reason::TokenAlgorithmRefused
            | Reason::TokenTypeRefused
            | Reason::TokenHeaderCritical
            | Reason::TokenKeyMismatch
            | Reason::TokenSignatureInvalid
            | Reason::TokenIssuerRefused
            | Reason::TokenAudienceRefused
            | Reason::TokenInactive
            | Reason::TokenBindingDowngraded
            | Reason::TokenBindingMismatch
            | Reason::TokenCertificateMissing
            | Reason::DpopProofMalformed
            | Reason::DpopProofKeyRefused
            | Reason::DpopProofAlgorithmRefused
            | Reason::DpopProofSignatureInvalid
            | Reason::DpopProofRequestMismatch
            | Reason::DpopProofTokenMismatch
            | Reason::DpopProofReplayed => Some(Self::AuthFailure),
            Reason::RouteUnmatched | Reason::MethodNotAllowed => Some(Self::Unmatched),
            Reason::RequestMalformed
            | Reason::HeaderMalformed
            | Reason::HeaderRepeated
            | Reason::AuthorityMalformed
            | Reason::HostMismatch
            | Reason::PathBackslash
            | Reason::PathEncodedSlash
            | Reason::PathDotSegment
            | Reason::PathParameters
            | Reason::PathDoubleEncoded
            | Reason::PathControlByte
            | Reason::PathBadEscape
            | Reason::PathBadUtf8
            | Reason::IdentityHeaderSent
            | Reason::InputBodyMalformed
            | Reason::InputKeyRepeated
            | Reason::CredentialsMultiple
            | Reason::DpopProofMultiple => Some(Self::Malformed),
            Reason::RuleDenied
            | Reason::ScopeInsufficient
            | Reason::RoleMissing
            | Reason::PathClaimMismatch
            | Reason::ConditionFalse => Some(Self::Forbidden),
            Reason::PayloadAttack => Some(Self::PayloadRule),
            Reason::LimitExceeded | Reason::ConcurrencyExceeded | Reason::LimitExceededGlobally => Some(Self::Limit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_the_gateway_is_to_blame_for_is_an_offence() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status() >= 500) {
            assert_eq!(Offence::of(*reason), None, "{reason}");
        }
    }

    #[test]
    fn what_happens_to_honest_clients_is_no_offence() {
        for reason in [
            Reason::Ok,
            Reason::CredentialsMissing,
            Reason::CredentialsExpired,
            Reason::TokenExpired,
            Reason::TokenNotYetValid,
            Reason::TokenRevoked,
            Reason::TokenKeyUnknown,
            Reason::DpopNonceRequired,
            Reason::CorsOriginDenied,
            Reason::Banned,
            Reason::BanOverflow,
        ] {
            assert_eq!(Offence::of(reason), None, "{reason}");
        }
    }

    #[test]
    fn refusals_of_an_offence_have_the_status_that_fits() {
        for reason in Reason::ALL {
            let fits: &[u16] = match Offence::of(*reason) {
                Some(Offence::AuthFailure) => &[400, 401, 403],
                Some(Offence::Unmatched) => &[404, 405],
                Some(Offence::Malformed) => &[400, 401],
                Some(Offence::Forbidden | Offence::PayloadRule) => &[403],
                Some(Offence::Limit) => &[429],
                None => continue,
            };
            assert!(fits.contains(&reason.status()), "{reason}");
        }
    }
}
