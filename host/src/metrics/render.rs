//! Every series, by name: the one place where metrics have names and help.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::{MetricType, counter::Counter};
use prometheus_client::registry::{Registry, Unit};

use super::costs::{OfHook, Totals};
use super::custom::{Family, Kind, Number};
use super::histogram::{Histogram, Snapshot};
use super::{Compared, Hook, Metrics, PluginError, RolloutEvent, lock};

pub(super) fn render(metrics: &Metrics) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics.clone()));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a String takes every write");
    text
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.encode_server(&mut out)?;
        self.encode_plugins(&mut out)?;
        self.encode_costs(&mut out)?;
        self.encode_custom(&mut out)?;
        self.encode_upstreams(&mut out)?;
        self.encode_process(&mut out)
    }
}

impl Metrics {
    fn encode_server(&self, out: &mut Out<'_>) -> fmt::Result {
        let routes = self.0.routes.alive();
        let mut series = out.histogram(
            "http_server_request_duration",
            "From the head of a request to the end of its response, by route.",
        )?;
        for (route, metrics) in &routes {
            for (method, status, histogram) in metrics.durations.iter() {
                let labels =
                    [("http_route", &**route), ("http_request_method", method), ("http_response_status_code", status)];
                write_histogram(&mut series, &labels, histogram)?;
            }
        }
        let mut series = out.gauge("http_server_active_requests", "Requests that are being served.")?;
        write_gauge(&mut series, &[], self.0.active.get())?;
        let mut series = out
            .counter("tollgate_requests", "Requests that have ended, by route and by the reason of the access log.")?;
        for (route, metrics) in &routes {
            for (reason, count) in metrics.reasons.iter() {
                write_counter(&mut series, &[("route", &**route), ("reason", reason)], count)?;
            }
        }
        let mut series = out.counter(
            "tollgate_route_mirrored",
            "Requests of which a copy was sent to the mirror, or left out, by route.",
        )?;
        for (route, metrics) in routes.iter().filter(|(_, metrics)| metrics.mirrored.iter().any(|it| it.get() > 0)) {
            for (result, count) in ["sent", "left-out"].iter().zip(&metrics.mirrored) {
                write_counter(&mut series, &[("route", &**route), ("result", *result)], count)?;
            }
        }
        let mut series = out.gauge("tollgate_connections_open", "Connections that are open, by listener.")?;
        let listeners = self.0.listeners.alive();
        for (listener, metrics) in &listeners {
            write_gauge(&mut series, &[("listener", &**listener)], metrics.connections.get())?;
        }
        let mut series = out.counter(
            "tollgate_connections_refused",
            "Connections that were ended since their clients did what we do not take, by why.",
        )?;
        for (listener, metrics) in &listeners {
            for (why, count) in metrics.refused.iter() {
                write_counter(&mut series, &[("listener", &**listener), ("reason", why)], count)?;
            }
        }
        let mut series = out.gauge(
            "tollgate_certificate_end_seconds",
            "When the certificate of a listener ends, or the first one that leads to its root, in seconds since 1970.",
        )?;
        for (listener, metrics) in &listeners {
            for (file, ends) in &*lock(&metrics.certificates) {
                let ends = i64::try_from(*ends).unwrap_or(i64::MAX);
                write_gauge(&mut series, &[("listener", &**listener), ("certificate", file)], ends)?;
            }
        }
        Ok(())
    }

