//! How single values of the configuration may be written.
//!
//! What may hold a secret is read by hand, because serde repeats a value of the wrong type in its message.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use tollgate_sdk::{schemars, serde};

/// A header's name, or none.
pub(super) enum Header {
    Off,
    Named(String),
}

/// For the schema: what [`Header`] is written as.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum NameOrFalse {
    Name(String),
    None(bool),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a header field, or false")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Header, E> {
                Ok(Header::Named(name.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Header, E> {
                if on { Err(E::invalid_value(de::Unexpected::Bool(on), &self)) } else { Ok(Header::Off) }
            }
        }
        from.deserialize_any(Read)
    }
}

/// A string whose value is in no error message.
pub(super) struct Secret(pub(super) String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
                Err(E::invalid_type(de::Unexpected::Other("number"), &self))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::invalid_type(de::Unexpected::Other("number"), &self))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::invalid_type(de::Unexpected::Other("number"), &self))
            }
        }
        from.deserialize_any(Read)
    }
}
