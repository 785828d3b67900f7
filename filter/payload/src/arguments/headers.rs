//! Which headers are judged, and how.

use std::borrow::Cow;

use crate::base64;
use crate::bytes::{at, find, part, rest, trimmed};

/// What is done with a header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderKind {
    /// Its pairs are judged.
    Cookie,
    /// Judged by what is known of browsers.
    UserAgent,
    /// Judged as the address that it is.
    Referer,
    /// Credentials: see [`credentials`].
    Credentials,
    /// Not judged if it has the form that it always has.
    Formal(Form),
    /// Judged.
    Other,
}

/// Forms that leave no room for an attack. Each is looked at byte by byte, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Ids in hexadecimal, addresses of IPv4, the name of a scheme.
    Id,
    /// Words with commas between, and their parameters: `gzip;q=1.0, *;q=0`, `keep-alive`, `max-age=0`.
    Words,
    /// `Tue, 15 Nov 1994 08:12:31 GMT` (RFC 9110, 5.6.7).
    Date,
    /// Entity tags with commas between (RFC 9110, 8.8.3), of letters, digits and a few signs.
    Tags,
    /// A token: see [`is_token`].
    Token,
    /// `vendor=value` with commas between (W3C Trace Context).
    Pairs,
    /// A host with an optional port.
    Host,
    /// `"Chromium";v="138", "Not)A;Brand";v="8"` (User-Agent Client Hints, 3).
    Brands,
}

/// The longest name with a kind of its own.
const LONGEST: usize = 32;

/// What is done with the header of this name.
pub fn kind(name: &[u8]) -> HeaderKind {
    let mut lower = [0; LONGEST];
    let Some(room) = lower.get_mut(..name.len()) else { return HeaderKind::Other };
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    match &*room {
        b"cookie" => HeaderKind::Cookie,
        b"user-agent" => HeaderKind::UserAgent,
        b"referer" => HeaderKind::Referer,
        b"authorization" | b"proxy-authorization" => HeaderKind::Credentials,
        b"x-request-id" | b"x-forwarded-for" | b"x-forwarded-proto" | b"x-envoy-external-address" | b"traceparent" => {
            HeaderKind::Formal(Form::Id)
        }
        b"accept-encoding" | b"cache-control" | b"connection" | b"sec-fetch-dest" | b"sec-fetch-mode"
        | b"sec-fetch-site" | b"te" => HeaderKind::Formal(Form::Words),
        b"date" | b"if-modified-since" | b"if-unmodified-since" => HeaderKind::Formal(Form::Date),
        b"if-match" | b"if-none-match" => HeaderKind::Formal(Form::Tags),
        b"dpop" | b"sec-websocket-key" => HeaderKind::Formal(Form::Token),
        b"tracestate" => HeaderKind::Formal(Form::Pairs),
        b":authority" | b"host" => HeaderKind::Formal(Form::Host),
        b"sec-ch-ua" | b"sec-ch-ua-full-version-list" => HeaderKind::Formal(Form::Brands),
        _ => HeaderKind::Other,
    }
}

impl Form {
    /// Whether a value has this form, so that no rule could be about it.
    pub fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Id => is_id(value),
            Self::Words => listed(value).all(is_word),
            Self::Date => is_date(value),
            Self::Tags => are_tags(value),
            Self::Token => is_token(value),
            Self::Pairs => listed(value).all(is_pair),
            Self::Host => is_host(value),
            Self::Brands => listed(value).all(is_brand),
        }
    }
}

/// What is judged of credentials (RFC 9110, 11.4).
#[derive(Debug, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing: a token, with a scheme before it or not.
    Token,
    /// The user name of `Basic`. Services look it up, in whatever way. The password they only compare, and people are told to fill it with
    /// signs: nobody looks at it.
    User(Vec<u8>),
    /// The whole: parameters, or what has no form at all.
    Text(&'a [u8]),
}

