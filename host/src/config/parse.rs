//! From the file to a [`Config`], with every problem that is in it.

use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use tracing::Level;

use super::bounds::{DAY, SECOND, count, within};
use super::place::Source;
use super::problem::{Problem, Problems};
use super::reader::{At, Entry, Named, Node, Read, Reader};
use super::secrets::Secrets;
use super::{
    AccessLog, Config, Drain, Log, LogFormat, Route, Upgrade, file, lint, listener, overlap, plugin, registry, route,
    syntax, trust, units, upstream,
};

/// A longer file is no configuration: 4 MiB are some ten thousand routes.
const LONGEST: u64 = 4 << 20;

/// Reads and checks a configuration. Paths in it are relative to it; `${env:…}` is the environment of this process.
///
/// # Errors
/// Everything that is wrong with it; or that it could not be read ([`Problems::is_unreadable`]).
pub fn load(path: &Path) -> Result<Config, Problems> {
    let name = path.display().to_string();
    let text = text(path)?;
    let mut config = parse(&text, &name, path.parent().unwrap_or(Path::new("")), &|name| std::env::var(name).ok())?;
    config.files.insert(0, path.to_owned());
    Ok(config)
}

/// The text of a file that is not longer than any of ours.
pub(super) fn text(path: &Path) -> Result<String, Problems> {
    let name = path.display().to_string();
    let unreadable = |why: String| Problems::unreadable(Problem::error(format!("cannot read {name}: {why}")));
    let mut bytes = Vec::new();
    let read = |bytes| std::fs::File::open(path)?.take(LONGEST + 1).read_to_end(bytes);
    read(&mut bytes).map_err(|error: std::io::Error| unreadable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let right = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let place = Source::new(&name, &text).place(&(right..right + 1));
        let problem = Problem::error("the file is not UTF-8 text: a byte here is part of no character");
        Problems::from_iter([problem.at(place, "")])
    })
}

/// Checks the text of a configuration. `file_name` is for messages, `base` is the directory that paths in it start
/// from, `env` answers `${env:…}`.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn parse(
    text: &str,
    file_name: &str,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let (mut reader, file) = document::<file::File>(text, file_name, base, env)?;
    let config = file.and_then(|file| config(file, &mut reader));

    let secrets = Secrets::new(std::mem::take(&mut reader.secrets));
    let files = std::mem::take(&mut reader.files);
    let hash = reader.hash();
    let mut problems = reader.finish();
    problems.sort();
    match config {
        Some(config) if !problems.has_errors() => {
            Ok(Config { warnings: problems.into_vec(), secrets, files, hash, ..config })
        }
        _ => Err(problems),
    }
}

/// A document as it is written, and what notes everything that is wrong with it.
pub(super) fn document<'a, T: Read>(
    text: &'a str,
    file_name: &str,
    base: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
) -> Result<(Reader<'a>, Option<T>), Problems> {
    let source = Source::new(file_name, text);
    if text.len() as u64 > LONGEST {
        let problem = Problem::error("the file is longer than 4MiB, which no configuration is");
        return Err(Problems::from_iter([problem.at(source.place(&(0..0)), "")]));
    }
    let mut reader = Reader::new(source, base, env);
    reader.count(text.as_bytes());
    let (table, errors) = DeTable::parse_recoverable(text);
    for (span, problem) in syntax::problems(&errors, reader.source()) {
        reader.broken(&span, problem);
    }
    let span = table.span().start..table.span().start;
    let node = Node { value: &DeValue::Table(table.into_inner()), span, path: String::new() };
    let read = T::read(&node, &mut reader);
    Ok((reader, read))
}

