//! An introspection endpoint's answer: what RFC 7662 allows it to say, and nothing else.

use std::fmt;
use std::rc::Rc;

use serde_json::Value;

use super::active::ActiveToken;
use super::source::IntrospectionSource;
use crate::jwt::claims::{audiences, string, times};
use crate::jwt::error::TokenError;
use crate::key_sets::FetchOutcome;
use crate::strict_json::{self, StrictJsonError};
use crate::time::UnixNanos;

/// The most bytes of an answer that are taken.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Objects and arrays within an answer are nested at most so deep.
const MAX_DEPTH: usize = 16;

/// Why a token is refused (401), by the server's word or by what the configuration asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `"active": false`: expired, revoked, never issued; the server does not say.
    Inactive,
    /// Active, but `exp` has passed.
    Expired,
    /// Active, but `nbf` less leeway has not come yet.
    NotYetValid,
    /// Active, but `iss` is not the configured issuer.
    IssuerRefused,
    /// Active, but `aud` holds none of the configured audiences, or is absent.
    AudienceRefused,
    /// Longer than [`IntrospectionSource::max_token_bytes`]; the server was not asked.
    TooLarge,
}

impl Refusal {
    /// The stable name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "token_inactive",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuerRefused => "token_issuer_refused",
            Self::AudienceRefused => "token_audience_refused",
            Self::TooLarge => "token_too_large",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inactive => "the server calls the token inactive",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::IssuerRefused => "the token is of another issuer",
            Self::AudienceRefused => "the token is meant for another audience",
            Self::TooLarge => "the token is too long to be asked about",
        })
    }
}

impl std::error::Error for Refusal {}

/// Why a question brought no answer: nothing is known of the token (503).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came within the time limit.
    NoAnswer,
    /// 401 or 403: the server refuses the gateway's own credentials (RFC 7662, section 2.3). The operator must act.
    ClientRefused(u16),
    /// Another status than 200.
    Status(u16),
    /// The body is longer than [`MAX_RESPONSE_BYTES`].
    TooLarge,
    /// The body is no introspection response.
    Malformed(Malformed),
}

/// Why a body is no introspection response (RFC 7662, section 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Not one strict JSON object.
    Json(StrictJsonError),
    /// `active` is missing, or neither `true` nor `false`.
    Active,
    /// A member is not of its type.
    Member(&'static str),
}

impl Failure {
    /// The stable name for counters and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::ClientRefused(_) => "client_refused",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
        }
    }

    /// Whether it says that the server fails. A status that blames the request may be due to the token alone, and a
    /// stranger who sends such tokens must not have the server left alone.
    pub(super) fn is_of_the_server(&self) -> bool {
        !matches!(self, Self::Status(400 | 413 | 414 | 422))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("the introspection endpoint did not answer"),
            Self::ClientRefused(status) => {
                write!(f, "the introspection endpoint refuses the gateway's own credentials with status {status}")
            }
            Self::Status(status) => write!(f, "the introspection endpoint answered with status {status}"),
            Self::TooLarge => write!(f, "the introspection answer is longer than {MAX_RESPONSE_BYTES} bytes"),
            Self::Malformed(malformed) => write!(f, "the introspection answer cannot be used: {malformed}"),
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "{error}"),
            Self::Active => f.write_str("`active` is neither true nor false"),
            Self::Member(name) => write!(f, "`{name}` is not of its type"),
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What an answer says of the token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Active(Rc<ActiveToken>),
    Refused(Refusal),
}

