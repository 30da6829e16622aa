//! PEM files: certificates and keys, as operators write them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// Far more than any chain or bundle of roots; what is longer is another kind of file.
const LONGEST: u64 = 8 * 1024 * 1024;

/// What is wrong with a file of certificates or keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemError {
    /// The file; empty where the fault is not in a file.
    pub file: PathBuf,
    /// What is wrong, for people.
    pub problem: String,
}

impl PemError {
    pub(crate) fn new(file: &Path, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.as_os_str().is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.file.display(), self.problem)
        }
    }
}

impl std::error::Error for PemError {}

/// The certificates of a file in their order, at least one.
///
/// # Errors
/// The file cannot be read, is not PEM, or has no certificate in it.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = read(file)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| PemError::new(file, format!("not a PEM file: {error}")))?;
    if found.is_empty() {
        return Err(PemError::new(file, "has no certificate in it; expected PEM with `BEGIN CERTIFICATE`"));
    }
    Ok(found)
}

/// The revocation lists of a file, at least one.
///
/// # Errors
/// As [`certificates`].
pub fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let text = read(file)?;
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| PemError::new(file, format!("not a PEM file: {error}")))?;
    if found.is_empty() {
        return Err(PemError::new(file, "has no revocation list in it; expected PEM with `BEGIN X509 CRL`"));
    }
    Ok(found)
}

/// The private key of a file: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// The file cannot be read, is not PEM, or has no private key in it.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => PemError::new(
            file,
            "has no private key in it; expected PEM with `BEGIN PRIVATE KEY`, not encrypted by a passphrase",
        ),
        other => PemError::new(file, format!("not a PEM file: {other}")),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, PemError> {
    let problem = |error: std::io::Error| PemError::new(file, format!("cannot be read: {error}"));
    if fs::metadata(file).map_err(problem)?.len() > LONGEST {
        return Err(PemError::new(file, "is longer than 8 MiB, so it is not a file of certificates"));
    }
    fs::read(file).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_chain_is_read_in_its_order_and_a_key_beside_it() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
        let file = file(&format!("{}{}{}", made.cert.pem(), other.cert.pem(), made.signing_key.serialize_pem()));
        assert_eq!(certificates(file.path()).unwrap(), [made.cert.der().clone(), other.cert.der().clone()]);
        assert_eq!(private_key(file.path()).unwrap().secret_der(), made.signing_key.serialize_der());
    }

    #[test]
    fn what_is_wrong_names_the_file() {
        let none = file("hello\n");
        let missing = Path::new("no-such-file.pem");
        let broken = file("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        for (error, words) in [
            (certificates(none.path()).unwrap_err(), "no certificate"),
            (certificates(missing).unwrap_err(), "cannot be read"),
            (certificates(broken.path()).unwrap_err(), "not a PEM file"),
            (private_key(none.path()).unwrap_err(), "no private key"),
        ] {
            let text = error.to_string();
            assert!(text.contains(words) && text.contains(&*error.file.to_string_lossy()), "{text}");
        }
    }
}
