//! The examples of the README are true.

use tollgate_plugin_convert::{Config, json_to_xml, xml_to_json};

const README: &str = include_str!("../README.md");

#[test]
fn each_convention_makes_what_its_row_says() {
    let xml = README.split_once("```xml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0.trim();
    for convention in ["badgerfish", "attribute-prefix", "parker", "jsonml"] {
        let row = README.lines().find(|line| line.starts_with(&format!("| `{convention}` | `"))).unwrap();
        let json = row.split('`').nth(3).unwrap();
        let config = serde_json::json!({ "responses": { "to": "json" }, "convention": convention });
        let rules = serde_json::from_value::<Config>(config).unwrap().rules().unwrap();
        assert_eq!(xml_to_json(xml.as_bytes(), None, &rules).unwrap(), json);
        if convention != "parker" {
            assert!(json_to_xml(json.as_bytes(), &rules).unwrap().ends_with(xml));
        }
    }
}
