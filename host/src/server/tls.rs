//! Certificates of a listener: read, checked, and chosen by the name that a client asks for (SNI).

mod certificate;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};

use crate::config::Certificate;
use crate::pem::{self, PemError};

/// Reads the certificates of a listener and makes what handshakes need. HTTP/2 and HTTP/1.1 are offered by ALPN, no
/// early data is taken, and sessions are resumed by tickets with keys that live as long as this value.
///
/// # Errors
/// The first file with a fault: not to be read, no certificate, a key of another certificate, a time that is over or has
/// not begun.
pub fn load(certificates: &[Certificate]) -> Result<Arc<ServerConfig>, PemError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let names = Names::load(certificates, &provider)?;
    let fault = |error: rustls::Error| PemError::new(Path::new(""), error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(fault)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(names));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(fault)?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Certificates by the names in them.
struct Names {
    first: Arc<CertifiedKey>,
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// `*.example.com` is kept as `example.com`.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl Names {
    fn load(certificates: &[Certificate], provider: &CryptoProvider) -> Result<Self, PemError> {
        let mut exact = HashMap::new();
        let mut wildcard = HashMap::new();
        let mut first = None;
        for certificate in certificates {
            let key = Arc::new(read(certificate, provider)?);
            let end = key.cert.first().ok_or_else(|| PemError::new(&certificate.certificate, "is empty"))?;
            let names = certificate::names(end).map_err(|problem| PemError::new(&certificate.certificate, problem))?;
            for name in names {
                // Of two that are for the same name, the one that is written first wins.
                match name.strip_prefix("*.") {
                    Some(rest) => _ = wildcard.entry(rest.into()).or_insert_with(|| key.clone()),
                    None => _ = exact.entry(name.into()).or_insert_with(|| key.clone()),
                }
            }
            first.get_or_insert(key);
        }
        let first = first.ok_or_else(|| PemError::new(Path::new(""), "a listener with TLS needs a certificate"))?;
        Ok(Self { first, exact, wildcard })
    }

    /// The certificate for a name in lower case: its own, that of its wildcard, else the first of all.
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has checked the name and brought it into lower case.
        Some(hello.server_name().map_or(&self.first, |name| self.find(name)).clone())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("exact", &self.exact.keys()).field("wildcard", &self.wildcard.keys()).finish()
    }
}

fn read(files: &Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, PemError> {
    let chain = pem::certificates(&files.certificate)?;
    let now = SystemTime::now();
    for (place, certificate) in chain.iter().enumerate() {
        let fault = |problem| PemError::new(&files.certificate, format!("certificate {}: {problem}", place + 1));
        certificate::valid_at(certificate, now).map_err(fault)?;
    }
    let key = pem::private_key(&files.key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            PemError::new(&files.key, format!("is not the key of {}", files.certificate.display()))
        }
        rustls::Error::InvalidCertificate(_) => PemError::new(&files.certificate, error.to_string()),
        error => PemError::new(&files.key, format!("is not a key that we can sign with: {error}")),
    })
}

#[cfg(test)]
mod tests;
