//! The checked form of an expression: names are resolved, types agree as far as they are known.

use portcullis_pattern::Pattern;

use super::parser::Operator;
use super::value::Value;

/// A checked node.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub column: u32,
    pub kind: Kind,
}

/// What a checked node does.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text(Box<str>),
    /// A constant other than text; a call on constants may have become one.
    Fixed(Value<'static>),
    Attribute(Attribute),
    Root(Root),
    /// The variable of a macro, by its number.
    Local(usize),
    Member(Box<Expression>, Box<str>),
    Index(Box<Expression>, Box<Expression>),
    Has(Box<Expression>, Box<str>),
    HasAttribute(Attribute),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Equal {
        left: Box<Expression>,
        right: Box<Expression>,
        negated: bool,
    },
    Order(Operator, Box<Expression>, Box<Expression>),
    Arithmetic(Operator, Box<Expression>, Box<Expression>),
    In(Box<Expression>, Box<Expression>),
    /// Membership in a list of constants, which is never made.
    OneOf(Box<Expression>, Vec<Expression>),
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
    List(Vec<Expression>),
    Map(Vec<(Box<str>, Expression)>),
    Call(Function, Vec<Expression>),
    /// The expression is compiled already; with the length of its text.
    Matches(Box<Expression>, Pattern, usize),
    Quantified {
        quantifier: Quantifier,
        over: Box<Expression>,
        body: Box<Expression>,
    },
}

/// How many elements a macro wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

/// A map that every expression can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Claims,
    Path,
    Query,
    Headers,
}

/// A single fact about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    Method,
    Host,
    Scheme,
    FullPath,
    UrlPath,
    RawQuery,
    Time,
    RequestId,
    SourceAddress,
    Mtls,
    UriSan,
    DnsSan,
    CertificateSubject,
    CertificateSha256,
    Provider,
}

/// What is known of a value before there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// It depends on the request.
    Any,
    Null,
    Bool,
    Int,
    Double,
    Text,
    Timestamp,
    Duration,
    Ip,
    Cidr,
    List,
    Map,
}

impl Type {
    /// The type in an operator's words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Double => "a number with a fraction",
            Self::Text => "text",
            Self::Timestamp => "a timestamp",
            Self::Duration => "a duration",
            Self::Ip => "an address",
            Self::Cidr => "a range of addresses",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    /// Whether a value of this type may be one of `other`.
    pub(super) fn may_be(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }
}

/// The maps by the names that expressions give them.
pub(super) const ROOTS: &[(&str, Root)] = &[
    ("jwt", Root::Claims),
    ("auth.identity", Root::Claims),
    ("path", Root::Path),
    ("query", Root::Query),
    ("headers", Root::Headers),
    ("request.headers", Root::Headers),
];

/// The facts by the names that expressions give them: those of Envoy, and short ones.
pub(super) const ATTRIBUTES: &[(&str, Attribute, Type)] = &[
    ("method", Attribute::Method, Type::Text),
    ("host", Attribute::Host, Type::Text),
    ("now", Attribute::Time, Type::Timestamp),
    ("request.method", Attribute::Method, Type::Text),
    ("request.host", Attribute::Host, Type::Text),
    ("request.scheme", Attribute::Scheme, Type::Text),
    ("request.path", Attribute::FullPath, Type::Text),
    ("request.url_path", Attribute::UrlPath, Type::Text),
    ("request.query", Attribute::RawQuery, Type::Text),
    ("request.time", Attribute::Time, Type::Timestamp),
    ("request.id", Attribute::RequestId, Type::Text),
    ("source.address", Attribute::SourceAddress, Type::Text),
    ("connection.mtls", Attribute::Mtls, Type::Bool),
    ("connection.uri_san_peer_certificate", Attribute::UriSan, Type::Text),
    ("connection.dns_san_peer_certificate", Attribute::DnsSan, Type::Text),
    ("connection.subject_peer_certificate", Attribute::CertificateSubject, Type::Text),
    ("connection.sha256_peer_certificate_digest", Attribute::CertificateSha256, Type::Text),
    ("auth.provider", Attribute::Provider, Type::Text),
];

