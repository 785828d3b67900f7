//! What a condition is about: one request, and who sends it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::error::Fault;
use super::expression::Attribute;
use super::value::Value;
use crate::claims::Claims;
use crate::http::{RequestHead, RequestPath, query};
use crate::matching::PathPattern;
use crate::ports::{Attributes, CertificateField};
use crate::time::UnixNanos;

/// A request and its sender, as conditions see them. What costs a call to the host is asked for when it is needed.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The request's head.
    pub head: &'a RequestHead,
    /// Its path in its one form.
    pub path: &'a RequestPath<'a>,
    /// The pattern of the rule's `match.path`; `None` where the rule has none.
    pub pattern: Option<&'a PathPattern>,
    /// What is said of the caller; `None` where nobody is identified.
    pub claims: Option<&'a Claims>,
    /// The provider that vouches for the caller.
    pub provider: Option<&'a str>,
    /// The client's address.
    pub address: &'a dyn Fn() -> Option<IpAddr>,
    /// What the proxy knows beside it.
    pub attributes: &'a dyn Attributes,
    /// Whether a header (its name in lower case) is one that only the gateway sets: what a client says there is removed later, and
    /// counts for nothing here.
    pub is_identity_header: &'a dyn Fn(&[u8]) -> bool,
    /// When the request is judged.
    pub now: UnixNanos,
}

impl<'a> Subject<'a> {
    pub(super) fn attribute(&self, attribute: Attribute) -> Result<Value<'a>, Fault> {
        let head = self.head;
        Ok(match attribute {
            Attribute::Method => Value::text(head.method().as_str()),
            Attribute::Host => Value::text(head.host()),
            Attribute::Scheme => Value::text(if head.is_https() { "https" } else { "http" }),
            Attribute::UrlPath => Value::text(self.path.as_str()),
            Attribute::FullPath => match self.path.query() {
                None => Value::text(self.path.as_str()),
                Some(query) => {
                    let query = str::from_utf8(query).map_err(|_| Fault::NotText)?;
                    Value::Text(Cow::Owned(format!("{}?{query}", self.path.as_str())))
                }
            },
            Attribute::RawQuery => {
                Value::text(str::from_utf8(self.path.query().unwrap_or_default()).map_err(|_| Fault::NotText)?)
            }
            Attribute::Time => Value::Timestamp(i128::from(self.now.0)),
            Attribute::RequestId => Value::text(self.header("x-request-id")?.ok_or(Fault::NotKnown("request.id"))?),
            Attribute::SourceAddress => {
                let address = (self.address)().ok_or(Fault::NotKnown("source.address"))?;
                Value::Text(Cow::Owned(address.to_canonical().to_string()))
            }
            Attribute::Mtls => Value::Bool(self.attributes.client_certificate_is_verified()),
            Attribute::UriSan => self.certificate(CertificateField::UriSan)?,
            Attribute::DnsSan => self.certificate(CertificateField::DnsSan)?,
            Attribute::CertificateSubject => self.certificate(CertificateField::Subject)?,
            Attribute::CertificateSha256 => self.certificate(CertificateField::Sha256)?,
            Attribute::Provider => Value::text(self.provider.ok_or(Fault::NotKnown("auth.provider"))?),
        })
    }

    /// A field of the certificate, if the proxy has verified it.
    fn certificate(&self, field: CertificateField) -> Result<Value<'a>, Fault> {
        const NONE: Fault = Fault::NotKnown("a verified client certificate with this field");
        if !self.attributes.client_certificate_is_verified() {
            return Err(NONE);
        }
        let bytes = self.attributes.client_certificate(field).filter(|bytes| !bytes.is_empty()).ok_or(NONE)?;
        String::from_utf8(bytes).map(|text| Value::Text(Cow::Owned(text))).map_err(|_| Fault::NotText)
    }

    /// The one value of a header.
    pub(super) fn header(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        if name.starts_with(':') || (self.is_identity_header)(name.as_bytes()) {
            return Ok(None);
        }
        let value = self.head.headers().single(name).map_err(|_| Fault::Repeated)?;
        value.map(|value| str::from_utf8(value).map_err(|_| Fault::NotText)).transpose()
    }

    /// The one value of a query parameter, decoded.
    pub(super) fn parameter(&self, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        let pairs = query::pairs(self.path.query().unwrap_or_default());
        let mut values = pairs.filter(|(key, _)| *query::decode(key) == *name.as_bytes()).map(|(_, value)| value);
        let Some(first) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Fault::Repeated);
        }
        let text = match query::decode(first) {
            Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes).map_err(|_| Fault::NotText)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| Fault::NotText)?),
        };
        Ok(Some(text))
    }

    /// What a variable of the rule's path stands for, decoded.
    pub(super) fn path_variable(&self, name: &str) -> Option<Cow<'a, str>> {
        let (pattern, path) = (self.pattern?, self.path);
        pattern.captures(path).find_map(|(known, value)| (known == name).then_some(value))
    }
}
