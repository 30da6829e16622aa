//! From JSON to XML, out of the form of each convention.

use crate::fault::Fault;
use crate::json::{Document, Shape, Value};
use crate::rules::{Convention, Rules};
use crate::xml::{is_name, write_attribute_value, write_name, write_text};

/// Writes a document as XML, in UTF-8 and with an XML declaration that says so.
pub(crate) fn write(document: &Document<'_>, rules: &Rules) -> Result<String, Fault> {
    let value = document.root();
    let mut out = String::with_capacity(document.source().len() + document.source().len() / 2);
    out.push_str(DECLARATION);
    let mut writer = Writer { source: document.source(), rules, out };
    match &rules.convention {
        Convention::JsonMl => writer.list(value)?,
        Convention::Parker { root, .. } | Convention::AttributePrefix { root: Some(root), .. } => {
            writer.element(root, value.offset(), value)?;
        }
        Convention::Problem if value.shape() == Shape::Object => writer.element("problem", value.offset(), value)?,
        Convention::Problem => return Err(writer.fault(value.offset(), "problem details are an object")),
        Convention::BadgerFish | Convention::AttributePrefix { root: None, .. } => {
            let mut members = value.members();
            match (members.next(), members.next()) {
                (Some((name, content)), None) if writer.names_root(name, content) => {
                    writer.element(name.string().unwrap_or_default(), name.offset(), content)?;
                }
                _ => {
                    let message = "the document is not an object with one member that can be the root element";
                    return Err(writer.fault(value.offset(), message));
                }
            }
        }
    }
    writer.bounded()?;
    Ok(writer.out)
}

const DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

struct Writer<'d> {
    source: &'d str,
    rules: &'d Rules,
    out: String,
}

