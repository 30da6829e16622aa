//! Certificates that clients show.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;

use super::{config, refused};
use crate::harness::{Client, Identity, Message, Origin, Proxy, answer, handshake, until};

/// Who issues certificates to clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// One whose certificate this one issued.
    fn below(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("a certificate"))
    }

    /// A certificate for a client, by its serial number, which may be made worse.
    fn issue(&self, serial: u8, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["alice.test".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names.push(SanType::URI("spiffe://test/alice".try_into().expect("ASCII")));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Identity::of(params.signed_by(&key, &self.0).expect("a certificate"), key)
    }

    /// A list of what was revoked, good until the end of this year.
    fn revokes(&self, serials: &[u8], until: i32) -> String {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(until, 12, 31),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("a list").pem().expect("PEM")
    }
}

/// What these tests have in common: a server certificate, an authority, and their files.
struct Files {
    folder: TempDir,
    server: Identity,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: TempDir::new().expect("a folder"),
            server: Identity::new(&["a.test"]),
            authority: Authority::new("clients"),
        };
        put(&files.path("clients.pem"), &files.authority.0.pem());
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// A listener `secure` that asks for certificates.
    fn listener(&self, more: &str) -> String {
        let pair = self.server.write(self.folder.path(), "a");
        let pair = pair.trim_end_matches(" }");
        format!(
            "listener.secure = {{ address = \"127.0.0.1:0\", tls = {pair}, \
             client-certificates = {{ roots = {:?}, {more} }} }} }}\n",
            self.path("clients.pem")
        )
    }

    /// What a client with this certificate gets. TLS 1.3 tells it only when it reads.
    fn get(&self, proxy: &Proxy, shows: Option<&Identity>) -> io::Result<Message> {
        self.get_with(proxy, self.server.client_showing(&[], shows))
    }

    fn get_with(&self, proxy: &Proxy, config: std::sync::Arc<rustls::ClientConfig>) -> io::Result<Message> {
        let mut client = Client::over(handshake(proxy.address("secure"), "a.test", config)?);
        client.try_get("/").ok_or_else(|| io::Error::other("no answer"))
    }
}

fn put(path: &Path, text: &str) {
    let beside = path.with_extension("beside");
    fs::write(&beside, text).expect("a file");
    fs::rename(beside, path).expect("a folder");
}

#[test]
fn who_has_no_right_certificate_gets_no_connection() {
    let files = Files::new();
    let origin = Origin::fine();
    put(&files.path("crl.pem"), &files.authority.revokes(&[2], 2099));
    let crl = format!("crl = {:?}", files.path("crl.pem"));
    let proxy = Proxy::start(&config(&origin, &files.listener(&crl)), &[]);

    let good = files.authority.issue(1, |_| {});
    assert_eq!(files.get(&proxy, Some(&good)).expect("a connection").status(), 200);

    let other = Authority::new("clients");
    let server_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let over = |params: &mut CertificateParams| params.not_after = date_time_ymd(2024, 1, 1);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let bad = [
        ("none at all", "certificate-missing", None),
        ("revoked", "certificate-revoked", Some(files.authority.issue(2, |_| {}))),
        ("over", "certificate-expired", Some(files.authority.issue(3, over))),
        ("not begun", "certificate-expired", Some(files.authority.issue(4, early))),
        ("for servers", "certificate-purpose", Some(files.authority.issue(5, server_only))),
        ("of another authority", "certificate-unknown", Some(other.issue(6, |_| {}))),
        ("its own root", "certificate-unknown", Some(Identity::new(&["alice.test"]))),
    ];
    for (place, (what, reason, shows)) in bad.iter().enumerate() {
        assert!(files.get(&proxy, shows.as_ref()).is_err(), "{what}");
        let count = bad[..=place].iter().filter(|(_, other, _)| other == reason).count();
        refused(&proxy, "secure", reason, count);
    }
    assert_eq!(origin.seen().len(), 1, "nothing of them got through");
}

#[test]
fn a_revocation_counts_at_once_whatever_the_configuration_looks_like() {
    let files = Files::new();
    let origin = Origin::fine();
    put(&files.path("crl.pem"), &files.authority.revokes(&[], 2099));
    let crl = format!("crl = {:?}", files.path("crl.pem"));
    let proxy = Proxy::start(&config(&origin, &files.listener(&crl)), &[]);
    let alice = files.authority.issue(1, |_| {});
    assert!(files.get(&proxy, Some(&alice)).is_ok());
    proxy.reload("this is being edited").expect_err("it is no configuration");

    put(&files.path("crl.pem"), &files.authority.revokes(&[1], 2099));
    until("alice is revoked", || files.get(&proxy, Some(&alice)).is_err());
    refused(&proxy, "secure", "certificate-revoked", 1);

    // What is no list, and one that is over, change nothing or let nobody in.
    fs::write(files.path("crl.pem"), "nonsense").expect("a file");
    let bob = files.authority.issue(2, |_| {});
    assert!(files.get(&proxy, Some(&bob)).is_ok(), "the last list goes on");
    put(&files.path("crl.pem"), &files.authority.revokes(&[], 2025));
    until("nobody knows who is revoked", || files.get(&proxy, Some(&bob)).is_err());
    put(&files.path("crl.pem"), &files.authority.revokes(&[], 2099));
    until("all is well", || files.get(&proxy, Some(&alice)).is_ok());

    // The authorities are watched as well.
    put(&files.path("clients.pem"), &Authority::new("others").0.pem());
    until("alice is nobody", || files.get(&proxy, Some(&alice)).is_err());
}

