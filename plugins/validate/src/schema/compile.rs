//! From the text of a schema to its rules, with every mistake and its place.

mod keywords;
mod loops;

use std::collections::HashMap;
use std::hash::RandomState;

use tollgate_sdk::Complaints;

use super::Schema;
use super::index::{Index, Place};
use super::rules::{InPlace, Rules};
use crate::json::{Document, Limits, Value, View, parse, push_step};

/// A schema as it is written in the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Where in the configuration: a JSON Pointer.
    pub(crate) pointer: String,
    /// JSON.
    pub(crate) text: String,
    /// Whether the configuration has it as one string, into which no pointer leads.
    pub(crate) as_text: bool,
}

/// The one dialect there is.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const VOCABULARIES: &str = "https://json-schema.org/draft/2020-12/vocab/";
const KNOWN_VOCABULARIES: [&str; 8] = [
    "core",
    "applicator",
    "unevaluated",
    "validation",
    "meta-data",
    "format-annotation",
    "format-assertion",
    "content",
];

/// More complaints about one schema help nobody.
const COMPLAINTS: usize = 50;

/// Compiles a schema. `others` are those that it may refer to, by their URI.
///
/// Everything that is wrong goes to `complaints`, and then the answer is none.
pub(crate) fn compile(
    root: &Source,
    others: &[(String, Source)],
    formats: bool,
    complaints: &mut Complaints,
) -> Option<Schema> {
    let mut sources = vec![root];
    let mut documents = vec![(String::new(), root)];
    for (uri, source) in others {
        sources.push(source);
        documents.push((uri.clone(), source));
    }
    let documents = documents.into_iter().map(|(uri, source)| Some((uri, document(source, complaints)?)));
    // Collected first, so that all of them are read.
    let documents: Vec<_> = documents.collect();
    let documents: Vec<_> = documents.into_iter().collect::<Option<_>>()?;
    let (index, wrong) = Index::new(documents);
    let mut compiler = Compiler { index, formats, rules: Vec::new(), known: HashMap::new(), queue: Vec::new(), wrong };
    compiler.run();
    let Compiler { index, rules, wrong, .. } = compiler;
    if wrong.is_empty() {
        let multiple = |rule: &InPlace| matches!(rule, InPlace::DynamicRef { .. });
        let dynamic = rules.iter().any(|rules| rules.in_place.iter().any(multiple));
        return Some(Schema { documents: index.documents, rules, root: 0, dynamic, hasher: RandomState::new() });
    }
    for (place, message) in wrong.into_iter().take(COMPLAINTS) {
        let source = sources[place.0 as usize];
        let pointer = pointer(&index.documents[place.0 as usize], place.1);
        if source.as_text {
            complaints.add(&source.pointer, format!("at {pointer:?}: {message}"));
        } else {
            complaints.add(format!("{}{pointer}", source.pointer), message);
        }
    }
    None
}

fn document(source: &Source, complaints: &mut Complaints) -> Option<Document<'static>> {
    match parse(source.text.as_bytes(), &Limits::of_schemas()) {
        Ok(document) => Some(document.into_owned()),
        Err(malformed) => {
            let at = if malformed.pointer.is_empty() { String::new() } else { format!("at {:?}: ", malformed.pointer) };
            complaints.add(&source.pointer, format!("{at}{}", malformed.wrong));
            None
        }
    }
}

impl Limits {
    /// What a schema may hold: more than anybody writes, and not so much that compiling it takes the stack.
    pub(crate) fn of_schemas() -> Self {
        let most = u32::MAX;
        Self {
            depth: 128,
            members: most,
            items: most,
            string: most,
            name: most,
            digits: 1000,
            values: most,
            duplicates: false,
            nul: true,
        }
    }
}

/// The JSON Pointer to a value.
fn pointer(document: &Document<'_>, slot: u32) -> String {
    let mut pointer = String::new();
    let mut value = document.root();
    while value.slot() != slot {
        let holds = |value: &Value<'_>| (value.slot()..value.slot() + value.size()).contains(&slot);
        let inner = match value.view() {
            View::Object(mut members) => members.find(|member| holds(&member.value)).map(|member| {
                push_step(&mut pointer, member.name());
                member.value
            }),
            View::Array(items) => items.enumerate().find(|(_, item)| holds(item)).map(|(index, item)| {
                pointer.push_str(&format!("/{index}"));
                item
            }),
            _ => None,
        };
        let Some(inner) = inner else { break };
        value = inner;
    }
    pointer
}

struct Compiler {
    index: Index,
    formats: bool,
    rules: Vec<Rules>,
    /// Rules by the place of their schema. Those in the queue are promised.
    known: HashMap<Place, u32>,
    queue: Vec<(Place, u32)>,
    wrong: Vec<(Place, String)>,
}

/// Which keywords a resource's dialect has.
#[derive(Clone, Copy)]
struct Dialect {
    validation: bool,
    formats: bool,
}

impl Compiler {
    fn run(&mut self) {
        // The root is number 0. Every other schema of its document is compiled, too, so that a mistake in one that
        // nobody refers to does not wait for somebody to do so.
        for place in self.index.schemas_of(0) {
            let resource = self.index.resource_of(place).unwrap_or_default();
            self.schema(place, resource);
        }
        while let Some((place, resource)) = self.queue.pop() {
            let id = self.known[&place];
            let dialect = self.dialect(resource);
            let mut rules = self.compile(place, resource, dialect);
            rules.way = rules.find_way();
            self.rules[id as usize] = rules;
        }
        if self.wrong.is_empty() {
            self.find_loops();
        }
    }

