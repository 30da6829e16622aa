//! Whatever a guest answers: it is applied whole and is fit to be sent, or it is refused and nothing has changed.

use http::{HeaderMap, Request, Response};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::headers::may_plugin_set;

/// Names as plugins write them, right and wrong.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z][a-z0-9-]{0,12}",
        1 => "[A-Z][A-Za-z-]{0,6}",
        1 => Just("content-length".to_owned()),
        1 => Just("Transfer-Encoding".to_owned()),
        1 => Just(":status".to_owned()),
        1 => ".{0,4}",
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => "[ -~\t]{0,20}".prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..8)]
}

fn fields() -> impl Strategy<Value = Vec<Header>> {
    let some = vec((name(), value()).prop_map(|(name, value)| Header { name, value }), 0..5);
    let many = Just(vec![Header { name: "x-many".to_owned(), value: Vec::new() }; MAX_FIELDS + 1]);
    prop_oneof![20 => some, 1 => many]
}

fn path() -> impl Strategy<Value = Option<String>> {
    option::of(prop_oneof![3 => "(/[a-z0-9]{1,4}){1,3}", 1 => "/[ -~]{0,8}", 1 => ".{0,6}"])
}

prop_compose! {
    fn edits()(
        remove in vec(name(), 0..3),
        set in fields(),
        append in fields(),
        attributes in vec((prop_oneof![Just("known".to_owned()), name()], ".{0,9}"), 0..3),
        status in option::weighted(0.2, any::<u16>()),
        path in path(),
        query in option::of(prop_oneof!["[a-z=&]{0,9}", ".{0,6}"]),
        memo in option::of(vec(any::<u8>(), 0..9)),
        skip_body in any::<bool>(),
    ) -> Edits {
        Edits { remove, set, append, attributes, status, path, query, memo, skip_body }
    }
}

/// A plugin that may set one attribute.
fn sight() -> Sight {
    Sight { sets: vec![Arc::from("known")], ..Sight::default() }
}

fn before() -> HeaderMap {
    [("host", "api.example.com"), ("content-length", "7"), ("x-old", "1"), ("x-old", "2")]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// What the fields of an applied answer may be: those that no plugin may touch stand as they stood.
fn assert_fit(headers: &HeaderMap) {
    assert!(headers.len() <= MAX_HEAD_FIELDS);
    for (name, value) in headers {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)), "{name}: {value:?}");
        assert!(may_plugin_set(name) || before().get(name) == Some(value), "{name}: {value:?}");
    }
    assert_eq!(headers.get("host"), before().get("host"));
    assert_eq!(headers.get("content-length"), before().get("content-length"));
}

