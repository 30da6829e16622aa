//! JSON Schema: any schema is taken or refused with its place, and then any body is judged, in bounded work.

use tollgate_plugin_validate::{Config, Validate};
use tollgate_sdk::Plugin;

use crate::json::judged;

/// A schema, a line of `---`, and a body that is judged by it.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (schema, body) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let body = if body.is_empty() { "null" } else { body };
    let Some(plugin) = compiled(schema) else { return };
    let judgement = judged(&plugin, body.as_bytes());
    assert_eq!(judgement, judged(&plugin, body.as_bytes()), "the same body, another answer");
    let again = compiled(schema).expect("taken before");
    assert_eq!(judgement, judged(&again, body.as_bytes()), "the same schema, another answer");
}

fn compiled(schema: &str) -> Option<Validate> {
    let config = serde_json::json!({ "body": { "schema-json": schema }, "formats": true, "max-steps": 10_000 });
    let config: Config = serde_json::from_value(config).expect("a configuration");
    match Validate::configure(config) {
        Ok(plugin) => Some(plugin),
        Err(complaints) => {
            assert!(complaints.iter().next().is_some(), "refused without a complaint");
            for (pointer, message) in complaints.iter() {
                assert!(pointer.starts_with("/body") && !message.is_empty(), "{pointer}: {message}");
            }
            None
        }
    }
}