    /// The number of a schema's rules, which are made when its turn comes.
    fn schema(&mut self, place: Place, resource: u32) -> u32 {
        if let Some(id) = self.known.get(&place) {
            return *id;
        }
        let id = self.rules.len() as u32;
        self.rules.push(Rules::default());
        self.known.insert(place, id);
        self.queue.push((place, self.index.resource_of(place).unwrap_or(resource)));
        id
    }

    fn complain(&mut self, place: Place, message: impl Into<String>) {
        self.wrong.push((place, message.into()));
    }

    fn dialect(&mut self, resource: u32) -> Dialect {
        let standard = Dialect { validation: true, formats: self.formats };
        let here = &self.index.resources[resource as usize];
        let place = here.place;
        let Some(uri) = here.dialect.as_deref().map(|uri| uri.trim_end_matches('#')).filter(|uri| *uri != DIALECT)
        else {
            return standard;
        };
        let Some(meta) = self.index.by_uri(uri).map(|resource| resource.place) else {
            let message = format!("has the `$schema` {uri:?}; only draft 2020-12 is known, {DIALECT:?}");
            self.complain(place, message);
            return standard;
        };
        let Some(vocabularies) = self.index.value(meta).as_object().and_then(|meta| meta.get("$vocabulary")) else {
            return standard;
        };
        let mut dialect = Dialect { validation: false, formats: self.formats };
        let mut unknown = Vec::new();
        for member in vocabularies.as_object().into_iter().flatten() {
            let name = member.name().strip_prefix(VOCABULARIES).filter(|name| KNOWN_VOCABULARIES.contains(name));
            match name {
                Some("validation") => dialect.validation = true,
                Some("format-assertion") => dialect.formats = true,
                Some(_) => {}
                None if matches!(member.value.view(), View::Bool(true)) => unknown.push(member.name().to_owned()),
                None => {}
            }
        }
        for name in unknown {
            self.complain(place, format!("needs the vocabulary {name:?}, which is not known"));
        }
        dialect
    }

    fn compile(&mut self, place: Place, resource: u32, dialect: Dialect) -> Rules {
        let mut rules = Rules { resource, ..Rules::default() };
        // Names and places are copied out of the document, so that what is found can be written down in `self`.
        let members = match self.index.value(place).view() {
            View::Bool(value) => {
                rules.always = Some(value);
                return rules;
            }
            View::Object(members) => members,
            _ => {
                self.complain(place, "is no schema, which is an object, `true` or `false`");
                return rules;
            }
        };
        if members.len() == 0 {
            rules.always = Some(true);
            return rules;
        }
        let keywords: Vec<_> =
            members.map(|member| (member.name().to_owned(), (place.0, member.value.slot()))).collect();
        let keywords = Keywords { resource, at: keywords.into_iter().collect() };
        self.references(&keywords, &mut rules);
        self.applicators(&keywords, &mut rules);
        self.array(&keywords, dialect, &mut rules);
        self.object(&keywords, dialect, &mut rules);
        if dialect.validation {
            self.values(&keywords, &mut rules);
            self.number(&keywords, &mut rules);
        }
        self.string(&keywords, dialect, &mut rules);
        rules
    }

    fn one(&mut self, keywords: &Keywords, keyword: &str) -> Option<u32> {
        let place = keywords.get(keyword)?;
        Some(self.schema(place, keywords.resource))
    }

    fn list(&mut self, at: Place, resource: u32) -> Vec<u32> {
        let Some(items) = self.index.value(at).as_array() else {
            self.complain(at, "is no list of schemas");
            return Vec::new();
        };
        let slots: Vec<_> = items.map(Value::slot).collect();
        slots.into_iter().map(|slot| self.schema((at.0, slot), resource)).collect()
    }

    fn map(&mut self, keywords: &Keywords, keyword: &str) -> Vec<(String, u32)> {
        let Some(at) = keywords.get(keyword) else { return Vec::new() };
        let Some(members) = self.index.value(at).as_object() else {
            self.complain(at, "is no object whose values are schemas");
            return Vec::new();
        };
        let slots: Vec<_> = members.map(|member| (member.name().to_owned(), member.value.slot())).collect();
        slots.into_iter().map(|(name, slot)| (name, self.schema((at.0, slot), keywords.resource))).collect()
    }

    fn names(&mut self, at: Place) -> Vec<String> {
        let names = self.index.value(at).as_array();
        let names = names.and_then(|items| items.map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>());
        names.unwrap_or_else(|| {
            self.complain(at, "is no list of names");
            Vec::new()
        })
    }

    fn text(&mut self, keywords: &Keywords, keyword: &str) -> Option<(Place, String)> {
        let at = keywords.get(keyword)?;
        let Some(text) = self.index.value(at).as_str().map(str::to_owned) else {
            self.complain(at, "is no text");
            return None;
        };
        Some((at, text))
    }

    fn count(&mut self, keywords: &Keywords, keyword: &str, absent: u64) -> u64 {
        let Some(at) = keywords.get(keyword) else { return absent };
        let count = match self.index.value(at).view() {
            View::Number(number) => number.to_u64(),
            _ => None,
        };
        count.unwrap_or_else(|| {
            self.complain(at, "is no whole number of 0 or more");
            absent
        })
    }
}

/// A schema's keywords and where their values are.
struct Keywords {
    resource: u32,
    at: HashMap<String, Place>,
}

impl Keywords {
    fn get(&self, keyword: &str) -> Option<Place> {
        self.at.get(keyword).copied()
    }
}
