//! What schemas can refer to: resources (`$id`), anchors and places in their text.

use std::collections::HashMap;

use super::uri;
use crate::json::{Document, Value, View};

/// A place: which document, and which value of it.
pub(super) type Place = (u32, u32);

/// All documents, and what they name.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) documents: Vec<Document<'static>>,
    pub(super) resources: Vec<Resource>,
    by_uri: HashMap<String, u32>,
    /// Resources by the place where they begin.
    beginning: HashMap<Place, u32>,
    /// The resource of each schema that was found.
    within: HashMap<Place, u32>,
}

/// A schema with an identity: a whole document, or a part with `$id`.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) uri: String,
    pub(super) place: Place,
    anchors: HashMap<String, Place>,
    dynamic: HashMap<String, Place>,
    /// Its `$schema`, or that of the resource around it.
    pub(super) dialect: Option<String>,
}

/// What a reference leads to.
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) resource: u32,
    /// The anchor's name, where it is a dynamic one.
    pub(super) dynamic: Option<String>,
}

/// Keywords whose value is a schema, a list of schemas, a map of schemas.
const ONE: [&str; 11] = [
    "additionalProperties",
    "propertyNames",
    "items",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const MAP: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

impl Index {
    /// Finds everything in these documents, each with the URI by which it is known.
    ///
    /// # Errors
    ///
    /// The places and what is wrong there.
    pub(super) fn new(documents: Vec<(String, Document<'static>)>) -> (Self, Vec<(Place, String)>) {
        let (uris, documents): (Vec<_>, Vec<_>) = documents.into_iter().unzip();
        let mut index = Self {
            documents,
            resources: Vec::new(),
            by_uri: HashMap::new(),
            beginning: HashMap::new(),
            within: HashMap::new(),
        };
        let mut wrong = Vec::new();
        for (document, uri) in uris.into_iter().enumerate() {
            let place = (document as u32, 0);
            let resource = index.resource(uri.clone(), place, None);
            index.by_uri.insert(uri, resource);
            index.walk(place, resource, &mut wrong);
        }
        (index, wrong)
    }

    pub(super) fn value(&self, (document, slot): Place) -> Value<'_> {
        self.documents[document as usize].at(slot)
    }

    /// The resource of a schema that was found; none for a place that no keyword makes a schema.
    pub(super) fn resource_of(&self, place: Place) -> Option<u32> {
        self.within.get(&place).copied()
    }

    /// The schemas of a document, in its order.
    pub(super) fn schemas_of(&self, document: u32) -> Vec<Place> {
        let mut places: Vec<_> = self.within.keys().copied().filter(|(of, _)| *of == document).collect();
        places.sort_unstable();
        places
    }

    /// A document that was given under this URI.
    pub(super) fn by_uri(&self, uri: &str) -> Option<&Resource> {
        self.by_uri.get(uri).map(|id| &self.resources[*id as usize])
    }

    /// Every resource with a dynamic anchor of this name, and the schema there.
    pub(super) fn dynamic(&self, name: &str) -> Vec<(u32, Place)> {
        let numbered = self.resources.iter().enumerate();
        numbered.filter_map(|(id, resource)| Some((id as u32, *resource.dynamic.get(name)?))).collect()
    }

    /// What a reference in a resource means.
    pub(super) fn resolve(&mut self, from: u32, reference: &str) -> Result<Target, String> {
        let base = &self.resources[from as usize].uri;
        let (uri, fragment) = uri::split(reference);
        let absolute = uri::resolve(base, uri);
        let resource = match self.by_uri.get(&absolute) {
            _ if uri.is_empty() => from,
            Some(resource) => *resource,
            None => {
                return Err(format!(
                    "refers to {absolute:?}, which is not here: other schemas are never fetched, give it under `schemas`"
                ));
            }
        };
        let whole = &self.resources[resource as usize];
        match fragment.unwrap_or_default() {
            "" => {
                let place = whole.place;
                Ok(Target { place, resource, dynamic: None })
            }
            fragment => {
                let fragment = uri::decode(fragment).ok_or("has a fragment whose percent-encoding is broken")?;
                if fragment.starts_with('/') {
                    return self.follow(resource, &fragment);
                }
                if let Some(place) = whole.dynamic.get(&fragment) {
                    return Ok(Target { place: *place, resource, dynamic: Some(fragment) });
                }
                match whole.anchors.get(&fragment) {
                    Some(place) => Ok(Target { place: *place, resource, dynamic: None }),
                    None => Err(format!("refers to the anchor {fragment:?}, which is not in that schema")),
                }
            }
        }
    }

    /// Follows a JSON Pointer from the beginning of a resource.
    fn follow(&mut self, mut resource: u32, pointer: &str) -> Result<Target, String> {
        let (document, mut slot) = self.resources[resource as usize].place;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let value = self.documents[document as usize].at(slot);
            let next = match value.view() {
                View::Object(members) => members.get(&step),
                View::Array(mut items) => step.parse().ok().and_then(|index| items.nth(index)),
                _ => None,
            };
            slot = next.ok_or_else(|| format!("refers to {pointer:?}, which is not in that schema"))?.slot();
            if let Some(inner) = self.beginning.get(&(document, slot)) {
                resource = *inner;
            }
        }
        let place = (document, slot);
        if self.resource_of(place).is_none() {
            // Not where schemas stand, but meant as one: what it contains can be referred to, too.
            self.walk(place, resource, &mut Vec::new());
            resource = self.resource_of(place).unwrap_or(resource);
        }
        Ok(Target { place, resource, dynamic: None })
    }

    fn resource(&mut self, uri: String, place: Place, dialect: Option<String>) -> u32 {
        let id = self.resources.len() as u32;
        self.resources.push(Resource { uri, place, anchors: HashMap::new(), dynamic: HashMap::new(), dialect });
        self.beginning.insert(place, id);
        id
    }

    /// Finds the schemas below a place, and what they name.
    fn walk(&mut self, place: Place, resource: u32, wrong: &mut Vec<(Place, String)>) {
        let document = place.0;
        let mut left = vec![(place.1, resource)];
        while let Some((slot, mut resource)) = left.pop() {
            let names = names(self.value((document, slot)));
            let place = (document, slot);
            if let Some(id) = names.id {
                let (id, fragment) = uri::split(&id);
                if fragment.is_some_and(|fragment| !fragment.is_empty()) {
                    wrong.push((place, "has an `$id` with a fragment; a place in it is named by `$anchor`".to_owned()));
                }
                let absolute = uri::resolve(&self.resources[resource as usize].uri, id);
                if self.beginning.get(&place) == Some(&resource) {
                    // A whole document: known by its own name, and by the one it was given under.
                    self.resources[resource as usize].uri.clone_from(&absolute);
                } else {
                    let dialect = self.resources[resource as usize].dialect.clone();
                    resource = self.resource(absolute.clone(), place, dialect);
                }
                let before = self.by_uri.insert(absolute, resource);
                if before.is_some_and(|before| before != resource) {
                    wrong.push((place, "has the `$id` of another schema".to_owned()));
                }
            }
            self.within.insert(place, resource);
            let here = &mut self.resources[resource as usize];
            if here.place == place && names.dialect.is_some() {
                here.dialect = names.dialect;
            }
            let mut twice = false;
            if let Some(anchor) = names.anchor {
                twice |= here.anchors.insert(anchor, place).is_some();
            }
            if let Some(anchor) = names.dynamic_anchor {
                twice |= here.anchors.contains_key(&anchor) || here.dynamic.insert(anchor, place).is_some();
            }
            if twice {
                wrong.push((place, "has an anchor of a name that another schema has".to_owned()));
            }
            left.extend(subschemas(self.value(place)).into_iter().map(|slot| (slot, resource)));
        }
    }
}

#[derive(Default)]
struct Names {
    id: Option<String>,
    dialect: Option<String>,
    anchor: Option<String>,
    dynamic_anchor: Option<String>,
}

fn names(schema: Value<'_>) -> Names {
    let Some(members) = schema.as_object() else { return Names::default() };
    let text = |name| members.get(name).and_then(Value::as_str).map(str::to_owned);
    Names { id: text("$id"), dialect: text("$schema"), anchor: text("$anchor"), dynamic_anchor: text("$dynamicAnchor") }
}

/// The schemas directly in a schema.
fn subschemas(schema: Value<'_>) -> Vec<u32> {
    let mut slots = Vec::new();
    for member in schema.as_object().into_iter().flatten() {
        if ONE.contains(&member.name()) {
            slots.push(member.value.slot());
        } else if LIST.contains(&member.name()) {
            slots.extend(member.value.as_array().into_iter().flatten().map(Value::slot));
        } else if MAP.contains(&member.name()) {
            slots.extend(member.value.as_object().into_iter().flatten().map(|member| member.value.slot()));
        }
    }
    slots
}
