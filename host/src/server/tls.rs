//! Certificates of a listener: read, checked, and chosen by the name that a client asks for (SNI); and what clients have
//! to show for it.

mod certificate;
mod client;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, InconsistentKeys, ServerConfig};

use crate::config::{Certificate, ClientCertificates};
use crate::pem::{self, PemError};

pub use client::{ClientCertificate, refusal};

/// What the handshakes of a listener need. Certificates that ask the same of their clients share a policy, and what is
/// remembered of one policy's sessions is worth nothing in another one.
pub struct Tls {
    names: Arc<Names>,
    policies: Vec<Ways>,
    /// When each of the certificates ends, in seconds since 1970, by its file.
    pub(crate) ends: Vec<(String, u64)>,
}

/// The handshakes of one policy.
struct Ways {
    /// With the cipher that we like best of those that the client has: AES with 128 bits, whose keys come from SHA-256.
    /// Processors have instructions for both, and none for the SHA-384 of the 256 bits that most libraries ask for first:
    /// that took a seventh of a handshake.
    ours: Arc<ServerConfig>,
    /// With the one that the client likes best.
    theirs: Arc<ServerConfig>,
}

/// What a connection had to show, among listeners that do not ask the same for every name.
#[derive(Debug, Clone)]
pub struct Policy {
    names: Arc<Names>,
    index: usize,
}

/// Reads the certificates of a listener and makes what handshakes need. HTTP/2 and HTTP/1.1 are offered by ALPN, and no
/// early data is taken. Sessions are resumed by tickets with keys that live as long as this value; those of clients that
/// show a certificate never are, so that one that is revoked or over ends with its connection.
///
/// # Errors
/// The first file with a fault: not to be read, no certificate, a key of another certificate, a time that is over or has
/// not begun.
pub fn load(certificates: &[Certificate]) -> Result<Arc<Tls>, PemError> {
    let provider = provider();
    let mut asked: Vec<&Option<ClientCertificates>> = Vec::new();
    for certificate in certificates {
        if !asked.contains(&&certificate.clients) {
            asked.push(&certificate.clients);
        }
    }
    let (names, ends) = Names::load(certificates, &asked, &provider)?;
    let names = Arc::new(names);
    let policies = asked.into_iter().map(|clients| policy(clients.as_ref(), &names, &provider));
    Ok(Arc::new(Tls { policies: policies.collect::<Result<_, _>>()?, names, ends }))
}

fn policy(
    clients: Option<&ClientCertificates>,
    names: &Arc<Names>,
    provider: &Arc<CryptoProvider>,
) -> Result<Ways, PemError> {
    let fault = |error: rustls::Error| PemError::new(Path::new(""), error.to_string());
    let verifier = match clients {
        Some(clients) => client::verifier(clients, provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(fault)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(names.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    if clients.is_some() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(fault)?;
    }
    let theirs = Arc::new(config.clone());
    config.ignore_client_order = true;
    Ok(Ways { ours: Arc::new(config), theirs })
}

/// The usual ciphers, in [our order](Ways::ours).
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match cipher(suite.suite()) {
        Some(Cipher::Aes128) => 0,
        Some(Cipher::Aes256) => 1,
        Some(Cipher::ChaCha20) | None => 2,
    });
    Arc::new(provider)
}

#[derive(PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes256,
    ChaCha20,
}

/// The cipher of a suite that we have; none of one that we do not have, or that is only there to be ignored (RFC 8701).
fn cipher(suite: CipherSuite) -> Option<Cipher> {
    use CipherSuite as Suite;
    match suite {
        Suite::TLS13_AES_128_GCM_SHA256
        | Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Some(Cipher::Aes128),
        Suite::TLS13_AES_256_GCM_SHA384
        | Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(Cipher::Aes256),
        Suite::TLS13_CHACHA20_POLY1305_SHA256
        | Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some(Cipher::ChaCha20),
        _ => None,
    }
}

impl Tls {
    /// What any handshake needs, for tests of clients.
    #[cfg(test)]
    pub(crate) fn only(&self) -> Option<&Arc<ServerConfig>> {
        self.policies.first().map(|ways| &ways.ours)
    }

    /// What the handshake of a client needs that begins like this; and under which policy it is, where there are several.
    #[must_use]
    pub fn choose(&self, hello: &ClientHello<'_>) -> (Option<Policy>, Arc<ServerConfig>) {
        let own = |name: &str| self.names.find(&name.to_ascii_lowercase()).policy;
        let several = self.policies.len() > 1;
        let index = if several { hello.server_name().map_or(self.names.first.policy, own) } else { 0 };
        let ways = &self.policies[index];
        // Who has no instructions for AES puts ChaCha20 first, and would pay for our choice.
        let first = hello.cipher_suites().iter().find_map(|suite| cipher(*suite));
        let config = if first == Some(Cipher::ChaCha20) { &ways.theirs } else { &ways.ours };
        (several.then(|| Policy { names: self.names.clone(), index }), config.clone())
    }
}

impl Policy {
    /// Whether a connection that was made under this policy may carry requests for this host, in lower case and without a
    /// port: its certificate asks the same of clients as the one of the connection.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.find(host).policy == self.index
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && Arc::ptr_eq(&self.names, &other.names)
    }
}

impl Eq for Policy {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("names", &self.names)
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

/// A certificate, and which of the policies is its own.
struct Shown {
    key: Arc<CertifiedKey>,
    policy: usize,
}

/// Certificates by the names in them.
struct Names {
    first: Arc<Shown>,
    exact: HashMap<Box<str>, Arc<Shown>>,
    /// `*.example.com` is kept as `example.com`.
    wildcard: HashMap<Box<str>, Arc<Shown>>,
}

impl Names {
    /// The certificates, and when each of them ends. `asked` has what each policy asks of clients.
    fn load(
        certificates: &[Certificate],
        asked: &[&Option<ClientCertificates>],
        provider: &CryptoProvider,
    ) -> Result<(Self, Vec<(String, u64)>), PemError> {
        let mut exact = HashMap::new();
        let mut wildcard = HashMap::new();
        let mut first = None;
        let mut ends = Vec::new();
        for certificate in certificates {
            let key = Arc::new(read(certificate, provider)?);
            let end = key.cert.first().ok_or_else(|| PemError::new(&certificate.certificate, "is empty"))?;
            let names = certificate::names(end).map_err(|problem| PemError::new(&certificate.certificate, problem))?;
            let soonest = key.cert.iter().filter_map(|certificate| certificate::ends(certificate)).min();
            ends.extend(soonest.map(|ends| (certificate.certificate.display().to_string(), ends)));
            let policy = asked.iter().position(|clients| **clients == certificate.clients).unwrap_or(0);
            let shown = Arc::new(Shown { key, policy });
            for name in names {
                // Of two that are for the same name, the one that is written first wins.
                match name.strip_prefix("*.") {
                    Some(rest) => _ = wildcard.entry(rest.into()).or_insert_with(|| shown.clone()),
                    None => _ = exact.entry(name.into()).or_insert_with(|| shown.clone()),
                }
            }
            first.get_or_insert(shown);
        }
        let first = first.ok_or_else(|| PemError::new(Path::new(""), "a listener with TLS needs a certificate"))?;
        Ok((Self { first, exact, wildcard }, ends))
    }

    /// The certificate for a name in lower case: its own, that of its wildcard, else the first of all.
    fn find(&self, name: &str) -> &Arc<Shown> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has checked the name and brought it into lower case.
        Some(hello.server_name().map_or(&self.first, |name| self.find(name)).key.clone())
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
