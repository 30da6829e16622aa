//! Plugins, and what is common to all of them.

use std::path::PathBuf;
use std::time::Duration;

use super::bounds::{SECOND, count, count_u32, size, time, within};
use super::place::Places;
use super::reader::{At, Entry, Reader};
use super::record::record;
use super::rollout::rollout;
use super::trust::{self, Keys};
use super::units::show_duration;
use super::{Grant, HttpOrigin, Isolation, OnFailure, PluginLimits, PluginSettings, PluginSpec, file};

/// `[plugins]`
pub(crate) fn settings(entry: Entry<file::Plugins>, reader: &mut Reader<'_>) -> PluginSettings {
    let Entry::Is(At { value: written, .. }) = entry else {
        return PluginSettings {
            directory: None,
            cache: default_cache(),
            versions: default_cache().map(beside),
            instances: count_u32(reader, Entry::Absent, 1000, 1..=1_000_000),
        };
    };
    let directory = written.directory.value().map(|path| reader.locate(&path.0));
    let cache = match written.cache.value() {
        Some(path) => Some(reader.locate(&path.0)),
        None => default_cache(),
    };
    let versions = match written.versions.value() {
        Some(path) => Some(reader.locate(&path.0)),
        None => cache.clone().map(beside),
    };
    PluginSettings { directory, cache, versions, instances: count_u32(reader, written.instances, 1000, 1..=1_000_000) }
}

/// Where versions are kept, in the folder where compiled code is.
fn beside(cache: PathBuf) -> PathBuf {
    cache.join("tollgate-versions")
}

/// Of the process: the file does not change with the environment, so `env` of [`parse`] has no part in it.
fn default_cache() -> Option<PathBuf> {
    // The specification of base directories ignores relative ones.
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("tollgate"))
}

/// A plugin, or none after its problems were reported.
pub(crate) fn plugin(name: &str, at: At<file::Plugin>, keys: &Keys, reader: &mut Reader<'_>) -> Option<PluginSpec> {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let component = reader.require(written.component, "component", &here);
    let mut places = Places::default();
    places.insert(String::new(), reader.source().place(&here.span));
    let (config, places) = match written.config {
        Entry::Is(config) => (config.value.json, config.value.places),
        Entry::Absent | Entry::Wrong => ("{}".to_owned(), places),
    };
    let component = component?.value;
    Some(PluginSpec {
        name: name.to_owned(),
        component: component.0,
        pulled: component.1,
        config,
        places,
        on_failure: written.on_failure.or(OnFailure::Closed),
        isolation: written.isolation.or(Isolation::Pooled),
        limits: limits(written.limits, &PluginLimits::default(), reader),
        grant: grant(written.grant, reader),
        require: trust::requirements(written.require, keys, reader),
        rollout: rollout(written.rollout, reader),
        record: record(written.record, reader),
    })
}

/// `limits` of a plugin.
pub(crate) fn limits(
    entry: Entry<file::PluginLimits>,
    default: &PluginLimits,
    reader: &mut Reader<'_>,
) -> PluginLimits {
    let Some(limits) = entry.value() else { return default.clone() };
    let instances = default.instances.get() as usize;
    PluginLimits {
        time: time(reader, limits.time, default.time, 60 * SECOND),
        memory: size(reader, limits.memory, default.memory as u64, 64 << 10..=4 << 30),
        table: count(reader, limits.table, default.table, 1..=10_000_000).0,
        instances: count_u32(reader, limits.instances, instances, 1..=1_000_000),
        wait: within(reader, limits.wait, default.wait, Duration::ZERO..=60 * SECOND, show_duration),
    }
}

/// `grant` of a plugin.
pub(crate) fn grant(entry: Entry<file::Grant>, reader: &mut Reader<'_>) -> Grant {
    let Entry::Is(At { value: written, .. }) = entry else {
        return Grant::default();
    };
    let mut kv: Vec<String> = Vec::new();
    for store in written.kv.or(Vec::new()) {
        if kv.contains(&store.value.0) {
            reader.error(&store, format!("the store {} is granted twice", reader.written(&store)));
        } else {
            kv.push(store.value.0);
        }
    }
    let mut http: Vec<HttpOrigin> = Vec::new();
    for origin in written.http.or(Vec::new()) {
        if http.iter().any(|known| known.endpoint == origin.value.0.endpoint) {
            reader.error(&origin, format!("the origin {} is granted twice", reader.written(&origin)));
        } else {
            http.push(origin.value.0);
        }
    }
    Grant { kv, http }
}
