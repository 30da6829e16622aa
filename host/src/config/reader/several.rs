//! Several values of one type: a list, a table of names, one or more.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::super::problem::Problem;
use super::{At, Key, Node, Read, Reader, join, quoted};

/// A list of values; those that are wrong are left out after they were reported.
impl<T: Read> Read for Vec<At<T>> {
    const NOUN: &'static str = "a list";
    const EXAMPLE: &'static str = "[…]";
    const KEYS: &'static [Key] = T::KEYS;
    const STEP: &'static str = if T::KEYS.is_empty() { "" } else { "[]" };

    fn example() -> String {
        format!("[{}]", T::EXAMPLE)
    }

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(list) = node.value else {
            let help = matches!(node.value, DeValue::String(_))
                .then(|| format!("write [{}]", reader.source.written(&node.span)));
            reader.mismatch_with(node, "a list", &Self::example(), help);
            return None;
        };
        let mut out = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let node = Node { value: value.get_ref(), span: value.span(), path: format!("{}[{index}]", node.path) };
            if let Some(value) = T::read(&node, reader) {
                out.push(At { value, span: node.span, path: node.path });
            }
        }
        Some(out)
    }
}

/// Values under names that the operator chooses.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) tables: BTreeMap<String, At<T>>,
    /// All names, those of wrong values included: that something of this name is meant to be is known.
    pub(crate) names: BTreeSet<String>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { tables: BTreeMap::new(), names: BTreeSet::new() }
    }
}

impl<T: Read> Read for Named<T> {
    const NOUN: &'static str = "a table of names";
    const EXAMPLE: &'static str = "{ name = … }";
    const KEYS: &'static [Key] = T::KEYS;
    const STEP: &'static str = ".NAME";

    fn example() -> String {
        format!("{{ name = {} }}", T::EXAMPLE)
    }

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            let path = &node.path;
            let help =
                matches!(node.value, DeValue::Array(_)).then(|| format!("write [{path}.NAME] rather than [[{path}]]"));
            reader.mismatch_with(node, Self::NOUN, &Self::example(), help);
            return None;
        };
        let mut out = Self::default();
        for (key, value) in table {
            let name: &str = key.get_ref();
            out.names.insert(name.to_owned());
            let node = Node { value: value.get_ref(), span: value.span(), path: join(&node.path, name) };
            if let Err(why) = check_name(name) {
                let message = format!("{} is not a name: {why}", quoted(name));
                reader.report(Problem::error(message).at(reader.source.place(&key.span()), &*node.path));
            }
            if let Some(value) = T::read(&node, reader) {
                out.tables.insert(name.to_owned(), At { value, span: node.span, path: node.path });
            }
        }
        Some(out)
    }
}

/// One table, or several: `tls = {…}` as well as `[[tls]]`.
#[derive(Debug)]
pub(crate) struct OneOrMore<T>(pub(crate) Vec<At<T>>);

impl<T: Read> Read for OneOrMore<T> {
    const NOUN: &'static str = T::NOUN;
    const EXAMPLE: &'static str = T::EXAMPLE;
    const KEYS: &'static [Key] = T::KEYS;

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, DeValue::Array(_)) {
            return Vec::read(node, reader).map(Self);
        }
        let value = T::read(node, reader)?;
        Some(Self(vec![At { value, span: node.span.clone(), path: node.path.clone() }]))
    }
}

/// Names are labels of metrics and parts of paths on the admin listener, so their form is narrow.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("it is empty")
    } else if name.len() > 64 {
        Err("it is longer than 64 characters")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        Err("it has other characters than letters, digits, \"-\" and \"_\"")
    } else {
        Ok(())
    }
}