#[test]
fn a_list_of_another_authority_lets_nobody_in() {
    let files = Files::new();
    let origin = Origin::fine();
    put(&files.path("crl.pem"), &Authority::new("others").revokes(&[], 2099));
    let proxy = Proxy::start(&config(&origin, &files.listener(&format!("crl = {:?}", files.path("crl.pem")))), &[]);
    assert!(files.get(&proxy, Some(&files.authority.issue(1, |_| {}))).is_err());
    refused(&proxy, "secure", "certificate-status", 1);
}

#[test]
fn what_a_certificate_says_is_known_to_plugins_and_not_to_be_claimed() {
    let files = Files::new();
    let origin = Origin::fine();
    let attributes = ["subject", "issuer", "serial", "dns", "uri", "sha256"];
    let set: Vec<String> =
        attributes.iter().map(|name| format!("\"x-{name}\" = \"{{attribute:client-certificate.{name}}}\"")).collect();
    let more = format!(
        "{}upstream.o.endpoints = [\"{}\"]\nplugin.tell = {{ component = \"headers\", config = {{ request = {{ set = {{ {} }} }} }} }}\n\
         route.all = {{ path-prefix = \"/\", chain = [\"tell\"], upstream = \"o\" }}\n",
        files.listener("mode = \"optional\""),
        origin.url(),
        set.join(", ")
    );
    let proxy = Proxy::start(&more, &[]);
    let alice = files.authority.issue(0x7f, |_| {});
    let digest: String = {
        use rustls::crypto::hash::HashAlgorithm;
        let provider = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("TLS 1.3");
        assert_eq!(provider.common.hash_provider.algorithm(), HashAlgorithm::SHA256);
        let hash = provider.common.hash_provider.hash(&alice.der());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };

    assert_eq!(files.get(&proxy, Some(&alice)).expect("a connection").status(), 200);
    let seen = origin.last();
    for (name, value) in [
        ("x-subject", "CN=alice"),
        ("x-issuer", "CN=clients"),
        ("x-serial", "7f"),
        ("x-dns", "alice.test"),
        ("x-uri", "spiffe://test/alice"),
        ("x-sha256", &*digest),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}: {seen:?}");
    }

    // Nobody's, and a wrong one is not as good as none.
    let stranger = files.server.client_showing(&[], None);
    let mut client = Client::over(handshake(proxy.address("secure"), "a.test", stranger).expect("none is needed"));
    let claims = [
        ("X-Client-Cert", "alice"),
        ("X-Client-Cert-Subject", "alice"),
        ("X-Forwarded-Client-Cert", "Subject=alice"),
        ("Client-Cert", ":alice:"),
        ("Client-Cert-Chain", ":alice:"),
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("X-SSL-Cert", "alice"),
        ("SSL-Client-Cert", "alice"),
        ("X-Other", "stays"),
    ];
    assert_eq!(client.request("GET", "/", &claims, b"").status(), 200);
    let seen = origin.last();
    assert_eq!(seen.header("x-subject"), None, "{seen:?}");
    for (name, _) in &claims[..claims.len() - 1] {
        assert_eq!(seen.header(&name.to_lowercase()), None, "{name}: {seen:?}");
    }
    assert_eq!(seen.header("x-other"), Some("stays"));
    assert!(files.get(&proxy, Some(&Authority::new("others").issue(1, |_| {}))).is_err());
}