/// Reads the end of a question.
pub(super) fn verdict(
    outcome: FetchOutcome<'_>,
    source: &IntrospectionSource,
    now: UnixNanos,
) -> Result<Verdict, Failure> {
    let body = match outcome {
        FetchOutcome::NoAnswer => return Err(Failure::NoAnswer),
        FetchOutcome::TooLarge => return Err(Failure::TooLarge),
        FetchOutcome::Answer { status: status @ (401 | 403), .. } => return Err(Failure::ClientRefused(status)),
        FetchOutcome::Answer { status, .. } if status != 200 => return Err(Failure::Status(status)),
        FetchOutcome::Answer { body, .. } if body.len() > MAX_RESPONSE_BYTES => return Err(Failure::TooLarge),
        FetchOutcome::Answer { body, .. } => body,
    };
    let members = strict_json::parse_object(body, MAX_DEPTH).map_err(Malformed::Json)?;
    match members.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Verdict::Refused(Refusal::Inactive)),
        _ => return Err(Malformed::Active.into()),
    }
    let times = times(&members).map_err(malformed)?;
    for name in ["sub", "client_id", "token_type", "jti"] {
        string(&members, name).map_err(malformed)?;
    }
    let is_foreign = string(&members, "iss")
        .map_err(malformed)?
        .is_some_and(|iss| source.issuer.as_deref().is_some_and(|wanted| wanted != iss));
    let found = audiences(&members).map_err(malformed)?.unwrap_or_default();
    let is_meant = source.audiences.is_empty() || found.iter().any(|one| source.audiences.iter().any(|a| a == one));
    let token = ActiveToken::new(members, &times, source.leeway);
    Ok(if is_foreign {
        Verdict::Refused(Refusal::IssuerRefused)
    } else if !is_meant {
        Verdict::Refused(Refusal::AudienceRefused)
    } else if !token.has_begun(now) {
        Verdict::Refused(Refusal::NotYetValid)
    } else if !token.still_valid(now) {
        Verdict::Refused(Refusal::Expired)
    } else {
        Verdict::Active(Rc::new(token))
    })
}

