//! The changes of one direction, compiled.

mod reading;

use std::collections::BTreeSet;

use tollgate_sdk::{Complaints, Edits, Request, ResponseHead};

use crate::changes::Changes;
use crate::name;
use crate::preset::{Preset, When};
use crate::template::{Missing, Source, Template, Variable};
use reading::Reading;

/// What to do with each message.
#[derive(Debug)]
pub(crate) struct Rules {
    /// What is the same for every message.
    fixed: Edits,
    /// What a preset removes where it is there: mostly it is not, and looking is cheaper than an edit.
    unwanted: Vec<&'static str>,
    prefixes: Vec<String>,
    renames: Vec<(String, String)>,
    set: Vec<(String, Vec<Template>)>,
    absent: Vec<Absent>,
    append: Vec<(String, Vec<Template>)>,
    missing: Missing,
    /// Every name that the configuration speaks of.
    mentioned: BTreeSet<String>,
}

/// A field that is set where there is none.
#[derive(Debug)]
struct Absent {
    name: String,
    values: Vec<Template>,
    when: When,
    /// Whether a field that came with the message counts: not one that is removed or renamed.
    received: bool,
    /// The old name of the rename that may make such a field.
    renamed_from: Option<String>,
}

/// The fields of a message that the plugin sees.
pub(crate) trait Fields {
    /// The values of a name, in order.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;

    /// The name of every field.
    fn names(&self) -> impl Iterator<Item = &str>;
}

impl Rules {
    /// Compiles what was written at `place`, and complains of what is wrong with it.
    pub(crate) fn new(changes: &Changes, missing: Missing, place: &str, complaints: &mut Complaints) -> Self {
        let mut reading = Reading::new(complaints, place);
        let (removed, prefixes) = reading.removals(&changes.remove);
        let renames = reading.renames(&changes.rename, &removed);
        let set = reading.fields(&changes.set, "set");
        let absent = reading.fields(&changes.set_if_absent, "set-if-absent");
        let append = reading.fields(&changes.append, "append");
        for written in changes.set.keys() {
            if renames.iter().any(|(_, new)| new.eq_ignore_ascii_case(written)) {
                reading.complain(&["set", written], "it is also the new name of a rename, and only one can be");
            }
        }
        for written in changes.set_if_absent.keys() {
            if set.iter().any(|(name, _)| name.eq_ignore_ascii_case(written)) {
                reading.complain(&["set-if-absent", written], "it is never absent, since `set` sets it");
            }
        }
        let mentioned = reading.mentioned;

        let mut fixed = removed.iter().fold(Edits::new(), Edits::remove);
        let set = divide(set, |name, value| fixed = std::mem::take(&mut fixed).set(name, value));
        let append = divide(append, |name, value| fixed = std::mem::take(&mut fixed).append(name, value));
        let absent = absent.into_iter().map(|(name, values)| Absent {
            received: !removed.contains(&name)
                && !prefixes.iter().any(|prefix| name.starts_with(prefix))
                && !renames.iter().any(|(old, _)| *old == name),
            renamed_from: renames.iter().find(|(_, new)| *new == name).map(|(old, _)| old.clone()),
            when: When::Always,
            name,
            values,
        });
        let absent = absent.collect();
        Self { fixed, unwanted: Vec::new(), prefixes, renames, set, absent, append, missing, mentioned }
    }

    /// Adds what a preset does to those names that the configuration does not speak of.
    pub(crate) fn add(&mut self, preset: Preset) {
        let unwanted = preset.removed().iter().copied();
        self.unwanted.extend(unwanted.filter(|name| !self.mentioned.contains(*name)));
        for (name, value) in preset.set().iter().filter(|(name, _)| !self.mentioned.contains(*name)) {
            self.fixed = std::mem::take(&mut self.fixed).set(name, value);
        }
        for (name, value, when) in preset.defaults().iter().filter(|(name, ..)| !self.mentioned.contains(*name)) {
            self.absent.push(Absent {
                name: (*name).to_owned(),
                values: vec![Template::text(value)],
                when: *when,
                received: !self.prefixes.iter().any(|prefix| name.starts_with(prefix)),
                renamed_from: None,
            });
        }
    }

