//! From the text of a schema to its rules, with every mistake and its place.

use std::collections::HashMap;
use std::hash::RandomState;

use tollgate_sdk::Complaints;

use super::Schema;
use super::format::Format;
use super::index::{Index, Place};
use super::pattern::Pattern;
use super::rules::{
    ArrayRules, Contains, InPlace, NumberRules, ObjectRules, Property, Rules, StringRules, Types, Values,
};
use crate::json::{Divisor, Document, Limits, Number, Value, View, parse, push_step};

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
        Self { depth: 128, members: most, items: most, string: most, name: most, digits: 1000, values: most, duplicates: false, nul: true }
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
                push_step(&mut pointer, member.name);
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
            let rules = self.compile(place, resource, dialect);
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
        let Some(uri) = here.dialect.as_deref().map(|uri| uri.trim_end_matches('#')).filter(|uri| *uri != DIALECT) else {
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
            let name = member.name.strip_prefix(VOCABULARIES).filter(|name| KNOWN_VOCABULARIES.contains(name));
            match name {
                Some("validation") => dialect.validation = true,
                Some("format-assertion") => dialect.formats = true,
                Some(_) => {}
                None if matches!(member.value.view(), View::Bool(true)) => unknown.push(member.name.to_owned()),
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
        let keywords: Vec<_> = members.map(|member| (member.name.to_owned(), (place.0, member.value.slot()))).collect();
        let keywords = Keywords { place, resource, at: keywords.into_iter().collect() };
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

    fn references(&mut self, keywords: &Keywords, rules: &mut Rules) {
        for (keyword, is_dynamic) in [("$ref", false), ("$dynamicRef", true)] {
            let Some(at) = keywords.get(keyword) else { continue };
            let Some(reference) = self.index.value(at).as_str().map(str::to_owned) else {
                self.complain(at, "is no text; a reference is one");
                continue;
            };
            match self.index.resolve(keywords.resource, &reference) {
                Err(message) => self.complain(at, message),
                Ok(target) => {
                    let fallback = self.schema(target.place, target.resource);
                    let candidates = match target.dynamic.filter(|_| is_dynamic) {
                        Some(name) => self.index.dynamic(&name),
                        None => Vec::new(),
                    };
                    rules.in_place.push(if candidates.len() > 1 {
                        let schema = |(resource, place)| (resource, self.schema(place, resource));
                        InPlace::DynamicRef { fallback, candidates: candidates.into_iter().map(schema).collect() }
                    } else {
                        InPlace::Ref(fallback)
                    });
                }
            }
        }
    }

    fn applicators(&mut self, keywords: &Keywords, rules: &mut Rules) {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let Some(at) = keywords.get(keyword) else { continue };
            let schemas = self.list(at, keywords.resource);
            if schemas.is_empty() {
                self.complain(at, "is no list of schemas, at least one");
            }
            rules.in_place.push(match keyword {
                "allOf" => InPlace::All(schemas),
                "anyOf" => InPlace::Any(schemas),
                _ => InPlace::One(schemas),
            });
        }
        if let Some(not) = self.one(keywords, "not") {
            rules.in_place.push(InPlace::Not(not));
        }
        let (then, otherwise) = (self.one(keywords, "then"), self.one(keywords, "else"));
        if let Some(test) = self.one(keywords, "if") {
            // Without `then` and `else` it can still say what is evaluated.
            rules.in_place.push(InPlace::If { test, then, otherwise });
        }
        rules.unevaluated_items = self.one(keywords, "unevaluatedItems");
        rules.unevaluated_properties = self.one(keywords, "unevaluatedProperties");
    }

    fn array(&mut self, keywords: &Keywords, dialect: Dialect, rules: &mut Rules) {
        let prefix = keywords.get("prefixItems").map(|at| self.list(at, keywords.resource)).unwrap_or_default();
        let items = self.one(keywords, "items");
        let contains = self.one(keywords, "contains");
        let mut array =
            ArrayRules { least: 0, most: u64::MAX, unique: false, prefix, items, contains: None };
        let mut range = (1, u64::MAX);
        if dialect.validation {
            range = (self.count(keywords, "minContains", 1), self.count(keywords, "maxContains", u64::MAX));
            array.least = self.count(keywords, "minItems", 0);
            array.most = self.count(keywords, "maxItems", u64::MAX);
            if let Some(at) = keywords.get("uniqueItems") {
                match self.index.value(at).view() {
                    View::Bool(unique) => array.unique = unique,
                    _ => self.complain(at, "is neither `true` nor `false`"),
                }
            }
        }
        array.contains = contains.map(|schema| Contains { schema, least: range.0, most: range.1 });
        let empty = array.prefix.is_empty() && array.items.is_none() && array.contains.is_none();
        if !empty || array.unique || array.least > 0 || array.most < u64::MAX {
            rules.array = Some(Box::new(array));
        }
    }

    fn object(&mut self, keywords: &Keywords, dialect: Dialect, rules: &mut Rules) {
        let map = |compiler: &mut Self, keyword| compiler.map(keywords, keyword);
        let mut properties: Vec<_> = map(self, "properties")
            .into_iter()
            .map(|(name, schema)| Property { name, schema: Some(schema), required: None })
            .collect();
        properties.sort_by(|one, other| one.name.cmp(&other.name));
        let mut patterns = Vec::new();
        if let Some(at) = keywords.get("patternProperties") {
            for (written, schema) in map(self, "patternProperties") {
                match Pattern::new(&written) {
                    Ok(pattern) => patterns.push((pattern, schema)),
                    Err(message) => self.complain(at, format!("{written:?} {message}")),
                }
            }
        }
        let mut object = ObjectRules {
            least: 0,
            most: u64::MAX,
            properties,
            required: 0,
            patterns,
            additional: self.one(keywords, "additionalProperties"),
            names: self.one(keywords, "propertyNames"),
            dependent_required: Vec::new(),
            dependent_schemas: map(self, "dependentSchemas"),
        };
        if dialect.validation {
            object.least = self.count(keywords, "minProperties", 0);
            object.most = self.count(keywords, "maxProperties", u64::MAX);
            for name in keywords.get("required").map(|at| self.names(at)).unwrap_or_default() {
                let search = object.properties.binary_search_by(|property| property.name.cmp(&name));
                let required = Some(object.required);
                match search {
                    Ok(index) if object.properties[index].required.is_some() => continue,
                    Ok(index) => object.properties[index].required = required,
                    Err(index) => object.properties.insert(index, Property { name, schema: None, required }),
                }
                object.required += 1;
            }
            if let Some(at) = keywords.get("dependentRequired") {
                let names = self.index.value(at).as_object().map(|members| {
                    members.map(|member| (member.name.to_owned(), (at.0, member.value.slot()))).collect::<Vec<_>>()
                });
                match names {
                    None => self.complain(at, "is no object whose values are lists of names"),
                    Some(names) => {
                        object.dependent_required =
                            names.into_iter().map(|(name, list)| (name, self.names(list))).collect();
                    }
                }
            }
        }
        let depends = !object.dependent_required.is_empty() || !object.dependent_schemas.is_empty();
        if object.looks_at_members() || depends || object.least > 0 || object.most < u64::MAX {
            rules.object = Some(Box::new(object));
        }
    }

    fn values(&mut self, keywords: &Keywords, rules: &mut Rules) {
        if let Some(at) = keywords.get("type") {
            let value = self.index.value(at);
            let types = match value.view() {
                View::String(name) => Types::named(name),
                View::Array(items) => items
                    .map(|item| item.as_str().and_then(Types::named))
                    .try_fold(Types::NONE, |types, named| Some(types.with(named?))),
                _ => None,
            };
            match types {
                Some(types) if types != Types::NONE => rules.types = types,
                _ => self.complain(
                    at,
                    "is neither \"null\", \"boolean\", \"object\", \"array\", \"number\", \"string\", \"integer\" nor a list of them",
                ),
            }
        }
        if let Some(at) = keywords.get("const") {
            let expected = list_of([self.index.value(at)]).map_or_else(
                || "must be the one value of the schema (const)".to_owned(),
                |value| format!("must be {value} (const)"),
            );
            rules.values.push(Values { places: vec![at], expected });
        }
        if let Some(at) = keywords.get("enum") {
            let Some(items) = self.index.value(at).as_array() else {
                self.complain(at, "is no list of values");
                return;
            };
            let expected = list_of(items).map_or_else(
                || format!("must be one of the {} values of the schema (enum)", items.len()),
                |list| format!("must be one of {list} (enum)"),
            );
            rules.values.push(Values { places: items.map(|item| (at.0, item.slot())).collect(), expected });
        }
    }

    fn number(&mut self, keywords: &Keywords, rules: &mut Rules) {
        let mut number = NumberRules::default();
        let mut any = false;
        for keyword in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
            let Some(at) = keywords.get(keyword) else { continue };
            let View::Number(value) = self.index.value(at).view() else {
                self.complain(at, "is no number");
                continue;
            };
            any = true;
            let text = value.text().to_owned();
            match keyword {
                "minimum" => number.minimum = Some(text),
                "maximum" => number.maximum = Some(text),
                "exclusiveMinimum" => number.exclusive_minimum = Some(text),
                "exclusiveMaximum" => number.exclusive_maximum = Some(text),
                _ => match Divisor::new(Number::new(&text)) {
                    Some(divisor) => number.multiple_of = Some((divisor, text)),
                    None => self.complain(at, "is no number greater than 0 with at most 18 significant digits"),
                },
            }
        }
        if any {
            rules.number = Some(Box::new(number));
        }
    }

    fn string(&mut self, keywords: &Keywords, dialect: Dialect, rules: &mut Rules) {
        let mut string = StringRules { least: 0, most: u64::MAX, pattern: None, format: None };
        if dialect.validation {
            string.least = self.count(keywords, "minLength", 0);
            string.most = self.count(keywords, "maxLength", u64::MAX);
            if let Some((at, pattern)) = self.text(keywords, "pattern") {
                match Pattern::new(&pattern) {
                    Ok(pattern) => string.pattern = Some(pattern),
                    Err(message) => self.complain(at, message),
                }
            }
        }
        if let Some((at, name)) = self.text(keywords, "format").filter(|_| dialect.formats) {
            string.format = Format::named(&name);
            if string.format.is_none() {
                let known: Vec<_> = Format::ALL.iter().map(|format| format.name).collect();
                self.complain(at, format!("is a format that cannot be checked; those that can are {}", known.join(", ")));
            }
        }
        if string.least > 0 || string.most < u64::MAX || string.pattern.is_some() || string.format.is_some() {
            rules.string = Some(Box::new(string));
        }
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
        let slots: Vec<_> = members.map(|member| (member.name.to_owned(), member.value.slot())).collect();
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

    /// Finds schemas that apply themselves to the same value again: no document could ever be checked.
    fn find_loops(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Open,
            Done,
        }
        let mut seen = vec![Seen::No; self.rules.len()];
        let mut looping = None;
        'all: for start in 0..self.rules.len() {
            let mut open: Vec<(usize, Vec<u32>)> = Vec::new();
            if seen[start] == Seen::No {
                seen[start] = Seen::Open;
                open.push((start, in_place(&self.rules[start])));
            }
            while let Some((id, next)) = open.last_mut() {
                match next.pop().map(|next| next as usize) {
                    None => {
                        seen[*id] = Seen::Done;
                        open.pop();
                    }
                    Some(next) => match seen[next] {
                        Seen::Done => {}
                        Seen::Open => {
                            looping = Some(*id);
                            break 'all;
                        }
                        Seen::No => {
                            seen[next] = Seen::Open;
                            open.push((next, in_place(&self.rules[next])));
                        }
                    },
                }
            }
        }
        let place = looping.and_then(|id| self.known.iter().find(|(_, known)| **known as usize == id));
        if let Some(place) = place.map(|(place, _)| *place) {
            self.complain(place, "leads back to itself for the same value, for ever");
        }
    }
}

