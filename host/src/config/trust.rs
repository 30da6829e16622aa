//! Which components are taken: those of a digest, and those that somebody signed.

use std::collections::BTreeMap;

use super::near::nearest;
use super::reader::{At, Entry, Named, Node, OneOrMore, Read, Reader, Wrong};
use super::{PluginSpec, file};
use crate::minisign::PublicKey;

/// What a component has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// It has this digest (SHA-256), as hexadecimal digits.
    Digest(String),
    /// It is signed.
    Signature {
        /// As in `[key.NAME]`.
        key: String,
        /// What verifies it.
        public: PublicKey,
    },
}

/// The keys of `[key.NAME]`. One that is wrong is known by its name all the same.
pub(crate) struct Keys(Named<file::TrustedKey>);

/// `[key.NAME]`, all of them.
pub(crate) fn keys(entry: Entry<Named<file::TrustedKey>>, reader: &mut Reader<'_>) -> Keys {
    let keys = entry.or(Named::default());
    let mut known: BTreeMap<String, &At<file::TrustedKey>> = BTreeMap::new();
    for at in keys.tables.values() {
        match &at.value.public_key {
            Entry::Is(key) => {
                if let Some(other) = known.insert(key.value.to_string(), at) {
                    let note = reader.source().place(&other.span);
                    let problem = reader.warning(at, "this key has another name already");
                    reader.report(problem.note("it is here", note));
                }
            }
            Entry::Wrong => {}
            Entry::Absent => {
                let _ = reader.require::<PublicKey, _>(Entry::Absent, "public-key", at);
            }
        }
    }
    Keys(keys)
}

/// `require` of a plugin.
pub(crate) fn requirements(
    entry: Entry<OneOrMore<WrittenRequirement>>,
    keys: &Keys,
    reader: &mut Reader<'_>,
) -> Vec<Requirement> {
    let Entry::Is(at) = entry else { return Vec::new() };
    if at.value.0.is_empty() {
        let problem =
            reader.problem(&At { value: (), span: at.span, path: at.path }, "no component fulfils an empty list");
        reader.report(problem.help("leave \"require\" out to take any"));
        return Vec::new();
    }
    at.value.0.into_iter().filter_map(|requirement| known(requirement, keys, reader)).collect()
}

fn known(at: At<WrittenRequirement>, Keys(keys): &Keys, reader: &mut Reader<'_>) -> Option<Requirement> {
    let name = match &at.value {
        WrittenRequirement::Digest(digits) => return Some(Requirement::Digest(digits.clone())),
        WrittenRequirement::Signature(name) => name,
    };
    if let Some(Entry::Is(public)) = keys.tables.get(name).map(|table| &table.value.public_key) {
        return Some(Requirement::Signature { key: name.clone(), public: public.value.clone() });
    }
    if !keys.names.contains(name) && !reader.is_partial() {
        let near = nearest(name, keys.names.iter().map(String::as_str));
        let problem = reader.problem(&at, format!("there is no key {name:?}"));
        reader.report(match near {
            None => problem.help(format!("add a table [key.{name}] with public-key = \"RWQ…\"")),
            near => problem.suggest(near),
        });
    }
    None
}

/// Keys that nothing has to be signed with.
pub(crate) fn unused(Keys(keys): &Keys, plugins: &[At<PluginSpec>], reader: &mut Reader<'_>) {
    if reader.has_errors() {
        return;
    }
    let names = |requirement: &Requirement, name: &str| matches!(requirement, Requirement::Signature { key, .. } if key == name);
    for (name, at) in &keys.tables {
        if !plugins.iter().any(|plugin| plugin.value.require.iter().any(|requirement| names(requirement, name))) {
            let problem = reader.warning(at, format!("no plugin requires a signature by the key {name:?}"));
            reader.report(problem.help(format!("add require = \"signature:{name}\" to a plugin")));
        }
    }
}

/// One of `require`, as written.
#[derive(Debug)]
pub(crate) enum WrittenRequirement {
    Digest(String),
    /// The name of a key.
    Signature(String),
}

impl Read for WrittenRequirement {
    const NOUN: &'static str = "what a component has to be";
    const EXAMPLE: &'static str = "\"sha256:…\" or \"signature:NAME\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, requirement)
    }
}

fn requirement(text: &str) -> Result<WrittenRequirement, Wrong> {
    let hexadecimal = |digits: &str| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_once(':') {
        Some(("sha256", digits)) if hexadecimal(digits) => Ok(WrittenRequirement::Digest(digits.to_ascii_lowercase())),
        Some(("sha256", _)) => Err(Wrong::because("64 hexadecimal digits follow \"sha256:\"")),
        Some(("signature", name)) if !name.is_empty() => Ok(WrittenRequirement::Signature(name.to_owned())),
        Some(("signature", _)) => Err(Wrong::because("the name of a key follows \"signature:\"")),
        _ if hexadecimal(text) => {
            Err(Wrong::because("it does not say of which kind it is").help(format!("write \"sha256:{text}\"")))
        }
        _ => Err(Wrong::because("it begins with \"sha256:\" or \"signature:\"")),
    }
}

impl Read for PublicKey {
    const NOUN: &'static str = "a public key of minisign's";
    const EXAMPLE: &'static str = "\"RWQ…\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, |text| Self::parse(text).map_err(|malformed| Wrong::because(malformed.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_name_their_kind() {
        let digits = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
        let found = requirement(&format!("sha256:{digits}"));
        assert!(matches!(found, Ok(WrittenRequirement::Digest(found)) if found == digits.to_ascii_lowercase()));
        assert!(
            matches!(requirement("signature:release"), Ok(WrittenRequirement::Signature(name)) if name == "release")
        );
        for text in [
            "",
            "sha256:",
            "sha256:0123",
            digits,
            &format!("sha512:{digits}"),
            &format!("sha256:{digits}0"),
            "signature:",
            "signature",
            "release",
        ] {
            assert!(requirement(text).is_err(), "{text}");
        }
    }
}
