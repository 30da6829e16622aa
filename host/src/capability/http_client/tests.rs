use super::*;
use crate::config::cases;

fn granted(origins: &[&str]) -> Granted {
    let origins: Vec<_> = origins.iter().map(|text| cases::origin(text).expect("an origin")).collect();
    Granted::load(&origins, Some(Arc::default())).expect("no roots are needed")
}

fn ask<'a>(method: &'a str, url: &'a str) -> Asked<'a> {
    Asked { method, url, fields: Vec::new(), body: Bytes::new(), timeout_ms: None }
}

#[test]
fn only_origins_that_are_granted_are_reached() {
    let granted = granted(&["https://idp.example.com", "http://api.example.com:8080", "http://[::1]:9"]);
    for url in [
        "https://idp.example.com",
        "https://idp.example.com/a?b=c",
        "https://IDP.example.COM:443/",
        "http://api.example.com:8080/x",
        "http://[::1]:9/",
    ] {
        assert!(check(&granted, ask("GET", url)).is_ok(), "{url}");
    }
    for url in [
        "http://idp.example.com/",
        "https://idp.example.com:8443/",
        "https://idp.example.com.evil.test/",
        "https://xidp.example.com/",
        "https://example.com/",
        "http://api.example.com/",
        "http://[::2]:9/",
    ] {
        assert_eq!(check(&granted, ask("GET", url)).unwrap_err(), Error::NotGranted, "{url}");
    }
    let (_, ask) = check(&granted, ask("POST", "https://idp.example.com?b")).unwrap();
    let target = ask.target.path_and_query().map(PathAndQuery::as_str);
    assert_eq!((ask.method, target), (Method::POST, Some("/?b")), "in origin form");
}

#[test]
fn what_is_no_request_is_refused() {
    let granted = granted(&["https://idp.example.com"]);
    let long = format!("https://idp.example.com/{}", "a".repeat(LONGEST_URL));
    for (method, url) in [
        ("GE T", "https://idp.example.com/"),
        ("", "https://idp.example.com/"),
        ("CONNECT", "https://idp.example.com/"),
        ("GET", "/a"),
        ("GET", "idp.example.com"),
        ("GET", "ftp://idp.example.com/"),
        ("GET", "https://user@idp.example.com/"),
        ("GET", "https://idp.example.com@evil.test/"),
        ("GET", "https://idp.example.com/#a"),
        ("GET", "https://idp.example.com/a b"),
        ("GET", "https://idp.example.com/ä"),
        ("GET", "https://idp.example.com/?ä"),
        ("GET", "https://idp.example.com/\r\nhost: evil"),
        ("GET", "https://idp.example.com:99999/"),
        ("GET", "https://idp.example.com:0/"),
        ("GET", "https://idp.example.com:/"),
        ("GET", "https://idp.example.com:443:443/"),
        ("GET", ""),
        ("GET", &long),
    ] {
        let error = check(&granted, ask(method, url)).unwrap_err();
        assert!(matches!(error, Error::InvalidRequest(_)), "{method} {url}: {error:?}");
    }
    for (name, value) in [
        ("host", &b"evil"[..]),
        ("content-length", b"7"),
        ("transfer-encoding", b"chunked"),
        ("connection", b"close"),
        ("x-a", b"b\r\nhost: evil"),
        ("x a", b"b"),
        (":path", b"/"),
    ] {
        let asked = Asked { fields: vec![(name, value)], ..ask("GET", "https://idp.example.com/") };
        assert!(matches!(check(&granted, asked), Err(Error::InvalidRequest(_))), "{name}");
    }
    let many = vec![("x-a", &b"1"[..]); MOST_FIELDS.0 + 1];
    assert!(check(&granted, Asked { fields: many, ..ask("GET", "https://idp.example.com/") }).is_err());
    let value = vec![b'a'; MOST_FIELDS.1];
    let large = vec![("x-a", &value[..])];
    assert!(check(&granted, Asked { fields: large, ..ask("GET", "https://idp.example.com/") }).is_err());
    let body = Bytes::from(vec![0; LONGEST_BODY + 1]);
    assert!(check(&granted, Asked { body, ..ask("GET", "https://idp.example.com/") }).is_err());
}

#[test]
fn no_request_takes_longer_than_a_minute() {
    let granted = granted(&["https://idp.example.com"]);
    for (asked, time) in [(None, LONGEST), (Some(7), Duration::from_millis(7)), (Some(u32::MAX), LONGEST)] {
        let asked = Asked { timeout_ms: asked, ..ask("GET", "https://idp.example.com/") };
        assert_eq!(check(&granted, asked).unwrap().1.time, time);
    }
}

/// `localhost` is in every hosts file.
#[tokio::test]
async fn a_name_of_a_private_address_is_refused_unless_the_grant_names_it() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let outgoing = Outgoing { connector: Connector::new(), kept: RefCell::default() };
            let mut origin = cases::origin("http://localhost:9").expect("an origin");
            assert_eq!(outgoing.resolve(&origin).await, Err(Error::AddressNotAllowed));
            origin.addresses = vec!["127.0.0.0/8", "::1/128"].into_iter().map(cases::network).collect();
            let found = outgoing.resolve(&origin).await.expect("it is allowed");
            assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
            origin.addresses = vec![cases::network("10.0.0.0/8")];
            assert_eq!(outgoing.resolve(&origin).await, Err(Error::AddressNotAllowed));
            let literal = cases::origin("http://127.0.0.1:9").expect("an origin");
            assert_eq!(outgoing.resolve(&literal).await.map(|found| found.len()), Ok(1), "granted by its number");
        })
        .await;
}
