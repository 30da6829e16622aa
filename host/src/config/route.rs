//! Routes: from what is written to what they match.

pub(crate) mod rewrite;
mod split;

use std::collections::BTreeSet;

use http::header::{HeaderName, HeaderValue};
use http::{Method, header};
use regex::Regex;

use super::file;
use super::near::nearest;
use super::pattern::{self, Budget, Intersection, Texts};
use super::place::Place;
use super::reader::{At, Entry, Reader};
use super::value::{BodySize, EncodedSlash, Fields, MethodName, Path, Priority, ProtocolName, Reference};
use super::{HostMatch, Match, PathMatch, Route, ValueMatch};

/// The names that a route may use.
pub(crate) struct Known<'k> {
    pub(crate) plugins: &'k BTreeSet<String>,
    pub(crate) upstreams: &'k BTreeSet<String>,
}

/// The default of `body-size`.
const BODY_SIZE: u64 = 1 << 20;

/// A route, or none after its problems were reported.
pub(crate) fn route(name: &str, at: At<file::Route>, known: &Known<'_>, reader: &mut Reader<'_>) -> Option<Route> {
    let place = reader.source().place(&at.span);
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let keep = written.encoded_slash.or(EncodedSlash(false)).0;
    let path = path_match(written.path, written.path_prefix, written.path_regex, keep, &here, reader);
    let methods = methods(written.methods, reader);
    let headers = headers(written.headers, reader);
    let query = written.query.or(Fields::default()).0.into_iter().map(|(name, value)| (name.value, value)).collect();
    let (chain, chain_places) = chain(written.chain, known, reader);
    let upstream = reader.require(written.upstream, "upstream", &here);
    if let Some(upstream) = &upstream {
        check_name(upstream, "upstream", known.upstreams, reader);
    }
    let split = split::split(written.split, upstream.as_ref(), known, reader);
    let split_by = split::by(written.split_by, &split, reader);
    let mirror = split::mirror(written.mirror, known, reader);
    let path = path?;
    let rewrite = rewrite::rewrite(written.strip_prefix, written.add_prefix, written.rewrite, &path, keep, reader);
    let matches = Match { host: written.host.or(HostMatch::Any), path, methods, headers, query, encoded_slash: keep };
    Some(Route {
        name: name.to_owned(),
        place: Some(place),
        matches,
        priority: written.priority.or(Priority(0)).0,
        chain,
        chain_places,
        upstream: upstream?.value.0,
        split,
        split_by,
        mirror,
        rewrite,
        body_size: written.body_size.or(BodySize(Some(BODY_SIZE))).0,
        upgrade: upgrade(written.upgrade, reader),
        streaming: written.streaming.or(false),
    })
}

fn path_match(
    exact: Entry<Path>,
    prefix: Entry<Path>,
    regex: Entry<Regex>,
    keep_encoded_slash: bool,
    route: &At<()>,
    reader: &mut Reader<'_>,
) -> Option<PathMatch> {
    let present = [!exact.is_absent(), !prefix.is_absent(), !regex.is_absent()];
    match present.into_iter().filter(|present| *present).count() {
        0 => {
            if !reader.is_partial() {
                let problem = reader.problem(route, "it is not said which paths this route takes");
                reader.report(problem.help("add path = \"/…\", path-prefix = \"/…\" or path-regex = \"/…\""));
            }
            return None;
        }
        1 => {}
        _ => {
            let spans = [
                exact.get().map(|at| at.span.clone()),
                prefix.get().map(|at| at.span.clone()),
                regex.get().map(|at| at.span.clone()),
            ];
            // At the last of them in the file: the reader of the message has seen the others before it.
            let last = spans.into_iter().flatten().max_by_key(|span| span.start);
            let at = At { value: (), span: last.unwrap_or(route.span.clone()), path: route.path.clone() };
            let problem = reader.problem(&at, "only one of path, path-prefix and path-regex can be given");
            reader.report(problem.help("write a second route for other paths"));
            return None;
        }
    }
    match (exact, prefix, regex) {
        (Entry::Is(path), _, _) => canonical(path, keep_encoded_slash, reader).map(PathMatch::Exact),
        (_, Entry::Is(path), _) => {
            let path = canonical(path, keep_encoded_slash, reader)?;
            Some(PathMatch::Prefix(path.strip_suffix('/').unwrap_or(&path).to_owned()))
        }
        (_, _, Entry::Is(regex)) => {
            if pattern::intersection(&regex.value, &regex.value, Texts::Paths, &mut Budget::new())
                == Intersection::Empty
            {
                let problem = reader.problem(&regex, format!("{} takes no path", reader.written(&regex)));
                reader
                    .report(problem.help("a path begins with \"/\", and has no query, space or letter outside ASCII"));
                return None;
            }
            Some(PathMatch::Regex(regex.value))
        }
        _ => None,
    }
}

