//! TLS endpoints, and what is checked before there is one.

use super::time::fails;
use super::*;

/// A file with a certificate for `origin.test` that is its own root, and what a server needs to show it.
pub(super) fn roots() -> (std::path::PathBuf, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["origin.test".to_owned()]).unwrap();
    let directory = tempfile::TempDir::new().unwrap().keep();
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = config::Certificate {
        certificate: write("certificate.pem", made.cert.pem()),
        key: write("key.pem", made.signing_key.serialize_pem()),
        clients: None,
    };
    let config = crate::server::tls::load(std::slice::from_ref(&files)).unwrap().only().unwrap().clone();
    (files.certificate, config)
}

#[test]
fn tls_is_verified() {
    run(async {
        let (listener, address) = listen().await;
        let (file, server) = roots();
        let (other, _) = roots();
        spawn_local(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(server);
            loop {
                let stream = accept(&listener).await;
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                assert_eq!(stream.get_ref().1.server_name(), Some("origin.test"));
                let mut begin = [0; 16];
                // A client that does not believe us leaves here.
                if stream.read_exact(&mut begin).await.is_ok() {
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                }
            }
        });
        let by = |roots: &std::path::Path, name: &str| config::Upstream {
            tls: UpstreamTls { roots: Some(roots.to_owned()), name: Some(name.to_owned()), ..UpstreamTls::default() },
            ..config([endpoint(address, true)])
        };
        assert_eq!(text(send(&upstream(by(&file, "origin.test")), get()).await.0.unwrap()).await, "hello");
        let refused = async |config| send(&upstream(config), get()).await.0.unwrap_err().reason().clone();
        assert_eq!(refused(by(&other, "origin.test")).await, Reason::UpstreamTls);
        assert_eq!(refused(by(&file, "another.test")).await, Reason::UpstreamTls);
        // Not for this address, which is the endpoint's name.
        let by_address = UpstreamTls { roots: Some(file.clone()), name: None, ..UpstreamTls::default() };
        let by_address = config::Upstream { tls: by_address, ..config([endpoint(address, true)]) };
        assert_eq!(refused(by_address).await, Reason::UpstreamTls);
        // The system does not know it.
        let by_system = config::Upstream { tls: UpstreamTls::default(), ..by(&file, "origin.test") };
        if let Ok(prepared) = Prepared::load(by_system, &Known::default(), &Resolver::default(), None) {
            let upstream = with(Arc::new(prepared), &Connector::new());
            assert_eq!(*send(&upstream, get()).await.0.unwrap_err().reason(), Reason::UpstreamTls);
        }
        // Plain HTTP where TLS is expected.
        let (plain, _seen) = origin([&["HTTP/1.1 400 Bad Request\r\n\r\n"]]).await;
        let plain =
            config::Upstream { endpoints: vec![member(endpoint(plain, true), 1, 0)], ..by(&file, "origin.test") };
        let refused = fails(plain, get()).await.0;
        assert!(matches!(refused, Reason::UpstreamTls | Reason::UpstreamTlsTimeout), "{refused}");
    });
}

#[test]
fn roots_and_names_are_checked_at_load() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let with = |roots: Option<&str>, name: Option<&str>| {
        let tls = UpstreamTls { roots: roots.map(Into::into), name: name.map(str::to_owned), ..UpstreamTls::default() };
        Prepared::load(
            config::Upstream { tls, ..config([endpoint(address, true)]) },
            &Known::default(),
            &Resolver::default(),
            None,
        )
        .unwrap_err()
        .to_string()
    };
    assert!(with(Some("no-such.pem"), None).contains("no-such.pem: cannot be read"));
    assert!(with(Some(roots().0.to_str().unwrap()), Some("not a name")).contains("\"not a name\""));
    assert!(Prepared::load(config([endpoint(address, false)]), &Known::default(), &Resolver::default(), None).is_ok());
}
