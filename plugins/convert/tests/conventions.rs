//! What each convention makes of a document, in both directions.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use tollgate_plugin_convert::{Config, Fault, Kind, Rules, json_to_xml, xml_to_json};

const DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

fn rules(options: serde_json::Value) -> Rules {
    let mut config = serde_json::json!({ "responses": { "to": "json" } });
    config.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    serde_json::from_value::<Config>(config).unwrap().rules().unwrap()
}

fn to_json(options: serde_json::Value, xml: &str) -> String {
    xml_to_json(xml.as_bytes(), None, &rules(options)).unwrap_or_else(|fault| panic!("{fault}: {xml}"))
}

fn to_xml(options: serde_json::Value, json: &str) -> String {
    let xml = json_to_xml(json.as_bytes(), &rules(options)).unwrap_or_else(|fault| panic!("{fault}: {json}"));
    xml.strip_prefix(DECLARATION).unwrap().to_owned()
}

fn to_xml_fault(options: serde_json::Value, json: &str) -> Fault {
    json_to_xml(json.as_bytes(), &rules(options)).unwrap_err()
}

macro_rules! options {
    ($($options:tt)*) => { serde_json::json!({ $($options)* }) };
}

/// Converts there and back.
fn both(options: serde_json::Value, xml: &str, json: &str) {
    assert_eq!(to_json(options.clone(), xml), json);
    assert_eq!(to_xml(options, json), xml);
}