    fn encode_plugins(&self, out: &mut Out<'_>) -> fmt::Result {
        let routes = self.0.routes.alive();
        let plugins: Vec<_> = routes
            .iter()
            .flat_map(|(route, metrics)| metrics.plugins.alive().into_iter().map(move |plugin| (&**route, plugin)))
            .collect();
        let mut series = out.counter("tollgate_plugin_calls", "Calls of hooks that have ended, well or not.")?;
        for (route, (plugin, metrics)) in &plugins {
            for (hook, calls) in Hook::ALL.iter().zip(&metrics.calls) {
                let labels = [("plugin", &**plugin), ("route", *route), ("hook", hook.as_str())];
                write_count(&mut series, &labels, calls.count())?;
            }
        }
        let mut series = out.counter("tollgate_plugin_refusals", "Responses that a plugin made itself.")?;
        for (route, (plugin, metrics)) in &plugins {
            write_counter(&mut series, &[("plugin", &**plugin), ("route", *route)], &metrics.refusals)?;
        }
        let mut series = out.counter("tollgate_plugin_errors", "Failures of a plugin, by kind.")?;
        for (route, (plugin, metrics)) in &plugins {
            for (kind, count) in PluginError::ALL.iter().zip(&metrics.errors) {
                let labels = [("plugin", &**plugin), ("route", *route), ("kind", kind.as_str())];
                write_counter(&mut series, &labels, count)?;
            }
        }
        let mut series = out.histogram("tollgate_plugin_duration", "Time of the calls of a hook.")?;
        for (route, (plugin, metrics)) in &plugins {
            for (hook, calls) in Hook::ALL.iter().zip(&metrics.calls) {
                // A hook that was never called, or does not exist, needs no sixteen lines to say so.
                if calls.count() > 0 {
                    let labels = [("plugin", &**plugin), ("route", *route), ("hook", hook.as_str())];
                    write_histogram(&mut series, &labels, calls)?;
                }
            }
        }
        let mut series = out.gauge("tollgate_plugin_instances", "Instances of a plugin in all workers.")?;
        for (plugin, metrics) in self.0.plugins.alive() {
            let (in_use, idle) = metrics.sums();
            write_gauge(&mut series, &[("plugin", &*plugin), ("state", "in-use")], in_use)?;
            write_gauge(&mut series, &[("plugin", &*plugin), ("state", "idle")], idle)?;
        }
        let mut series =
            out.gauge("tollgate_plugin_memory_bytes", "The most memory that an instance had after a call.")?;
        for (plugin, metrics) in self.0.plugins.alive() {
            write_gauge(&mut series, &[("plugin", &*plugin)], metrics.memory())?;
        }
        let mut series = out.gauge(
            "tollgate_plugin_paused",
            "Whether a plugin is not called since it failed too often, or only tried again: 1, or 0.",
        )?;
        for (plugin, metrics) in self.0.plugins.alive() {
            write_gauge(&mut series, &[("plugin", &*plugin)], i64::from(metrics.is_troubled()))?;
        }
        let mut series = out.counter("tollgate_plugin_pauses", "How often a plugin was paused.")?;
        for (plugin, metrics) in self.0.plugins.alive() {
            write_counter(&mut series, &[("plugin", &*plugin)], &metrics.pauses)?;
        }
        let mut series =
            out.counter("tollgate_plugin_recordings", "Passes that were recorded, and those that should have been.")?;
        for (plugin, metrics) in self.0.plugins.alive() {
            for (outcome, count) in ["written", "dropped"].iter().zip(&metrics.recordings) {
                // Most plugins are never recorded.
                if metrics.recordings.iter().any(|count| count.get() > 0) {
                    write_counter(&mut series, &[("plugin", &*plugin), ("outcome", *outcome)], count)?;
                }
            }
        }
        let mut series = out.counter("tollgate_component_loads", "Components that were loaded, or could not be.")?;
        for (component, counts) in &*lock(&self.0.components) {
            for (result, count) in RESULTS.iter().zip(counts) {
                write_counter(&mut series, &[("component", &**component), ("result", *result)], count)?;
            }
        }
        let mut series = out.counter(
            "tollgate_rollout_decisions",
            "Decisions of versions that watch, compared with those of the versions that serve.",
        )?;
        for (route, metrics) in &routes {
            for (key, shadowed) in metrics.shadows.alive() {
                let (plugin, version) = key.rsplit_once('@').unwrap_or((&key, ""));
                for (result, count) in Compared::ALL.iter().zip(&shadowed.0) {
                    let place = [("plugin", plugin), ("version", version), ("route", &**route)];
                    write_counter(&mut series, &[&place[..], &[("result", result.as_str())]].concat(), count)?;
                }
            }
        }
        let mut series =
            out.counter("tollgate_rollouts", "What became of new versions that got a part of the requests.")?;
        for (component, counts) in &*lock(&self.0.rollouts) {
            for (event, count) in RolloutEvent::ALL.iter().zip(counts) {
                write_counter(&mut series, &[("component", &**component), ("event", event.as_str())], count)?;
            }
        }
        Ok(())
    }

