//! The keys of the configuration, one by one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use tollgate_sdk::{Complaints, schemars, serde};

use super::{NAME, SCOPE, is_name, is_scope};
use crate::keyring::{Digest, Key, Keyring, Pepper};
use crate::time;

/// The most bytes of a key's scopes together: they go into one header field and one attribute.
const LONGEST_SCOPES: usize = 4096;

/// A table of [`Fields`]. A string in its place is most likely a key, and is in no error message.
pub(super) struct Entry(Fields);

/// One key of a consumer. A consumer may have several, so that a new one works before the old one ends.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fields {
    /// Who holds the key: 1 to 128 visible ASCII characters. The upstream gets it as `x-consumer-id`.
    consumer: String,
    /// The SHA-256 of the key: 64 hexadecimal digits.
    #[serde(default)]
    sha256: Option<String>,
    /// The HMAC-SHA-256 of the key under the pepper: 64 hexadecimal digits, in place of `sha256`.
    #[serde(default)]
    hmac_sha256: Option<String>,
    /// What logs call the key, 1 to 128 visible ASCII characters. Default: the first twelve digits of the digest.
    #[serde(default)]
    id: Option<String>,
    /// When the key begins to work (RFC 3339), for example `2026-01-31T08:00:00Z`.
    #[serde(default)]
    not_before: Option<String>,
    /// When the key ceases to work (RFC 3339).
    #[serde(default)]
    expires: Option<String>,
    /// What the key allows, for `require-scopes` and for later plugins.
    #[serde(default)]
    scopes: Vec<String>,
    /// Whether the key is refused like an unknown one.
    #[serde(default)]
    disabled: bool,
}

/// The keys, and what is wrong with each.
pub(super) fn keyring(entries: Vec<Entry>, pepper: Option<Pepper>, wrong: &mut Complaints) -> Keyring {
    let mut seen: HashMap<(bool, Digest), usize> = HashMap::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut keyring = Keyring::new(pepper);
    for (index, Entry(fields)) in entries.into_iter().enumerate() {
        let at = |field: &str| format!("/keys/{index}/{field}");
        if !is_name(&fields.consumer) {
            wrong.add(at("consumer"), NAME);
        }
        for (number, scope) in fields.scopes.iter().enumerate() {
            if !is_scope(scope) {
                wrong.add(at(&format!("scopes/{number}")), SCOPE);
            }
        }
        if fields.scopes.join(" ").len() > LONGEST_SCOPES {
            wrong.add(at("scopes"), format!("expected at most {LONGEST_SCOPES} bytes of scopes"));
        }
        if let Some(id) = &fields.id {
            if !is_name(id) {
                wrong.add(at("id"), NAME);
            }
            if let Some(first) = ids.insert(id.clone(), index) {
                wrong.add(at("id"), format!("the same id as that of /keys/{first}"));
            }
        }
        let moment = |text: &Option<String>, field: &str, wrong: &mut Complaints| {
            let moment = text.as_deref().map(time::parse);
            if moment == Some(None) {
                wrong.add(at(field), time::ACCEPTED);
            }
            moment.flatten()
        };
        let not_before = moment(&fields.not_before, "not-before", wrong);
        let expires = moment(&fields.expires, "expires", wrong);
        if let (Some(not_before), Some(expires)) = (not_before, expires)
            && expires <= not_before
        {
            wrong.add(at("expires"), "the key would end before it begins: expected a time after not-before");
        }

        let (peppered, field, text) = match (&fields.sha256, &fields.hmac_sha256) {
            (Some(text), None) => (false, "sha256", text),
            (None, Some(text)) => (true, "hmac-sha256", text),
            (Some(_), Some(_)) => {
                wrong.add(at("hmac-sha256"), "expected either this or sha256");
                continue;
            }
            (None, None) => {
                wrong.add(format!("/keys/{index}"), "expected sha256, or hmac-sha256 with a pepper");
                continue;
            }
        };
        if peppered && !keyring.has_pepper() {
            wrong.add(at(field), "needs the pepper that it was made with");
        }
        let Some(digest) = digest(text.trim_ascii()) else {
            // What stands there may be the key itself, and is not repeated.
            wrong.add(at(field), "expected 64 hexadecimal digits: a digest, never the key itself");
            continue;
        };
        if keyring.is_of_nothing(peppered, &digest) {
            wrong.add(at(field), "this is the digest of an empty key");
        }
        if let Some(first) = seen.insert((peppered, digest), index) {
            wrong.add(at(field), format!("the same key as /keys/{first}"));
        }
        if fields.disabled {
            continue;
        }
        let id = fields.id.unwrap_or_else(|| text.trim_ascii()[..12].to_ascii_lowercase());
        keyring.add(
            peppered,
            digest,
            Key {
                consumer: fields.consumer.into(),
                id: id.into(),
                scopes: fields.scopes.iter().map(|scope| scope.as_str().into()).collect(),
                joined_scopes: fields.scopes.join(" ").into(),
                not_before,
                expires,
            },
        );
    }
    keyring.finish();
    keyring
}

fn digest(text: &str) -> Option<Digest> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let mut digest = Digest::default();
    if pairs.len() != digest.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(digest)
}

impl schemars::JsonSchema for Entry {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Fields::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table such as { consumer = \"alice\", sha256 = \"…\" }")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(Entry)
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Entry, E> {
                Err(E::invalid_type(de::Unexpected::Other("string"), &self))
            }
        }
        from.deserialize_any(Read)
    }
}