/// What is judged of a value of `authorization`.
pub fn credentials(value: &[u8]) -> Credentials<'_> {
    /// Longer words are no scheme.
    const LONGEST_SCHEME: usize = 20;
    let value = trimmed(value);
    let space = value.iter().take(LONGEST_SCHEME + 1).position(|&b| b == b' ');
    let (scheme, token) = match space {
        Some(space) => (part(value, 0, space), trimmed(rest(value, space))),
        None => (&b""[..], value),
    };
    if scheme.eq_ignore_ascii_case(b"basic") {
        // Lenient readers skip what is no base64.
        let sure: Cow<'_, [u8]> = match all_in(token, ALNUM | DASH | SLASH | EQUALS | PLUS) {
            true => Cow::Borrowed(token),
            false => token.iter().copied().filter(|&b| class(b) & (ALNUM | DASH | SLASH | PLUS) != 0).collect(),
        };
        let mut user = Vec::new();
        base64::prefix(&sure, &mut user);
        user.truncate(user.iter().position(|&b| b == b':').unwrap_or(user.len()));
        return Credentials::User(user);
    }
    match all_in(scheme, ALNUM | DASH) && is_token(token) {
        true => Credentials::Token,
        false => Credentials::Text(value),
    }
}

const ALNUM: u8 = 1;
/// `-` and `_`.
const DASH: u8 = 2;
const DOT: u8 = 4;
const SLASH: u8 = 8;
const EQUALS: u8 = 16;
/// `+` and `~`.
const PLUS: u8 = 32;
const COLON: u8 = 64;
/// `@` and `*`.
const STATE: u8 = 128;

const fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => ALNUM,
        b'-' | b'_' => DASH,
        b'.' => DOT,
        b'/' => SLASH,
        b'=' => EQUALS,
        b'+' | b'~' => PLUS,
        b':' => COLON,
        b'@' | b'*' => STATE,
        _ => 0,
    }
}

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
        {
            table[byte] = class(byte as u8);
        }
        byte += 1;
    }
    table
};

/// The classes of all bytes of a text; `None` if one has none.
fn classes(text: &[u8]) -> Option<u8> {
    let (mut all, mut is_odd) = (0, false);
    for &byte in text {
        #[allow(clippy::indexing_slicing)]
        {
            // A byte is always below 256, so the compiler drops the check.
            let class = CLASSES[usize::from(byte)];
            all |= class;
            is_odd |= class == 0;
        }
    }
    (!is_odd).then_some(all)
}

fn all_in(text: &[u8], known: u8) -> bool {
    classes(text).is_some_and(|seen| seen & !known == 0)
}

/// What stands between commas, without one blank behind each.
fn listed(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(|item| item.strip_prefix(b" ").unwrap_or(item))
}

fn is_word(item: &[u8]) -> bool {
    let mut pieces = item.split(|&b| b == b';').map(trimmed);
    pieces.next().is_some_and(|word| word == b"*" || all_in(word, ALNUM | DASH | EQUALS))
        && pieces.all(|parameter| parameter.contains(&b'=') && all_in(parameter, ALNUM | DASH | DOT | EQUALS))
}

/// Tracers cut their values with semicolons.
fn is_pair(item: &[u8]) -> bool {
    item.split(|&b| b == b';').all(|piece| all_in(piece, ALNUM | DASH | DOT | EQUALS | PLUS | COLON | STATE))
}

fn is_id(value: &[u8]) -> bool {
    let is_id = value.len() <= 64 && value.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b'-'));
    let is_addresses = || value.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b',' | b' '));
    matches!(value, b"http" | b"https") || (is_id && !value.windows(2).any(|two| two == b"--")) || is_addresses()
}

/// `token68` (RFC 9110, 11.2): base64, or base64url in parts with dots between, as JWTs are. Both at once it is not (that would be a path
/// of a file), and it begins like no serialised object of Java or .NET.
fn is_token(value: &[u8]) -> bool {
    let end = value.iter().rposition(|&b| b != b'=').map_or(0, |last| last + 1);
    let seen = classes(part(value, 0, end));
    let is_one = |seen: u8| seen & !(ALNUM | DASH | DOT | SLASH | PLUS) == 0 && seen & (DOT | SLASH) != DOT | SLASH;
    seen.is_some_and(is_one)
        && !matches!(at(value, 0), b'/')
        && !value.starts_with(b"rO0")
        && !value.starts_with(b"AAEAAAD")
}

