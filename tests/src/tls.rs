//! TLS of the demo parties: rustls with the demo authority; services that let only the gateway in.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::pki::{GATEWAY_NAME, Pki};

/// A server that shows the certificate of `name` and asks for none.
///
/// # Errors
/// The certificate cannot be read.
pub fn server(pki: &Pki, name: &str) -> Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    finish_server(builder.with_no_client_auth(), pki, name)
}

/// A server that shows the certificate of `name` and completes no handshake without the gateway's client certificate.
///
/// # Errors
/// The certificates cannot be read.
pub fn server_for_gateway_only(pki: &Pki, name: &str) -> Result<Arc<ServerConfig>> {
    let chain = WebPkiClientVerifier::builder_with_provider(roots(pki)?.into(), provider()).build()?;
    let verifier = GatewayOnly { chain, expected: ServerName::try_from(GATEWAY_NAME)? };
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    finish_server(builder.with_client_cert_verifier(Arc::new(verifier)), pki, name)
}

/// A client that trusts the demo authority alone; `identity` names the client certificate, if one is shown.
///
/// # Errors
/// The certificates cannot be read.
pub fn client(pki: &Pki, identity: Option<&str>, alpn: &[&str]) -> Result<Arc<ClientConfig>> {
    let mut config = client_config(pki, identity.map(|name| (pki, name)))?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client that trusts `pki`, and shows the certificate `name` of another authority.
///
/// # Errors
/// The certificates cannot be read.
pub fn client_of_another_authority(pki: &Pki, other: &Pki, name: &str) -> Result<Arc<ClientConfig>> {
    Ok(Arc::new(client_config(pki, Some((other, name)))?))
}

fn client_config(trusted: &Pki, identity: Option<(&Pki, &str)>) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(trusted)?);
    Ok(match identity {
        None => builder.with_no_client_auth(),
        Some((pki, name)) => {
            let (certificate, key) = read_identity(pki, name)?;
            builder.with_client_auth_cert(vec![certificate], key)?
        }
    })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn finish_server(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    pki: &Pki,
    name: &str,
) -> Result<Arc<ServerConfig>> {
    let (certificate, key) = read_identity(pki, name)?;
    let mut config = builder.with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(pki: &Pki) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(read_certificate(&pki.ca())?)?;
    Ok(roots)
}

fn read_identity(pki: &Pki, name: &str) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let path = pki.key(name);
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|e| anyhow!("{e}"));
    Ok((read_certificate(&pki.certificate(name))?, key.with_context(|| format!("cannot read {}", path.display()))?))
}

/// The certificate in a file, PEM.
///
/// # Errors
/// It cannot be read.
pub fn read_certificate(path: &Path) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(path)
        .map_err(|e| anyhow!("{e}"))
        .with_context(|| format!("cannot read {}", path.display()))
}

/// Accepts a client whose certificate comes from the authority **and** carries the gateway's name.
#[derive(Debug)]
struct GatewayOnly {
    chain: Arc<dyn ClientCertVerifier>,
    expected: ServerName<'static>,
}

impl ClientCertVerifier for GatewayOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let named = webpki::EndEntityCert::try_from(end_entity)
            .and_then(|certificate| certificate.verify_is_valid_for_subject_name(&self.expected));
        match named {
            Ok(()) => Ok(verified),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
