//! A plugin's own configuration: TOML in the file, JSON text for the plugin.

use std::fmt::{self, Write as _};

use toml::de::DeValue;

use super::PluginSpec;
use super::place::Places;
use super::problem::Problem;
use super::reader::{Node, Read, Reader, join};
use super::secrets::Secrets;

impl PluginSpec {
    /// A complaint of the plugin about its configuration, as a problem at the place of the value. The message is the
    /// plugin's: secrets in it are replaced, control characters too, and it is cut where it is too long.
    #[must_use]
    pub fn complaint(&self, pointer: &str, message: &str, secrets: &Secrets) -> Problem {
        self.problem(pointer, "refuses its configuration: ", message, secrets)
    }

    /// What is wrong with the component itself, in words that follow its name, treated in the same way.
    #[must_use]
    pub fn fault(&self, message: &str, secrets: &Secrets) -> Problem {
        self.problem("", "", message, secrets)
    }

    fn problem(&self, pointer: &str, does: &str, message: &str, secrets: &Secrets) -> Problem {
        const LONGEST: usize = 500;
        let clean: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Before the cut, which could leave a part of a secret.
        let clean = secrets.redact(clean.trim());
        let mut shown: String = clean.chars().take(LONGEST).collect();
        if shown.len() < clean.len() {
            shown.push('…');
        }
        let mut path = join("plugin", &self.name) + ".config";
        for token in pointer.split('/').skip(1).take(100) {
            let index = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
            let token: String = token.chars().take(64).collect();
            path = if index {
                format!("{path}[{token}]")
            } else {
                join(&path, &token.replace("~1", "/").replace("~0", "~"))
            };
        }
        let problem = Problem::error(format!("the component {:?} {does}{shown}", self.component));
        match self.places.of(pointer) {
            Some(place) => problem.at(place.clone(), path),
            None => Problem { path, ..problem },
        }
    }
}

/// Without the configuration, which has secrets in it.
impl fmt::Debug for PluginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSpec")
            .field("name", &self.name)
            .field("component", &self.component)
            .field("on_failure", &self.on_failure)
            .field("isolation", &self.isolation)
            .field("limits", &self.limits)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// A plugin's configuration as compact JSON text, and where each value of it stands.
#[derive(Debug)]
pub(crate) struct PluginConfig {
    pub(crate) json: String,
    pub(crate) places: Places,
}

impl Read for PluginConfig {
    const NOUN: &'static str = "a table";
    const EXAMPLE: &'static str = "{ header = \"x-api-key\" }";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if !matches!(node.value, DeValue::Table(_)) {
            reader.mismatch(node, Self::NOUN, Self::EXAMPLE);
            return None;
        }
        text(node, reader).map(|(json, places)| Self { json, places })
    }
}

/// A value of any type as compact JSON text, and where each value in it stands.
pub(crate) fn text(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<(String, Places)> {
    let mut writer = Writer { json: String::new(), places: Places::default(), right: true };
    writer.write(node, String::new(), reader);
    writer.right.then_some((writer.json, writer.places))
}

struct Writer {
    json: String,
    places: Places,
    right: bool,
}

impl Writer {
    /// Appends a value. The depth is bounded: the TOML parser refuses what is nested more than 80 deep.
    fn write(&mut self, node: &Node<'_, '_>, pointer: String, reader: &mut Reader<'_>) {
        match node.value {
            DeValue::String(_) => match reader.text(node, "a string", "\"…\"") {
                Some((text, secrets)) => {
                    self.string(&text);
                    reader.secrets.extend(secrets);
                }
                None => self.right = false,
            },
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => _ = write!(self.json, "{number}"),
                Err(_) => self.refuse(node, reader, "is beyond 64 bits"),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>().ok().filter(|number| number.is_finite()) {
                // The shortest digits that stand for the same number, always with a point or an exponent.
                Some(number) => _ = write!(self.json, "{number:?}"),
                None => self.refuse(node, reader, "is a number that JSON does not have"),
            },
            DeValue::Boolean(value) => _ = write!(self.json, "{value}"),
            DeValue::Datetime(date) => self.string(&date.to_string()),
            DeValue::Array(list) => {
                self.json.push('[');
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        self.json.push(',');
                    }
                    let path = format!("{}[{index}]", node.path);
                    let inner = Node { value: value.get_ref(), span: value.span(), path };
                    self.write(&inner, format!("{pointer}/{index}"), reader);
                }
                self.json.push(']');
            }
            DeValue::Table(table) => {
                self.json.push('{');
                for (index, (key, value)) in table.iter().enumerate() {
                    if index > 0 {
                        self.json.push(',');
                    }
                    self.string(key.get_ref());
                    self.json.push(':');
                    let path = join(&node.path, key.get_ref());
                    let inner = Node { value: value.get_ref(), span: value.span(), path };
                    let token = key.get_ref().replace('~', "~0").replace('/', "~1");
                    self.write(&inner, format!("{pointer}/{token}"), reader);
                }
                self.json.push('}');
            }
        }
        self.places.insert(pointer, reader.source().place(&node.span));
    }

    fn string(&mut self, text: &str) {
        // `Value`'s Display is the JSON text, and writing to a string cannot fail.
        _ = write!(self.json, "{}", serde_json::Value::from(text));
    }

    fn refuse(&mut self, node: &Node<'_, '_>, reader: &mut Reader<'_>, why: &str) {
        let message = format!("{} {why}", reader.source().written(&node.span));
        reader.report(Problem::error(message).at(reader.source().place(&node.span), &*node.path));
        self.right = false;
    }
}
