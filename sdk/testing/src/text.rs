//! TOML as a file of cases is written in: tables of values, each in one line.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write as _};

use serde_json::Value;

/// A table, in the order of its names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table(BTreeMap<String, Item>);

#[derive(Debug, Clone)]
enum Item {
    Table(Table),
    List(Vec<Item>),
    Value(Value),
    /// As it is: a date.
    Raw(String),
}

impl Table {
    /// Sets a value by the names on the way to it. What is there is replaced.
    pub(crate) fn set(&mut self, names: &[&str], value: Value) {
        self.put(names, Item::Value(value));
    }

    /// As [`set`](Self::set), with the names in one text: `request.headers.x-name`.
    pub(crate) fn set_at(&mut self, key: &str, value: Value) {
        self.set(&key.split('.').collect::<Vec<_>>(), value);
    }

    /// Sets what is no text, though it looks like one.
    pub(crate) fn set_raw(&mut self, key: &str, text: &str) {
        self.put(&[key], Item::Raw(text.to_owned()));
    }

    /// Adds to a list.
    pub(crate) fn push(&mut self, key: &str, value: Value) {
        self.add(key, Item::Value(value));
    }

    /// Adds a table to a list.
    pub(crate) fn push_table(&mut self, key: &str, table: Self) {
        self.add(key, Item::Table(table));
    }

    fn put(&mut self, names: &[&str], item: Item) {
        let Some((last, way)) = names.split_last() else { return };
        self.walk(way).0.insert((*last).to_owned(), item);
    }

    fn add(&mut self, key: &str, item: Item) {
        let names: Vec<_> = key.split('.').collect();
        let Some((last, way)) = names.split_last() else { return };
        match self.walk(way).0.entry((*last).to_owned()).or_insert(Item::List(Vec::new())) {
            Item::List(list) => list.push(item),
            other => *other = Item::List(vec![item]),
        }
    }

    fn walk(&mut self, way: &[&str]) -> &mut Self {
        way.iter().fold(self, |table, name| {
            let inner = table.0.entry((*name).to_owned()).or_insert_with(|| Item::Table(Self::default()));
            if !matches!(inner, Item::Table(_)) {
                *inner = Item::Table(Self::default());
            }
            let Item::Table(inner) = inner else { unreachable!("it was made one") };
            inner
        })
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        between(f, "{ ", " }", &self.0, |f, (name, item)| write!(f, "{} = {item}", Text(name)))
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "{table}"),
            Self::List(list) => between(f, "[", "]", list, |f, item| write!(f, "{item}")),
            Self::Value(value) => write_value(f, value),
            Self::Raw(text) => f.write_str(text),
        }
    }
}

/// A member that is null is left out, since TOML has no null.
fn write_value(f: &mut Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        // In a list, where it cannot be left out, the text is refused with its place.
        Value::Null => f.write_str("null"),
        Value::Bool(_) | Value::Number(_) => write!(f, "{value}"),
        Value::String(text) => write!(f, "{}", Text(text)),
        Value::Array(list) => between(f, "[", "]", list, write_value),
        Value::Object(members) => {
            let there = members.iter().filter(|(_, value)| !value.is_null());
            between(f, "{ ", " }", there, |f, (name, value)| {
                write!(f, "{} = ", Text(name))?;
                write_value(f, value)
            })
        }
    }
}

fn between<T>(
    f: &mut Formatter<'_>,
    begin: &str,
    end: &str,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(begin)?;
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    f.write_str(end)
}

/// A basic string.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                control if control.is_control() => write!(f, "\\u{:04X}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_in_one_line() {
        let mut table = Table::default();
        table.set(&["request", "headers", "x.a"], "q\"\\\n\u{7f}ä".into());
        table.set_at("request.path", "/a".into());
        table.push("grant.kv", "s".into());
        table.push("grant.kv", "t".into());
        table.set_raw("now", "2026-01-01T00:00:00Z");
        table.set_at("json", json!({ "a": [1, 2.5, true, { "b": null }], "c": {} }));
        let written = r#"{ "grant" = { "kv" = ["s", "t"] }, "json" = { "a" = [1, 2.5, true, {  }], "c" = {  } }, "now" = 2026-01-01T00:00:00Z, "request" = { "headers" = { "x.a" = "q\"\\\u000A\u007Fä" }, "path" = "/a" } }"#;
        assert_eq!(table.to_string(), written);
    }
}