    /// Only what happened: a version has one line for each hook that it has, not for all that there are.
    fn encode_costs(&self, out: &mut Out<'_>) -> fmt::Result {
        let mut all = Vec::new();
        for (route, metrics) in self.0.routes.alive() {
            for (plugin, version, costs) in metrics.all_costs() {
                all.push(([plugin, version, (*route).into()], costs.totals()));
            }
        }
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let mut series = out.counter(
            "tollgate_plugin_guest_seconds",
            "Time that hooks computed, without waiting for instances and servers, by version.",
        )?;
        for (labels, hook, one) in hooks(&all) {
            write_seconds(&mut series, &labelled(labels, &[("hook", hook)]), seconds(one.nanos))?;
        }
        let mut series =
            out.counter("tollgate_plugin_host_calls", "Calls of capabilities and of WASI by guests, by version.")?;
        for (labels, hook, one) in hooks(&all) {
            write_count(&mut series, &labelled(labels, &[("hook", hook)]), one.host_calls)?;
        }
        let mut series = out.counter(
            "tollgate_plugin_copied_bytes",
            "What hooks were given and answered, copied into guests and out of them, by version.",
        )?;
        for (labels, hook, one) in hooks(&all) {
            for (direction, bytes) in [("in", one.bytes_in), ("out", one.bytes_out)] {
                write_count(&mut series, &labelled(labels, &[("hook", hook), ("direction", direction)]), bytes)?;
            }
        }
        let mut series = out.counter(
            "tollgate_plugin_instance_waits",
            "Calls that had to wait for an instance to become free, by version.",
        )?;
        for (labels, totals) in &all {
            write_count(&mut series, &labelled(labels, &[]), totals.waits().0)?;
        }
        let mut series = out
            .counter("tollgate_plugin_instance_wait_seconds", "Time that calls waited for an instance, by version.")?;
        for (labels, totals) in &all {
            write_seconds(&mut series, &labelled(labels, &[]), seconds(totals.waits().1))?;
        }
        let mut series =
            out.counter("tollgate_plugin_instances_started", "Instances that were made for a call, by version.")?;
        for (labels, totals) in &all {
            write_count(&mut series, &labelled(labels, &[]), totals.starts().0)?;
        }
        let mut series = out.counter(
            "tollgate_plugin_instance_start_seconds",
            "Time in which instances were made for calls, by version.",
        )?;
        for (labels, totals) in &all {
            write_seconds(&mut series, &labelled(labels, &[]), seconds(totals.starts().1))?;
        }
        let mut series = out.counter("tollgate_plugin_failures", "Failures of a version of a plugin, by kind.")?;
        for (labels, totals) in &all {
            for kind in PluginError::ALL.into_iter().filter(|kind| totals.failures(*kind) > 0) {
                write_count(&mut series, &labelled(labels, &[("kind", kind.as_str())]), totals.failures(kind))?;
            }
        }
        Ok(())
    }

