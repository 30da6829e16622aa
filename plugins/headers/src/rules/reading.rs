//! From what was written to names and templates, with every mistake at its place.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_sdk::Complaints;

use crate::changes::Values;
use crate::name::{self, Removal};
use crate::template::Template;

/// Reads one direction and keeps what is wrong with it.
pub(super) struct Reading<'a> {
    complaints: &'a mut Complaints,
    place: &'a str,
    /// Every name so far.
    pub(super) mentioned: BTreeSet<String>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(complaints: &'a mut Complaints, place: &'a str) -> Self {
        Self { complaints, place, mentioned: BTreeSet::new() }
    }

    /// Complains of what stands at these steps below.
    pub(super) fn complain(&mut self, steps: &[&str], message: impl Into<String>) {
        let mut pointer = self.place.to_owned();
        for step in steps {
            pointer.push('/');
            pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        self.complaints.add(pointer, message);
    }

    /// Names and prefixes to remove.
    pub(super) fn removals(&mut self, written: &[String]) -> (BTreeSet<String>, Vec<String>) {
        let (mut names, mut prefixes) = (BTreeSet::new(), Vec::new());
        for (index, text) in written.iter().enumerate() {
            match Removal::parse(text) {
                Ok(Removal::Name(name)) => {
                    self.mentioned.insert(name.clone());
                    if !names.insert(name) {
                        self.complain(&["remove", &index.to_string()], format!("`{text}` is removed twice"));
                    }
                }
                Ok(Removal::Prefix(prefix)) => prefixes.push(prefix),
                Err(message) => self.complain(&["remove", &index.to_string()], message),
            }
        }
        (names, prefixes)
    }

    /// Old names with their new ones.
    pub(super) fn renames(
        &mut self,
        written: &BTreeMap<String, String>,
        removed: &BTreeSet<String>,
    ) -> Vec<(String, String)> {
        let mut renames: Vec<(String, String)> = Vec::new();
        for (old, new) in written {
            let place = ["rename", old];
            let names = (name::header(old), name::header(new));
            if let (Err(message), _) | (Ok(_), Err(message)) = &names {
                self.complain(&place, message.clone());
            }
            let (Ok(from), Ok(to)) = names else { continue };
            if from == to {
                self.complain(&place, format!("`{from}` is renamed to itself"));
            } else if removed.contains(&from) {
                self.complain(&place, format!("`{from}` is also removed; a rename removes it by itself"));
            } else if renames.iter().any(|(other, _)| *other == from) {
                self.complain(&place, format!("`{from}` is renamed twice; names are the same in any case of letters"));
            } else if renames.iter().any(|(_, other)| *other == to) {
                self.complain(&place, format!("two names are renamed to `{to}`"));
            } else {
                self.mentioned.extend([from.clone(), to.clone()]);
                renames.push((from, to));
            }
        }
        renames
    }

    /// Names with their values, of one kind such as `set`.
    pub(super) fn fields(&mut self, written: &BTreeMap<String, Values>, kind: &str) -> Vec<(String, Vec<Template>)> {
        let mut fields: Vec<(String, Vec<Template>)> = Vec::new();
        for (name, values) in written {
            let lower = match name::header(name) {
                Ok(lower) if fields.iter().any(|(other, _)| *other == lower) => {
                    self.complain(
                        &[kind, name],
                        format!("`{lower}` is there twice; names are the same in any case of letters"),
                    );
                    continue;
                }
                Ok(lower) => Some(lower),
                Err(message) => {
                    self.complain(&[kind, name], message);
                    None
                }
            };
            let mut templates = Vec::new();
            let mut count = 0;
            for (index, value) in values.each() {
                count += 1;
                match Template::parse(value) {
                    Ok(template) => templates.push(template),
                    Err(message) => match index {
                        None => self.complain(&[kind, name], message),
                        Some(index) => self.complain(&[kind, name, &index.to_string()], message),
                    },
                }
            }
            if count == 0 {
                self.complain(&[kind, name], "an empty list makes no field; `remove` removes them");
            }
            if let Some(lower) = lower {
                self.mentioned.insert(lower.clone());
                fields.push((lower, templates));
            }
        }
        fields
    }
}
