//! What verifies the other side of a TLS connection, which there is no way to leave out, and what that side is shown.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::certificate;
use crate::config::{Endpoint, TlsVersion, UpstreamTls};
use crate::pem::{self, PemError};

/// Roots, a name, and a certificate of our own, read once at load and shared by the workers.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    roots: Arc<[CertificateDer<'static>]>,
    name: Option<ServerName<'static>>,
    /// What is shown, where that is asked for.
    shown: Vec<CertificateDer<'static>>,
    oldest: TlsVersion,
}

impl Trust {
    /// Reads the roots, the system's where the configuration names none, and our certificate. We offer HTTP/1.1 alone
    /// (ALPN).
    ///
    /// # Errors
    /// A file of roots that cannot be read or has none in it, a system without any, a name that is no host name, or a
    /// certificate that cannot be shown.
    pub fn load(tls: &UpstreamTls) -> Result<Self, PemError> {
        let (certificates, file) = match &tls.roots {
            Some(file) => (pem::certificates(file)?, file.as_path()),
            None => (system()?, Path::new("")),
        };
        let name = tls.name.as_deref().map(name).transpose()?;
        let mut store = RootCertStore::empty();
        for (place, certificate) in certificates.iter().enumerate() {
            match store.add(certificate.clone()) {
                Ok(()) => {}
                // Systems ship roots that nobody can use; a file that an operator chose has to be right.
                Err(_) if tls.roots.is_none() => {}
                Err(error) => {
                    let problem = format!("certificate {} cannot be a root: {error}", place + 1);
                    return Err(PemError::new(file, problem));
                }
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = match tls.oldest {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| PemError::new(file, error.to_string()))?
            .with_root_certificates(store);
        let mut shown = Vec::new();
        let mut config = match &tls.identity {
            Some((certificate, key)) => {
                let pair = certificate::pair(certificate, key, &provider)?;
                shown.clone_from(&pair.cert);
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), roots: certificates.into(), name, shown, oldest: tls.oldest })
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The same that offers HTTP/2, and HTTP/1.1 behind it where that is as good.
    pub(super) fn config_of_http2(&self, optional: bool) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        if optional {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Arc::new(config)
    }

    /// The name that the endpoint must prove, and that it is asked for (SNI).
    pub(super) fn name_of(&self, endpoint: &Endpoint) -> Option<ServerName<'static>> {
        self.name.clone().or_else(|| server_name(endpoint).ok())
    }
}

/// Two of them are the same when they believe the same roots about the same name, and show the same certificate.
impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.roots, &self.shown, self.oldest) == (&other.name, &other.roots, &other.shown, other.oldest)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("roots", &self.roots.len()).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name of an endpoint as its certificate has to have it.
///
/// # Errors
/// A host that no certificate can be for.
pub fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, PemError> {
    name(&endpoint.host)
}

fn name(text: &str) -> Result<ServerName<'static>, PemError> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| PemError::new(Path::new(""), format!("{text:?} is not a name that a certificate can be for")))
}

fn system() -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let problem = format!("no root certificates on this system{why}; name a file of them in `tls.roots`");
        return Err(PemError::new(Path::new(""), problem));
    }
    Ok(found.certs)
}