/// The schemas that are applied to the same value.
fn in_place(rules: &Rules) -> Vec<u32> {
    let mut all = Vec::new();
    for rule in &rules.in_place {
        match rule {
            InPlace::All(schemas) | InPlace::Any(schemas) | InPlace::One(schemas) => all.extend(schemas),
            InPlace::Not(schema) | InPlace::Ref(schema) => all.push(*schema),
            InPlace::If { test, then, otherwise } => {
                all.push(*test);
                all.extend(then);
                all.extend(otherwise);
            }
            // Where another candidate loops, the limit of depth ends it.
            InPlace::DynamicRef { fallback, .. } => all.push(*fallback),
        }
    }
    if let Some(object) = &rules.object {
        all.extend(object.dependent_schemas.iter().map(|(_, schema)| schema));
    }
    all
}

/// A schema's keywords and where their values are.
struct Keywords {
    #[expect(dead_code, reason = "shown when a test prints it")]
    place: Place,
    resource: u32,
    at: HashMap<String, Place>,
}

impl Keywords {
    fn get(&self, keyword: &str) -> Option<Place> {
        self.at.get(keyword).copied()
    }
}

/// A few short values of a schema, to be named in a message.
fn list_of<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Option<String> {
    let mut list = String::new();
    for value in values {
        if !list.is_empty() {
            list.push_str(", ");
        }
        match value.view() {
            View::String(text) => list.push_str(&format!("{text:?}")),
            _ => list.push_str(value.written()?),
        }
        if list.len() > 120 {
            return None;
        }
    }
    (!list.is_empty()).then_some(list)
}
