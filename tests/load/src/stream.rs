//! The client's side of a connection, with TLS or without, as far as it does not make anybody wait.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use mio::net::TcpStream;
use rustls::pki_types::CertificateDer;

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::ClientConnection>, TcpStream),
}

impl Stream {
    /// None where nothing is there yet; whether the socket is empty now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, bool)>> {
        match self {
            Self::Plain(stream) => match stream.read(buffer) {
                Ok(read) => Ok(Some((read, read < buffer.len()))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Tls(session, stream) => loop {
                match session.reader().read(buffer) {
                    Ok(read) => return Ok(Some((read, false))),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
                match session.read_tls(stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
                session.process_new_packets()?;
                while session.wants_write() {
                    match session.write_tls(stream) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            },
        }
    }

    /// None where the socket is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let wrote = match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(session, _) => session.writer().write(bytes).and_then(|wrote| match wrote {
                0 => Err(ErrorKind::WouldBlock.into()),
                wrote => Ok(wrote),
            }),
        };
        match wrote {
            Ok(wrote) => Ok(Some(wrote)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        let Self::Tls(session, stream) = self else { return Ok(()) };
        while session.wants_write() {
            match session.write_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// TLS 1.3 without resumption, with the one key exchange that nginx and Tollgate both have.
pub(crate) fn client(certificate: &PathBuf) -> Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(certificate)?))?;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
