//! Certificates: those that clients see, and those of the servers behind.

use std::time::Instant;

use tempfile::TempDir;

use crate::harness::{Client, Identity, Origin, PATIENCE, Proxy, answer, handshake};

/// A listener with these certificates, and one route.
fn config(origin: &Origin, certificates: &[String]) -> String {
    format!(
        "listener.secure = {{ address = \"127.0.0.1:0\", tls = [{}] }}\nupstream.o.endpoints = [\"{}\"]\n\
         route.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n",
        certificates.join(", "),
        origin.url()
    )
}

/// Whether a client that believes only `identity` gets its answer from the one whom it calls `name`.
fn gets(proxy: &Proxy, name: &str, identity: &Identity) -> Result<(), String> {
    let stream = handshake(proxy.address("secure"), name, identity.client(&[])).map_err(|error| error.to_string())?;
    let response = Client::over(stream).request("GET", "/", &[], b"");
    assert_eq!((response.status(), response.text().as_str()), (200, "fine"), "{response:?}");
    Ok(())
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let folder = TempDir::new().expect("a folder");
    let origin = Origin::fine();
    let [first, wide, exact] = [&["a.test", "127.0.0.1"][..], &["*.b.test"], &["x.b.test"]].map(Identity::new);
    let certificates = [("first", &first), ("wide", &wide), ("exact", &exact)];
    let certificates = certificates.map(|(name, identity)| identity.write(folder.path(), name));
    let proxy = Proxy::start(&config(&origin, &certificates), &[]);
    for (name, identity) in [("a.test", &first), ("y.b.test", &wide), ("x.b.test", &exact), ("X.B.Test", &exact)] {
        gets(&proxy, name, identity).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    gets(&proxy, "127.0.0.1", &first).expect("who asks for nobody gets the first");
    // So does who asks for somebody else, and sees that it is not the one.
    for name in ["c.test", "z.y.b.test"] {
        let error = gets(&proxy, name, &first).expect_err(name);
        assert!(error.contains("not valid for name") && error.contains("a.test"), "{name}: {error}");
    }
    for (name, others) in [("x.b.test", &wide), ("a.test", &exact)] {
        assert!(gets(&proxy, name, others).is_err(), "{name} shows its own certificate alone");
    }
    assert_eq!(proxy.client().request("GET", "/", &[], b"").status(), 200, "and the other listener has none");
    let told = origin
        .seen()
        .iter()
        .map(|seen| seen.header("x-forwarded-proto").unwrap_or_default().to_owned())
        .collect::<Vec<_>>();
    assert_eq!(told, [vec!["https"; 5], vec!["http"]].concat());
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload() {
    let folder = TempDir::new().expect("a folder");
    let origin = Origin::fine();
    let [old, new, other] = [(); 3].map(|()| Identity::new(&["a.test"]));
    let config = config(&origin, &[old.write(folder.path(), "a")]);
    let proxy = Proxy::start(&config, &[]);
    let stream = handshake(proxy.address("secure"), "a.test", old.client(&[])).expect("a handshake");
    let mut kept = Client::over(stream);
    assert_eq!(kept.request("GET", "/", &[], b"").status(), 200);

    new.write(folder.path(), "a");
    proxy.reload(&config).expect("a right pair");
    gets(&proxy, "a.test", &new).expect("the new one");
    gets(&proxy, "a.test", &old).expect_err("the old one is gone");
    assert_eq!(kept.request("GET", "/", &[], b"").status(), 200, "who is connected stays so");

    // A pair that is none changes nothing, whichever half is wrong.
    for (what, file, text) in [
        (
            "another key",
            "a.key.pem",
            std::fs::read_to_string({
                other.write(folder.path(), "b");
                folder.path().join("b.key.pem")
            })
            .expect("a key"),
        ),
        ("half a certificate", "a.pem", "-----BEGIN CERTIFICATE-----\nMIIB".to_owned()),
        ("nothing", "a.pem", String::new()),
    ] {
        let path = folder.path().join(file);
        let right = std::fs::read(&path).expect("a file");
        std::fs::write(&path, text).expect("a file");
        let why = proxy.reload(&config).expect_err(what);
        assert!(why.contains(file), "{what}: {why}");
        gets(&proxy, "a.test", &new).unwrap_or_else(|error| panic!("{what}: {error}"));
        std::fs::write(&path, right).expect("a file");
    }
    proxy.reload(&config).expect("right again");
}

#[test]
fn a_renewed_certificate_is_found_without_being_told() {
    let folder = TempDir::new().expect("a folder");
    let origin = Origin::fine();
    let [old, new] = [(); 2].map(|()| Identity::new(&["a.test"]));
    let proxy = Proxy::start(&config(&origin, &[old.write(folder.path(), "a")]), &[]);
    new.write(folder.path(), "a");
    let begun = Instant::now();
    while gets(&proxy, "a.test", &new).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nobody found it");
    }
    gets(&proxy, "a.test", &old).expect_err("the old one is gone");
}

#[test]
fn a_server_behind_has_to_prove_who_it_is() {
    let folder = TempDir::new().expect("a folder");
    let identity = Identity::new(&["127.0.0.1", "origin.test"]);
    let other = Identity::new(&["127.0.0.1", "origin.test"]);
    let origin = Origin::start_tls(&identity, |_| answer("text/plain", "fine"));
    identity.write(folder.path(), "origin");
    other.write(folder.path(), "other");
    let roots = |name: &str| format!("roots = {:?}", folder.path().join(name));
    let start = |tls: &str| {
        Proxy::try_start(
            &format!(
                "upstream.o = {{ endpoints = [\"https://{}\"], tls = {{ {tls} }} }}\n\
                 route.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n",
                origin.address()
            ),
            &[],
        )
    };
    for tls in [roots("origin.pem"), format!("{}, name = \"origin.test\"", roots("origin.pem"))] {
        let proxy = start(&tls).expect("it starts");
        for _ in 0..2 {
            assert_eq!(proxy.get("/").text(), "fine", "{tls}");
        }
    }
    assert_eq!(origin.seen().len(), 4);

    let refuses = |what: &str, proxy: Proxy| {
        let refused = proxy.get("/secret");
        assert_eq!((refused.status(), refused.code().as_str()), (502, "upstream-tls"), "{what}: {refused:?}");
        assert_eq!(origin.seen().len(), 4, "{what}: it learns nothing of the request");
    };
    refuses("another root", start(&roots("other.pem")).expect("it starts"));
    let named = format!("{}, name = \"another.test\"", roots("origin.pem"));
    refuses("another name", start(&named).expect("it starts"));
    // By the roots of the system, where there are any: they do not know it.
    match start("") {
        Ok(proxy) => refuses("the system's roots", proxy),
        Err(why) => assert!(why.contains("no root certificates"), "{why}"),
    }
    let why = start(&roots("nothing.pem")).err().expect("it does not start");
    assert!(why.contains("nothing.pem"), "{why}");

    // Plain HTTP where TLS was promised.
    let plain = Origin::fine();
    let config = format!(
        "upstream.o = {{ endpoints = [\"https://{}\"], tls = {{ {} }} }}\n\
         route.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n",
        plain.address(),
        roots("origin.pem")
    );
    assert_eq!(Proxy::start(&config, &[]).get("/unsaid").status(), 502);
    // A check of another test may ask whoever has the port of a server that is gone.
    assert!(plain.seen().iter().all(|seen| seen.target() != "/unsaid"));
}
