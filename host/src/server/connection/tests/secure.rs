//! TLS.

use std::cell::Cell;
use std::fs;

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::ReadBuf;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::Certificate;
use crate::server::tls;

struct Tls {
    certificates: watch::Sender<Arc<tls::Tls>>,
    roots: RootCertStore,
    directory: tempfile::TempDir,
}

impl Tls {
    fn new(names: &[&str]) -> Self {
        let directory = tempfile::TempDir::new().unwrap();
        let (config, roots) = made(&directory, names);
        Self { certificates: watch::Sender::new(config), roots, directory }
    }

    /// A handshake, and the certificate that the listener showed.
    async fn connect(
        &self,
        served: &Served,
        name: &str,
        protocols: &[&[u8]],
    ) -> std::io::Result<(tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>)> {
        self.connect_with(served, name, protocols, rustls::crypto::aws_lc_rs::default_provider()).await
    }

    /// The same by a client that has these ciphers, the one that it likes best first.
    async fn connect_with(
        &self,
        served: &Served,
        name: &str,
        protocols: &[&[u8]],
        provider: rustls::crypto::CryptoProvider,
    ) -> std::io::Result<(tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>)> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, served.connect().await).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        Ok((stream, shown))
    }
}

fn made(directory: &tempfile::TempDir, names: &[&str]) -> (Arc<tls::Tls>, RootCertStore) {
    let mut roots = RootCertStore::empty();
    let mut files = Vec::new();
    for name in names {
        let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
        let file = |kind: &str, text: String| {
            let path = directory.path().join(format!("{name}-{kind}.pem"));
            fs::write(&path, text).unwrap();
            path
        };
        files.push(Certificate {
            certificate: file("certificate", made.cert.pem()),
            key: file("key", made.signing_key.serialize_pem()),
            clients: None,
        });
        roots.add(made.cert.der().clone()).unwrap();
    }
    (tls::load(&files).unwrap(), roots)
}

#[test]
fn tls_chooses_certificates_by_name_and_protocols_by_offer() {
    run(async {
        let mut tls = Tls::new(&["a.test", "b.test"]);
        let peers = Rc::new(RefCell::new(Vec::new()));
        let noted = peers.clone();
        let served = Served::new(
            move |request: Request<Body>, peer: Rc<Peer>| {
                noted.borrow_mut().push((peer.protocol, peer.server_name.clone()));
                assert!(peer.tls);
                echo(request, peer)
            },
            Some(tls.certificates.subscribe()),
        );
        let (mut client, _) = tls.connect(&served, "b.test", &[b"http/1.1"]).await.unwrap();
        write(&mut client, "GET /tls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let (answer, ended) = rest(&mut client).await;
        assert!(body_of(&answer) == "GET /tls " && ended, "close_notify is missing after {answer}");

        let (client, shown) = tls.connect(&served, "a.test", &[b"h2", b"http/1.1"]).await.unwrap();
        let mut sender = http2(client).await;
        let (answer, _) = sender.send_request(Request::get("https://x/").body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        let names = [(Protocol::Http1, Some("b.test".into())), (Protocol::Http2, Some("a.test".into()))];
        assert_eq!(*peers.borrow(), names);

        // A client that offers neither is refused, and one for a name that nobody has sees the first certificate.
        assert!(tls.connect(&served, "a.test", &[b"spdy"]).await.is_err());
        assert!(tls.connect(&served, "c.test", &[b"http/1.1"]).await.is_err());

        // The next handshake has what was swapped in, and open connections go on.
        let (config, roots) = made(&tls.directory, &["a.test"]);
        tls.certificates.send_replace(config);
        tls.roots = roots;
        let (_, after) = tls.connect(&served, "a.test", &[b"http/1.1"]).await.unwrap();
        assert_ne!(after, shown);
        let again = sender.ready().await.unwrap().send_request(Request::get("https://x/").body(()).unwrap(), true);
        assert_eq!(again.unwrap().0.await.unwrap().status(), StatusCode::OK);
    });
}

#[test]
fn the_cheapest_cipher_is_chosen_unless_the_client_has_none_for_aes() {
    use rustls::CipherSuite as Suite;
    use rustls::crypto::aws_lc_rs::{cipher_suite as known, default_provider};
    run(async {
        let tls = Tls::new(&["a.test"]);
        let served = Served::new(echo, Some(tls.certificates.subscribe()));
        let usual = default_provider().cipher_suites;
        assert_eq!(usual[0].suite(), Suite::TLS13_AES_256_GCM_SHA384);
        let chacha = known::TLS13_CHACHA20_POLY1305_SHA256;
        for (offered, chosen) in [
            (usual.clone(), Suite::TLS13_AES_128_GCM_SHA256),
            ([vec![chacha], usual].concat(), Suite::TLS13_CHACHA20_POLY1305_SHA256),
            (vec![known::TLS13_AES_256_GCM_SHA384, chacha], Suite::TLS13_AES_256_GCM_SHA384),
            (
                vec![known::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, known::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
                Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ),
        ] {
            let provider = rustls::crypto::CryptoProvider { cipher_suites: offered, ..default_provider() };
            let (client, _) = tls.connect_with(&served, "a.test", &[b"http/1.1"], provider).await.unwrap();
            assert_eq!(client.get_ref().1.negotiated_cipher_suite().unwrap().suite(), chosen);
        }
    });
}

#[test]
fn a_handshake_has_its_time_and_its_kind() {
    run(async {
        let tls = Tls::new(&["a.test"]);
        let served = Served::new(echo, Some(tls.certificates.subscribe()));
        let begun = Instant::now();
        let mut silent = served.connect().await;
        rest(&mut silent).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
        let mut plain = served.connect().await;
        write(&mut plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"));
        assert_eq!(served.drain.open(), 0);

        let plain = Served::new(echo, None);
        let mut secure = plain.connect().await;
        secure.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello hello\r\n\r\n").await.unwrap();
        assert_eq!(status_of(&rest(&mut secure).await.0), "400");
    });
}

/// A connection whose records are counted: each read of one answers what was in one record.
struct Records<T>(T, Rc<Cell<usize>>);

impl<T: AsyncRead + Unpin> AsyncRead for Records<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_ready() {
            self.1.set(self.1.get() + 1);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Records<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[test]
fn responses_that_are_there_together_go_out_together() {
    const TOGETHER: usize = 8;
    run(async {
        let tls = Tls::new(&["a.test"]);
        let barrier = Rc::new(tokio::sync::Barrier::new(TOGETHER));
        let carry = move |_, _| {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
                Response::new(Body::from(vec![b'x'; 1024]))
            }
        };
        let served = Served::new(carry, Some(tls.certificates.subscribe()));
        let (stream, _) = tls.connect(&served, "a.test", &[b"h2"]).await.unwrap();
        let records = Rc::new(Cell::new(0));
        let mut sender = http2(Records(stream, records.clone())).await;
        let ask = |_| sender.send_request(Request::get("https://a.test/").body(()).unwrap(), true).unwrap().0;
        let answers: Vec<_> = (0..TOGETHER).map(ask).collect();
        for answer in answers {
            let mut body = answer.await.unwrap().into_body();
            let mut length = 0;
            while let Some(data) = body.data().await {
                length += data.unwrap().len();
            }
            assert_eq!(length, 1024);
        }
        // Settings and their acknowledgement come by themselves.
        assert!(records.get() <= 4, "{} responses in {} records", TOGETHER, records.get());
    });
}