/// What a member of an object is in XML.
enum Part<'d> {
    Attribute(&'d str),
    /// The object of namespaces that an element declares.
    Namespaces,
    Text,
    Element(&'d str),
}

impl<'d> Writer<'d> {
    /// Writes an element with this name, which is escaped here, and what the value says about its content.
    fn element(&mut self, name: &str, offset: usize, value: Value<'d>) -> Result<(), Fault> {
        self.bounded()?;
        self.out.push('<');
        let name_start = self.out.len();
        write_name(&mut self.out, name).map_err(|message| self.fault(offset, message))?;
        let name = name_start..self.out.len();
        let problem = matches!(self.rules.convention, Convention::Problem);
        if problem && name_start == DECLARATION.len() + "<".len() {
            self.out.push_str(r#" xmlns="urn:ietf:rfc:7807""#);
        }
        if value.shape() == Shape::Object {
            self.no_clash(value)?;
            for (key, value) in value.members() {
                match self.part(key)? {
                    Part::Attribute(name) => self.attribute(name, key.offset(), value)?,
                    Part::Namespaces => self.namespaces(value)?,
                    Part::Text | Part::Element(_) => {}
                }
            }
        }
        self.out.push('>');
        let inside = self.out.len();
        match value.shape() {
            Shape::Null => {}
            Shape::Scalar(text) => self.text(text, value.offset())?,
            Shape::Array => {
                let rules = self.rules;
                for item in value.items() {
                    self.element(&rules.item, item.offset(), item)?;
                }
            }
            Shape::Object => {
                for (key, value) in value.members() {
                    match self.part(key)? {
                        Part::Attribute(_) | Part::Namespaces => {}
                        Part::Text => match value.shape() {
                            Shape::Null => {}
                            Shape::Scalar(text) => self.text(text, value.offset())?,
                            _ => return Err(self.fault(value.offset(), "text cannot be an array or an object")),
                        },
                        Part::Element(name) if value.shape() == Shape::Array && !problem => {
                            for item in value.items() {
                                self.element(name, key.offset(), item)?;
                            }
                        }
                        Part::Element(name) => self.element(name, key.offset(), value)?,
                    }
                }
            }
        }
        self.close(name, inside);
        Ok(())
    }

    /// Writes the element that `["name", {attributes}, children…]` stands for.
    fn list(&mut self, value: Value<'d>) -> Result<(), Fault> {
        self.bounded()?;
        let mut items = value.items().peekable();
        let Some(name) = items.next().filter(|name| name.string().is_some()) else {
            return Err(self.fault(value.offset(), "an element of JsonML is an array that begins with its name"));
        };
        self.out.push('<');
        let name_start = self.out.len();
        let written = write_name(&mut self.out, name.string().unwrap_or_default());
        written.map_err(|message| self.fault(name.offset(), message))?;
        let name = name_start..self.out.len();
        if let Some(attributes) = items.next_if(|item| item.shape() == Shape::Object) {
            self.no_clash(attributes)?;
            for (key, value) in attributes.members() {
                self.attribute(key.string().unwrap_or_default(), key.offset(), value)?;
            }
        }
        self.out.push('>');
        let inside = self.out.len();
        for item in items {
            match item.shape() {
                Shape::Array => self.list(item)?,
                Shape::Scalar(text) => self.text(text, item.offset())?,
                Shape::Null | Shape::Object => {
                    return Err(
                        self.fault(item.offset(), "a child in JsonML is an array, a string, a number or a boolean")
                    );
                }
            }
        }
        self.close(name, inside);
        Ok(())
    }

    /// Ends the element whose name stands in this range of the output and whose content begins at `inside`.
    fn close(&mut self, name: std::ops::Range<usize>, inside: usize) {
        if self.out.len() == inside {
            self.out.truncate(inside - 1);
            self.out.push_str("/>");
        } else {
            self.out.push_str("</");
            self.out.extend_from_within(name);
            self.out.push('>');
        }
    }

    fn part(&self, key: Value<'d>) -> Result<Part<'d>, Fault> {
        let name = key.string().unwrap_or_default();
        match &self.rules.convention {
            Convention::BadgerFish => match (name, name.strip_prefix('@')) {
                ("$", _) => Ok(Part::Text),
                ("@xmlns", _) => Ok(Part::Namespaces),
                (_, Some(attribute)) if attribute.starts_with("xmlns:") => {
                    Err(self.fault(key.offset(), "in BadgerFish, namespaces are declared in \"@xmlns\""))
                }
                (_, Some(attribute)) => Ok(Part::Attribute(attribute)),
                (_, None) => Ok(Part::Element(name)),
            },
            Convention::AttributePrefix { text, .. } if name == text => Ok(Part::Text),
            Convention::AttributePrefix { prefix, .. } => {
                Ok(name.strip_prefix(prefix.as_str()).map_or(Part::Element(name), Part::Attribute))
            }
            Convention::Parker { .. } | Convention::Problem => Ok(Part::Element(name)),
            // Only the attributes of an element are an object.
            Convention::JsonMl => Ok(Part::Attribute(name)),
        }
    }

    fn names_root(&self, key: Value<'d>, content: Value<'d>) -> bool {
        content.shape() != Shape::Array && matches!(self.part(key), Ok(Part::Element(_)))
    }

    fn attribute(&mut self, name: &str, offset: usize, value: Value<'d>) -> Result<(), Fault> {
        self.out.push(' ');
        write_name(&mut self.out, name).map_err(|message| self.fault(offset, message))?;
        self.attribute_value(value)
    }

    fn attribute_value(&mut self, value: Value<'d>) -> Result<(), Fault> {
        let text = match value.shape() {
            Shape::Null => "",
            Shape::Scalar(text) => text,
            _ => return Err(self.fault(value.offset(), "an attribute cannot be an array or an object")),
        };
        self.out.push_str("=\"");
        write_attribute_value(&mut self.out, text).map_err(|message| self.fault(value.offset(), message))?;
        self.out.push('"');
        Ok(())
    }

    /// The namespaces of a BadgerFish element: `{"$": default, "prefix": uri}`.
    fn namespaces(&mut self, value: Value<'d>) -> Result<(), Fault> {
        if value.shape() != Shape::Object {
            return Err(self.fault(value.offset(), "\"@xmlns\" is an object of prefixes and names of namespaces"));
        }
        for (key, uri) in value.members() {
            let prefix = key.string().unwrap_or_default();
            if prefix == "$" {
                self.out.push_str(" xmlns");
            } else if is_name(prefix) && !prefix.contains(':') {
                self.out.push_str(" xmlns:");
                self.out.push_str(prefix);
            } else {
                return Err(self.fault(key.offset(), "the prefix of a namespace is not a name of XML"));
            }
            self.attribute_value(uri)?;
        }
        Ok(())
    }

    /// Refuses an object of which two members get the same name by escaping: two attributes would not be well-formed,
    /// and two elements could not be told apart.
    fn no_clash(&self, object: Value<'d>) -> Result<(), Fault> {
        let mut escaped = false;
        for (key, _) in object.members() {
            if let Part::Attribute(name) | Part::Element(name) = self.part(key)? {
                escaped |= !is_name(name);
            }
        }
        if !escaped {
            return Ok(());
        }
        let mut written = String::new();
        let mut names = Vec::new();
        for (key, _) in object.members() {
            let (attribute, name) = match self.part(key)? {
                Part::Attribute(name) => (true, name),
                Part::Element(name) => (false, name),
                Part::Namespaces | Part::Text => continue,
            };
            let start = written.len();
            write_name(&mut written, name).map_err(|message| self.fault(key.offset(), message))?;
            names.push((attribute, start as u32..written.len() as u32));
        }
        let name = |(attribute, range): &(bool, std::ops::Range<u32>)| {
            (*attribute, &written[range.start as usize..range.end as usize])
        };
        names.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
        if names.windows(2).all(|pair| name(&pair[0]) != name(&pair[1])) {
            return Ok(());
        }
        Err(self.fault(object.offset(), "two members of this object would have the same name in XML"))
    }

    fn text(&mut self, text: &str, offset: usize) -> Result<(), Fault> {
        write_text(&mut self.out, text).map_err(|message| self.fault(offset, message))
    }

    fn bounded(&self) -> Result<(), Fault> {
        let cap = self.rules.limits.output;
        if self.out.len() > cap { Err(Fault::too_long(cap)) } else { Ok(()) }
    }

    fn fault(&self, offset: usize, message: &str) -> Fault {
        Fault::unrepresentable(self.source, offset, message)
    }
}
