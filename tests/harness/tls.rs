//! Certificates that are their own roots, and handshakes.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WantsServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, ServerConfig, StreamOwned};

use super::client::socket;

/// A certificate and its key.
pub(crate) struct Identity(rcgen::CertifiedKey<rcgen::KeyPair>);

impl Identity {
    /// For these host names and addresses.
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self(rcgen::generate_simple_self_signed(names).expect("names that a certificate can have"))
    }

    /// Writes `NAME.pem` and `NAME.key.pem` as an operator's tool would: each appears whole. Answers the table for a
    /// configuration.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> String {
        let file = |ending: &str, text: String| {
            let path = folder.join(format!("{name}{ending}"));
            let beside = path.with_extension("new");
            std::fs::write(&beside, text).expect("a file");
            std::fs::rename(beside, &path).expect("a folder");
            path
        };
        let certificate = file(".pem", self.0.cert.pem());
        let key = file(".key.pem", self.0.signing_key.serialize_pem());
        format!("{{ certificate = {certificate:?}, key = {key:?} }}")
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.cert.der().clone()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der()))
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(self.shown_by(config.expect("versions").with_no_client_auth()))
    }

    /// A server that shows it.
    pub(crate) fn shown_by(&self, config: ConfigBuilder<ServerConfig, WantsServerCert>) -> ServerConfig {
        config.with_single_cert(vec![self.der()], self.key()).expect("a certificate with its key")
    }

    /// One that was made otherwise.
    pub(crate) fn of(cert: rcgen::Certificate, signing_key: rcgen::KeyPair) -> Self {
        Self(rcgen::CertifiedKey { cert, signing_key })
    }

    /// A client that believes this certificate alone.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client_showing(protocols, None)
    }

    /// The same, which shows a certificate of its own where it is asked for one.
    pub(crate) fn client_showing(&self, protocols: &[&str], shows: Option<&Self>) -> Arc<ClientConfig> {
        self.client_with(protocols, shows.map(|own| (own, &[][..])))
    }

    /// The same, with certificates that lead from it to a root.
    pub(crate) fn client_showing_chain(
        &self,
        protocols: &[&str],
        shows: &Self,
        chain: &[CertificateDer<'static>],
    ) -> Arc<ClientConfig> {
        self.client_with(protocols, Some((shows, chain)))
    }

    fn client_with(&self, protocols: &[&str], shows: Option<(&Self, &[CertificateDer<'static>])>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots);
        let mut config = match shows {
            Some((own, chain)) => {
                let chain = std::iter::once(own.der()).chain(chain.iter().cloned()).collect();
                let key = provider.key_provider.load_private_key(own.key()).expect("a key");
                // Whatever is in the certificate, it is shown: to look into it is for the other side.
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A connection with TLS to `address`, on which the other side has shown that it is `name`. An address as the name is
/// not sent, so that it stands for a client that names nobody.
pub(crate) fn handshake(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket(address));
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}
