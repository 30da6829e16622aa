//! The configuration, as written and as meant.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_sdk::{Complaints, units};

use crate::media::Format;
use crate::rules::{self, Limits, Paths, Rules};
use crate::xml::is_name;

/// Converts bodies between XML and JSON.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Which request bodies are converted. Without it, none.
    pub requests: Option<Requests>,
    /// Which response bodies are converted. Without it, none.
    pub responses: Option<Responses>,
    /// What the JSON form of XML looks like. Default `attribute-prefix`.
    pub convention: Convention,
    /// How names of attributes begin. Only with `attribute-prefix`. Default `@`.
    pub attribute_prefix: Option<String>,
    /// The member for text beside attributes or elements. Only with `attribute-prefix`. Default `#text`.
    pub text: Option<String>,
    /// What an element without attributes and content becomes. Only with `attribute-prefix` and `parker`. Default `null`.
    pub empty: Option<Empty>,
    /// The root element of XML that is made from JSON. Only with `attribute-prefix`, where by default the JSON is an
    /// object of one member that names it, and with `parker`, where the default is `root`.
    pub root: Option<String>,
    /// The element for each item of an array that has no name: the document itself, or an array in an array. Default
    /// `item`.
    pub item: Option<String>,
    /// Which elements become arrays.
    pub arrays: Arrays,
    /// Whether text that is exactly a number or a boolean becomes one. Default false: everything stays a string.
    pub infer_types: bool,
    /// Whether names keep the prefixes of namespaces, and their declarations are attributes, when XML is read. Default
    /// `keep`.
    pub namespaces: Namespaces,
    /// Whether text of nothing but white space is dropped outside of mixed content when XML is read. Default `drop`.
    pub whitespace: Whitespace,
    /// The longest body that is converted: longer requests are answered 413, longer responses become a 502. Default `1MiB`,
    /// at most `64MiB`.
    pub max_body: Option<Size>,
    /// The longest body that may come out. Default `4MiB`.
    pub max_output: Option<Size>,
    /// How deep elements, or arrays and objects, may be nested. Default 100, at most 256.
    pub max_depth: Option<u32>,
    /// How many attributes one element may have. Default 256.
    pub max_attributes: Option<u32>,
    /// How many elements, or JSON values, a document may have. Default 100000.
    pub max_elements: Option<u32>,
}

/// Which request bodies are converted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Requests {
    /// What the upstream gets.
    pub to: Format,
    /// Whether bodies that are neither XML nor JSON, or that are compressed, are answered 415. Default false: they pass
    /// as they are.
    #[serde(default)]
    pub only: bool,
    /// Whether `Accept` asks the upstream for the format of `to`, whatever the client accepts. Default false.
    #[serde(default)]
    pub rewrite_accept: bool,
}

/// Which response bodies are converted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Responses {
    /// What the client gets: one format, or what its `Accept` prefers.
    pub to: Target,
    /// With `negotiate`: the format where the client likes both as much. Default: what the upstream sent.
    #[serde(default)]
    pub prefer: Option<Format>,
    /// Whether a client that accepts neither format gets a 406. Default false: it gets what there is.
    #[serde(default)]
    pub strict_accept: bool,
}

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// What its `Accept` prefers (RFC 9110, section 12.5.1).
    Negotiate,
}

/// What the JSON form of XML looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// Every element an object, text as `$`, attributes with `@`, namespaces in `@xmlns`.
    #[serde(rename = "badgerfish")]
    BadgerFish,
    /// Values only: attributes and the name of the root are lost.
    Parker,
    /// Objects for elements with children or attributes, plain values for the rest.
    #[default]
    AttributePrefix,
    /// Arrays that keep the order of everything.
    #[serde(rename = "jsonml")]
    JsonMl,
}

/// What an element without attributes and content becomes in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Empty {
    /// `null`.
    Null,
    /// `""`.
    String,
    /// `{}`.
    Object,
}

/// Which elements become arrays: those that appear more than once, and these.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Arrays {
    /// Paths of elements that are arrays even if there is one, for example `/catalog/item`.
    pub always: Vec<String>,
}

/// What happens to prefixes and declarations of namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Namespaces {
    /// Names keep their prefixes, and declarations are attributes.
    #[default]
    Keep,
    /// Prefixes and declarations are dropped.
    Strip,
}

/// What happens to text of nothing but white space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Whitespace {
    /// It is dropped, but in mixed content.
    #[default]
    Drop,
    /// It is text like any other.
    Keep,
}

/// A number of bytes with its unit: `512B`, `64KiB`, `4MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(usize);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = units::size(&text).and_then(|bytes| usize::try_from(bytes).ok());
        bytes
            .map(Self)
            .ok_or_else(|| "a size is a whole number with its unit, such as \"64KiB\" or \"4MiB\"".to_owned())
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(B|KiB|MiB|GiB)$",
            "description": "A number of bytes with its unit: 512B, 64KiB, 4MiB.",
        })
    }
}

impl Config {
    /// The rules of conversion, or everything that is wrong.
    pub fn rules(&self) -> Result<Rules, Complaints> {
        let mut complaints = Complaints::new();
        self.check_use(&mut complaints);
        let limits = self.limits(&mut complaints);
        for (pointer, name) in [("/root", &self.root), ("/item", &self.item)] {
            if name.as_deref().is_some_and(|name| !is_name(name)) {
                complaints.add(pointer, "this is not a name that an XML element can have");
            }
        }
        let mut always = Paths::default();
        for (index, path) in self.arrays.always.iter().enumerate() {
            if let Err(message) = always.add(path) {
                complaints.add(format!("/arrays/always/{index}"), message);
            }
        }
        let convention = self.convention(&mut complaints);
        complaints.or(|| Rules {
            convention,
            always,
            infer_types: self.infer_types,
            namespaces: match self.namespaces {
                Namespaces::Keep => rules::Namespaces::Keep,
                Namespaces::Strip => rules::Namespaces::Strip,
            },
            whitespace: match self.whitespace {
                Whitespace::Drop => rules::Whitespace::Drop,
                Whitespace::Keep => rules::Whitespace::Keep,
            },
            item: self.item.clone().unwrap_or_else(|| "item".to_owned()),
            limits,
        })
    }