/// Requests are matched by their canonical path: another one would never be seen.
fn canonical(path: At<Path>, keep_encoded_slash: bool, reader: &mut Reader<'_>) -> Option<String> {
    match crate::path::canonical(&path.value.0, keep_encoded_slash) {
        Ok(canonical) if canonical == path.value.0 => return Some(path.value.0),
        Ok(canonical) => {
            let problem = reader.problem(&path, format!("{} is not a canonical path", reader.written(&path)));
            // What a reference stands for is not shown.
            let resolved = reader.source().slice(&path.span).contains("${");
            let help = format!("write {canonical:?}: requests are matched in this form");
            reader.report(if resolved { problem } else { problem.help(help) });
        }
        Err(error) => {
            let problem =
                reader.problem(&path, format!("{} is never the path of a request: {error}", reader.written(&path)));
            let slash = !keep_encoded_slash && crate::path::canonical(&path.value.0, true).is_ok();
            reader.report(if slash { problem.help("add encoded-slash = \"keep\"") } else { problem });
        }
    }
    None
}

fn methods(entry: Entry<Vec<At<MethodName>>>, reader: &mut Reader<'_>) -> Vec<Method> {
    let Entry::Is(list) = entry else { return Vec::new() };
    if list.value.is_empty() && reader.source().slice(&list.span).trim_matches(['[', ']']).trim().is_empty() {
        let problem = reader.problem(&list, "an empty list takes no request");
        reader.report(problem.help("leave \"methods\" out to take all"));
    }
    let mut out: Vec<Method> = Vec::new();
    for method in list.value {
        if out.contains(&method.value.0) {
            reader.error(&method, format!("{} is in the list twice", reader.written(&method)));
        } else {
            out.push(method.value.0);
        }
    }
    out
}

fn upgrade(entry: Entry<Vec<At<ProtocolName>>>, reader: &mut Reader<'_>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for protocol in entry.or(Vec::new()) {
        if out.contains(&protocol.value.0) {
            reader.error(&protocol, format!("{} is in the list twice", reader.written(&protocol)));
        } else {
            out.push(protocol.value.0);
        }
    }
    out
}

fn headers(entry: Entry<Fields>, reader: &mut Reader<'_>) -> Vec<(HeaderName, ValueMatch)> {
    let mut out: Vec<(HeaderName, ValueMatch)> = Vec::new();
    for (at, value) in entry.or(Fields::default()).0 {
        let Ok(name) = HeaderName::from_bytes(at.value.as_bytes()) else {
            reader.error(&at, format!("{} is not a name of a header", reader.written(&at)));
            continue;
        };
        if name == header::HOST {
            let problem = reader.problem(&at, "the host is not matched as a header");
            reader.report(problem.help("write host = \"…\" in the route"));
            continue;
        }
        if out.iter().any(|(known, _)| *known == name) {
            reader.error(&at, format!("the header {name} is in the table twice: capitals make no difference"));
            continue;
        }
        if let ValueMatch::Exact(text) = &value
            && (HeaderValue::from_str(text).is_err() || text.trim_matches([' ', '\t']) != text)
        {
            let problem = reader.problem(&at, format!("the header {name} never has this value"));
            reader.report(problem.help("values have no control characters, and no space at either end"));
            continue;
        }
        out.push((name, value));
    }
    out
}

fn chain(entry: Entry<Vec<At<Reference>>>, known: &Known<'_>, reader: &mut Reader<'_>) -> (Vec<String>, Vec<Place>) {
    let mut out: Vec<At<Reference>> = Vec::new();
    for plugin in entry.or(Vec::new()) {
        check_name(&plugin, "plugin", known.plugins, reader);
        if let Some(first) = out.iter().find(|earlier| earlier.value.0 == plugin.value.0) {
            let note = reader.source().place(&first.span);
            let problem = reader.problem(&plugin, format!("{} is in the chain twice", reader.written(&plugin)));
            let help = "to run a component twice, give it a second name and configuration";
            reader.report(problem.note("the first time is here", note).help(help));
        } else {
            out.push(plugin);
        }
    }
    let places = out.iter().map(|plugin| reader.source().place(&plugin.span)).collect();
    (out.into_iter().map(|plugin| plugin.value.0).collect(), places)
}

fn check_name(at: &At<Reference>, kind: &str, known: &BTreeSet<String>, reader: &mut Reader<'_>) {
    if known.contains(&at.value.0) || reader.is_partial() {
        return;
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let near = nearest(&at.value.0, names.iter().copied());
    let problem = reader.problem(at, format!("unknown {kind} {}", reader.written(at))).suggest(near);
    reader.report(match (near, names.len()) {
        (Some(_), _) => problem,
        (None, 0) => problem.help(format!("add a table [{kind}.NAME]")),
        (None, 1..=8) => problem.help(format!("defined: {}", names.join(", "))),
        (None, _) => problem,
    });
}
