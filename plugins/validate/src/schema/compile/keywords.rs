//! What each keyword makes of its value.

use super::super::format::Format;
use super::super::pattern::Pattern;
use super::super::rules::{
    ArrayRules, Contains, InPlace, NumberRules, ObjectRules, Properties, Property, Rules, StringRules, Types, Values,
};
use super::{Compiler, Dialect, Keywords};
use crate::json::{Divisor, Kept, Value, View};

impl Compiler {
    pub(super) fn references(&mut self, keywords: &Keywords, rules: &mut Rules) {
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

    pub(super) fn applicators(&mut self, keywords: &Keywords, rules: &mut Rules) {
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

    pub(super) fn array(&mut self, keywords: &Keywords, dialect: Dialect, rules: &mut Rules) {
        let prefix = keywords.get("prefixItems").map(|at| self.list(at, keywords.resource)).unwrap_or_default();
        let items = self.one(keywords, "items");
        let contains = self.one(keywords, "contains");
        let mut array = ArrayRules { least: 0, most: u64::MAX, unique: false, prefix, items, contains: None };
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

    pub(super) fn object(&mut self, keywords: &Keywords, dialect: Dialect, rules: &mut Rules) {
        let map = |compiler: &mut Self, keyword| compiler.map(keywords, keyword);
        let mut properties: Vec<_> = map(self, "properties")
            .into_iter()
            .map(|(name, schema)| Property::new(name, Some(schema), false))
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
            properties: Properties::new(Vec::new()),
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
                match properties.binary_search_by(|property| property.name.cmp(&name)) {
                    Ok(index) => properties[index].required = true,
                    Err(index) => properties.insert(index, Property::new(name, None, true)),
                }
            }
            if let Some(at) = keywords.get("dependentRequired") {
                let names = self.index.value(at).as_object().map(|members| {
                    members.map(|member| (member.name().to_owned(), (at.0, member.value.slot()))).collect::<Vec<_>>()
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
        object.properties = Properties::new(properties);
        let depends = !object.dependent_required.is_empty() || !object.dependent_schemas.is_empty();
        if object.looks_at_members() || depends || object.least > 0 || object.most < u64::MAX {
            rules.object = Some(Box::new(object));
        }
    }

    pub(super) fn values(&mut self, keywords: &Keywords, rules: &mut Rules) {
        if let Some(at) = keywords.get("type") {
            let value = self.index.value(at);
            let types = match value.as_array() {
                Some(mut items) => {
                    items.try_fold(Types::NONE, |types, item| Some(types.with(Types::named(item.as_str()?)?)))
                }
                None => value.as_str().and_then(Types::named),
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
            let value = self.index.value(at);
            let expected = list_of([value]).map_or_else(
                || "must be the one value of the schema (const)".to_owned(),
                |value| format!("must be {value} (const)"),
            );
            rules.values.push(Values { places: vec![at], scalars: value.is_scalar(), expected });
        }
        if let Some(at) = keywords.get("enum") {
            let Some(mut items) = self.index.value(at).as_array() else {
                self.complain(at, "is no list of values");
                return;
            };
            let expected = list_of(items).map_or_else(
                || format!("must be one of the {} values of the schema (enum)", items.len()),
                |list| format!("must be one of {list} (enum)"),
            );
            let places = items.map(|item| (at.0, item.slot())).collect();
            rules.values.push(Values { places, scalars: items.all(Value::is_scalar), expected });
        }
    }

    pub(super) fn number(&mut self, keywords: &Keywords, rules: &mut Rules) {
        let mut number = NumberRules::default();
        let mut any = false;
        for keyword in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
            let Some(at) = keywords.get(keyword) else { continue };
            let View::Number(value) = self.index.value(at).view() else {
                self.complain(at, "is no number");
                continue;
            };
            any = true;
            match keyword {
                "minimum" => number.minimum = Some(Kept::new(value)),
                "maximum" => number.maximum = Some(Kept::new(value)),
                "exclusiveMinimum" => number.exclusive_minimum = Some(Kept::new(value)),
                "exclusiveMaximum" => number.exclusive_maximum = Some(Kept::new(value)),
                _ => match Divisor::new(value) {
                    Some(divisor) => number.multiple_of = Some((divisor, value.text().to_owned())),
                    None => self.complain(at, "is no number greater than 0 with at most 18 significant digits"),
                },
            }
        }
        if any {
            rules.number = Some(Box::new(number));
        }
    }

    pub(super) fn string(&mut self, keywords: &Keywords, dialect: Dialect, rules: &mut Rules) {
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
                self.complain(
                    at,
                    format!("is a format that cannot be checked; those that can are {}", known.join(", ")),
                );
            }
        }
        if string.least > 0 || string.most < u64::MAX || string.pattern.is_some() || string.format.is_some() {
            rules.string = Some(Box::new(string));
        }
    }
}

/// A few short values of a schema, to be named in a message.
fn list_of<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Option<String> {
    let mut list = String::new();
    for value in values {
        if !list.is_empty() {
            list.push_str(", ");
        }
        match value.as_str() {
            Some(text) => list.push_str(&format!("{text:?}")),
            None => list.push_str(value.written()?),
        }
        if list.len() > 120 {
            return None;
        }
    }
    (!list.is_empty()).then_some(list)
}
