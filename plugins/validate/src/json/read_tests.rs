use proptest::prelude::*;

use super::super::{Value, parse, text};
use super::*;

fn limits() -> Limits {
    Limits {
        depth: 8,
        members: 20,
        items: 20,
        string: 20,
        name: 10,
        digits: 30,
        values: 200,
        duplicates: false,
        nul: false,
    }
}

fn wrong(text: &str) -> Wrong {
    parse(text.as_bytes(), &limits()).expect_err(text).wrong
}

#[track_caller]
fn passes_then_fails(at_limit: &str, beyond: &str, pointer: &str, wrong: Wrong) {
    parse(at_limit.as_bytes(), &limits()).expect(at_limit);
    let refused = parse(beyond.as_bytes(), &limits()).expect_err(beyond);
    assert_eq!(refused, Malformed { pointer: pointer.to_owned(), wrong });
}

#[test]
fn each_limit_passes_what_is_at_it_and_refuses_one_more() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    passes_then_fails(&nested(8), &nested(9), &"/0".repeat(8), Wrong::Depth(8));
    let object = |members: usize| {
        let members: Vec<_> = (0..members).map(|index| format!("\"n{index}\":1")).collect();
        format!("{{\"a\":{{{}}}}}", members.join(","))
    };
    passes_then_fails(&object(20), &object(21), "/a", Wrong::Members(20));
    let array = |items: usize| format!("[1,{{\"b\":[{}]}}]", vec!["0"; items].join(","));
    passes_then_fails(&array(20), &array(21), "/1/b", Wrong::Items(20));
    let string = |bytes: usize| format!("[\"{}\"]", "x".repeat(bytes));
    passes_then_fails(&string(20), &string(21), "/0", Wrong::String(20));
    let escaped = |bytes: usize| format!("[\"{}\"]", "\\n".repeat(bytes));
    passes_then_fails(&escaped(20), &escaped(21), "/0", Wrong::String(20));
    let name = |bytes: usize| format!("{{\"{}\":1}}", "x".repeat(bytes));
    passes_then_fails(&name(10), &name(11), "", Wrong::Name(10));
    let number = |digits: usize| format!("{{\"a/~\":-{}.5e10}}", "1".repeat(digits - 3));
    passes_then_fails(&number(30), &number(31), "/a~1~0", Wrong::Digits(30));
    let values = |values: usize| {
        let inner = format!("[{}]", vec!["0"; 18].join(","));
        let rest = values - 1 - 19 * 10 - 2;
        format!("[{},[0],{}]", vec![inner; 10].join(","), vec!["0"; rest].join(","))
    };
    passes_then_fails(&values(200), &values(201), "/18", Wrong::Values(200));
}