proptest! {
    #[test]
    fn edits_of_requests_are_applied_whole_or_not_at_all(edits in edits(), encoded_slash in any::<bool>()) {
        let (mut parts, ()) = Request::get("/v1/search?q=tea").body(()).unwrap().into_parts();
        parts.headers = before();
        let (uri, mut attributes) = (parts.uri.clone(), Attributes::default());
        let (asked, set) = (edits.clone(), edits.set.clone());
        match edit_request(edits, &sight(), &mut parts, &mut attributes, encoded_slash) {
            Ok(applied) => {
                assert_fit(&parts.headers);
                prop_assert_eq!(applied.memo.as_deref(), asked.memo.as_deref());
                prop_assert_eq!(applied.skip_body, asked.skip_body);
                prop_assert_eq!(asked.status, None);
                for field in &set {
                    prop_assert!(parts.headers.contains_key(field.name.as_str()), "{} was set", field.name);
                }
                let path = parts.uri.path();
                let canonical = path::canonical(path, encoded_slash);
                prop_assert_eq!(canonical.as_deref(), Ok(path));
                if let Some(asked) = &asked.path {
                    prop_assert_eq!(path, asked);
                }
                prop_assert!(parts.uri.authority().is_none() && parts.uri.scheme().is_none());
                let known = attributes.get("known").is_some();
                prop_assert_eq!(known, asked.attributes.iter().any(|(name, _)| name == "known"));
            }
            Err(_) => {
                prop_assert_eq!(&parts.headers, &before());
                prop_assert_eq!(&parts.uri, &uri);
                prop_assert!(attributes.0.is_empty());
            }
        }
    }

    #[test]
    fn edits_of_responses_are_applied_whole_or_not_at_all(edits in edits()) {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.headers = before();
        let mut attributes = Attributes::default();
        let asked = edits.clone();
        match edit_response(edits, &sight(), &mut parts, &mut attributes) {
            Ok(_) => {
                assert_fit(&parts.headers);
                prop_assert_eq!(parts.status.as_u16(), asked.status.unwrap_or(200));
                prop_assert!((200..=599).contains(&parts.status.as_u16()));
                prop_assert!(asked.path.is_none() && asked.query.is_none());
            }
            Err(_) => {
                prop_assert_eq!(&parts.headers, &before());
                prop_assert_eq!(parts.status.as_u16(), 200);
                prop_assert!(attributes.0.is_empty());
            }
        }
    }

    #[test]
    fn a_whole_answer_has_a_final_status_and_fields_that_a_plugin_may_set(
        status in any::<u16>(),
        headers in fields(),
        body in vec(any::<u8>(), 0..4),
    ) {
        if let Ok(response) = whole(crate::bindings::Response { status, headers, body: body.clone() }) {
            prop_assert!((200..=599).contains(&response.status().as_u16()));
            prop_assert!(response.headers().keys().all(may_plugin_set));
            prop_assert_eq!(&response.body()[..], &body[..]);
            prop_assert!(body.is_empty() || !matches!(status, 204 | 205 | 304));
        }
    }

    #[test]
    fn a_refusal_is_an_error_in_clean_words(
        status in any::<u16>(),
        code in prop_oneof!["[a-z-]{1,9}", ".{0,4}"],
        title in ".{0,300}",
        detail in option::of(".{0,40}"),
        headers in fields(),
        faults in vec((".{0,9}", ".{0,9}").prop_map(|(pointer, detail)| Fault { pointer, detail }), 0..3),
    ) {
        if let Ok(refusal) = refusal(Problem { status, code, title, detail, headers, faults }) {
            prop_assert!(refusal.status.is_client_error() || refusal.status.is_server_error());
            prop_assert!(refusal.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            let words = [Some(&refusal.title), refusal.detail.as_ref()];
            let faults = refusal.faults.iter().flat_map(|(pointer, detail)| [pointer, detail]);
            prop_assert!(words.into_iter().flatten().chain(faults).all(|text| !text.chars().any(char::is_control)));
            prop_assert!(refusal.title.len() <= 256);
            prop_assert!(refusal.headers.keys().all(may_plugin_set));
        }
    }
}

#[test]
fn a_guest_sees_exactly_what_it_asked_for() {
    let (mut parts, ()) = Request::get("/v1/search?q=tea").body(()).unwrap().into_parts();
    parts.headers = before();
    let mut attributes = Attributes::default();
    attributes.set(&Arc::from("known"), Arc::from("alice"));
    let head = Head {
        parts: &parts,
        scheme: Scheme::Https,
        authority: "api.example.com",
        client: IpAddr::from([192, 0, 2, 1]),
        attributes: &attributes,
    };
    let nothing = See::default().request(&head);
    assert_eq!((nothing.path, nothing.query, nothing.client), (None, None, None));
    assert!(nothing.headers.is_empty() && nothing.attributes.is_empty());
    let all = See { parts: Parts::all(), headers: Seen::All, attributes: Seen::All }.request(&head);
    assert_eq!(
        (all.method.as_deref(), all.scheme, all.path.as_deref()),
        (Some("GET"), Some("https"), Some("/v1/search"))
    );
    assert_eq!((all.query.as_deref(), all.client.as_deref()), (Some("q=tea"), Some("192.0.2.1")));
    assert_eq!(all.headers.len(), 4);
    let one = Seen::Only(vec![(HeaderName::from_static("x-old"), Arc::from("x-old"))]);
    let some = See { parts: Parts::PATH, headers: one, attributes: Seen::Only(vec![]) }.request(&head);
    let values: Vec<_> = some.headers.iter().map(|field| (&*field.name, &field.value[..])).collect();
    assert_eq!(values, [("x-old", &b"1"[..]), ("x-old", &b"2"[..])]);
    assert_eq!((some.method, some.path.as_deref()), (None, Some("/v1/search")));
    assert!(some.attributes.is_empty());
}
