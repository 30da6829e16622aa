//! How a route rewrites paths.

use crate::config::reader::{At, Entry, Node, Read, Reader, Wrong};
use crate::config::value::Path;
use crate::config::{PathMatch, Rewrite, TemplatePart};

/// A path with groups in it.
#[derive(Debug)]
pub(crate) struct Template(Vec<TemplatePart>);

impl Read for Template {
    const NOUN: &'static str = "a path with groups";
    const EXAMPLE: &'static str = "\"/items/{id}\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, template)
    }
}

fn template(text: &str) -> Result<Template, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::because("it does not begin with a slash").help(format!("write {:?}", format!("/{text}"))));
    }
    if text.contains(['?', '#']) {
        return Err(Wrong::because("it has a query or a fragment: the query stays as it is"));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(Wrong::because("a group is not closed").help("write {NAME}"));
        };
        if !before.is_empty() {
            parts.push(TemplatePart::Text(before.to_owned()));
        }
        parts.push(TemplatePart::Group(name.to_owned()));
        rest = after;
    }
    if rest.contains('}') {
        return Err(Wrong::because("a group is closed that was not opened").help("write {NAME}"));
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Text(rest.to_owned()));
    }
    // What groups take is not known; that the text around them can be right is.
    let sample: String = parts
        .iter()
        .map(|part| match part {
            TemplatePart::Text(text) => text,
            TemplatePart::Group(_) => "x",
        })
        .collect();
    match crate::path::canonical(&sample, true) {
        Ok(canonical) if canonical == sample => Ok(Template(parts)),
        _ => Err(Wrong::because("it is not canonical, so no request with it would be sent")),
    }
}

pub(super) fn rewrite(
    strip: Entry<Path>,
    add: Entry<Path>,
    template: Entry<Template>,
    path: &PathMatch,
    encoded_slash: bool,
    reader: &mut Reader<'_>,
) -> Option<Rewrite> {
    if let Entry::Is(template) = template {
        if !strip.is_absent() || !add.is_absent() {
            let problem = reader.problem(&template, "it is the whole path: strip-prefix and add-prefix have no place");
            reader.report(problem.help("remove them"));
        }
        return by_template(template, path, reader);
    }
    let at = strip.get().map(|at| At { value: (), span: at.span.clone(), path: at.path.clone() });
    let strip = prefix(strip, encoded_slash, reader)?;
    let add = prefix(add, encoded_slash, reader)?;
    let below = |path: &str| path.strip_prefix(&strip).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = path else {
        return some(strip, add);
    };
    if let Some(at) = at.filter(|_| !below(path)) {
        let written = reader.written(&at);
        let problem = reader.problem(&at, format!("paths that this route takes do not begin with {written}"));
        reader.report(problem.help(format!("it takes those of {:?}", if path.is_empty() { "/" } else { path })));
        return None;
    }
    some(strip, add)
}

fn some(strip: String, add: String) -> Option<Rewrite> {
    (!strip.is_empty() || !add.is_empty()).then_some(Rewrite::Prefix { strip, add })
}

/// Empty where there is none; nothing where it was reported.
fn prefix(entry: Entry<Path>, encoded_slash: bool, reader: &mut Reader<'_>) -> Option<String> {
    match entry {
        Entry::Absent => Some(String::new()),
        Entry::Wrong => None,
        Entry::Is(path) => {
            let path = super::canonical(path, encoded_slash, reader)?;
            Some(path.strip_suffix('/').unwrap_or(&path).to_owned())
        }
    }
}

fn by_template(template: At<Template>, path: &PathMatch, reader: &mut Reader<'_>) -> Option<Rewrite> {
    let groups: Vec<&str> = match path {
        PathMatch::Regex(regex) => regex.capture_names().flatten().collect(),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => {
            let problem =
                reader.problem(&template, "only a path-regex has groups, and a path to be rewritten as a whole");
            reader.report(problem.help("write path-regex, or strip-prefix and add-prefix in place of this"));
            return None;
        }
    };
    for part in &template.value.0 {
        let TemplatePart::Group(name) = part else { continue };
        if !groups.contains(&name.as_str()) {
            let near = crate::config::nearest(name, groups.iter().copied());
            let problem = reader.problem(&template, format!("path-regex has no group {name:?}")).suggest(near);
            let help = format!("write (?<{name}>…) around a part of it");
            reader.report(if near.is_none() { problem.help(help) } else { problem });
            return None;
        }
    }
    Some(Rewrite::Template(template.value.0))
}