fn malformed(error: TokenError) -> Failure {
    let name = match error {
        TokenError::ClaimMalformed { claim } => claim,
        _ => "a member",
    };
    Malformed::Member(name).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::introspection::ClientAuthentication;

    const NOW: UnixNanos = UnixNanos::from_secs(1_000);

    fn source() -> IntrospectionSource {
        IntrospectionSource {
            issuer: Some("https://idp.example".into()),
            audiences: vec!["orders".into(), "billing".into()],
            leeway: Duration::from_secs(60),
            ..IntrospectionSource::new("partner", "idp", "idp", "/i", ClientAuthentication::None)
        }
    }

    fn read(json: &str) -> Result<Verdict, Failure> {
        let outcome = FetchOutcome::Answer { status: 200, cache_control: None, body: json.as_bytes() };
        verdict(outcome, &source(), NOW)
    }

    fn refusal(json: &str) -> Refusal {
        match read(json) {
            Ok(Verdict::Refused(refusal)) => refusal,
            other => panic!("{json}: {other:?}"),
        }
    }

    fn failure(json: &str) -> Failure {
        read(json).unwrap_err()
    }

    #[test]
    fn an_active_token_has_the_claims_of_the_answer() {
        let json = r#"{"active":true,"aud":["x","orders"],"sub":"alice","client_id":"app","token_type":"Bearer",
            "scope":"read write","exp":1001,"iss":"https://idp.example"}"#;
        let Ok(Verdict::Active(token)) = read(json) else { panic!("not active") };
        assert_eq!((token.client_id(), token.token_type()), (Some("app"), Some("Bearer")));
        assert_eq!(token.claims().scopes().collect::<Vec<_>>(), ["read", "write"]);
        assert_eq!(token.expires_at(), Some(UnixNanos::from_secs(1_001)));
        assert!(token.still_valid(NOW) && !token.still_valid(UnixNanos::from_secs(1_001)));
    }

    #[test]
    fn only_the_boolean_true_is_active() {
        for value in ["\"true\"", "1", "null", "[true]", "{}", "\"\"", "0"] {
            let json = format!(r#"{{"active":{value},"aud":"orders"}}"#);
            assert_eq!(failure(&json), Failure::Malformed(Malformed::Active), "{json}");
        }
        for json in ["{}", r#"{"aud":"orders"}"#, r#"{"Active":true,"aud":"orders"}"#] {
            assert_eq!(failure(json), Failure::Malformed(Malformed::Active), "{json}");
        }
    }

    #[test]
    fn what_is_no_strict_json_object_says_nothing() {
        let deep = format!(r#"{{"active":true,"aud":"orders","x":{}}}"#, "[".repeat(50_000));
        for json in [
            "",
            "true",
            "null",
            "[{\"active\":true}]",
            "<html>",
            r#"{"active":true,"aud":"orders"}x"#,
            r#"{"active":false,"active":true,"aud":"orders"}"#,
            r#"{"active":true,"\u0061ctive":true,"aud":"orders"}"#,
            r#"{"active":true,"aud":"orders","x":{"a":1,"a":2}}"#,
            r#"{"active":true,"aud":"orders""#,
            &deep,
        ] {
            assert!(matches!(failure(json), Failure::Malformed(Malformed::Json(_))), "{json:.60}");
        }
    }

    #[test]
    fn false_is_inactive_whatever_else_is_said() {
        for json in [r#"{"active":false}"#, r#"{"active":false,"exp":"never","aud":7}"#] {
            assert_eq!(refusal(json), Refusal::Inactive);
        }
    }

    #[test]
    fn a_member_of_the_wrong_type_is_the_servers_failure() {
        for (name, values) in [
            ("exp", &["\"1\"", "null", "true"][..]),
            ("nbf", &["\"1\"", "null", "[]"]),
            ("iat", &["\"1\"", "null", "{}"]),
            ("iss", &["1", "null", "[\"https://idp.example\"]"]),
            ("aud", &["1", "null", "[1]", "{\"orders\":1}"]),
            ("sub", &["1", "null", "[\"a\"]"]),
            ("client_id", &["1", "null"]),
            ("token_type", &["1"]),
            ("jti", &["1"]),
        ] {
            for value in values {
                let aud = if name == "aud" { "" } else { r#","aud":"orders""# };
                let json = format!(r#"{{"active":true,"{name}":{value}{aud}}}"#);
                assert_eq!(failure(&json), Failure::Malformed(Malformed::Member(name)), "{json}");
            }
        }
    }

    #[test]
    fn the_times_of_an_active_token_are_judged_too() {
        let times = |times: &str| read(&format!(r#"{{"active":true,"aud":"orders",{times}}}"#)).unwrap();
        for expired in ["\"exp\":1000", "\"exp\":999.9", "\"exp\":0", "\"exp\":-1"] {
            assert_eq!(times(expired), Verdict::Refused(Refusal::Expired), "{expired}");
        }
        assert_eq!(times("\"nbf\":1061"), Verdict::Refused(Refusal::NotYetValid));
        for good in ["\"nbf\":1060", "\"exp\":1000.1", "\"exp\":1e300", "\"iat\":5000"] {
            assert!(matches!(times(good), Verdict::Active(_)), "{good}");
        }
    }

    #[test]
    fn issuer_and_audience_are_as_configured() {
        let other = r#"{"active":true,"aud":"orders","iss":"https://idp.example/"}"#;
        assert_eq!(refusal(other), Refusal::IssuerRefused);
        for aud in [r#""aud":"Orders""#, r#""aud":[]"#, r#""aud":"orders billing""#, r#""sub":"alice""#] {
            assert_eq!(refusal(&format!(r#"{{"active":true,{aud}}}"#)), Refusal::AudienceRefused, "{aud}");
        }
        assert!(matches!(read(r#"{"active":true,"aud":"billing"}"#), Ok(Verdict::Active(_))));
    }

    #[test]
    fn another_status_than_200_is_never_about_the_token() {
        let status = |status| {
            let outcome =
                FetchOutcome::Answer { status, cache_control: None, body: br#"{"active":true,"aud":"orders"}"# };
            verdict(outcome, &source(), NOW)
        };
        for code in [401, 403] {
            assert_eq!(status(code), Err(Failure::ClientRefused(code)));
        }
        for code in [0, 100, 201, 204, 206, 301, 400, 404, 429, 500, 503, u16::MAX] {
            assert_eq!(status(code), Err(Failure::Status(code)));
        }
    }

    #[test]
    fn a_huge_answer_is_not_read() {
        let huge = format!(r#"{{"active":true,"aud":"orders"{}}}"#, " ".repeat(MAX_RESPONSE_BYTES));
        assert_eq!(failure(&huge), Failure::TooLarge);
        assert_eq!(verdict(FetchOutcome::TooLarge, &source(), NOW), Err(Failure::TooLarge));
        assert_eq!(verdict(FetchOutcome::NoAnswer, &source(), NOW), Err(Failure::NoAnswer));
    }

    #[test]
    fn no_text_repeats_what_the_server_said() {
        let odd = failure(r#"{"active":"geheim"}"#);
        let Ok(Verdict::Active(token)) = read(r#"{"active":true,"aud":"orders","sub":"geheim"}"#) else { panic!() };
        let shown = format!("{odd} {odd:?} {token:?}");
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