/// T15 of the hostile inputs: certificates of a right authority that say odd things, and chains without end.
#[test]
fn what_a_certificate_says_is_never_half_of_it_and_never_too_much() {
    let files = Files::new();
    let origin = Origin::fine();
    let more = format!(
        "{}upstream.o.endpoints = [\"{}\"]\nplugin.tell = {{ component = \"headers\", config.request.set = {{ x-dns = \
         \"{{attribute:client-certificate.dns}}\", x-uri = \"{{attribute:client-certificate.uri}}\" }}, limits.time = \"5s\" }}\n\
         route.all = {{ path-prefix = \"/\", chain = [\"tell\"], upstream = \"o\" }}\n",
        files.listener("mode = \"required\""),
        origin.url(),
    );
    let proxy = Proxy::start(&more, &[]);
    let named = |names: Vec<SanType>| files.authority.issue(1, |params| params.subject_alt_names = names);
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("ASCII"));
    let uri = |name: &str| SanType::URI(name.try_into().expect("ASCII"));
    let other = || SanType::OtherName((vec![1, 2, 3], rcgen::OtherNameValue::Utf8String("admin.test\0".to_owned())));
    for (what, names, told) in [
        ("NUL in a name", vec![dns("admin.test\0.evil.test")], [None, None]),
        ("NUL beside a right one", vec![dns("admin.test\0.evil.test"), dns("alice.test")], [Some("alice.test"), None]),
        ("another kind of name", vec![other(), dns("alice.test")], [Some("alice.test"), None]),
        ("a comma, which stands between two", vec![uri("spiffe://a,spiffe://admin")], [None, None]),
        ("300 names", (0..300).map(|n| dns(&format!("name-{n}.of-somebody.example.test"))).collect(), [None, None]),
    ] {
        assert_eq!(files.get(&proxy, Some(&named(names))).expect("a connection").status(), 200, "{what}");
        let seen = origin.last();
        assert_eq!(["x-dns", "x-uri"].map(|name| seen.header(name)), told, "{what}");
    }

    // More than a handshake may have.
    let many = named((0..10_000).map(|n| dns(&format!("name-{n}.test"))).collect());
    assert!(files.get(&proxy, Some(&many)).is_err(), "10,000 names");
    // An authority of an authority, and so on.
    let mut chain = Vec::new();
    let mut issuer = files.authority.below("0");
    for depth in 1..20 {
        chain.push(issuer.0.der().clone());
        issuer = issuer.below(&depth.to_string());
    }
    chain.push(issuer.0.der().clone());
    chain.reverse();
    let deep = issuer.issue(1, |_| {});
    assert!(files.get_with(&proxy, files.server.client_showing_chain(&[], &deep, &chain)).is_err(), "a deep chain");
    let short = files.authority.below("short");
    let shows = short.issue(1, |_| {});
    let config = files.server.client_showing_chain(&[], &shows, &[short.0.der().clone()]);
    assert_eq!(files.get_with(&proxy, config).expect("a connection").status(), 200, "one between is well");
    assert_eq!(origin.seen().len(), 6);
}

/// Two names behind one address, of which one wants to see certificates.
#[test]
fn a_connection_carries_no_request_for_a_name_that_asks_for_more() {
    let files = Files::new();
    let origin = Origin::start(|request| answer("text/plain", request.header("x-forwarded-host").unwrap_or_default()));
    let [open, shut, shut_too] = ["open.test", "shut.test", "shut-too.test"].map(|name| Identity::new(&[name]));
    let [open_pair, shut_pair, shut_too_pair] = [(&open, "open"), (&shut, "shut"), (&shut_too, "too")]
        .map(|(identity, name)| identity.write(files.folder.path(), name));
    let asking = |pair: &str| {
        format!(
            "{}, client-certificates = {{ roots = {:?} }} }}",
            pair.trim_end_matches(" }"),
            files.path("clients.pem")
        )
    };
    let listener = format!(
        "listener.secure = {{ address = \"127.0.0.1:0\", tls = [{open_pair}, {}, {}] }}",
        asking(&shut_pair),
        asking(&shut_too_pair)
    );
    let proxy = Proxy::start(&config(&origin, &listener), &[]);
    let connect = |identity: &Identity, name: &str, shows: Option<&Identity>| {
        let config = identity.client_showing(&["http/1.1"], shows);
        handshake(proxy.address("secure"), name, config).map(Client::over)
    };
    let ask = |client: &mut Client, host: &str| {
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        client.response()
    };
    let alice = files.authority.issue(1, |_| {});

    let mut client = connect(&open, "open.test", None).expect("nothing is asked for");
    for host in ["open.test", "OPEN.test:443", "nobody.test"] {
        assert_eq!(ask(&mut client, host).status(), 200, "{host}");
    }
    for host in ["shut.test", "SHUT.TEST.", "shut.test:443", "shut-too.test"] {
        let refused = ask(&mut client, host);
        assert_eq!((refused.status(), refused.code().as_str()), (421, "misdirected"), "{host}: {refused:?}");
    }
    // Who shows a certificate where none is asked for has shown none.
    let mut client = connect(&open, "open.test", Some(&alice)).expect("nothing is asked for");
    assert_eq!(ask(&mut client, "shut.test").status(), 421);

    let mut client = connect(&shut, "shut.test", Some(&alice)).expect("it is shown");
    for (host, status) in [("shut.test", 200), ("shut-too.test", 200), ("open.test", 421), ("nobody.test", 421)] {
        assert_eq!(ask(&mut client, host).status(), status, "{host}");
    }
    let nobody =
        connect(&shut, "shut.test", None).and_then(|mut client| client.try_get("/").ok_or(io::ErrorKind::Other.into()));
    assert!(nobody.is_err(), "without one there is no connection to it");

    let config = open.client(&["h2"]);
    let stream = handshake(proxy.address("secure"), "open.test", config).expect("nothing is asked for");
    let mut client = crate::frames::Raw::over(stream);
    for (host, status) in [("open.test", 200), ("shut.test", 421)] {
        assert_eq!(client.get(host, "/"), status, "{host} over HTTP/2");
    }
    assert!(
        origin.seen().iter().all(|seen| seen
            .header("x-forwarded-host")
            .is_some_and(|host| !host.starts_with("shut") || host.len() < 14))
    );
}