/// A function of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    LowerAscii,
    UpperAscii,
    ToInt,
    ToDouble,
    ToText,
    ToTimestamp,
    ToDuration,
    ToIp,
    IsIp,
    Family,
    ToCidr,
    ContainsIp,
    Part(Part),
}

/// A part of a date and its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfYear,
    DayOfWeek,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// How a function may be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature {
    pub name: &'static str,
    /// Whether the first argument stands before the point: `text.startsWith(prefix)`.
    pub is_method: bool,
    /// What each argument may be.
    pub arguments: &'static [&'static [Type]],
    /// How many of them must be there.
    pub required: usize,
    pub result: Type,
    pub function: Function,
}

const fn global(
    name: &'static str,
    arguments: &'static [&'static [Type]],
    result: Type,
    function: Function,
) -> Signature {
    Signature { name, is_method: false, arguments, required: arguments.len(), result, function }
}

const fn method(
    name: &'static str,
    arguments: &'static [&'static [Type]],
    required: usize,
    result: Type,
    function: Function,
) -> Signature {
    Signature { name, is_method: true, arguments, required, result, function }
}

const TEXT: &[Type] = &[Type::Text];
const SIZED: &[Type] = &[Type::Text, Type::List, Type::Map];
const ADDRESS: &[Type] = &[Type::Text, Type::Ip];
const TIME: &[Type] = &[Type::Timestamp];
const DATED: &[&[Type]] = &[TIME, TEXT];
const CLOCKED: &[&[Type]] = &[&[Type::Timestamp, Type::Duration], TEXT];

const fn part(name: &'static str, arguments: &'static [&'static [Type]], part: Part) -> Signature {
    method(name, arguments, 1, Type::Int, Function::Part(part))
}

/// The library: the functions of CEL that a condition needs, and those that Kubernetes has for addresses.
pub(super) const FUNCTIONS: &[Signature] = &[
    global("size", &[SIZED], Type::Int, Function::Size),
    method("size", &[SIZED], 1, Type::Int, Function::Size),
    method("startsWith", &[TEXT, TEXT], 2, Type::Bool, Function::StartsWith),
    method("endsWith", &[TEXT, TEXT], 2, Type::Bool, Function::EndsWith),
    method("contains", &[TEXT, TEXT], 2, Type::Bool, Function::Contains),
    method("lowerAscii", &[TEXT], 1, Type::Text, Function::LowerAscii),
    method("upperAscii", &[TEXT], 1, Type::Text, Function::UpperAscii),
    global("int", &[&[Type::Int, Type::Double, Type::Text, Type::Timestamp]], Type::Int, Function::ToInt),
    global("double", &[&[Type::Int, Type::Double, Type::Text]], Type::Double, Function::ToDouble),
    global("string", &[&[Type::Text, Type::Int, Type::Double, Type::Bool, Type::Ip]], Type::Text, Function::ToText),
    global("timestamp", &[&[Type::Text, Type::Int, Type::Timestamp]], Type::Timestamp, Function::ToTimestamp),
    global("duration", &[&[Type::Text, Type::Duration]], Type::Duration, Function::ToDuration),
    global("ip", &[ADDRESS], Type::Ip, Function::ToIp),
    global("isIP", &[TEXT], Type::Bool, Function::IsIp),
    method("family", &[&[Type::Ip]], 1, Type::Int, Function::Family),
    global("cidr", &[&[Type::Text, Type::Cidr]], Type::Cidr, Function::ToCidr),
    method("containsIP", &[&[Type::Cidr], ADDRESS], 2, Type::Bool, Function::ContainsIp),
    part("getFullYear", DATED, Part::FullYear),
    part("getMonth", DATED, Part::Month),
    part("getDate", DATED, Part::Date),
    part("getDayOfMonth", DATED, Part::DayOfMonth),
    part("getDayOfYear", DATED, Part::DayOfYear),
    part("getDayOfWeek", DATED, Part::DayOfWeek),
    part("getHours", CLOCKED, Part::Hours),
    part("getMinutes", CLOCKED, Part::Minutes),
    part("getSeconds", CLOCKED, Part::Seconds),
    part("getMilliseconds", CLOCKED, Part::Milliseconds),
];