    /// Those of one name and kind together, whatever plugins they are of, as the format asks for.
    fn encode_custom(&self, out: &mut Out<'_>) -> fmt::Result {
        let plugins = self.0.custom.alive();
        let mut families: BTreeMap<String, Vec<(&str, Arc<Family>)>> = BTreeMap::new();
        for (plugin, custom) in &plugins {
            for (name, family) in custom.families() {
                let name = format!("tollgate_plugin_{}_{name}", family.kind.as_str());
                families.entry(name).or_default().push((plugin, family));
            }
        }
        for (name, families) in &families {
            let Some((_, first)) = families.first() else { continue };
            let kind = match first.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram(_) => MetricType::Histogram,
            };
            let mut series = out.0.encode_descriptor(name, &first.help, None, kind)?;
            for (plugin, family) in families {
                for (values, number) in family.series() {
                    let own = family.labels.iter().zip(&values).map(|(label, value)| (&**label, &**value));
                    let labels: Vec<_> = std::iter::once(("plugin", *plugin)).chain(own).collect();
                    let mut series = series.encode_family(&labels)?;
                    match (number, &family.kind) {
                        (Number::Count(count), _) => series.encode_counter::<NoLabelSet, _, u64>(&count, None)?,
                        (Number::Level(level), _) => series.encode_gauge(&level)?,
                        (Number::Spread(counts, sum), Kind::Histogram(bounds)) => {
                            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
                            let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
                            series.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)?;
                        }
                        (Number::Spread(..), _) => {}
                    }
                }
            }
        }
        let mut series =
            out.counter("tollgate_plugin_metrics_dropped", "Numbers of a plugin that could not be kept.")?;
        for (plugin, custom) in &plugins {
            let count = Counter::<u64>::default();
            count.inc_by(custom.dropped());
            write_counter(&mut series, &[("plugin", &**plugin)], &count)?;
        }
        Ok(())
    }

    fn encode_upstreams(&self, out: &mut Out<'_>) -> fmt::Result {
        let upstreams = self.0.upstreams.alive();
        let mut series = out.histogram(
            "http_client_request_duration",
            "From the begin of a request to an upstream to the head of its response, or to the error.",
        )?;
        for (upstream, metrics) in &upstreams {
            for (method, status, histogram) in metrics.durations.iter() {
                let labels =
                    [("upstream", &**upstream), ("http_request_method", method), ("http_response_status_code", status)];
                write_histogram(&mut series, &labels, histogram)?;
            }
            for (error, histogram) in metrics.errors.iter() {
                write_histogram(&mut series, &[("upstream", &**upstream), ("error_type", error)], histogram)?;
            }
        }
        let mut series = out.counter(
            "tollgate_upstream_leaks",
            "Responses in which something that tells of the backend was found and removed.",
        )?;
        for (upstream, metrics) in &upstreams {
            write_counter(&mut series, &[("upstream", &**upstream)], &metrics.leaks)?;
        }
        let mut series = out.counter(
            "tollgate_upstream_retries",
            "Requests that went out once more, or would have within the budget.",
        )?;
        for (upstream, metrics) in &upstreams {
            for (result, count) in ["sent", "denied"].iter().zip(&metrics.retries) {
                write_counter(&mut series, &[("upstream", &**upstream), ("result", *result)], count)?;
            }
        }
        let mut series = out.gauge("tollgate_upstream_endpoints", "Endpoints of an upstream, by their state.")?;
        for (upstream, metrics) in &upstreams {
            for (state, count) in ["up", "ejected", "down"].iter().zip(&metrics.endpoints) {
                write_gauge(&mut series, &[("upstream", &**upstream), ("state", *state)], count.get())?;
            }
        }
        let mut series = out.gauge("tollgate_upstream_connections", "Open connections to an upstream.")?;
        for (upstream, metrics) in &upstreams {
            write_gauge(&mut series, &[("upstream", &**upstream)], metrics.connections.get())?;
        }
        let mut series = out.counter(
            "tollgate_upstream_connection_waits",
            "Requests that had to wait for a connection, and got one in time or did not.",
        )?;
        for (upstream, metrics) in &upstreams {
            for (result, count) in RESULTS.iter().zip(&metrics.waits) {
                write_counter(&mut series, &[("upstream", &**upstream), ("result", *result)], count)?;
            }
        }
        let mut series =
            out.counter("tollgate_upstream_ejections", "Endpoints that were ejected since they failed.")?;
        for (upstream, metrics) in &upstreams {
            write_counter(&mut series, &[("upstream", &**upstream)], &metrics.ejections)?;
        }
        let mut series = out.counter("tollgate_upstream_checks", "Checks whether an endpoint is well.")?;
        for (upstream, metrics) in &upstreams {
            for (result, count) in RESULTS.iter().zip(&metrics.checks) {
                write_counter(&mut series, &[("upstream", &**upstream), ("result", *result)], count)?;
            }
        }
        let mut series = out.counter("tollgate_upstream_breaker_openings", "How often too many requests failed.")?;
        for (upstream, metrics) in &upstreams {
            write_counter(&mut series, &[("upstream", &**upstream)], &metrics.breaker[0])?;
        }
        let mut series =
            out.counter("tollgate_upstream_breaker_refusals", "Requests that an open breaker did not let pass.")?;
        for (upstream, metrics) in &upstreams {
            write_counter(&mut series, &[("upstream", &**upstream)], &metrics.breaker[1])?;
        }
        Ok(())
    }

    fn encode_process(&self, out: &mut Out<'_>) -> fmt::Result {
        let mut series = out.counter("tollgate_config_reloads", "Configurations that were loaded, or refused.")?;
        for (result, count) in RESULTS.iter().zip(&self.0.reloads) {
            write_counter(&mut series, &[("result", *result)], count)?;
        }
        let mut series =
            out.gauge("tollgate_config_last_reload_success", "Whether the last configuration was loaded: 1, or 0.")?;
        write_gauge(&mut series, &[], self.0.last_reload_succeeded.get())?;
        let mut series = out.gauge("tollgate_config_hash", "SHA-256 of the configuration that serves.")?;
        if let Some(hash) = &*lock(&self.0.config_hash) {
            series.encode_family(&[("hash", &**hash)])?.encode_gauge(&1i64)?;
        }
        let mut series = out.counter("tollgate_access_log_dropped", "Access lines that could not be written.")?;
        write_counter(&mut series, &[], &self.0.access_log_dropped)?;
        let mut series = out.counter("tollgate_log_dropped", "Other lines that could not be written.")?;
        write_counter(&mut series, &[], &self.0.log_dropped)?;
        let mut series = out.gauge("tollgate_build_info", "What this is.")?;
        series.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1i64)
    }
}