    /// Whether nothing is ever changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty()
            && self.unwanted.is_empty()
            && self.prefixes.is_empty()
            && self.renames.is_empty()
            && self.set.is_empty()
            && self.absent.is_empty()
            && self.append.is_empty()
    }

    /// Whether every field must be seen: names are removed by how they begin.
    pub(crate) fn sees_all(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// The fields that must be seen, besides those of variables.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        let absent = self.absent.iter().filter(|absent| absent.received).map(|absent| absent.name.as_str());
        let renamed = self.renames.iter().map(|(old, _)| old.as_str());
        renamed.chain(absent).chain(self.unwanted.iter().copied())
    }

    /// The variables in all values.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        let fields = self.set.iter().chain(&self.append).flat_map(|(_, values)| values);
        let absent = self.absent.iter().flat_map(|absent| &absent.values);
        fields.chain(absent).flat_map(Template::variables)
    }

    /// The attributes that must be seen.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        let consumer = self.depends_on(When::Authenticated).then_some("consumer");
        let named = self.variables().filter_map(|variable| match variable {
            Variable::Attribute(name) => Some(name.as_str()),
            _ => None,
        });
        named.chain(consumer)
    }

    /// Whether a default is set under this condition.
    pub(crate) fn depends_on(&self, when: When) -> bool {
        self.absent.iter().any(|absent| absent.when == when)
    }

    /// The edits for one message.
    pub(crate) fn apply(&self, message: &impl Fields, source: &impl Source) -> Edits {
        let mut edits = self.fixed.clone();
        if self.sees_all() {
            let mut found = BTreeSet::new();
            for name in message.names() {
                if self.prefixes.iter().any(|prefix| name.starts_with(prefix))
                    && name::is_ours(name)
                    && found.insert(name)
                {
                    edits = edits.remove(name);
                }
            }
        }
        for name in &self.unwanted {
            if message.values(name).next().is_some() {
                edits = edits.remove(name);
            }
        }
        for (old, new) in &self.renames {
            let mut found = false;
            for value in message.values(old) {
                edits = edits.set(new, value);
                found = true;
            }
            if found {
                edits = edits.remove(old);
            }
        }
        for (name, values) in &self.set {
            let mut left = false;
            for value in values.iter().filter_map(|value| value.render(source, self.missing)) {
                edits = edits.set(name, value);
                left = true;
            }
            if !left {
                // What a client sent must not pass for what was to be set.
                edits = edits.remove(name);
            }
        }
        for absent in &self.absent {
            let holds = match absent.when {
                When::Always => true,
                When::Tls => source.is_tls(),
                When::Authenticated => source.is_authenticated(),
            };
            if holds && !absent.is_there(message) {
                for value in absent.values.iter().filter_map(|value| value.render(source, self.missing)) {
                    edits = edits.set(&absent.name, value);
                }
            }
        }
        for (name, values) in &self.append {
            for value in values.iter().filter_map(|value| value.render(source, self.missing)) {
                edits = edits.append(name, value);
            }
        }
        edits
    }
}

impl Absent {
    fn is_there(&self, message: &impl Fields) -> bool {
        let has = |name| message.values(name).next().is_some();
        (self.received && has(&self.name)) || self.renamed_from.as_ref().is_some_and(|old| has(old))
    }
}

/// Gives `fix` the values of those fields that no message changes, and returns the others.
fn divide(fields: Vec<(String, Vec<Template>)>, mut fix: impl FnMut(&str, &str)) -> Vec<(String, Vec<Template>)> {
    let mut others = Vec::new();
    for (name, values) in fields {
        // Fields of one name stay together, so that their order stays.
        if values.iter().all(|value| value.fixed().is_some()) {
            values.iter().filter_map(Template::fixed).for_each(|value| fix(&name, value));
        } else {
            others.push((name, values));
        }
    }
    others
}

impl Fields for Request {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers_named(name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.fields().map(|(name, _)| name)
    }
}

impl Fields for ResponseHead {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers_named(name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.fields().map(|(name, _)| name)
    }
}
