//! Documents that mean harm: refused, quickly, at their place, and without a word of what they said.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use tollgate_plugin_convert::{Config, Fault, Kind, Rules, json_to_xml, xml_to_json};

fn rules(convention: &str) -> Rules {
    let config = serde_json::json!({ "responses": { "to": "json" }, "convention": convention });
    serde_json::from_value::<Config>(config).unwrap().rules().unwrap()
}

/// A whole bound for the machine that runs the tests, far above what is needed and far below what an attack costs.
const SOON: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });

fn refused(xml: impl AsRef<[u8]>) -> Fault {
    let begin = Instant::now();
    let rules = rules("attribute-prefix");
    let fault = xml_to_json(xml.as_ref(), None, &rules).expect_err(&String::from_utf8_lossy(xml.as_ref()));
    assert!(begin.elapsed() < SOON, "{:?}: {fault}", begin.elapsed());
    assert_eq!(fault.kind, Kind::Malformed);
    fault
}

#[test]
fn document_types_are_refused_whatever_is_in_them() {
    let mut laughs = String::from("<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol0 \"lol\">");
    for level in 1..10 {
        laughs += &format!("<!ENTITY lol{level} \"{}\">", format!("&lol{};", level - 1).repeat(10));
    }
    laughs += "]><lolz>&lol9;</lolz>";
    let quadratic = format!("<!DOCTYPE a [<!ENTITY x \"{}\">]><a>{}</a>", "y".repeat(100_000), "&x;".repeat(100_000));
    for document in [
        laughs.as_str(),
        &quadratic,
        "<!DOCTYPE a><a/>",
        "<!doctype a><a/>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"http://127.0.0.1:1/\">]><a>&x;</a>",
        "<!DOCTYPE a [<!ENTITY % p SYSTEM \"http://127.0.0.1:1/\"> %p;]><a/>",
        "<!DOCTYPE a PUBLIC \"x\" \"y\"><a/>",
        "<!DOCTYPE",
        "<a><!DOCTYPE a></a>",
        "<a/><!DOCTYPE a>",
        "<!ENTITY x \"y\"><a/>",
        "<!ELEMENT a ANY><a/>",
    ] {
        assert!(refused(document).message.contains("document type"), "{document:.50}");
    }
    for entity in ["<a>&x;</a>", "<a>&nbsp;</a>", "<a b='&x;'/>", "<a>&LT;</a>", "<a>& </a>", "<a>&</a>", "<a>&;</a>"] {
        refused(entity);
    }
}

