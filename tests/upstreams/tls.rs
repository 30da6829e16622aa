//! What servers behind are shown, and which TLS they speak.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

use super::with;
use crate::harness::{Diagnostics, Identity, Origin, Proxy, answer, until};

/// A server that asks for a certificate which one of these is.
fn asking(identity: &Identity, believed: &[&Identity]) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    believed.iter().for_each(|one| roots.add(one.der()).expect("a root"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_client_cert_verifier(verifier.expect("roots"));
    Arc::new(identity.shown_by(config))
}

fn fine(config: Arc<ServerConfig>) -> Origin {
    Origin::start_tls_with(config, |_| answer("text/plain", "fine"))
}

/// An upstream with these settings of TLS beside its roots.
fn config(origin: &Origin, folder: &TempDir, tls: &str) -> String {
    let roots = folder.path().join("origin.pem");
    with(&format!("endpoints = [\"https://{}\"]\ntls = {{ roots = {roots:?}, {tls} }}", origin.address()))
}

/// Names and address that the servers of these tests have.
fn identity() -> Identity {
    Identity::new(&["127.0.0.1"])
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_ours() {
    let folder = TempDir::new().expect("a folder");
    let [server, own, other] = [(); 3].map(|()| identity());
    server.write(folder.path(), "origin");
    let pair = |identity: &Identity, name: &str| {
        let pair = identity.write(folder.path(), name);
        pair.trim_start_matches("{ ").trim_end_matches(" }").to_owned()
    };
    let (own_pair, other_pair) = (pair(&own, "own"), pair(&other, "other"));
    let origin = fine(asking(&server, &[&own]));
    let right = format!("{own_pair}, min-version = \"1.2\"");
    let proxy = Proxy::start(&config(&origin, &folder, &right), &[]);
    for _ in 0..2 {
        assert_eq!(proxy.get("/").text(), "fine");
    }
    // None, and another one.
    for wrong in ["", other_pair.as_str()] {
        let proxy = Proxy::start(&config(&origin, &folder, wrong), &[]);
        let refused = proxy.get("/secret");
        assert_eq!(refused.status(), 502, "{wrong}: {refused:?}");
    }
    assert!(origin.seen().iter().all(|seen| seen.target() != "/secret"));
    // A reload that names another one is what new requests are sent with, whatever connections there are.
    proxy.reload(&config(&origin, &folder, &other_pair)).expect("a right pair");
    assert_eq!(proxy.get("/secret").status(), 502);
    proxy.reload(&config(&origin, &folder, &own_pair)).expect("a right pair");
    assert_eq!(proxy.get("/").text(), "fine");
}

#[test]
fn a_pair_that_is_none_is_refused_at_load() {
    let folder = TempDir::new().expect("a folder");
    let [server, own, other] = [(); 3].map(|()| identity());
    server.write(folder.path(), "origin");
    own.write(folder.path(), "own");
    other.write(folder.path(), "other");
    let origin = fine(server.server());
    let path = |name: &str| folder.path().join(name);
    let tls = format!("certificate = {:?}, key = {:?}", path("own.pem"), path("other.key.pem"));
    let why = Proxy::try_start(&config(&origin, &folder, &tls), &[]).err().expect("it does not start");
    for part in ["upstream `o`", "other.key.pem", "is not the key of", "own.pem"] {
        assert!(why.contains(part), "{part} in {why}");
    }
}

/// Also while the configuration is broken.
#[test]
fn a_renewed_pair_is_found_without_being_told() {
    let folder = TempDir::new().expect("a folder");
    let [server, old, new, other] = [(); 4].map(|()| identity());
    server.write(folder.path(), "origin");
    let pair = old.write(folder.path(), "own");
    let pair = pair.trim_start_matches("{ ").trim_end_matches(" }");
    let origin = fine(asking(&server, &[&new]));
    let config = config(&origin, &folder, pair);
    let diagnostics = Diagnostics::listen();
    let proxy = Proxy::start_heard(&config, &[], &diagnostics);
    assert_eq!(proxy.get("/").status(), 502, "the old one is not believed there");
    proxy.reload(&format!("{config}nonsense = 1\n")).expect_err("a wrong key");

    new.write(folder.path(), "own");
    until("the new pair is shown", || proxy.get("/").status() == 200);

    // A key of another certificate changes nothing, and is told.
    other.write(folder.path(), "other");
    std::fs::rename(folder.path().join("other.key.pem"), folder.path().join("own.key.pem")).expect("a folder");
    until("it is told", || diagnostics.text().contains("own.key.pem: is not the key of"));
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn renewed_roots_are_found_too() {
    let folder = TempDir::new().expect("a folder");
    let [right, wrong] = [(); 2].map(|()| identity());
    wrong.write(folder.path(), "origin");
    let origin = fine(right.server());
    let proxy = Proxy::start(&config(&origin, &folder, ""), &[]);
    assert_eq!(proxy.get("/").status(), 502);
    right.write(folder.path(), "origin");
    until("the new root is believed", || proxy.get("/").status() == 200);
    // Connections are as good as what verified them: none goes on under roots that are gone.
    wrong.write(folder.path(), "origin");
    until("the old root is not", || proxy.get("/").status() == 502);
}

#[test]
fn a_server_of_an_older_version_is_not_spoken_to() {
    let folder = TempDir::new().expect("a folder");
    let server = identity();
    server.write(folder.path(), "origin");
    let speaking = |version: &'static SupportedProtocolVersion| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        fine(Arc::new(server.shown_by(config.expect("a version").with_no_client_auth())))
    };
    let (older, newer) = (speaking(&rustls::version::TLS12), speaking(&rustls::version::TLS13));
    for (origin, least, status) in
        [(&older, "1.2", 200), (&newer, "1.2", 200), (&older, "1.3", 502), (&newer, "1.3", 200)]
    {
        let proxy = Proxy::start(&config(origin, &folder, &format!("min-version = {least:?}")), &[]);
        let answer = proxy.get("/");
        assert_eq!(answer.status(), status, "{least}: {answer:?}");
        if status == 502 {
            assert_eq!(answer.code(), "upstream-tls");
        }
    }
}
