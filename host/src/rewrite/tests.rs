use std::num::NonZeroU32;

use http::header::{LOCATION, SET_COOKIE};
use proptest::prelude::*;

use super::*;
use crate::config::Endpoint;

fn prefix(strip: &str, add: &str) -> Rewrite {
    let header = HeaderValue::from_str(strip).ok().filter(|_| !strip.is_empty());
    Rewrite { how: How::Prefix { strip: strip.to_owned(), add: add.to_owned(), header }, encoded_slash: false }
}

fn template(regex: &str, parts: Vec<TemplatePart>) -> Rewrite {
    let regex = Regex::new(&format!("^(?:{regex})$")).unwrap();
    Rewrite { how: How::Template { regex, parts }, encoded_slash: false }
}

fn request(rewrite: &Rewrite, target: &'static str) -> Result<(String, Option<HeaderValue>), Reason> {
    let mut target = Uri::from_static(target);
    let mut headers = HeaderMap::from_iter([(PREFIX, HeaderValue::from_static("/spoofed"))]);
    rewrite.request(&mut target, &mut headers).map_err(|error| error.reason().clone())?;
    Ok((target.to_string(), headers.get(PREFIX).cloned()))
}

#[test]
fn prefixes_go_and_come_on_borders_of_segments() {
    for (strip, add, target, expected) in [
        ("/v1", "", "/v1/search?q=%2F..", "/search?q=%2F.."),
        ("/v1", "", "/v1", "/"),
        ("/v1", "", "/v1/", "/"),
        ("/v1", "", "/v1?q", "/?q"),
        ("/v1", "", "/v1x/y", "/v1x/y"),
        ("", "/api", "/search", "/api/search"),
        ("", "/api", "/", "/api/"),
        ("/v1", "/api/v2", "/v1/a/b", "/api/v2/a/b"),
        ("/v1", "/api", "/v1", "/api/"),
    ] {
        let (path, header) = request(&prefix(strip, add), target).unwrap();
        assert_eq!(path, expected, "{target}");
        let told = (!strip.is_empty() && path != target).then(|| HeaderValue::from_str(strip).unwrap());
        assert_eq!(header, told, "{target}");
    }
}

#[test]
fn a_template_takes_groups_and_what_it_makes_is_canonical_or_refused() {
    let text = |text: &str| TemplatePart::Text(text.to_owned());
    let group = |name: &str| TemplatePart::Group(name.to_owned());
    let items = template(
        "/users/(?<user>[^/]+)/items/(?<item>.*)",
        vec![text("/items/"), group("item"), text("/of/"), group("user")],
    );
    assert_eq!(request(&items, "/users/7/items/a/b?x=1").unwrap().0, "/items/a/b/of/7?x=1");
    assert_eq!(request(&items, "/other").unwrap().0, "/other");
    assert_eq!(request(&items, "/users/7/items/"), Err(Reason::BadPath), "an empty segment");
    let dots = template("/(?<a>.)/x", vec![text("/"), group("a"), group("a"), text("/secret")]);
    assert_eq!(request(&dots, "/a/x").unwrap().0, "/aa/secret");
    assert_eq!(request(&dots, "/./x"), Err(Reason::BadPath), "a dot segment that was none");
}

#[test]
fn what_upstreams_say_of_paths_becomes_public() {
    let rewrite = prefix("/v1", "/api");
    let authority = HeaderValue::from_static("10.0.1.5:8080");
    let endpoint = Endpoint { tls: false, host: "10.0.1.5".to_owned(), port: 8080, authority, unix: None };
    let own = [Member { endpoint, weight: NonZeroU32::MIN, priority: 0 }];
    for (name, value, expected) in [
        ("location", "/api/login?next=/api/x", "/v1/login?next=/api/x"),
        ("location", "/api", "/v1"),
        ("location", "http://10.0.1.5:8080/api/login", "http://10.0.1.5:8080/v1/login"),
        ("location", "//10.0.1.5:8080/api/login", "//10.0.1.5:8080/v1/login"),
        ("location", "https://example.com/api/login", "https://example.com/api/login"),
        ("location", "//example.com/api", "//example.com/api"),
        ("location", "/outside", "/outside"),
        ("location", "/apix", "/apix"),
        ("location", "/v1/login", "/v1/login"),
        ("location", "login", "login"),
        ("content-location", "/api/x", "/v1/x"),
        ("refresh", "5; url=/api/x", "5; url=/v1/x"),
        ("refresh", "5; URL=\"/api/x\"", "5; URL=\"/v1/x\""),
        ("refresh", "5", "5"),
        (
            "link",
            "</api/a>; rel=next, <https://example.com/api>; rel=x",
            "</v1/a>; rel=next, <https://example.com/api>; rel=x",
        ),
        ("link", "</api/a>; rel=a, </api/b>; rel=b", "</v1/a>; rel=a, </v1/b>; rel=b"),
        ("link", "<broken", "<broken"),
        ("set-cookie", "a=path=/api; Path=/api/x; HttpOnly", "a=path=/api; Path=/v1/x; HttpOnly"),
        ("set-cookie", "a=b; path=/", "a=b; path=/"),
        ("x-other", "/api/x", "/api/x"),
    ] {
        let name: HeaderName = name.parse().unwrap();
        let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).unwrap())]);
        rewrite.response(&mut headers, &own);
        assert_eq!(headers[&name], expected, "{name}: {value}");
    }
    let mut headers = HeaderMap::from_iter([
        (LOCATION, HeaderValue::from_static("/")),
        (SET_COOKIE, HeaderValue::from_static("a=b; Path=/")),
    ]);
    prefix("/v1", "").response(&mut headers, &own);
    assert_eq!((headers[LOCATION].as_bytes(), headers[SET_COOKIE].as_bytes()), (&b"/v1/"[..], &b"a=b; Path=/v1/"[..]));
}

proptest! {
    #[test]
    fn a_path_comes_back_as_it_went(segments in proptest::collection::vec("[a-z0-9]{1,4}", 0..5)) {
        let path = format!("/v1/{}", segments.join("/"));
        let rewrite = prefix("/v1", "/api");
        let mut target: Uri = path.parse().unwrap();
        rewrite.request(&mut target, &mut HeaderMap::new()).unwrap();
        prop_assert!(target.path().starts_with("/api/"));
        let mut headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(target.path()).unwrap())]);
        rewrite.response(&mut headers, &[]);
        prop_assert_eq!(headers[LOCATION].to_str().unwrap(), path);
    }

    #[test]
    fn no_value_is_a_panic(value in ".{0,60}", name in 0..5_usize) {
        let name = ["location", "refresh", "link", "set-cookie", "content-location"][name];
        if let Ok(value) = HeaderValue::from_str(&value) {
            let mut headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
            prefix("/v1", "/api").response(&mut headers, &[]);
        }
    }

    #[test]
    fn what_goes_to_an_upstream_is_canonical(raw in "/[a-z./%0-9A-F;]{0,20}") {
        let Ok(canonical) = path::canonical(&raw, false) else { return Ok(()) };
        let Ok(mut target) = canonical.parse::<Uri>() else { return Ok(()) };
        for rewrite in [prefix("/a", "/b"), prefix("", "/b"), prefix("/a", "")] {
            if rewrite.request(&mut target, &mut HeaderMap::new()).is_ok() {
                prop_assert_eq!(path::canonical(target.path(), false).unwrap(), target.path());
            }
        }
    }
}