    fn check_use(&self, complaints: &mut Complaints) {
        if self.requests.is_none() && self.responses.is_none() {
            let message = "nothing would be converted: add `requests = { to = \"…\" }` or `responses = { to = \"…\" }`";
            complaints.add("", message);
        }
        if let Some(Responses { to: Target::Json | Target::Xml, prefer: Some(_), .. }) = self.responses {
            complaints.add("/responses/prefer", "`prefer` has a meaning only with `to = \"negotiate\"`");
        }
    }

    fn limits(&self, complaints: &mut Complaints) -> Limits {
        let mut bounded = |pointer: &str, value: Option<usize>, default: usize, most: usize| {
            let value = value.unwrap_or(default);
            if value == 0 || value > most {
                complaints.add(pointer, format!("this is not between 1 and {most}"));
            }
            value
        };
        let size = |size: Option<Size>| size.map(|Size(bytes)| bytes);
        let count = |count: Option<u32>| count.map(|count| count as usize);
        let Limits { body, output, depth, attributes, elements } = Limits::default();
        Limits {
            body: bounded("/max-body", size(self.max_body), body, 64 << 20),
            output: bounded("/max-output", size(self.max_output), output, 256 << 20),
            depth: bounded("/max-depth", count(self.max_depth), depth, Limits::DEEPEST),
            attributes: bounded("/max-attributes", count(self.max_attributes), attributes, 1 << 20),
            elements: bounded("/max-elements", count(self.max_elements), elements, 1 << 26),
        }
    }

    fn convention(&self, complaints: &mut Complaints) -> rules::Convention {
        let mut only = |with: &str, options: &[(&str, bool)]| {
            for (option, _) in options.iter().filter(|(_, given)| *given) {
                complaints.add(format!("/{option}"), format!("`{option}` has no meaning with the convention {with}"));
            }
        };
        let prefix = ("attribute-prefix", self.attribute_prefix.is_some());
        let text = ("text", self.text.is_some());
        let empty = ("empty", self.empty.is_some());
        let root = ("root", self.root.is_some());
        match self.convention {
            Convention::BadgerFish => {
                only("badgerfish", &[prefix, text, empty, root]);
                rules::Convention::BadgerFish
            }
            Convention::JsonMl => {
                let arrays = ("arrays", !self.arrays.always.is_empty());
                only("jsonml", &[prefix, text, empty, root, ("item", self.item.is_some()), arrays]);
                rules::Convention::JsonMl
            }
            Convention::Parker => {
                only("parker", &[prefix, text]);
                let root = self.root.clone().unwrap_or_else(|| "root".to_owned());
                rules::Convention::Parker { root, empty: self.empty() }
            }
            Convention::AttributePrefix => {
                let prefix = self.attribute_prefix.clone().unwrap_or_else(|| "@".to_owned());
                let text = self.text.clone().unwrap_or_else(|| "#text".to_owned());
                for (pointer, name) in [("/attribute-prefix", &prefix), ("/text", &text)] {
                    if name.is_empty() {
                        complaints.add(
                            pointer,
                            "this may not be empty: attributes, text and elements could not be told apart",
                        );
                    }
                }
                if prefix == text {
                    complaints.add("/text", "attributes and text could not be told apart");
                }
                rules::Convention::AttributePrefix { root: self.root.clone(), empty: self.empty(), prefix, text }
            }
        }
    }

    fn empty(&self) -> rules::Empty {
        match self.empty {
            None | Some(Empty::Null) => rules::Empty::Null,
            Some(Empty::String) => rules::Empty::String,
            Some(Empty::Object) => rules::Empty::Object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(config: serde_json::Value) -> Vec<(String, String)> {
        let config: Config = serde_json::from_value(config).unwrap();
        let complaints = config.rules().unwrap_err();
        complaints.iter().map(|(pointer, message)| (pointer.to_owned(), message.to_owned())).collect()
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let all = complaints(serde_json::json!({
            "convention": "jsonml",
            "text": "t",
            "root": "1",
            "arrays": { "always": ["/a/b", "item"] },
            "responses": { "to": "json", "prefer": "xml" },
            "max-depth": 1000,
            "max-body": "0B",
        }));
        let mut pointers: Vec<_> = all.iter().map(|(pointer, _)| pointer.as_str()).collect();
        pointers.sort_unstable();
        let expected =
            ["/arrays", "/arrays/always/1", "/max-body", "/max-depth", "/responses/prefer", "/root", "/root", "/text"];
        assert_eq!(pointers, expected);
    }

    #[test]
    fn a_configuration_that_converts_nothing_is_refused() {
        assert!(complaints(serde_json::json!({}))[0].1.starts_with("nothing would be converted"));
    }

    #[test]
    fn names_that_could_not_be_told_apart_are_refused() {
        let both = serde_json::json!({ "requests": { "to": "xml" }, "attribute-prefix": "", "text": "" });
        assert_eq!(complaints(both).len(), 3);
    }

    #[test]
    fn sizes_carry_units() {
        let size = |text: &str| Size::try_from(text.to_owned()).ok().map(|Size(bytes)| bytes);
        assert_eq!(size("64KiB"), Some(65536));
        for wrong in ["", "1", "1MB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
