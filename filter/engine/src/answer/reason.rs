//! Every reason for a refusal, in one table: code, status, and the words for the client.

use std::fmt;

use crate::config::schema::Check;

/// The error of RFC 6750 (section 3.1) or RFC 9449 (section 7.1) that belongs to a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// No challenge belongs to this reason.
    None,
    /// A challenge without an error: nothing was sent.
    Missing,
    /// `invalid_request`.
    InvalidRequest,
    /// `invalid_token`.
    InvalidToken,
    /// `insufficient_scope`.
    InsufficientScope,
    /// `invalid_dpop_proof`.
    InvalidDpopProof,
    /// `use_dpop_nonce`.
    UseDpopNonce,
}

macro_rules! reasons {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident = $code:literal, $status:literal, $bearer:ident, $says:literal $(, $check:ident)?;
    )*) => {
        /// Why a request was refused (or `Ok`, why it was not). The code is stable: dashboards and clients rely on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $( $(#[doc = $doc])* $variant, )* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];

            /// The stable code, as in logs, counters and problem documents.
            pub const fn code(self) -> &'static str {
                match self { $( Self::$variant => $code, )* }
            }

            /// The HTTP status of the answer.
            pub const fn status(self) -> u16 {
                match self { $( Self::$variant => $status, )* }
            }

            /// The error that the challenge carries.
            pub const fn bearer_error(self) -> BearerError {
                match self { $( Self::$variant => BearerError::$bearer, )* }
            }

            /// What the client is told. It tells nothing about the inside.
            pub const fn description(self) -> &'static str {
                match self { $( Self::$variant => $says, )* }
            }

            /// The check that refuses for this reason, where a rule's `monitor` can name it.
            pub const fn check(self) -> Option<Check> {
                match self {
                    $( $( Self::$variant => Some(Check::$check), )? )*
                    _ => None,
                }
            }

            /// What the operator should know, for the reference.
            pub fn doc(self) -> String {
                match self { $( Self::$variant => $crate::config::section::doc_text(&[$($doc),*]), )* }
            }

            /// The reason with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $( $code => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

