//! The key of the configuration: a string or a list of strings.

use std::fmt;

use http::HeaderName;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};
use tollgate_sdk::{Complaints, schemars, serde};

use crate::key::Part;

/// One string, or several. Read by hand: an untagged enum could not say which of several is wrong.
#[derive(Debug)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What [`OneOrMany`] is written as.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Schema {
    One(String),
    Many(Vec<String>),
}

/// The parts of a key; none for `global`.
pub(super) fn parts(key: &OneOrMany, wrong: &mut Complaints) -> Vec<Part> {
    let (written, many) = match key {
        OneOrMany::One(one) => (std::slice::from_ref(one), false),
        OneOrMany::Many(all) => (all.as_slice(), true),
    };
    if written.is_empty() {
        wrong.add("/key", "expected at least one part, or \"global\" to count all requests together");
    }
    let mut parts = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let at = if many { format!("/key/{index}") } else { "/key".to_owned() };
        match part(text) {
            Ok(None) if written.len() > 1 => wrong.add(at, "\"global\" counts all requests together, and stands alone"),
            Ok(None) => {}
            Ok(Some(part)) if parts.contains(&part) => wrong.add(at, "the same part twice"),
            Ok(Some(part)) => parts.push(part),
            Err(why) => wrong.add(at, why),
        }
    }
    parts
}

/// A part as it is written; none for `global`.
fn part(text: &str) -> Result<Option<Part>, &'static str> {
    let attribute = |name: &str| Part::Attribute(name.to_owned());
    Ok(Some(match text.split_once(':') {
        None => match text {
            "global" => return Ok(None),
            "address" => Part::Address,
            "consumer" | "credential" => attribute(text),
            "route" => {
                return Err(
                    "a plugin does not see the route: give each route a plugin of its own with the key \"global\"",
                );
            }
            _ => {
                return Err("expected \"address\", \"consumer\", \"credential\", \"header:NAME\", \"claim:NAME\", \
                            \"attribute:NAME\" or \"global\"");
            }
        },
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Part::Header(name.as_str().to_owned()),
            Err(_) => return Err("expected the name of a header field, such as \"header:x-tenant\""),
        },
        Some(("claim" | "attribute", "")) => return Err("expected a name, such as \"claim:sub\""),
        Some(("claim", name)) => Part::Attribute(format!("claims.{name}")),
        Some(("attribute", name)) => attribute(name),
        Some(_) => return Err("expected \"header:NAME\", \"claim:NAME\" or \"attribute:NAME\""),
    }))
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string such as \"consumer\", or a list of them")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, all: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(all)).map(OneOrMany::Many)
            }
        }
        from.deserialize_any(Read)
    }
}
