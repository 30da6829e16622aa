//! The built-in plugin `convert`: XML and JSON, in both directions, for requests and responses.
//!
//! From the inside out: [`rules`] say how to convert; `xml` and `json` read documents strictly into flat trees; `to_json`
//! and `to_xml` write them in the form of a convention; [`media`] knows media types and `Accept`; `hooks` decides what
//! of a pass is converted.

mod config;
mod fault;
mod hooks;
mod json;
mod media;
pub mod rules;
mod texts;
mod to_json;
mod to_xml;
mod xml;

pub use config::{Arrays, Config, Convention, Empty, Namespaces, Requests, Responses, Size, Target, Whitespace};
pub use fault::{Fault, Kind, Place};
pub use hooks::Convert;
pub use media::{Accept, Format, MediaType};
pub use rules::Rules;

tollgate_sdk::plugin!(Convert);

/// Converts an XML document to JSON. `charset` is that of its media type, if it has one.
///
/// For any bytes it either gives valid JSON or says what is wrong, in time and memory bounded by the limits of `rules`.
pub fn xml_to_json(body: &[u8], charset: Option<&str>, rules: &Rules) -> Result<String, Fault> {
    fits(body, rules)?;
    let text = xml::decode(body, charset)?;
    to_json::write(&xml::read(&text, rules)?, rules)
}

/// Converts a JSON document to XML.
///
/// For any bytes it either gives well-formed XML or says what is wrong, in time and memory bounded by the limits of
/// `rules`.
pub fn json_to_xml(body: &[u8], rules: &Rules) -> Result<String, Fault> {
    fits(body, rules)?;
    to_xml::write(&json::read(body, &rules.limits)?, rules)
}

fn fits(body: &[u8], rules: &Rules) -> Result<(), Fault> {
    let most = rules.limits.body;
    if body.len() > most { Err(Fault::bytes(format!("the document is longer than {most} bytes"))) } else { Ok(()) }
}
