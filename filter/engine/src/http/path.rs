//! The path of a request: the one normaliser, shared by rule matching and payload rules.
//!
//! A gateway and the service behind it must see the same path. What services read differently is refused before any rule
//! is read; what all read alike is brought into one form:
//!
//! | in the path | becomes |
//! |---|---|
//! | an escaped letter, digit or one of ``-._~!$&'()*+,=:@`` | the character itself: `/%6frders` is `/orders` |
//! | another escape | the escape with upper-case digits: `%c3%a9` is `%C3%A9` |
//! | one of ``"<>[]^`{}|`` as it stands | its escape |
//! | `%2f`, `\`, `%5c`, `;`, `%3b`, `//`, `.` and `..` (escaped or not), `%25` before two hexadecimal digits or `u` | refused |
//! | control bytes, DEL and spaces; `%00` to `%1F`, `%7F`, escaped U+0080 to U+009F | refused |
//! | bytes above 0x7F, escapes that are not UTF-8 (overlong forms among them), broken escapes | refused |
//! | `#`, `http://host/..`, an empty target, `*` except for OPTIONS | refused |
//!
//! Case is significant, and so is a final slash: `/orders` and `/orders/` are two paths. A service that takes them for one
//! needs a rule for both (`/orders/**` matches both).

use std::borrow::Cow;
use std::fmt;

use crate::answer::Reason;

use super::bytes::{ByteSet, UNRESERVED, escaped_byte, push_escape, unescape};
use super::head::split_query;

/// A path in its one form, with the query as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    path: Cow<'a, str>,
    query: Option<Cow<'a, [u8]>>,
}

/// What [`RequestPath::parse_with`] lets pass beyond the strict default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathOptions {
    /// The longest target with its query, in bytes.
    pub max_bytes: usize,
    /// Whether an escaped character that needs no escape (`%61` for `a`) is resolved, or refused. A proxy that routes by
    /// the path as it was sent would route `/%61dmin` elsewhere than `/admin`, and the policy must not drift from it.
    pub resolve_unreserved: bool,
    /// Whether `*` is a target: for OPTIONS only (RFC 9112, section 3.2.4).
    pub asterisk_form: bool,
}

impl Default for PathOptions {
    fn default() -> Self {
        Self { max_bytes: 8192, resolve_unreserved: true, asterisk_form: false }
    }
}

impl<'a> RequestPath<'a> {
    /// Reads a request target strictly, up to 8 KiB. Copies nothing where the path is already in its one form.
    ///
    /// # Errors
    /// [`PathError`] where two servers could read the path differently.
    pub fn parse(target: &'a [u8]) -> Result<Self, PathError> {
        Self::parse_with(target, &PathOptions::default())
    }

    /// Reads a request target under `options`.
    ///
    /// # Errors
    /// [`PathError`] where two servers could read the path differently.
    pub fn parse_with(target: &'a [u8], options: &PathOptions) -> Result<Self, PathError> {
        if target.len() > options.max_bytes {
            return Err(PathError::TooLong);
        }
        if target == b"*" && options.asterisk_form {
            return Ok(Self { path: Cow::Borrowed("*"), query: None });
        }
        if target.first() != Some(&b'/') {
            return Err(PathError::TargetForm);
        }
        let (path, query) = split_query(target);
        check_query(query.unwrap_or_default())?;
        let (path, resolved) = match str::from_utf8(path) {
            Ok(plain) if PLAIN.has_all(path) => (Cow::Borrowed(plain), false),
            _ => {
                let (path, resolved) = normalise(path)?;
                (Cow::Owned(path), resolved)
            }
        };
        check_segments(&path)?;
        if resolved && !options.resolve_unreserved {
            return Err(PathError::EncodedUnreserved);
        }
        Ok(Self { path, query: query.map(Cow::Borrowed) })
    }

    /// The same path on memory of its own.
    pub fn into_owned(self) -> RequestPath<'static> {
        RequestPath { path: Cow::Owned(self.path.into_owned()), query: self.query.map(|q| Cow::Owned(q.into_owned())) }
    }

    /// The path in its one form: ASCII, begins with `/` (or is `*`).
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// Whether the target is `*`: the server as a whole, no path of it.
    pub fn is_asterisk(&self) -> bool {
        self.path == "*"
    }

    /// The segments in their one form. `/` has one empty segment; a final slash gives an empty last one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'))
    }

    /// What each segment stands for.
    pub fn decoded_segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.segments().map(decode_segment)
    }

    /// The query as it was sent, without its `?`; `None` where there is none.
    pub fn query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }
}