fn is_date(value: &[u8]) -> bool {
    const FORM: &[u8] = b"aaa, 00 aaa 0000 00:00:00 aaa";
    value.len() == FORM.len()
        && value.iter().zip(FORM).all(|(byte, form)| match form {
            b'a' => byte.is_ascii_alphabetic(),
            b'0' => byte.is_ascii_digit(),
            sign => byte == sign,
        })
}

/// Services make tags of what they like; those with `;` and `|` in them are of a version and a coding (`"1f-5c;gzip"`), never of a path.
fn are_tags(value: &[u8]) -> bool {
    let is_plain = |opaque: &[u8]| {
        let mut pieces = opaque.split(|b| matches!(b, b';' | b'|')).map(classes);
        let seen = pieces.try_fold(0, |seen, piece| piece.map(|piece| seen | piece));
        let is_cut = opaque.iter().any(|b| matches!(b, b';' | b'|'));
        seen.is_some_and(|seen| seen & SLASH == 0 || (seen & (DOT | COLON) == 0 && !is_cut))
    };
    let is_tag = |tag: &[u8]| {
        let opaque = tag.strip_prefix(b"W/").unwrap_or(tag).strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\""));
        tag == b"*" || opaque.is_some_and(is_plain)
    };
    listed(value).all(is_tag)
}

/// A name and a version; one name is there to keep readers from guessing, with signs between its words that change from version to version.
fn is_brand(item: &[u8]) -> bool {
    let inner = item.strip_prefix(b"\"").and_then(|item| item.strip_suffix(b"\"")).unwrap_or_default();
    let Some(end) = find(inner, b"\";v=\"", 0) else { return false };
    let (name, version) = (part(inner, 0, end), rest(inner, end + 5));
    let is_name = || name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b' ');
    let is_noise = || {
        let letters = name.iter().filter(|b| b.is_ascii_alphabetic());
        letters.eq(b"NotABrand".iter()) && name.iter().all(|b| b.is_ascii_alphabetic() || b" ():-./;=?_".contains(b))
    };
    all_in(version, ALNUM | DOT) && (is_name() || is_noise())
}