/// Plugin, version and route.
type Place = [String; 3];

/// The hooks that were called.
fn hooks(all: &[(Place, Totals)]) -> impl Iterator<Item = (&Place, &'static str, OfHook)> {
    let called = |totals: &Totals| Hook::ALL.map(|hook| Some((hook.as_str(), totals.hook(hook)?)));
    all.iter().flat_map(move |(place, totals)| {
        called(totals).into_iter().flatten().map(move |(hook, one)| (place, hook, one))
    })
}

fn labelled<'a>(
    [plugin, version, route]: &'a Place,
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'a str)> {
    let place = [("plugin", &**plugin), ("version", &**version), ("route", &**route)];
    place.into_iter().chain(more.iter().copied()).collect()
}

const RESULTS: [&str; 2] = ["success", "failure"];

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    /// `_total` comes behind the name.
    fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Counter)
    }

    fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)
    }

    /// `_seconds` comes behind the name.
    fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)
    }
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn write_counter(series: &mut MetricEncoder<'_>, labels: Labels<'_>, counter: &Counter) -> fmt::Result {
    write_count(series, labels, counter.get())
}

fn write_count(series: &mut MetricEncoder<'_>, labels: Labels<'_>, count: u64) -> fmt::Result {
    let write = |series: &mut MetricEncoder<'_>| series.encode_counter::<NoLabelSet, _, u64>(&count, None);
    if labels.is_empty() { write(series) } else { write(&mut series.encode_family(&labels)?) }
}

fn write_seconds(series: &mut MetricEncoder<'_>, labels: Labels<'_>, seconds: f64) -> fmt::Result {
    series.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
}

fn write_gauge(series: &mut MetricEncoder<'_>, labels: Labels<'_>, gauge: i64) -> fmt::Result {
    let write = |series: &mut MetricEncoder<'_>| series.encode_gauge(&gauge);
    if labels.is_empty() { write(series) } else { write(&mut series.encode_family(&labels)?) }
}

fn write_histogram(series: &mut MetricEncoder<'_>, labels: Labels<'_>, histogram: &Histogram) -> fmt::Result {
    let Snapshot { sum, count, buckets } = histogram.snapshot();
    series.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