#[test]
fn an_inclusion_is_an_element_like_any_other() {
    let xml =
        r#"<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd" parse="text"/></a>"#;
    let json = xml_to_json(xml.as_bytes(), None, &rules("jsonml")).unwrap();
    assert!(json.contains(r#"["xi:include",{"href":"file:///etc/passwd","parse":"text"}]"#));
}

#[test]
fn attributes_are_bounded_and_their_names_unique() {
    let many = |name: &str| (0..80_000).map(|n| format!(" {name}{n:x}=''")).collect::<String>();
    assert!(refused(format!("<a{}/>", many("a"))).message.contains("more than 256 attributes"));
    let namespaces = &many("xmlns:a")[..(1 << 20) - 10];
    assert!(refused(format!("<a{namespaces}/>")).message.contains("more than 256 attributes"));
    assert!(refused(format!("<a{}/>", " b='x'".repeat(80_000))).message.contains("more than 256 attributes"));
    assert!(refused("<a b='1' c='2' b='3'/>").to_string().contains("line 1, column 16: an element has two attributes"));
    // As many attributes as are allowed, again and again, stay cheap.
    let full: String = (0..256).map(|n| format!(" a{n}=''")).collect();
    let xml = format!("<r>{}</r>", format!("<e{full}/>").repeat(400));
    let begin = Instant::now();
    xml_to_json(xml.as_bytes(), None, &rules("attribute-prefix")).unwrap();
    assert!(begin.elapsed() < SOON * 2, "{:?}", begin.elapsed());
}

#[test]
fn nesting_and_number_of_elements_are_bounded() {
    assert!(refused("<a>".repeat(100_000)).message.contains("deeper than 100"));
    assert!(refused(format!("<r>{}</r>", "<a/>".repeat(100_000))).message.contains("more than 100000 elements"));
    assert!(refused("a".repeat((1 << 20) + 1)).message.contains("longer than 1048576 bytes"));
}

#[test]
fn the_deepest_document_fits_a_small_stack() {
    let config = serde_json::json!({ "responses": { "to": "json" }, "max-depth": 256 });
    for convention in ["badgerfish", "parker", "attribute-prefix", "jsonml"] {
        let mut config = config.clone();
        config["convention"] = convention.into();
        let rules = serde_json::from_value::<Config>(config).unwrap().rules().unwrap();
        let deep = move || {
            let xml = format!("{}x{}", "<a>".repeat(256), "</a>".repeat(256));
            let json = xml_to_json(xml.as_bytes(), None, &rules).unwrap();
            let json = if convention == "parker" { "[".repeat(256) + &"]".repeat(256) } else { json };
            // BadgerFish has an object more than XML has elements.
            let _ = json_to_xml(json.as_bytes(), &rules);
        };
        // Debug builds have frames several times as large.
        let stack = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };
        std::thread::Builder::new().stack_size(stack).spawn(deep).unwrap().join().unwrap();
    }
}

#[test]
fn what_is_not_well_formed_is_refused() {
    for document in [
        "",
        " ",
        "<",
        "<a",
        "<a>",
        "<a></b>",
        "</a>",
        "<a></a></a>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a/>&#32;",
        "<![CDATA[x]]><a/>",
        " <?xml version='1.0'?><a/>",
        "<a/><?xml version='1.0'?>",
        "<?xml version='1.1'?><a/>",
        "<?xml?><a/>",
        "<?XML version='1.0'?><a/>",
        "<?1?><a/>",
        "<??><a/>",
        "<?pi",
        "<a><?pi?</a>",
        "< a/>",
        "<a / >",
        "<a/ >",
        "<1/>",
        "<a:b:c/>",
        "<:a/>",
        "<a:/>",
        "<a b/>",
        "<a b=/>",
        "<a b=c/>",
        "<a b='c/>",
        "<a b=\"c'/>",
        "<a b='1'c='2'/>",
        "<a 1='x'/>",
        "<a b='<'/>",
        "<a b='&'/>",
        "<a b='&lt'/>",
        "<a b='1' b='2'/>",
        "<a>]]></a>",
        "<a><!-- -- --></a>",
        "<a><!-- a ---></a>",
        "<a><!--></a>",
        "<a><!---></a>",
        "<a><!-- </a>",
        "<a><![CDATA[ </a>",
        "<a><![cdata[x]]></a>",
        "<a></ a>",
        "<a></a b='1'>",
        "<a></a",
        "<a>\u{1}</a>",
        "<a>\u{FFFE}</a>",
        "<a>\0</a>",
        "<a b='\u{b}'/>",
        "<a><!-- \u{1} --></a>",
        "<a>&#0;</a>",
        "<a>&#1;</a>",
        "<a>&#xFFFFFFFF;</a>",
        "<a>&#x110000;</a>",
        "<a>&#xD800;</a>",
        "<a>&#xFFFE;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#+65;</a>",
        "<a>&#X41;</a>",
        "<a>&#-65;</a>",
        "<a>&#65</a>",
        "<a>&#99999999999999999999;</a>",
        "\u{FEFF}\u{FEFF}<a/>",
        "<a><b></a></b>",
        "{}",
    ] {
        refused(document);
    }
    refused(b"<a>\xff</a>");
    refused(b"<\0a\0/\0>\0");
}

#[test]
fn messages_say_where_and_repeat_nothing() {
    let secret = "s3cr3t";
    for document in [
        format!("<{secret}>\n <b></{secret}></b>"),
        format!("<a>\n <{secret} {secret}='{secret}' {secret}='{secret}'/></a>"),
        format!("<a>\n &{secret};</a>"),
        format!("<a>\n ]]>{secret}</a>"),
        format!("<a>\n</a>{secret}"),
        format!("<a>\n<!-- {secret} -- --></a>"),
    ] {
        let fault = refused(&document);
        assert!(fault.to_string().starts_with("line 2, column "), "{fault}");
        assert!(!fault.to_string().contains(secret), "{fault}");
    }
    let json = format!("{{\"{secret}\": 1,\n \"{secret}\": \"{secret}\"}}");
    let fault = json_to_xml(json.as_bytes(), &rules("badgerfish")).unwrap_err();
    assert_eq!(fault.to_string(), "line 2, column 2: an object has two members of the same name");
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let items = vec!["1"; 50_000].join(",");
    let growing = format!(r#"{{"{}":[{items}]}}"#, "n".repeat(10_000));
    let fault = json_to_xml(format!(r#"{{"r":{growing}}}"#).as_bytes(), &rules("attribute-prefix")).unwrap_err();
    assert_eq!(fault.kind, Kind::TooLong);
    let escaped = format!(r#"{{"{}":1}}"#, " ".repeat(1 << 19));
    let fault = json_to_xml(escaped.as_bytes(), &rules("attribute-prefix")).unwrap_err();
    assert_eq!(fault.kind, Kind::Unrepresentable);
}

#[test]
fn many_different_names_are_grouped_in_time() {
    let children: String = (0..60_000).map(|n| format!("<n{:x}/>", n * 7919 % 60_000)).collect();
    let interleaved = "<a/><b/>".repeat(30_000);
    for inside in [children, interleaved] {
        let begin = Instant::now();
        xml_to_json(format!("<r>{inside}</r>").as_bytes(), None, &rules("attribute-prefix")).unwrap();
        assert!(begin.elapsed() < SOON * 3, "{:?}", begin.elapsed());
    }
}
