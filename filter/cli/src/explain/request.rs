//! The request to judge.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use portcullis_engine::ports::{self, CertificateField};

/// What the proxy would know about the request.
#[derive(Debug)]
pub struct Attributes {
    /// The client's address.
    pub address: IpAddr,
    /// The policy that the route names.
    pub route_policy: Option<Vec<u8>>,
    /// The name of the route.
    pub route_name: Option<String>,
    /// The policy that the virtual host's metadata name.
    pub virtual_host_policy: Option<String>,
    /// The names in the client's certificate, which the proxy has verified; empty: there is none.
    pub certificate: BTreeMap<String, String>,
}

/// The fields of a certificate that can be given.
pub const CERTIFICATE_FIELDS: [&str; 4] = ["uri_san", "dns_san", "subject", "sha256"];

impl ports::Attributes for Attributes {
    fn source_address(&self) -> Option<IpAddr> {
        Some(self.address)
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        self.route_name.as_ref().map(|name| name.clone().into_bytes())
    }

    fn virtual_host_policy(&self) -> Option<Vec<u8>> {
        self.virtual_host_policy.as_ref().map(|policy| policy.clone().into_bytes())
    }

    fn client_certificate_is_verified(&self) -> bool {
        !self.certificate.is_empty()
    }

    fn client_certificate(&self, field: CertificateField) -> Option<Vec<u8>> {
        let [uri_san, dns_san, subject, sha256] = CERTIFICATE_FIELDS;
        let name = match field {
            CertificateField::UriSan => uri_san,
            CertificateField::DnsSan => dns_san,
            CertificateField::Subject => subject,
            CertificateField::Sha256 => sha256,
        };
        self.certificate.get(name).map(|value| value.clone().into_bytes())
    }

    fn route_policy(&self) -> Option<Vec<u8>> {
        self.route_policy.clone()
    }
}

/// The request's header map in the ABI's serialised form.
///
/// # Errors
/// The request is not METHOD TARGET, or a header not NAME: VALUE.
pub fn headers(request: &str, headers: &[String], token: Option<&str>) -> Result<Vec<u8>> {
    let (method, target) = request.split_once(' ').context("--request is METHOD TARGET, such as 'GET /orders/1'")?;
    let mut lines: Vec<(String, String)> = Vec::new();
    for header in headers {
        // A pseudo-header begins with a colon of its own.
        let colon = header.char_indices().skip(1).find(|(_, c)| *c == ':').map(|(at, _)| at);
        let split = colon.and_then(|at| Some((header.get(..at)?, header.get(at.checked_add(1)?..)?)));
        let (name, value) = split.with_context(|| format!("{header:?} is not NAME: VALUE"))?;
        lines.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    // Envoy makes `:authority` of `host`.
    let host = lines.iter().position(|(name, _)| name == "host").map(|at| lines.remove(at).1);
    let given: Vec<String> = lines.iter().map(|(name, _)| name.clone()).collect();
    let usual = [
        (":method", method.to_owned()),
        (":path", target.trim().to_owned()),
        (":scheme", "https".to_owned()),
        (":authority", host.unwrap_or_else(|| "localhost".to_owned())),
    ];
    let usual = usual.into_iter().filter(|(name, _)| !given.iter().any(|given| given == name));
    let mut all: Vec<(String, String)> = usual.map(|(name, value)| (name.to_owned(), value)).collect();
    all.append(&mut lines);
    all.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
    serialised(&all)
}

/// `pairs` as the host hands header maps over: a count, the lengths, then names and values, each with a NUL behind it.
///
/// # Errors
/// They are larger than 4 GiB.
pub fn serialised<T: AsRef<[u8]>>(pairs: &[(T, T)]) -> Result<Vec<u8>> {
    let mut buffer = u32::try_from(pairs.len())?.to_le_bytes().to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        buffer.extend(u32::try_from(text.as_ref().len())?.to_le_bytes());
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        buffer.extend_from_slice(text.as_ref());
        buffer.push(0);
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_engine::http::Headers;

    #[test]
    fn the_request_has_what_envoy_would_add() {
        let map = headers("GET /a?b=1", &["Host: x.test".to_owned(), "X-A:  1:2 ".to_owned()], Some("t")).unwrap();
        let map = Headers::from_pairs_buffer(map).unwrap();
        for (name, value) in [
            (":method", "GET"),
            (":path", "/a?b=1"),
            (":scheme", "https"),
            (":authority", "x.test"),
            ("x-a", "1:2"),
            ("authorization", "Bearer t"),
        ] {
            assert_eq!(map.text(name).unwrap(), Some(value), "{name}");
        }
        assert_eq!(map.len(), 6);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert!(headers("/a", &[], None).is_err());
        assert!(headers("GET /a", &["x".to_owned()], None).is_err());
    }
}