#[test]
fn a_name_comes_once() {
    assert_eq!(wrong(r#"{"a":1,"b":2,"a":3}"#), Wrong::Duplicate);
    assert_eq!(wrong(r#"{"a":1,"\u0061":3}"#), Wrong::Duplicate);
    let refused = parse(br#"{"x":[{"a":1,"a":1}]}"#, &limits()).unwrap_err();
    assert_eq!(refused.pointer, "/x/0");
    let many = |last: usize| {
        let names: Vec<_> = (0..18).chain([last]).map(|index| format!("\"n{index}\":{index}")).collect();
        format!("{{{}}}", names.join(","))
    };
    assert_eq!(wrong(&many(7)), Wrong::Duplicate);
    parse(many(18).as_bytes(), &limits()).unwrap();
    // The same name at two depths, or in two objects, is no duplicate.
    parse(br#"[{"a":{"a":1}},{"a":1}]"#, &limits()).unwrap();
    let allowed = Limits { duplicates: true, ..limits() };
    let document = parse(br#"{"a":1,"a":2}"#, &allowed).unwrap();
    assert_eq!(document.root().as_object().unwrap().get("a").unwrap().written(), Some("1"));
    assert_eq!(document.root().as_object().unwrap().len(), 2);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "nul",
        "True",
        "NaN",
        "-NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-",
        "0x1",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\"}",
        "{\"a\":}",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "[",
        "{",
        "\"",
        "\"\\\"",
        "\"a\nb\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "// a\n1",
        "1,",
        "1 2",
        "[]]",
        "\u{b}1",
        "\u{a0}1",
        "\"a\u{0}b\"",
        "{\u{0}}",
        "]",
        "}",
        ":",
        ",",
    ] {
        wrong(text);
    }
    assert_eq!(wrong("\u{feff}{}"), Wrong::ByteOrderMark);
    assert_eq!(wrong("{} {}"), Wrong::Trailing(3));
    assert_eq!(wrong("{}\0"), Wrong::Trailing(2));
    for lone in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\ud800\n""#, r#"{"\udead":1}"#]
    {
        assert!(matches!(wrong(lone), Wrong::LoneSurrogate(_)), "{lone}");
    }
    assert_eq!(wrong(r#""a\u0000""#), Wrong::Nul(2));
    parse(br#""a\u0000""#, &Limits { nul: true, ..limits() }).expect("allowed");
    assert_eq!(wrong("1e1234567890123456789"), Wrong::Exponent);
    let bytes = |bytes: &[u8]| parse(bytes, &limits()).unwrap_err().wrong;
    assert_eq!(bytes(b"\xff\xfe{\0}\0"), Wrong::NotUtf8(0));
    assert_eq!(bytes(b"\"\xed\xa0\x80\""), Wrong::NotUtf8(1));
    assert_eq!(bytes(b"\"\xc0\xaf\""), Wrong::NotUtf8(1));
    assert!(matches!(bytes(b"{\0\"\0a\0\"\0"), Wrong::Expected(..)));
}

#[test]
fn a_hundred_thousand_levels_need_no_stack() {
    let run = || {
        for (opening, depth) in [("[", 100_000), ("{\"a\":", 100_000)] {
            let text = opening.repeat(depth);
            assert_eq!(parse(text.as_bytes(), &limits()).unwrap_err().wrong, Wrong::Depth(8));
            let deep = Limits { depth: u32::MAX, values: u32::MAX, ..limits() };
            assert!(matches!(parse(text.as_bytes(), &deep).unwrap_err().wrong, Wrong::Expected(..)));
            let whole = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            drop(parse(whole.as_bytes(), &deep).expect("only nested"));
        }
    };
    std::thread::Builder::new().stack_size(64 << 10).spawn(run).expect("a thread").join().expect("no overflow");
}

#[test]
fn strings_are_what_was_meant() {
    let text = r#"["plain text of some length","\"\\\/\b\f\n\r\t","\u00e9\ud83d\ude00é😀","","a\\"]"#;
    let document = parse(text.as_bytes(), &Limits { string: 30, ..limits() }).unwrap();
    let all: Vec<_> = document.root().as_array().unwrap().filter_map(Value::as_str).collect();
    assert_eq!(all, ["plain text of some length", "\"\\/\u{8}\u{c}\n\r\t", "é😀é😀", "", "a\\"]);
}

#[test]
fn large_and_small_objects_answer_the_same() {
    for count in [1, 15, 16, 17, 20] {
        let members: Vec<_> = (0..count).map(|index| format!("\"k{index}\":[{index}]")).collect();
        let text = format!("{{{}}}", members.join(", "));
        let document = parse(text.as_bytes(), &limits()).unwrap();
        let object = document.root().as_object().unwrap();
        for index in 0..count {
            let value = object.get(&format!("k{index}")).unwrap().as_array().unwrap().next().unwrap();
            assert_eq!(value.written(), Some(index.to_string().as_str()));
        }
        assert!(object.get("k20").is_none() && object.get("").is_none() && object.get("z").is_none());
        assert_eq!(object.count(), count);
    }
}

#[test]
fn strings_and_names_of_every_length_are_read() {
    for len in 0..40 {
        let string = "x".repeat(len);
        for after in ["", " and more than sixteen bytes"] {
            let text = format!("{{\"{string}\":\"{string}\",\"{after}\":0}}");
            let document = parse(text.as_bytes(), &generous()).unwrap();
            let member = document.root().as_object().unwrap().next().unwrap();
            assert_eq!((member.name(), member.value.as_str()), (&*string, Some(&*string)), "{text}");
        }
    }
}

fn back(value: Value<'_>) -> serde_json::Value {
    match value.view() {
        View::Null => serde_json::Value::Null,
        View::Bool(value) => value.into(),
        View::Number(number) => match number.text().parse::<i64>() {
            Ok(integer) => integer.into(),
            Err(_) => number.text().parse::<f64>().expect("a number").into(),
        },
        View::String(bytes) => text(bytes).into(),
        View::Array(items) => items.map(back).collect(),
        View::Object(members) => {
            serde_json::Value::Object(members.map(|member| (member.name().to_owned(), back(member.value))).collect())
        }
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
        "[^\0]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            prop::collection::btree_map("[^\0]{0,4}", inner, 0..20)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn generous() -> Limits {
    let all = u32::MAX;
    Limits {
        depth: 64,
        members: all,
        items: all,
        string: all,
        name: all,
        digits: all,
        values: all,
        duplicates: true,
        nul: false,
    }
}

proptest! {
    #[test]
    fn a_document_reads_back_as_it_was_written(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let document = parse(text.as_bytes(), &generous()).unwrap();
        prop_assert_eq!(back(document.root()), value);
    }

    #[test]
    fn it_takes_what_another_parser_takes(text in r#"[\[\]{}",:0-9a-e.+\-\\ux \n]{0,24}"#) {
        // Apart from what is refused on purpose, and of what doubles cannot hold.
        let ours = parse(text.as_bytes(), &generous()).map_err(|malformed| malformed.wrong);
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (&ours, &theirs) {
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{error}"),
            (Err(wrong), Ok(_)) => prop_assert!(matches!(wrong, Wrong::Nul(_) | Wrong::Exponent), "{wrong}"),
            _ => {}
        }
    }

    /// What is short is read at once where enough follows it, and else like what is long.
    #[test]
    fn what_follows_changes_nothing(
        number in r"-?(0|[0-9]{1,9})(\.[0-9]{0,9})?([eE]-?[0-9]{1,3})?",
        string in r"[a-dé]{0,17}(\\t|\\|\n)?[a-d]{0,9}",
        most in 10_u32..20,
    ) {
        let limits = Limits { digits: most, string: most, name: most, ..generous() };
        let read = |text: &str| parse(text.as_bytes(), &limits).ok().map(|document| {
            format!("{:?} {:?}", document.slots, document.unescaped)
        });
        for text in [number.clone(), format!("\"{string}\""), format!("{{\"{string}\":{number}}}")] {
            prop_assert_eq!(read(&text), read(&format!("{text}{}", " ".repeat(40))), "{}", text);
        }
    }

    #[test]
    fn any_name_that_comes_twice_is_found(names in prop::collection::vec("[ab]{0,3}|aaaaaaa[ab]{0,2}|aaaaaaa[ab]a{6}[ab]{0,2}", 0..24), escaped: prop::sample::Index) {
        let twice = names.iter().enumerate().any(|(index, name)| names[..index].contains(name));
        let written = |(index, name): (usize, &String)| {
            // One of them is written with escapes.
            let escape = !names.is_empty() && index == escaped.index(names.len());
            let name = if escape { name.replace('a', r"\u0061") } else { name.clone() };
            format!("\"{name}\":{{\"a\":1,\"b\":[{index}]}}")
        };
        let text = format!("{{{}}}", names.iter().enumerate().map(written).collect::<Vec<_>>().join(","));
        let parsed = parse(text.as_bytes(), &Limits { duplicates: false, ..generous() });
        prop_assert_eq!(parsed.as_ref().map(|_| ()).map_err(|malformed| malformed.wrong), if twice { Err(Wrong::Duplicate) } else { Ok(()) });
        let allowed = parse(text.as_bytes(), &generous()).unwrap();
        for name in &names {
            let first = names.iter().position(|other| other == name).unwrap();
            let value = allowed.root().as_object().unwrap().get(name).unwrap().as_object().unwrap().get("b").unwrap();
            prop_assert_eq!(value.as_array().unwrap().next().unwrap().written(), Some(&*first.to_string()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes, &limits());
    }
}