#[test]
fn badgerfish() {
    let convention = || options! { "convention": "badgerfish" };
    for (xml, json) in [
        // The examples of the convention's own page.
        ("<alice>bob</alice>", r#"{"alice":{"$":"bob"}}"#),
        (
            "<alice><bob>charlie</bob><david>edgar</david></alice>",
            r#"{"alice":{"bob":{"$":"charlie"},"david":{"$":"edgar"}}}"#,
        ),
        ("<alice><bob>charlie</bob><bob>david</bob></alice>", r#"{"alice":{"bob":[{"$":"charlie"},{"$":"david"}]}}"#),
        (r#"<alice charlie="david">bob</alice>"#, r#"{"alice":{"@charlie":"david","$":"bob"}}"#),
        (
            r#"<alice xmlns="http://some-namespace">bob</alice>"#,
            r#"{"alice":{"@xmlns":{"$":"http://some-namespace"},"$":"bob"}}"#,
        ),
        (
            r#"<alice xmlns="http://a" xmlns:charlie="http://b"><bob>david</bob><charlie:edgar>frank</charlie:edgar></alice>"#,
            r#"{"alice":{"@xmlns":{"$":"http://a","charlie":"http://b"},"bob":{"$":"david"},"charlie:edgar":{"$":"frank"}}}"#,
        ),
        ("<a/>", r#"{"a":{}}"#),
        (r#"<a><b/><b c="1"/></a>"#, r#"{"a":{"b":[{},{"@c":"1"}]}}"#),
    ] {
        both(convention(), xml, json);
    }
    assert_eq!(to_xml(convention(), r#"{"a":{"b":"plain","c":null}}"#), "<a><b>plain</b><c/></a>");
    for wrong in [
        r#"{"a":{},"b":{}}"#,
        r#"{"a":[{},{}]}"#,
        r#"{"$":"x"}"#,
        r#"{"@a":"x"}"#,
        "{}",
        "[]",
        r#""text""#,
        r#"{"a":{"@b":{}}}"#,
        r#"{"a":{"@b":[1]}}"#,
        r#"{"a":{"$":{}}}"#,
        r#"{"a":{"@xmlns":"u"}}"#,
        r#"{"a":{"@xmlns":{"1":"u"}}}"#,
        r#"{"a":{"@xmlns":{"p":"u"},"@xmlns:p":"v"}}"#,
    ] {
        assert_eq!(to_xml_fault(convention(), wrong).kind, Kind::Unrepresentable, "{wrong}");
    }
}

#[test]
fn parker() {
    let convention = || options! { "convention": "parker" };
    for (xml, json) in [
        ("<root>test</root>", r#""test""#),
        ("<root><name>Xml</name><encoding>ASCII</encoding></root>", r#"{"name":"Xml","encoding":"ASCII"}"#),
        ("<root><nil/></root>", r#"{"nil":null}"#),
        ("<root><item>1</item><item>2</item></root>", r#"{"item":["1","2"]}"#),
        ("<root/>", "null"),
    ] {
        both(convention(), xml, json);
    }
    let lossy = r#"<r version="1.0">testing<!--c--><element test="true">1</element></r>"#;
    assert_eq!(to_json(convention(), lossy), r#"{"element":"1"}"#);
    assert_eq!(
        to_xml(options! { "convention": "parker", "root": "r", "item": "i" }, "[1,[2,3],null]"),
        "<r><i>1</i><i><i>2</i><i>3</i></i><i/></r>"
    );
    assert_eq!(to_xml(convention(), r#"{"@a":1}"#), "<root><_x0040_a>1</_x0040_a></root>");
}

#[test]
fn attribute_prefix() {
    for (xml, json) in [
        ("<a>t</a>", r#"{"a":"t"}"#),
        ("<a/>", r#"{"a":null}"#),
        (r#"<a x="1"/>"#, r#"{"a":{"@x":"1"}}"#),
        (r#"<a x="1">t</a>"#, r##"{"a":{"@x":"1","#text":"t"}}"##),
        ("<a><b>1</b><b>2</b><c/></a>", r#"{"a":{"b":["1","2"],"c":null}}"#),
        (r#"<p:a xmlns:p="u"/>"#, r#"{"p:a":{"@xmlns:p":"u"}}"#),
    ] {
        both(options! {}, xml, json);
    }
    assert_eq!(to_json(options! {}, "<p>Hello <b>you</b> there</p>"), r##"{"p":{"#text":"Hello  there","b":"you"}}"##);
    let names = || options! { "attribute-prefix": "-", "text": "_" };
    both(names(), r#"<a x="1">t</a>"#, r#"{"a":{"-x":"1","_":"t"}}"#);
}

#[test]
fn jsonml() {
    let convention = || options! { "convention": "jsonml" };
    for (xml, json) in [
        ("<a/>", r#"["a"]"#),
        (r#"<a x="1"/>"#, r#"["a",{"x":"1"}]"#),
        (
            r#"<p>Hello <b class="x">you</b> <i>there</i>.</p>"#,
            r#"["p","Hello ",["b",{"class":"x"},"you"]," ",["i","there"],"."]"#,
        ),
        ("<a><b/><c/><b/></a>", r#"["a",["b"],["c"],["b"]]"#),
    ] {
        both(convention(), xml, json);
    }
    assert_eq!(to_xml(convention(), r#"["a",1,true,"x",["b"]]"#), "<a>1truex<b/></a>");
    for wrong in ["[]", "{}", "[1]", r#"["a",null]"#, r#"["a",["b"],{}]"#, r#"["a",{"x":[]}]"#, r#"["a",[]]"#, r#""a""#]
    {
        assert_eq!(to_xml_fault(convention(), wrong).kind, Kind::Unrepresentable, "{wrong}");
    }
}

#[test]
fn named_paths_are_lists_even_with_one_element() {
    let one = "<catalog><item><tag>x</tag></item></catalog>";
    let always = || options! { "arrays": { "always": ["/catalog/item", "/catalog/item/tag"] } };
    assert_eq!(to_json(options! {}, one), r#"{"catalog":{"item":{"tag":"x"}}}"#);
    assert_eq!(to_json(always(), one), r#"{"catalog":{"item":[{"tag":["x"]}]}}"#);
    assert_eq!(to_json(always(), "<catalog><item/></catalog>"), r#"{"catalog":{"item":[null]}}"#);
    assert_eq!(to_json(always(), "<item><item/></item>"), r#"{"item":{"item":null}}"#);
    assert_eq!(to_xml(always(), r#"{"catalog":{"item":[{"tag":["x"]}]}}"#), one);
    let parker = options! { "convention": "parker", "arrays": { "always": ["/catalog/item"] } };
    assert_eq!(to_json(parker, one), r#"{"item":[{"tag":"x"}]}"#);
}

#[test]
fn children_of_one_name_are_gathered_where_the_first_stands() {
    let xml = "<a><x>1</x><y>2</y><x>3</x><z>4</z><y>5</y></a>";
    assert_eq!(to_json(options! {}, xml), r#"{"a":{"x":["1","3"],"y":["2","5"],"z":"4"}}"#);
    // More names than the passes that group a few.
    let many: Vec<usize> = (0..100).map(|n| (n * 37) % 50).collect();
    let xml: String = many.iter().map(|n| format!("<n{n}>x</n{n}>")).collect();
    let names: Vec<String> = many[..50].iter().map(|n| format!(r#""n{n}":["x","x"]"#)).collect();
    assert_eq!(to_json(options! {}, &format!("<a>{xml}</a>")), format!(r#"{{"a":{{{}}}}}"#, names.join(",")));
}

#[test]
fn types_are_inferred_only_where_nothing_is_lost() {
    let xml = r#"<a n="7"><b>1.5</b><b>007</b><b>1e5</b><b>NaN</b><b>true</b><b>null</b><b>9007199254740993</b><b>-0</b></a>"#;
    let strings = r#""1.5","007","1e5","NaN","true","null","9007199254740993","-0""#;
    assert_eq!(to_json(options! {}, xml), format!(r#"{{"a":{{"@n":"7","b":[{strings}]}}}}"#));
    let inferred = r#"1.5,"007","1e5","NaN",true,"null","9007199254740993","-0""#;
    let json = format!(r#"{{"a":{{"@n":7,"b":[{inferred}]}}}}"#);
    assert_eq!(to_json(options! { "infer-types": true }, xml), json);
    assert_eq!(to_xml(options! {}, &json), xml);
}

#[test]
fn numbers_keep_every_digit() {
    let long = "1234567890".repeat(40);
    for number in ["9007199254740993", "1e400", "-0.10", "1E+2", &long] {
        assert_eq!(to_xml(options! {}, &format!(r#"{{"a":{number}}}"#)), format!("<a>{number}</a>"));
    }
}

#[test]
fn an_empty_element_is_what_was_chosen() {
    for (empty, json) in [("null", "null"), ("string", "\"\""), ("object", "{}")] {
        both(options! { "empty": empty }, "<a><b/></a>", &format!(r#"{{"a":{{"b":{json}}}}}"#));
    }
}

#[test]
fn namespaces_are_kept_or_stripped() {
    let xml = r#"<p:a xmlns="u" xmlns:p="v" p:x="1" y="2"><p:b/></p:a>"#;
    let strip = || options! { "namespaces": "strip" };
    assert_eq!(to_json(strip(), xml), r#"{"a":{"@x":"1","@y":"2","b":null}}"#);
    let kept = r#"{"p:a":{"@xmlns":"u","@xmlns:p":"v","@p:x":"1","@y":"2","p:b":null}}"#;
    assert_eq!(to_json(options! {}, xml), kept);
    let fault = xml_to_json(br#"<a xmlns:p="u" p:x="1" x="2"/>"#, None, &rules(strip())).unwrap_err();
    assert_eq!(fault.kind, Kind::Unrepresentable);
}

#[test]
fn white_space_is_dropped_between_elements_and_kept_in_mixed_content() {
    let xml = "<a>\n  <b> x </b>\n  <c> </c>\n</a>";
    assert_eq!(to_json(options! {}, xml), r#"{"a":{"b":" x ","c":null}}"#);
    let mixed = r#"["p","x ",["b"]," ",["i"]]"#;
    assert_eq!(to_json(options! { "convention": "jsonml" }, "<p>x <b/> <i/></p>"), mixed);
    let kept = r#"["a","\n  ",["b"," x "],"\n  ",["c"," "],"\n"]"#;
    both(options! { "convention": "jsonml", "whitespace": "keep" }, xml, kept);
}

#[test]
fn text_is_put_together_from_its_pieces() {
    let xml = "<?xml version='1.0'?><!-- c --><?pi x?><a>1<!-- no -->2<![CDATA[<&]]>&#x33;&lt;\r\n4\r5<?pi?>6</a>\n<!-- end -->";
    assert_eq!(to_json(options! {}, xml), r#"{"a":"12<&3<\n4\n56"}"#);
    assert_eq!(to_json(options! {}, "<a b='1\t2\r\n3&#10;&quot;'/>"), r#"{"a":{"@b":"1 2 3\n\""}}"#);
}

#[test]
fn what_would_collide_is_refused() {
    let refused = |options: serde_json::Value, xml: &str| {
        let fault = xml_to_json(xml.as_bytes(), None, &rules(options)).unwrap_err();
        assert_eq!(fault.kind, Kind::Unrepresentable, "{xml}");
        assert!(fault.message.contains("same name"), "{xml}");
    };
    refused(options! { "attribute-prefix": "_" }, r#"<r><a b="1"><_b/></a></r>"#);
    refused(options! { "text": "text" }, "<a>x<text/></a>");
    refused(options! { "text": "@t" }, r#"<a t="1">x</a>"#);
    let fine = to_json(options! { "attribute-prefix": "_", "text": "text" }, r#"<a b="1"><b/>x<c/></a>"#);
    assert_eq!(fine, r#"{"a":{"_b":"1","text":"x","b":null,"c":null}}"#);
}

#[test]
fn names_that_xml_does_not_have_are_escaped() {
    let written = to_xml(options! { "root": "r" }, r#"{"a b":1,"<x>":{"@1":2},"c:d:e":[3]}"#);
    let expected =
        "<r><a_x0020_b>1</a_x0020_b><_x003C_x_x003E_ _x0031_=\"2\"/><c_x003A_d_x003A_e>3</c_x003A_d_x003A_e></r>";
    assert_eq!(written, expected);
    for wrong in [r#"{"":1}"#, r#"{"a b":1,"a_x0020_b":2}"#, r#"{"x":{"@a b":1,"@a_x0020_b":2}}"#, r#"{"@":1}"#] {
        assert_eq!(to_xml_fault(options! { "root": "r" }, wrong).kind, Kind::Unrepresentable, "{wrong}");
    }
    let jsonml = options! { "convention": "jsonml" };
    assert_eq!(to_xml_fault(jsonml, r#"["a",{"a b":1,"a_x0020_b":2}]"#).kind, Kind::Unrepresentable);
}

#[test]
fn characters_that_xml_does_not_have_are_refused_with_their_place() {
    for wrong in [r#"{"a":"\u0000"}"#, r#"{"a":"x\u001f"}"#, r#"{"a":{"@b":"\ufffe"}}"#, r#"{"a":"\b"}"#] {
        let fault = to_xml_fault(options! {}, wrong);
        assert_eq!(fault.kind, Kind::Unrepresentable, "{wrong}");
    }
    assert!(to_xml_fault(options! {}, "{\"a\":\n \"\\u0000\"}").to_string().starts_with("line 2, column 2: "));
}

#[test]
fn the_root_is_named_by_the_document_or_the_configuration() {
    assert_eq!(to_xml(options! { "root": "r" }, r#"{"a":1}"#), "<r><a>1</a></r>");
    assert_eq!(to_xml(options! { "root": "r" }, r#"{"@id":1,"a":2,"b":3}"#), "<r id=\"1\"><a>2</a><b>3</b></r>");
    assert_eq!(to_xml(options! { "root": "r" }, r#"[1,{"a":2}]"#), "<r><item>1</item><item><a>2</a></item></r>");
    assert_eq!(to_xml(options! { "root": "r" }, "7"), "<r>7</r>");
    for wrong in [r#"{"a":1,"b":2}"#, "[1]", "7", "{}", r##"{"#text":"x"}"##, r#"{"@a":"x"}"#, r#"{"a":[1]}"#] {
        assert_eq!(to_xml_fault(options! {}, wrong).kind, Kind::Unrepresentable, "{wrong}");
    }
}