/// What a segment of a [`RequestPath`] stands for, such as `é` for `%C3%A9`. It holds no slash and no control character.
pub fn decode_segment(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    // The path's escapes are UTF-8 as a whole, and no character spans a slash; a lossy reading changes nothing.
    let bytes = unescape(segment.as_bytes(), false);
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Why a path is refused, always with status 400: servers disagree on what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathError {
    /// `%2F`: some servers see a separator, some a character (CWE-177).
    EncodedSlash,
    /// `\` or `%5C`: some servers see a slash.
    Backslash,
    /// A segment `.` or `..`, escaped or not (CWE-22).
    DotSegment,
    /// `;` or `%3B`: some servers cut a segment there (CVE-2021-29492 and its kin).
    Parameters,
    /// `%25` before what reads as an escape once more (CWE-174).
    DoubleEncoded,
    /// A control byte or a space, or an escaped control character (CWE-158).
    ControlByte,
    /// An escape of an unreserved character (RFC 3986, section 6.2.2.2), where [`PathOptions`] does not resolve it.
    EncodedUnreserved,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// Escapes that are not UTF-8, overlong forms among them (CWE-176).
    BadUtf8,
    /// A byte above 0x7F that is not escaped.
    NonAscii,
    /// `//`: some servers merge slashes.
    EmptySegment,
    /// `#`: a fragment is never sent (RFC 9110, section 7.1).
    Fragment,
    /// Neither a path that begins with `/`, nor `*` where that is allowed.
    TargetForm,
    /// Longer than [`PathOptions::max_bytes`].
    TooLong,
}

impl PathError {
    /// The reason that logs, counters and the client get.
    pub fn reason(self) -> Reason {
        match self {
            Self::EncodedSlash => Reason::PathEncodedSlash,
            Self::Backslash => Reason::PathBackslash,
            Self::DotSegment => Reason::PathDotSegment,
            Self::Parameters => Reason::PathParameters,
            Self::DoubleEncoded => Reason::PathDoubleEncoded,
            Self::ControlByte => Reason::PathControlByte,
            Self::EncodedUnreserved => Reason::PathEncodedUnreserved,
            Self::BadEscape => Reason::PathBadEscape,
            Self::BadUtf8 => Reason::PathBadUtf8,
            Self::NonAscii => Reason::PathNonAscii,
            Self::EmptySegment => Reason::PathEmptySegment,
            Self::Fragment => Reason::PathFragment,
            Self::TargetForm => Reason::TargetForm,
            Self::TooLong => Reason::PathTooLong,
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().description())
    }
}

impl std::error::Error for PathError {}

/// What stands for itself in the one form: `unreserved`, `sub-delims` without `;`, `:`, `@` and the separator.
static PLAIN: ByteSet = ByteSet::letters_digits_and(b"-._~/!$&'()*+,=:@");

fn check_query(query: &[u8]) -> Result<(), PathError> {
    for &byte in query {
        match byte {
            0..=b' ' | 0x7f => return Err(PathError::ControlByte),
            b'#' => return Err(PathError::Fragment),
            _ => {}
        }
    }
    Ok(())
}

fn check_segments(path: &str) -> Result<(), PathError> {
    #[derive(Clone, Copy)]
    enum Segment {
        Empty,
        OneDot,
        TwoDots,
        Name,
    }
    use Segment::{Empty, Name, OneDot, TwoDots};
    let mut segment = Name;
    for byte in path.bytes() {
        segment = match (byte, segment) {
            (b'/', Empty) => return Err(PathError::EmptySegment),
            (b'/', OneDot | TwoDots) => return Err(PathError::DotSegment),
            (b'/', Name) => Empty,
            (b'.', Empty) => OneDot,
            (b'.', OneDot) => TwoDots,
            _ => Name,
        };
    }
    if matches!(segment, OneDot | TwoDots) { Err(PathError::DotSegment) } else { Ok(()) }
}

/// The path's one form, and whether an escape of an unreserved character was resolved on the way.
fn normalise(path: &[u8]) -> Result<(String, bool), PathError> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    let mut has_high_bytes = false;
    let mut resolved = false;
    while let Some(byte) = bytes.next() {
        let escaped = byte == b'%';
        let value = if escaped { escaped_byte(bytes.next(), bytes.next()).ok_or(PathError::BadEscape)? } else { byte };
        match value {
            b'/' if escaped => return Err(PathError::EncodedSlash),
            b'\\' => return Err(PathError::Backslash),
            b';' => return Err(PathError::Parameters),
            b'#' if !escaped => return Err(PathError::Fragment),
            b' ' if escaped => out.push_str("%20"),
            0..=b' ' | 0x7f => return Err(PathError::ControlByte),
            0x80.. if !escaped => return Err(PathError::NonAscii),
            plain if PLAIN.has(plain) => {
                resolved |= escaped && UNRESERVED.has(plain);
                out.push(char::from(plain));
            }
            other => {
                has_high_bytes |= other >= 0x80;
                push_escape(&mut out, other);
            }
        }
    }
    if reads_as_escaped_again(&out) {
        return Err(PathError::DoubleEncoded);
    }
    if has_high_bytes {
        let text = String::from_utf8(unescape(out.as_bytes(), false)).map_err(|_| PathError::BadUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(PathError::ControlByte);
        }
    }
    Ok((out, resolved))
}

/// Whether a second decoding would change `path`, a path with its plain characters decoded: so `%25%32%66` is seen too.
fn reads_as_escaped_again(path: &str) -> bool {
    // In this form every `%` begins an escape, so a match is never out of step.
    path.split("%25").skip(1).any(|behind| {
        let mut next = behind.bytes();
        let first = next.next();
        matches!(first, Some(b'u' | b'U')) || escaped_byte(first, next.next()).is_some()
    })
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
