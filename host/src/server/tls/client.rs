//! Certificates that clients show: which are believed, why others are not, and what is known of a client by its own.

mod name;

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::config::ClientCertificates;
use crate::pem::{self, PemError};

/// The longest value of an attribute, as plugins may set them.
const LONGEST: usize = 8 * 1024;

/// What a verified certificate says of the client, by the names of attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    attributes: Vec<(Arc<str>, Arc<str>)>,
}

impl ClientCertificate {
    /// The attributes that requests of such clients have: plugins may look at them without anybody in the chain setting
    /// them. One that a certificate has no value for is not there, nor is one longer than 8 KiB, or a list of names of which
    /// one has a comma in it.
    pub const ATTRIBUTES: [&str; 6] = [
        "client-certificate.sha256",
        "client-certificate.subject",
        "client-certificate.issuer",
        "client-certificate.serial",
        "client-certificate.dns",
        "client-certificate.uri",
    ];

    /// Reads a certificate that was verified in a handshake.
    #[must_use]
    pub fn read(certificate: &CertificateDer<'_>) -> Self {
        let mut values = [const { None }; 6];
        values[0] = Some(hexadecimal(digest::digest(&digest::SHA256, certificate).as_ref()));
        if let Ok(parsed) = EndEntityCert::try_from(certificate) {
            values[1] = name::text(parsed.subject());
            values[2] = name::text(parsed.issuer());
            values[3] = Some(hexadecimal(parsed.serial()));
            values[4] = list(parsed.valid_dns_names());
            values[5] = list(parsed.valid_uri_names());
        }
        let there = |(name, value): (&str, Option<String>)| {
            let value = value.filter(|value| !value.is_empty() && value.len() <= LONGEST)?;
            Some((name.into(), value.into()))
        };
        Self { attributes: Self::ATTRIBUTES.into_iter().zip(values).filter_map(there).collect() }
    }

    /// Names and values.
    #[must_use]
    pub fn attributes(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.attributes
    }
}

/// Names, separated by commas. None where one of them has a comma in it, or what no name is written with: it would read as
/// others.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let names: Vec<&str> = names.collect();
    names.iter().all(plain).then(|| names.join(","))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Believes certificates that lead to one of the roots, are for clients, in their time, and not revoked.
pub(super) fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, PemError> {
    let mut roots = RootCertStore::empty();
    for (place, certificate) in pem::certificates(&clients.roots)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            PemError::new(&clients.roots, format!("certificate {} cannot be a root: {error}", place + 1))
        })?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if let Some(file) = &clients.crl {
        builder = builder.with_crls(pem::revocation_lists(file)?).enforce_revocation_expiration();
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    let file = clients.crl.as_ref().unwrap_or(&clients.roots);
    builder.build().map_err(|error| PemError::new(file, error.to_string()))
}

/// The word for why a handshake failed, for metrics.
#[must_use]
pub fn refusal(error: &rustls::Error) -> &'static str {
    use CertificateError as Bad;
    match error {
        rustls::Error::NoCertificatesPresented => "certificate-missing",
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::Revoked => "certificate-revoked",
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "certificate-expired"
            }
            Bad::UnknownIssuer | Bad::BadSignature => "certificate-unknown",
            Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "certificate-purpose",
            Bad::UnknownRevocationStatus | Bad::ExpiredRevocationList | Bad::ExpiredRevocationListContext { .. } => {
                "certificate-status"
            }
            _ => "certificate-bad",
        },
        _ => "tls",
    }
}