/// Every part is looked at, whatever was wrong with those before it.
fn config(file: file::File, reader: &mut Reader<'_>) -> Option<Config> {
    let cpus = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = match &file.workers {
        Entry::Absent => cpus(),
        _ => count(reader, file.workers, 1, 1..=1024).non_zero(),
    };
    some_of(&file.listener, "listener", "nothing would be accepted", "[listener.NAME] with an address", reader);
    some_of(
        &file.route,
        "route",
        "every request would be answered 404",
        "[route.NAME] with a path and an upstream",
        reader,
    );
    let keys = trust::keys(file.key, reader);
    let registries = registry::registries(file.registry, reader);
    let upstreams = file.upstream.or(Named::default());
    let plugins = file.plugin.or(Named::default());
    let (upstream_names, plugin_names) = (upstreams.names.clone(), plugins.names.clone());
    let known = route::Known { plugins: &plugin_names, upstreams: &upstream_names };

    let resolver = upstream::resolver::resolver(file.resolver, reader);
    let listeners = file.listener.or(Named::default());
    let listeners = each(listeners, reader, listener::listener);
    let admin = listener::admin(file.admin, reader);
    lint::addresses(&listeners, admin.as_ref(), reader);
    let settings = plugin::settings(file.plugins, reader);
    let routes = file.route.or(Named::default());
    let routes = each(routes, reader, |name, at, reader| route::route(name, at, &known, reader));
    let upstreams = each(upstreams, reader, upstream::upstream);
    let plugins = each(plugins, reader, |name, at, reader| plugin::plugin(name, at, &keys, reader));
    let log = log(file.log);
    let drain = drain(file.drain, reader);
    let upgrade = upgrade(file.upgrade, reader);

    let routes: Vec<Route> = routes.into_iter().map(|at| at.value).collect();
    overlap::check(&routes).into_iter().for_each(|problem| reader.report(problem));
    lint::unused(&routes, &upstreams, &plugins, reader);
    trust::unused(&keys, &plugins, reader);
    registry::check(&registries, &plugins, reader);
    lint::risks(&routes, &listeners, &plugins, reader);
    Some(Config {
        workers,
        listeners: listeners.into_iter().map(|at| at.value).collect(),
        admin: admin.map(|admin| admin.value),
        plugins: settings,
        via: file.via.value().map(|name| name.0),
        resolver,
        upstreams: upstreams.into_iter().map(|at| at.value).collect(),
        plugin: plugins.into_iter().map(|at| (at.value.name.clone(), at.value)).collect(),
        registries: registries.into_iter().map(|at| at.value).collect(),
        routes,
        log,
        drain,
        upgrade,
        warnings: Vec::new(),
        secrets: Secrets::default(),
        files: Vec::new(),
        hash: String::new(),
    })
}

/// Each table of a kind as what it means, with its place.
fn each<T, U>(
    named: Named<T>,
    reader: &mut Reader<'_>,
    mut mean: impl FnMut(&str, At<T>, &mut Reader<'_>) -> Option<U>,
) -> Vec<At<U>> {
    let mut out = Vec::new();
    for (name, at) in named.tables {
        let (span, path) = (at.span.clone(), at.path.clone());
        if let Some(value) = mean(&name, at, reader) {
            out.push(At { value, span, path });
        }
    }
    out
}

/// Notes that there is none of a kind, without which nothing works.
fn some_of<T>(entry: &Entry<Named<T>>, kind: &str, why: &str, what: &str, reader: &mut Reader<'_>) {
    let none = match entry {
        Entry::Absent => true,
        Entry::Wrong => false,
        Entry::Is(named) => named.value.names.is_empty(),
    };
    if none && !reader.is_partial() {
        let at = At { value: (), span: 0..0, path: kind.to_owned() };
        let problem = reader.problem(&at, format!("there is no {kind}: {why}"));
        reader.report(problem.help(format!("add {what}")));
    }
}

fn log(entry: Entry<file::Log>) -> Log {
    let (format, access, level) = match entry {
        Entry::Is(at) => (at.value.format, at.value.access, at.value.level),
        Entry::Absent | Entry::Wrong => (Entry::Absent, Entry::Absent, Entry::Absent),
    };
    Log { format: format.or(LogFormat::Json), access: access.or(AccessLog::Stdout), level: level.or(Level::INFO) }
}

fn upgrade(entry: Entry<file::Upgrade>, reader: &mut Reader<'_>) -> Option<Upgrade> {
    let Entry::Is(at) = entry else { return None };
    let here = At { value: (), span: at.span, path: at.path };
    let socket = reader.require(at.value.socket, "socket", &here)?;
    Some(Upgrade { socket: reader.locate(&socket.value.0) })
}

fn drain(entry: Entry<file::Drain>, reader: &mut Reader<'_>) -> Drain {
    let (grace, timeout) = match entry {
        Entry::Is(at) => (at.value.grace, at.value.timeout),
        Entry::Absent | Entry::Wrong => (Entry::Absent, Entry::Absent),
    };
    Drain {
        grace: within(reader, grace, Duration::ZERO, Duration::ZERO..=DAY, units::show_duration),
        timeout: within(reader, timeout, 30 * SECOND, Duration::ZERO..=DAY, units::show_duration),
    }
}
