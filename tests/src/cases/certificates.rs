//! Client certificates for the cases that speak of some: real ones, of an authority that the gateway trusts or of another.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rustls::ClientConfig;
use serde_json::{Value, json};

use super::{Case, Step};
use crate::pieces::downstream_tls;
use crate::pki::{Pki, Usage};
use crate::tls;

/// The certificate that all requests of a case come with, where they name none of their own.
const OF_THE_CASE: &str = "of-the-case";

/// What the clients of one case show.
#[derive(Debug)]
pub struct Certificates {
    /// By the text that stands for a certificate in the case.
    clients: BTreeMap<String, Arc<ClientConfig>>,
    /// The certificates by that text, in DER: what `x5t` in a token is the hash of.
    pub ders: HashMap<String, Vec<u8>>,
}

impl Certificates {
    /// Makes the certificates that `case` speaks of; `None`: it speaks of none.
    ///
    /// # Errors
    /// A name in a case that these certificates cannot carry.
    pub fn new(case: &Case, trusted: &Pki, dir: &Path) -> Result<Option<Self>> {
        let facts = &case.facts;
        let mut texts: Vec<&str> = case.steps.iter().filter_map(shown).collect();
        if !facts.certificate.is_empty() {
            texts.push(OF_THE_CASE);
        }
        if texts.is_empty() {
            return Ok(None);
        }
        ensure!(facts.certificate.keys().all(|field| field == "uri_san"), "certificates are made with a uri_san only");
        let uri = facts.certificate.get("uri_san").map_or("spiffe://demo/nobody", String::as_str);
        // Who is not verified comes from an authority that the gateway does not know.
        let authority = if facts.certificate_is_verified { trusted.clone() } else { Pki::load_or_create(dir)? };
        let (mut clients, mut ders) = (BTreeMap::new(), HashMap::new());
        for text in texts {
            authority.issue(text, &[], uri, Usage::Client)?;
            clients.insert(text.to_owned(), tls::client_of_another_authority(trusted, &authority, text)?);
            ders.insert(text.to_owned(), tls::read_certificate(&authority.certificate(text))?.to_vec());
        }
        Ok(Some(Self { clients, ders }))
    }

    /// What a client does that shows the certificate `text`, or the one of the case; `None`: it shows none.
    pub fn client(&self, text: Option<&str>) -> Option<Arc<ClientConfig>> {
        self.clients.get(text.unwrap_or(OF_THE_CASE)).cloned()
    }
}

fn shown(step: &Step) -> Option<&str> {
    match step {
        Step::Exchange { request, .. } => request.certificate.as_deref(),
        _ => None,
    }
}

/// What Envoy needs to ask clients for a certificate and take whatever they show: the filter is to judge it.
pub fn transport_socket(pki: &Pki) -> Value {
    let trust = "ACCEPT_UNTRUSTED";
    downstream_tls(pki, &json!({"trusted_ca": {"filename": pki.ca()}, "trust_chain_verification": trust}))
}