fn is_host(value: &[u8]) -> bool {
    let is_name = || all_in(value, ALNUM | DASH | DOT | PLUS | COLON);
    let is_address = || {
        let address = value.strip_prefix(b"[").unwrap_or_default();
        address.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.' | b']')) && !address.is_empty()
    };
    is_name() || is_address()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case() {
        assert_eq!(kind(b"User-Agent"), HeaderKind::UserAgent);
        assert_eq!(kind(b"COOKIE"), HeaderKind::Cookie);
        assert_eq!(kind(b"Authorization"), HeaderKind::Credentials);
        assert_eq!(kind(b"x-client-version"), HeaderKind::Other);
        assert_eq!(kind(&[b'a'; 200]), HeaderKind::Other);
        assert_eq!(kind(b""), HeaderKind::Other);
    }

    #[test]
    fn only_its_own_form_keeps_a_header_from_being_judged() {
        let long = "a".repeat(65);
        let cases: &[(Form, &[&str], &[&str])] = &[
            (
                Form::Id,
                &[
                    "0b1a4c8e-9f5d-4c7a-8c34-7a6d5e4f3b2a",
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                    "192.0.2.7, 10.0.0.1",
                    "https",
                    "",
                ],
                &["1 or 1=1", "a--", "0b1a4c8e'", "192.0.2.7; id", "javascript", "2001:db8::1", "a b", &long],
            ),
            (
                Form::Words,
                &[
                    "gzip, deflate, br, zstd",
                    "gzip;q=1.0, *; q=0",
                    "same-origin",
                    "no-cache,max-age=0",
                    "HTTP2-Settings",
                    "",
                ],
                &["gzip;id", "gzip;id -a=b", "a b", "a or 1=1", "a=1 --", "${jndi:ldap://x}", "?1", "../a", "a'b"],
            ),
            (
                Form::Date,
                &["Tue, 15 Nov 1994 08:12:31 GMT"],
                &[
                    "Tuesday, 15-Nov-94 08:12:31 GMT",
                    "Tue, 15 Nov 1994 08:12:31 GMT'",
                    "",
                    "now",
                    "aaa, 00 aaa 0000 00:00:00 a;a",
                ],
            ),
            (
                Form::Tags,
                &[
                    "*",
                    "\"2d-432a5e4a73a80\"",
                    "W/\"67ab43\", \"54ed21\",W/\"7892dd\"",
                    "\"a--gzip\"",
                    "\"1234:5678\"",
                    "\"aGk/+A==\"",
                    "\"a;gzip\"",
                    "\"1|2\"",
                ],
                &[
                    "\"a\" or \"b\"",
                    "\"../../etc/passwd\"",
                    "\"http://a\"",
                    "a",
                    "\"a",
                    "\"<b>\"",
                    "\"${a}\"",
                    "\"1;/bin/id\"",
                ],
            ),
            (
                Form::Token,
                &["eyJhbGciOiJub25lIn0.e30.", "abc_-9", "dGhlIHNhbXBsZSBub25jZQ==", "a//b+c", ""],
                &["../../etc/passwd", "/etc/passwd", "a b", "a=b", "rO0ABXNy", "AAEAAAD/////", "a:b", "${a}", "a'"],
            ),
            (
                Form::Pairs,
                &["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a@b=1:2, c=d", "dd=s:2;o:rum"],
                &["dd=s:2; id", "a=/etc/passwd", "a=${jndi}", "a=b c"],
            ),
            (
                Form::Brands,
                &[
                    "\"Chromium\";v=\"138\", \"Not)A;Brand\";v=\"8.0.0.0\"",
                    "\" Not A;Brand\";v=\"99\"",
                    "\"Opera GX\";v=\"1\"",
                ],
                &[
                    "\"a;id\";v=\"1\"",
                    "\"a\";v=\"1;id\"",
                    "\"<a>\";v=\"1\"",
                    "\"a\"",
                    "a",
                    "\"Not)A;Brands\";v=\"8\"",
                    "\"Not'A;Brand\";v=\"8\"",
                ],
            ),
            (
                Form::Host,
                &["api.example", "api.example:8443", "[2001:db8::1]:443", "127.0.0.1", "a_b", ""],
                &["${jndi:ldap://x}", "a/b", "a b", "[x]", "[::1]'", "a@b"],
            ),
        ];
        for (form, fitting, other) in cases {
            for value in *fitting {
                assert!(form.fits(value.as_bytes()), "{form:?} {value}");
            }
            for value in *other {
                assert!(!form.fits(value.as_bytes()), "{form:?} {value}");
            }
        }
    }

    #[test]
    fn of_credentials_a_token_is_left_alone_and_a_user_name_is_judged() {
        let user = |name: &str| Credentials::User(name.as_bytes().to_vec());
        for (value, judged) in [
            ("Bearer eyJhbGciOiJub25lIn0.e30.c2ln", Credentials::Token),
            ("DPoP abc.def.ghi", Credentials::Token),
            ("Negotiate YIIZ+/8=", Credentials::Token),
            ("s3cret-key", Credentials::Token),
            ("", Credentials::Token),
            ("Basic YWxpY2U6cyczY3JldA==", user("alice")),
            ("basic  YWxpY2U6cyczY3JldA", user("alice")),
            ("Basic J29yIDE9MS0tOng=", user("'or 1=1--")),
            ("Basic J29y.IDE9!MS0tOng=", user("'or 1=1--")),
            ("Basic YWxpY2U=", user("alice")),
            ("Basic", Credentials::Token),
            ("Bearer ${jndi:ldap://a}", Credentials::Text(b"Bearer ${jndi:ldap://a}")),
            ("Bearer ../../etc/passwd", Credentials::Text(b"Bearer ../../etc/passwd")),
            ("'a b", Credentials::Text(b"'a b")),
            ("Digest username=\"a\"", Credentials::Text(b"Digest username=\"a\"")),
        ] {
            assert_eq!(credentials(value.as_bytes()), judged, "{value}");
        }
    }
}