reasons! {
    /// The request passed.
    Ok = "ok", 200, None, "ok";
    /// The request head could not be read: pseudo-headers missing, repeated or not valid.
    RequestMalformed = "request_malformed", 400, None, "the request is malformed";
    /// A header's name or value holds bytes that it must not hold (RFC 9110, 5.5).
    HeaderMalformed = "header_malformed", 400, None, "a header is malformed";
    /// A header that may stand once, or by which rules choose, stands on several lines.
    HeaderRepeated = "header_repeated", 400, None, "a header that may stand once was sent more than once";
    /// The host is no host name or address with an optional port.
    AuthorityMalformed = "authority_malformed", 400, None, "the host is not valid";
    /// `:authority` and `host` name different hosts.
    HostMismatch = "host_mismatch", 400, None, "the host header and the authority differ";
    /// The path holds an encoded or a raw backslash.
    PathBackslash = "path_backslash", 400, None, "the path has a backslash";
    /// The path holds `%2F`.
    PathEncodedSlash = "path_encoded_slash", 400, None, "the path has an encoded slash";
    /// The path holds `.` or `..` as a segment, plain or encoded.
    PathDotSegment = "path_dot_segment", 400, None, "the path has a dot segment";
    /// The path holds `;` parameters.
    PathParameters = "path_parameters", 400, None, "the path has a semicolon";
    /// The path is percent-encoded twice.
    PathDoubleEncoded = "path_double_encoded", 400, None, "the path is encoded twice";
    /// The path holds control bytes, plain or encoded.
    PathControlByte = "path_control_byte", 400, None, "the request target has a control character or a space";
    /// The path holds `%` without two hexadecimal digits.
    PathBadEscape = "path_bad_escape", 400, None, "the path has an incomplete percent escape";
    /// The decoded path is no valid UTF-8, or an overlong form.
    PathBadUtf8 = "path_bad_utf8", 400, None, "the path's percent escapes are not valid UTF-8";
    /// The path holds an unescaped byte above 0x7F.
    PathNonAscii = "path_non_ascii", 400, None, "the path has a character that must be percent-encoded";
    /// The path escapes a character that needs no escape (`%61` for `a`): the proxy routes by the path as it was sent.
    PathEncodedUnreserved = "path_encoded_unreserved", 400, None, "the path escapes a character that needs no escape";
    /// The path holds two slashes in a row.
    PathEmptySegment = "path_empty_segment", 400, None, "the path has two slashes in a row";
    /// The request target holds a fragment.
    PathFragment = "path_fragment", 400, None, "the request target has a fragment";
    /// The path is longer than 8 KiB.
    PathTooLong = "path_too_long", 414, None, "the request target is too long";
    /// The request target is not a path: absolute form, or `*` with another method than OPTIONS.
    TargetForm = "target_form", 400, None, "the request target is not a path";
    /// A header that the rule requires is missing.
    HeaderMissing = "header_missing", 400, None, "a required header is missing", Headers;
    /// The request has a header that the rule forbids.
    HeaderForbidden = "header_forbidden", 400, None, "a header is not allowed here", Headers;
    /// No rule matches the request.
    RouteUnmatched = "route_unmatched", 404, None, "not found";
    /// The client's address is in a list that the rule denies, or in none that it allows.
    AddressDenied = "address_denied", 403, None, "access is denied", Addresses;
    /// A list of addresses cannot be had, and without it nobody can tell whether the client may pass (`on_error`).
    AddressListUnavailable = "address_list_unavailable", 503, None, "the gateway cannot tell whether this address may pass", Addresses;
    /// A preflight comes from an origin that the rule's `cors` does not name.
    CorsOriginDenied = "cors_origin_denied", 403, None, "this origin may not call this resource", Cors;
    /// The rule lets nobody pass (`allow: nobody`).
    RuleDenied = "rule_denied", 403, None, "access is denied";
    /// The route's metadata names a policy that the configuration does not have.
    RoutePolicyUnknown = "route_policy_unknown", 500, None, "the gateway is misconfigured";
    /// The route names the policy, and the request carries a header that only the gateway may set: without it the proxy could
    /// choose another route.
    IdentityHeaderSent = "identity_header_sent", 400, None, "a header that only the gateway may set was sent";
    /// The route that served the request names another policy than the one that it was judged by: a header that the filter
    /// changed led there.
    RouteChanged = "route_changed", 500, None, "the gateway is misconfigured";
    /// The request carries no credential.
    CredentialsMissing = "credentials_missing", 401, Missing, "credentials are required";
    /// The credential is not of the form that its scheme asks for.
    CredentialsMalformed = "credentials_malformed", 400, InvalidRequest, "the credentials are malformed";
    /// The request carries more than one credential (RFC 6750, 2).
    CredentialsMultiple = "credentials_multiple", 400, InvalidRequest, "more than one credential was sent";
    /// No client has this API key, or this user name and password.
    CredentialsInvalid = "credentials_invalid", 401, InvalidToken, "the credentials are not accepted";
    /// The client is past its `not_after`.
    CredentialsExpired = "credentials_expired", 401, InvalidToken, "the credentials have expired";
    /// The client certificate has no name that the rule allows.
    CertificateRefused = "certificate_refused", 403, None, "the client certificate is not accepted";
    /// The token is no compact JWS of the strict form, or its JSON is not well-formed.
    TokenMalformed = "token_malformed", 401, InvalidToken, "the token is malformed";
    /// The token is longer than `max_token_size`.
    TokenTooLarge = "token_too_large", 401, InvalidToken, "the token is too large";
    /// The token is encrypted (JWE), which no provider accepts.
    TokenEncrypted = "token_encrypted", 401, InvalidToken, "encrypted tokens are not accepted";
    /// The token's `alg` is not among the provider's `algorithms`.
    TokenAlgorithmRefused = "token_algorithm_refused", 401, InvalidToken, "the token's algorithm is not accepted";
    /// The token's `typ` is not among the provider's `token_types`.
    TokenTypeRefused = "token_type_refused", 401, InvalidToken, "the token's type is not accepted";
    /// The token has a `crit` header: there is no extension that this gateway understands (RFC 7515, 4.1.11).
    TokenHeaderCritical = "token_header_critical", 401, InvalidToken, "the token uses an extension that is not understood";
    /// The provider's key set has no key for this token.
    TokenKeyUnknown = "token_key_unknown", 401, InvalidToken, "the token is not accepted";
    /// The provider's key of this id is not made for the token's algorithm.
    TokenKeyMismatch = "token_key_mismatch", 401, InvalidToken, "the token is not accepted";
    /// Several keys of the provider could have signed this token.
    TokenKeyAmbiguous = "token_key_ambiguous", 401, InvalidToken, "the token is not accepted";
    /// The signature does not verify.
    TokenSignatureInvalid = "token_signature_invalid", 401, InvalidToken, "the token is not accepted";
    /// `exp` plus leeway has passed.
    TokenExpired = "token_expired", 401, InvalidToken, "the token has expired";
    /// `nbf` minus leeway has not come yet.
    TokenNotYetValid = "token_not_yet_valid", 401, InvalidToken, "the token is not valid yet";
    /// `iat` lies in the future, beyond leeway.
    TokenIssuedInFuture = "token_issued_in_future", 401, InvalidToken, "the token is not valid yet";
    /// The token is older than `max_age`.
    TokenTooOld = "token_too_old", 401, InvalidToken, "the token is too old";
    /// `iss` is not that of a provider that this rule accepts.
    TokenIssuerRefused = "token_issuer_refused", 401, InvalidToken, "the token is not accepted";
    /// `aud` holds none of the provider's audiences.
    TokenAudienceRefused = "token_audience_refused", 401, InvalidToken, "the token is meant for another audience";
    /// A required claim is missing.
    TokenClaimMissing = "token_claim_missing", 401, InvalidToken, "the token lacks a required claim";
    /// A claim is not of the type that RFC 7519 asks for.
    TokenClaimMalformed = "token_claim_malformed", 401, InvalidToken, "a claim of the token is malformed";
    /// The token was sent with the scheme DPoP and without a `DPoP` header.
    DpopProofMissing = "dpop_proof_missing", 401, InvalidDpopProof, "a DPoP proof is required";
    /// The request carries more than one DPoP proof.
    DpopProofMultiple = "dpop_proof_multiple", 400, InvalidDpopProof, "more than one DPoP proof was sent";
    /// The DPoP proof is no JWT of type `dpop+jwt` with a `jwk`, or lacks a claim (RFC 9449, 4.2).
    DpopProofMalformed = "dpop_proof_malformed", 401, InvalidDpopProof, "the DPoP proof is malformed";
    /// The DPoP proof's `jwk` is a private key, or none that can be used.
    DpopProofKeyRefused = "dpop_proof_key_refused", 401, InvalidDpopProof, "the DPoP proof's key is not accepted";
    /// The DPoP proof's `alg` is not among those that are accepted for proofs.
    DpopProofAlgorithmRefused = "dpop_proof_algorithm_refused", 401, InvalidDpopProof, "the DPoP proof's algorithm is not accepted";
    /// The DPoP proof's signature does not verify.
    DpopProofSignatureInvalid = "dpop_proof_signature_invalid", 401, InvalidDpopProof, "the DPoP proof is not accepted";
    /// The DPoP proof was made for another method or URI (`htm`, `htu`).
    DpopProofRequestMismatch = "dpop_proof_request_mismatch", 401, InvalidDpopProof, "the DPoP proof was made for another request";
    /// The DPoP proof was made for another access token (`ath`).
    DpopProofTokenMismatch = "dpop_proof_token_mismatch", 401, InvalidDpopProof, "the DPoP proof was made for another token";
    /// The DPoP proof was made too long ago.
    DpopProofExpired = "dpop_proof_expired", 401, InvalidDpopProof, "the DPoP proof has expired";
    /// The DPoP proof's `iat` lies in the future, beyond leeway.
    DpopProofIssuedInFuture = "dpop_proof_issued_in_future", 401, InvalidDpopProof, "the DPoP proof is not valid yet";
    /// The DPoP proof was used before.
    DpopProofReplayed = "dpop_proof_replayed", 401, InvalidDpopProof, "the DPoP proof was used before";
    /// The DPoP proof has no nonce, or not one that the gateway gave lately: the answer holds a new one (RFC 9449, 9).
    DpopNonceRequired = "dpop_nonce_required", 401, UseDpopNonce, "the DPoP proof needs the nonce that is given here";
    /// The rule does not take DPoP.
    DpopNotAccepted = "dpop_not_accepted", 401, InvalidToken, "DPoP is not accepted here";
    /// The store of used DPoP proofs is full of proofs that have not expired: it needs more room.
    DpopReplayStoreFull = "dpop_replay_store_full", 503, None, "the gateway is overloaded";
    /// The store of used DPoP proofs cannot be used: shared data failed.
    DpopReplayStoreUnavailable = "dpop_replay_store_unavailable", 503, None, "the gateway is overloaded";
    /// The gateway has no secret for DPoP nonces: shared data failed.
    DpopNonceUnavailable = "dpop_nonce_unavailable", 503, None, "the gateway is overloaded";
    /// The token's `cnf` is malformed, or names no way of confirmation that this gateway serves (RFC 7800).
    TokenConfirmationRefused = "token_confirmation_refused", 401, InvalidToken, "the token's confirmation is not accepted";
    /// The token is bound to no key or certificate where the rule requires it, or where it was sent with the scheme DPoP.
    TokenBindingMissing = "token_binding_missing", 401, InvalidToken, "the token is not bound to a key";
    /// The token is bound to a DPoP key, and was sent as a bearer token (RFC 9449, 7.2).
    TokenBindingDowngraded = "token_binding_downgraded", 401, InvalidToken, "the token needs a proof of possession";
    /// The token is bound to another key or client certificate.
    TokenBindingMismatch = "token_binding_mismatch", 401, InvalidToken, "the token is bound to another key";
    /// The token is bound to a client certificate, and the connection has none (RFC 8705, 3).
    TokenCertificateMissing = "token_certificate_missing", 401, InvalidToken, "the token needs its client certificate";
    /// The provider's key set cannot be had, and no good one is left.
    KeysUnavailable = "keys_unavailable", 503, None, "the identity provider cannot be reached";
    /// Too many requests wait for the key set already.
    KeysWaitersFull = "keys_waiters_full", 503, None, "the identity provider cannot be reached";
    /// The token, its subject, its client or its issuer is revoked.
    TokenRevoked = "token_revoked", 401, InvalidToken, "the token has been revoked";
    /// The list of revoked tokens is too old, and the configuration says `on_error: deny`.
    RevocationUnavailable = "revocation_unavailable", 503, None, "the gateway cannot tell revoked tokens from others";
    /// The introspection endpoint calls the token inactive: expired, revoked or never issued.
    TokenInactive = "token_inactive", 401, InvalidToken, "the token is not active";
    /// The introspection endpoint cannot be asked (`on_error`).
    ProviderUnavailable = "provider_unavailable", 503, None, "the identity provider cannot be reached";
    /// Too many requests wait for the introspection endpoint already.
    ProviderWaitersFull = "provider_waiters_full", 503, None, "the identity provider cannot be reached";
    /// The token lacks a scope.
    ScopeInsufficient = "scope_insufficient", 403, InsufficientScope, "the token lacks a required scope", Scopes;
    /// The caller lacks a role, or has one that the rule does not take.
    RoleMissing = "role_missing", 403, None, "the caller's roles do not allow this", Roles;
    /// A variable of the path is not the claim that it is bound to (`bind`).
    PathClaimMismatch = "path_claim_mismatch", 403, None, "the caller may not use this path", Bind;
    /// A condition of the rule (`when`) does not hold.
    ConditionFalse = "condition_false", 403, None, "a condition is not met", When;
    /// A condition of the rule (`when`) has no answer, as where the token lacks a claim that it reads.
    ConditionError = "condition_error", 403, None, "a condition is not met", When;
    /// The head is longer than `input.max_head`.
    InputHeadTooLarge = "input_head_too_large", 431, None, "the request head is too large", Input;
    /// A header line is longer than `input.max_header`.
    InputHeaderTooLarge = "input_header_too_large", 431, None, "a header is too large", Input;
    /// There are more header lines than `input.max_headers`.
    InputHeadersTooMany = "input_headers_too_many", 431, None, "there are too many headers", Input;
    /// There are more cookies than `input.max_cookies`.
    InputCookiesTooMany = "input_cookies_too_many", 431, None, "there are too many cookies", Input;
    /// The path is longer than `input.max_path`.
    InputPathTooLong = "input_path_too_long", 414, None, "the path is too long", Input;
    /// The query is longer than `input.max_query`.
    InputQueryTooLong = "input_query_too_long", 414, None, "the query is too long", Input;
    /// The query or the form has more parameters than `input.max_arguments`.
    InputArgumentsTooMany = "input_arguments_too_many", 400, None, "there are too many parameters", Input;
    /// A parameter that `input.parameters` requires, or a field that `input.form` requires, is missing.
    InputParameterMissing = "input_parameter_missing", 400, None, "a required parameter is missing", Input;
    /// The query has a parameter that `input.parameters` does not declare (`unknown_parameters: deny`), or the form a field that `input.form` does not
    /// (`unknown_fields: deny`).
    InputParameterUnknown = "input_parameter_unknown", 400, None, "a parameter is not known here", Input;
    /// A parameter or a field of one value was sent several times, in another spelling too (`Page` or `page[]` beside `page`), or a field of the form in the query.
    InputParameterRepeated = "input_parameter_repeated", 400, None, "a parameter was sent more than once", Input;
    /// A parameter, or a field of a form, is not what its schema says. The log says which one.
    InputParameterMismatch = "input_parameter_mismatch", 400, None, "a parameter is not valid", Input;
    /// The body's content type is not among `input.content_types`, or cannot be read; or that of a file in a form is not among those of its field.
    InputTypeRefused = "input_type_refused", 415, None, "the content type is not accepted here", Input;
    /// The body is compressed in a way that cannot be read.
    InputEncodingRefused = "input_encoding_refused", 415, None, "the content encoding is not accepted here", Input;
    /// The body is longer than `input.max_body`, or than `input.max_inflated` once it is decompressed; or a file in a form is larger than its
    /// `max_size`.
    InputBodyTooLarge = "input_body_too_large", 413, None, "the body is too large", Input;
    /// There is no body (`input.require_body`).
    InputBodyMissing = "input_body_missing", 400, None, "a body is required", Input;
    /// The proxy would take the connection out of HTTP (`connection: upgrade`) for a request that is no GET without a body: what
    /// follows has no end, and nobody can check it.
    InputUpgradeRefused = "input_upgrade_refused", 400, None, "an upgrade is a GET without a body", Input;
    /// The body is declared as JSON, or as a form whose fields are declared, and is none; or is not what its content encoding says.
    InputBodyMalformed = "input_body_malformed", 400, None, "the body is malformed", Input;
    /// An object of the JSON body names a member twice.
    InputKeyRepeated = "input_key_repeated", 400, None, "the body names a member twice", Input;
    /// The JSON body nests deeper than `input.json.max_depth`.
    InputTooDeep = "input_too_deep", 422, None, "the body nests too deeply", Input;
    /// The JSON body has more than `input.json.max_keys` members, or an array more than `max_elements` elements.
    InputTooManyValues = "input_too_many_values", 422, None, "the body has too many values", Input;
    /// A name or a string of the JSON body is longer than `input.json.max_key` or `max_string`.
    InputValueTooLong = "input_value_too_long", 422, None, "the body has a value that is too long", Input;
    /// A number of the JSON body is out of the range of `input.json.numbers`.
    InputNumberOutOfRange = "input_number_out_of_range", 422, None, "the body has a number out of range", Input;
    /// The JSON body does not meet `input.schema`. The log says where, and by which keyword.
    InputSchemaMismatch = "input_schema_mismatch", 422, None, "the body is not valid", Input;
    /// Payload rules found an attack. The log says where, and how to except it if it is none.
    PayloadAttack = "payload_attack", 403, None, "the request was refused", Payload;
    /// The request has more values or parts than payload rules read, or takes them too much work. They have not looked at all of it, so no
    /// exception, family or threshold lets it pass. The log says which.
    PayloadTooCostly = "payload_too_costly", 413, None, "the request is too much to be checked", Payload;
    /// The proxy would take the connection out of HTTP (`connection: upgrade`) for a request that is no GET without a body: what
    /// follows has no end, and payload rules cannot judge it.
    UpgradeWithBody = "upgrade_with_body", 400, None, "an upgrade is a GET without a body", Payload;
    /// The body is compressed in a way that payload rules cannot read.
    BodyEncodingRefused = "body_encoding_refused", 415, None, "the content encoding is not accepted here", Payload;
    /// A limit is used up.
    LimitExceeded = "limit_exceeded", 429, None, "too many requests";
    /// As many requests of the client are in flight as a limit with `concurrency` admits. There is no header but `Retry-After`.
    ConcurrencyExceeded = "concurrency_exceeded", 429, None, "too many requests at the same time";
    /// A global limit is used up: the limit service says so. This proxy's own counter would have admitted the request.
    LimitExceededGlobally = "limit_exceeded_globally", 429, None, "too many requests";
    /// A limit's table is full of busy clients (`on_overflow`).
    LimitOverflow = "limit_overflow", 429, None, "too many requests";
    /// Shared data cannot be used, or another worker won every try (`on_error`).
    LimitUnavailable = "limit_unavailable", 503, None, "the gateway is overloaded";
    /// The limit service says nothing about a global limit (`limit_service.on_error: deny`).
    LimitServiceUnavailable = "limit_service_unavailable", 503, None, "the gateway is overloaded";
    /// The service is slower than `surge` wants, and as many requests of this priority are in flight as it bears.
    Overloaded = "overloaded", 503, None, "the service is overloaded", Surge;
    /// The client is banned for a while, for what it did before (`bans`).
    Banned = "banned", 429, None, "too many requests were refused; try again later";
    /// Others fill the client's place in the table of a ban, and the ban refuses it until one is free (`on_overflow: deny`).
    BanOverflow = "ban_overflow", 429, None, "too many requests";
    /// Nobody can tell whether the client is banned: shared data cannot be used (`on_error`).
    BansUnavailable = "bans_unavailable", 503, None, "the gateway is overloaded";
    /// The body of a call to the gateway itself is longer than 16 KiB.
    BodyTooLarge = "body_too_large", 413, None, "the body is too large";
    /// The body of a call to the gateway itself cannot be read.
    BodyMalformed = "body_malformed", 400, None, "the body is malformed";
    /// The method means nothing to the gateway itself, or rules take the path by other methods only (`defaults.unmatched_method`).
    MethodNotAllowed = "method_not_allowed", 405, None, "the method is not allowed here";
    /// The gateway cannot do what an operator's call asks for, such as one more revocation where there is no room.
    CallFailed = "call_failed", 507, None, "the gateway cannot do that now";
    /// An operator's call could not be carried out: shared data cannot be used, or other workers won every try.
    CallUnavailable = "call_unavailable", 503, None, "the gateway is overloaded";
    /// The gateway failed inside. It is a defect of ours: please report it.
    Internal = "internal", 500, None, "the gateway failed";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Reason {
    /// The short title of the status, for problem documents (RFC 9457, 3.1.3).
    pub const fn title(self) -> &'static str {
        match self.status() {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            413 => "Content Too Large",
            414 => "URI Too Long",
            415 => "Unsupported Media Type",
            422 => "Unprocessable Content",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            507 => "Insufficient Storage",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert!(reason.code().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
    }

    #[test]
    fn every_401_carries_a_challenge() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status() == 401) {
            assert_ne!(reason.bearer_error(), BearerError::None, "{reason} (RFC 9110, 15.5.2)");
        }
    }

    #[test]
    fn every_status_has_its_own_title() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status() != 500) {
            assert_ne!(reason.title(), "Internal Server Error", "{reason}");
        }
    }

    #[test]
    fn descriptions_fit_into_a_quoted_string() {
        for reason in Reason::ALL {
            assert!(reason.description().bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'));
        }
    }
}
