//! Numbers for operators, by OpenTelemetry's names in Prometheus' form.
//!
//! Handles are made at load, by name: a [`RouteMetrics`] for each route, in it a [`PluginMetrics`] for each plugin of
//! its chain. Counting is a few atomic operations on them. The set of series is bounded by the configuration: unknown
//! methods and status codes share a series, and nothing else that a client chooses is a label.
//!
//! A handle keeps its series alive, and the same name gives the same handle while one exists. So a reload that makes
//! its handles before the old ones are dropped goes on counting, and what it no longer names disappears with the last
//! request that used it.

mod costs;
mod custom;
mod histogram;
mod render;
mod shadowed;
mod tally;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

pub use costs::{Account, Costs, Spent};
pub use custom::{Custom, Family, FamilyError, Kind};
use histogram::{Durations, Histogram};
pub use shadowed::{Compared, Shadowed};
pub use tally::Tally;
use words::Words;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many different reasons a route counts apart. The others are counted as `_OTHER`.
const REASONS: usize = 128;
/// How many different words for refused connections a listener counts apart.
const REFUSALS: usize = 32;
/// How many different errors an upstream counts apart.
const ERROR_TYPES: usize = 16;
/// How many components, by name, are counted apart: their names come from a directory.
const COMPONENTS: usize = 1000;

/// All metrics of a process, or of one proxy in a test.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<All>);

/// Counts for one route.
#[derive(Debug)]
pub struct RouteMetrics {
    durations: Durations,
    reasons: Words<Counter, REASONS>,
    /// Copies that were sent, and those that were left out.
    mirrored: [Counter; 2],
    plugins: Named<PluginMetrics>,
    /// By plugin and version.
    costs: Named<Costs>,
    /// By plugin and version.
    shadows: Named<Shadowed>,
}

/// Counts for one plugin in one route's chain.
#[derive(Debug)]
pub struct PluginMetrics {
    /// Responses that the plugin made itself.
    refusals: Counter,
    /// A call that has ended is counted in one of its buckets, and so nowhere else.
    calls: [Histogram; Hook::ALL.len()],
    errors: [Counter; PluginError::ALL.len()],
}

/// Instances of one plugin, in all workers.
#[derive(Debug, Default)]
pub struct PluginInstances {
    workers: Mutex<Vec<Weak<WorkerInstances>>>,
    /// Of passes: those that were written, and those that were not.
    recordings: [Counter; 2],
    /// Whether the version that was loaded last is paused, or on trial after that.
    troubled: Mutex<Weak<AtomicBool>>,
    pauses: Counter,
}

/// Instances of one plugin in one worker, which alone writes them: they change twice in each call, and workers share
/// nothing on that path.
#[derive(Debug, Default)]
pub struct WorkerInstances {
    in_use: AtomicI64,
    idle: AtomicI64,
    /// Bytes.
    memory: AtomicI64,
    /// Calls so far.
    calls: AtomicI64,
}

/// Counts for one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    durations: Durations,
    errors: Words<Histogram, ERROR_TYPES>,
    /// Responses in which something was found that tells of the backend, and was removed.
    pub leaks: Counter,
    /// Those that went out, and those that the budget did not allow.
    retries: [Counter; 2],
    /// Those that are up, ejected, down.
    endpoints: [Gauge; 3],
    ejections: Counter,
    connections: Gauge,
    /// Requests that waited for a connection: those that got one, and those that did not.
    waits: [Counter; 2],
    /// Those that succeeded, and those that did not.
    checks: [Counter; 2],
    /// How often the breaker opened, and what it did not let pass.
    breaker: [Counter; 2],
}

/// Counts for one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that ended since their clients were refused, by why.
    refused: Words<Counter, REFUSALS>,
    /// When each certificate ends, in seconds since 1970, by its file.
    certificates: Mutex<Vec<(String, u64)>>,
}

/// The hooks that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `on-request`
    Request,
    /// `on-request-body`
    RequestBody,
    /// `on-response`
    Response,
    /// `on-response-body`
    ResponseBody,
    /// `on-request-chunk`
    RequestChunk,
    /// `on-response-chunk`
    ResponseChunk,
    /// `handle` of the standard's HTTP worlds, up to the head of its answer, without what is behind a middleware.
    Handle,
}

/// The kinds of failures of plugins that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginError {
    /// It trapped.
    Trap,
    /// It ran longer than its limit.
    Timeout,
    /// It wanted more memory than its limit.
    Memory,
    /// It answered what no plugin may answer.
    Output,
    /// No instance was free in time.
    Overload,
    /// A new instance refused its configuration, or asked for another interest than the first.
    Configure,
    /// It was not called, since it failed too often.
    Paused,
}

/// What becomes of a new version of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutEvent {
    /// It gets a part of the requests.
    Began,
    /// It gets all of them.
    Promoted,
    /// It gets none any more.
    RolledBack,
}

/// One request that is being served, counted in `http_server_active_requests` until it is dropped.
#[derive(Debug)]
pub struct ActiveRequest(Gauge);

impl Metrics {
    /// The handle of a route, for its load. Requests that no route took count under a name of the caller's choice.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.0.routes.find_or_make(name)
    }

    /// The instances of a plugin, for its load.
    pub fn plugin(&self, name: &str) -> Arc<PluginInstances> {
        self.0.plugins.find_or_make(name)
    }

    /// The numbers of a plugin's own, for its load.
    pub fn custom(&self, name: &str) -> Arc<Custom> {
        self.0.custom.find_or_make(name)
    }

    /// The handle of an upstream, for its load.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.0.upstreams.find_or_make(name)
    }

    /// The handle of a listener.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        self.0.listeners.find_or_make(name)
    }

    /// Counts a request as active until the answer is dropped.
    pub fn request_began(&self) -> ActiveRequest {
        self.0.active.inc();
        ActiveRequest(self.0.active.clone())
    }

    /// A configuration was loaded and serves now. The first one is no reload, but counts as one that succeeded.
    pub fn config_loaded(&self, hash: &str) {
        self.0.reloads[0].inc();
        self.0.last_reload_succeeded.set(1);
        *lock(&self.0.config_hash) = Some(hash.into());
    }

    /// A configuration was refused, and the one before it goes on serving.
    pub fn config_refused(&self) {
        self.0.reloads[1].inc();
        self.0.last_reload_succeeded.set(0);
    }

    /// A component was loaded, or was not.
    pub fn component_loaded(&self, component: &str, succeeded: bool) {
        let mut components = lock(&self.0.components);
        let known = components.contains_key(component) || components.len() < COMPONENTS;
        let name = if known { component } else { words::OTHER };
        components.entry(name.into()).or_default()[usize::from(!succeeded)].inc();
    }

    /// A new version of a component began to get requests, or came to its end.
    pub fn rollout(&self, component: &str, event: RolloutEvent) {
        let mut rollouts = lock(&self.0.rollouts);
        let known = rollouts.contains_key(component) || rollouts.len() < COMPONENTS;
        let name = if known { component } else { words::OTHER };
        rollouts.entry(name.into()).or_default()[event as usize].inc();
    }

    /// Where lost access lines are counted.
    pub fn access_log_dropped(&self) -> Counter {
        self.0.access_log_dropped.clone()
    }

    /// Where other lost lines are counted.
    pub fn log_dropped(&self) -> Counter {
        self.0.log_dropped.clone()
    }

    /// All series as OpenMetrics text, which Prometheus reads. Requests never wait for it: it reads atomics, and holds
    /// the locks under which handles are made only to copy the list of handles.
    pub fn render(&self) -> String {
        render::render(self)
    }
}

impl RouteMetrics {
    /// Counts a request that has ended, `duration` after its head had arrived. `reason` is the word of the access log;
    /// there is no method where what came was no request.
    pub fn request_ended(&self, method: Option<&Method>, status: StatusCode, reason: &str, duration: Duration) {
        self.durations.of(method, status).observe(duration);
        self.reasons.of(reason).inc();
    }

    /// Counts a request of which a copy was sent, or left out.
    pub fn mirrored(&self, sent: bool) {
        self.mirrored[usize::from(!sent)].inc();
    }

    /// The handle of a plugin in this route's chain, for its load.
    pub fn plugin(&self, name: &str) -> Arc<PluginMetrics> {
        self.plugins.find_or_make(name)
    }
}

impl ListenerMetrics {
    /// Counts a connection that was ended since its client does what we do not take. The words are ours.
    pub fn refused(&self, why: &'static str) {
        self.refused.of(why).inc();
    }

    /// The certificates that it shows from now on: their files, and when they end in seconds since 1970.
    pub fn shows(&self, certificates: Vec<(String, u64)>) {
        *lock(&self.certificates) = certificates;
    }
}

impl Default for ListenerMetrics {
    fn default() -> Self {
        Self { connections: Gauge::default(), refused: Words::new(Counter::default), certificates: Mutex::default() }
    }
}

impl PluginMetrics {
    /// Counts a call that has ended, well or not, and its time.
    pub fn called(&self, hook: impl Into<Hook>, duration: Duration) {
        self.calls[hook.into() as usize].observe(duration);
    }

    /// Counts a response that the plugin made itself.
    pub fn refused(&self) {
        self.refusals.inc();
    }

    /// Counts a failure.
    pub fn failed(&self, error: impl Into<PluginError>) {
        self.errors[error.into() as usize].inc();
    }
}

impl PluginInstances {
    /// A worker's part, which counts as long as it exists.
    pub fn worker(&self) -> Arc<WorkerInstances> {
        let part = Arc::new(WorkerInstances::default());
        let mut parts = lock(&self.workers);
        parts.retain(|part| part.strong_count() > 0);
        parts.push(Arc::downgrade(&part));
        part
    }

    /// Counts a pass that was recorded.
    pub fn recording_written(&self) {
        self.recordings[0].inc();
    }

    /// Counts a pass that should have been recorded, and was not.
    pub fn recording_dropped(&self) {
        self.recordings[1].inc();
    }

    /// Those in use, and those idle.
    fn sums(&self) -> (i64, i64) {
        let parts: Vec<_> = lock(&self.workers).iter().filter_map(Weak::upgrade).collect();
        let sum = |of: fn(&WorkerInstances) -> &AtomicI64| parts.iter().map(|part| of(part).load(Relaxed)).sum();
        (sum(|part| &part.in_use), sum(|part| &part.idle))
    }

    /// Calls that workers made so far.
    pub fn calls(&self) -> u64 {
        let parts: Vec<_> = lock(&self.workers).iter().filter_map(Weak::upgrade).collect();
        parts.iter().map(|part| part.calls.load(Relaxed)).sum::<i64>().try_into().unwrap_or_default()
    }

    /// Shows from now on whether a version is paused, as long as that exists.
    pub fn show_trouble(&self, troubled: &Arc<AtomicBool>) {
        *lock(&self.troubled) = Arc::downgrade(troubled);
    }

    /// Counts a pause.
    pub fn paused(&self) {
        self.pauses.inc();
    }

    fn is_troubled(&self) -> bool {
        lock(&self.troubled).upgrade().is_some_and(|troubled| troubled.load(Relaxed))
    }

    /// The most memory that an instance had, in bytes.
    fn memory(&self) -> i64 {
        let parts: Vec<_> = lock(&self.workers).iter().filter_map(Weak::upgrade).collect();
        parts.iter().map(|part| part.memory.load(Relaxed)).max().unwrap_or(0)
    }
}

impl WorkerInstances {
    /// One more is serving a call.
    pub fn call_began(&self) {
        // Only one thread writes them, so there is no need for the bus to be locked.
        self.calls.store(self.calls.load(Relaxed) + 1, Relaxed);
        self.in_use.store(self.in_use.load(Relaxed) + 1, Relaxed);
    }

    /// One less is.
    pub fn call_ended(&self) {
        self.in_use.store(self.in_use.load(Relaxed) - 1, Relaxed);
    }

    /// So many are ready for a call.
    pub fn set_idle(&self, idle: usize) {
        self.idle.store(i64::try_from(idle).unwrap_or(i64::MAX), Relaxed);
    }

    /// An instance had so many bytes of memory after a call, more than any before.
    pub fn set_memory(&self, bytes: usize) {
        self.memory.store(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }
}

impl UpstreamMetrics {
    /// Counts a response whose head came `duration` after the request was begun.
    pub fn answered(&self, method: &Method, status: StatusCode, duration: Duration) {
        self.durations.of(Some(method), status).observe(duration);
    }

    /// Counts an exchange without a response. `error` is one of few words, like `connect` or `timeout`.
    pub fn failed(&self, error: &'static str, duration: Duration) {
        self.errors.of(error).observe(duration);
    }

    /// Counts a request that went out once more.
    pub fn retried(&self) {
        self.retries[0].inc();
    }

    /// Shows how many endpoints are up, ejected and down.
    pub fn show_endpoints(&self, counts: [usize; 3]) {
        for (gauge, count) in self.endpoints.iter().zip(counts) {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a connection that is being made.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// Counts it no more.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Counts a request that had to wait for a connection, and got one or did not.
    pub fn waited_for_connection(&self, got: bool) {
        self.waits[usize::from(!got)].inc();
    }

    /// Counts an ejection of an endpoint.
    pub fn ejected(&self) {
        self.ejections.inc();
    }

    /// Counts a check of an endpoint.
    pub fn checked(&self, succeeded: bool) {
        self.checks[usize::from(!succeeded)].inc();
    }

    /// Counts that the breaker opened.
    pub fn breaker_opened(&self) {
        self.breaker[0].inc();
    }

    /// Counts a request that the breaker did not let pass.
    pub fn breaker_refused(&self) {
        self.breaker[1].inc();
    }

    /// Counts one that would have, if the budget had allowed it.
    pub fn retry_denied(&self) {
        self.retries[1].inc();
    }
}

impl Hook {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::RequestBody,
        Self::Response,
        Self::ResponseBody,
        Self::RequestChunk,
        Self::ResponseChunk,
        Self::Handle,
    ];

    /// The word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "on-request",
            Self::RequestBody => "on-request-body",
            Self::Response => "on-response",
            Self::ResponseBody => "on-response-body",
            Self::RequestChunk => "on-request-chunk",
            Self::ResponseChunk => "on-response-chunk",
            Self::Handle => "handle",
        }
    }
}

impl PluginError {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Trap, Self::Timeout, Self::Memory, Self::Output, Self::Overload, Self::Configure, Self::Paused];

    /// The word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Overload => "overload",
            Self::Configure => "configure",
            Self::Paused => "paused",
        }
    }
}

impl RolloutEvent {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Began, Self::Promoted, Self::RolledBack];

    /// The word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Default)]
struct All {
    active: Gauge,
    /// Those that succeeded, and those that did not.
    reloads: [Counter; 2],
    last_reload_succeeded: Gauge,
    config_hash: Mutex<Option<Box<str>>>,
    components: Mutex<BTreeMap<Box<str>, [Counter; 2]>>,
    rollouts: Mutex<BTreeMap<Box<str>, [Counter; RolloutEvent::ALL.len()]>>,
    access_log_dropped: Counter,
    log_dropped: Counter,
    routes: Named<RouteMetrics>,
    plugins: Named<PluginInstances>,
    custom: Named<Custom>,
    upstreams: Named<UpstreamMetrics>,
    listeners: Named<ListenerMetrics>,
}

impl Default for RouteMetrics {
    fn default() -> Self {
        Self {
            durations: Durations::new(),
            reasons: Words::new(Counter::default),
            mirrored: Default::default(),
            plugins: Named::default(),
            costs: Named::default(),
            shadows: Named::default(),
        }
    }
}

impl Default for PluginMetrics {
    fn default() -> Self {
        let calls = std::array::from_fn(|_| Histogram::new(&histogram::CALLS));
        Self { refusals: Counter::default(), calls, errors: Default::default() }
    }
}

impl Default for UpstreamMetrics {
    fn default() -> Self {
        let errors = Words::new(|| Histogram::new(&histogram::REQUESTS));
        Self {
            durations: Durations::new(),
            errors,
            leaks: Counter::default(),
            retries: Default::default(),
            endpoints: Default::default(),
            ejections: Counter::default(),
            connections: Gauge::default(),
            waits: Default::default(),
            checks: Default::default(),
            breaker: Default::default(),
        }
    }
}

/// Handles by name. It keeps none alive.
struct Named<T>(Mutex<BTreeMap<Box<str>, Weak<T>>>);

impl<T: Default> Named<T> {
    fn find_or_make(&self, name: &str) -> Arc<T> {
        let mut handles = lock(&self.0);
        handles.retain(|_, handle| handle.strong_count() > 0);
        if let Some(handle) = handles.get(name).and_then(Weak::upgrade) {
            return handle;
        }
        let handle = Arc::new(T::default());
        handles.insert(name.into(), Arc::downgrade(&handle));
        handle
    }

    /// Those that exist now, by name.
    fn alive(&self) -> Vec<(Box<str>, Arc<T>)> {
        let handles = lock(&self.0);
        handles.iter().filter_map(|(name, handle)| Some((name.clone(), handle.upgrade()?))).collect()
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

/// Nothing panics while it holds one of these locks, and each value is whole between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &Metrics) -> usize {
        metrics.render().lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn a_request_shows_up_under_its_route_method_status_and_reason() {
        let metrics = Metrics::default();
        let route = metrics.route("search");
        let active = metrics.request_began();
        assert!(metrics.render().contains("\nhttp_server_active_requests 1\n"));
        route.request_ended(Some(&Method::GET), StatusCode::OK, "ok", Duration::from_millis(30));
        route.request_ended(Some(&Method::GET), StatusCode::OK, "ok", Duration::from_millis(5));
        drop(active);
        let text = metrics.render();
        let labels = r#"http_route="search",http_request_method="GET",http_response_status_code="200""#;
        for line in [
            "http_server_active_requests 0".to_owned(),
            format!(r#"http_server_request_duration_seconds_bucket{{le="0.005",{labels}}} 1"#),
            format!(r#"http_server_request_duration_seconds_bucket{{le="0.025",{labels}}} 1"#),
            format!(r#"http_server_request_duration_seconds_bucket{{le="0.05",{labels}}} 2"#),
            format!(r#"http_server_request_duration_seconds_bucket{{le="+Inf",{labels}}} 2"#),
            format!("http_server_request_duration_seconds_count{{{labels}}} 2"),
            format!("http_server_request_duration_seconds_sum{{{labels}}} 0.035"),
            r#"tollgate_requests_total{route="search",reason="ok"} 2"#.to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn plugins_upstreams_listeners_components_and_configurations_show_up() {
        let metrics = Metrics::default();
        let route = metrics.route("search");
        let plugin = route.plugin("keys");
        plugin.called(Hook::Request, Duration::from_nanos(700));
        plugin.called(Hook::ResponseBody, Duration::from_secs(9));
        plugin.refused();
        plugin.failed(PluginError::Configure);
        let instances = metrics.plugin("keys");
        assert_eq!(instances.calls(), 0);
        let [one, other] = [instances.worker(), instances.worker()];
        (0..2).for_each(|_| one.call_began());
        (0..2).for_each(|_| other.call_began());
        other.call_ended();
        other.set_idle(1);
        instances.worker().set_idle(7);
        let upstream = metrics.upstream("backend");
        upstream.answered(&Method::POST, StatusCode::BAD_GATEWAY, Duration::from_secs(11));
        upstream.failed("timeout", Duration::from_secs(1));
        upstream.leaks.inc();
        let listener = metrics.listener("public");
        listener.connections.inc();
        metrics.component_loaded("search-filter", false);
        metrics.config_loaded("abc");
        metrics.config_refused();
        metrics.access_log_dropped().inc();
        metrics.log_dropped().inc_by(2);
        let text = metrics.render();
        for line in [
            r#"tollgate_plugin_calls_total{plugin="keys",route="search",hook="on-request"} 1"#,
            r#"tollgate_plugin_calls_total{plugin="keys",route="search",hook="on-response-body"} 1"#,
            r#"tollgate_plugin_calls_total{plugin="keys",route="search",hook="on-response"} 0"#,
            r#"tollgate_plugin_refusals_total{plugin="keys",route="search"} 1"#,
            r#"tollgate_plugin_errors_total{plugin="keys",route="search",kind="configure"} 1"#,
            r#"tollgate_plugin_errors_total{plugin="keys",route="search",kind="trap"} 0"#,
            r#"tollgate_plugin_duration_seconds_bucket{le="0.000001",plugin="keys",route="search",hook="on-request"} 1"#,
            r#"tollgate_plugin_duration_seconds_count{plugin="keys",route="search",hook="on-response-body"} 1"#,
            r#"tollgate_plugin_instances{plugin="keys",state="in-use"} 3"#,
            r#"tollgate_plugin_instances{plugin="keys",state="idle"} 1"#,
            r#"http_client_request_duration_seconds_bucket{le="10.0",upstream="backend",http_request_method="POST",http_response_status_code="502"} 0"#,
            r#"http_client_request_duration_seconds_bucket{le="+Inf",upstream="backend",http_request_method="POST",http_response_status_code="502"} 1"#,
            r#"http_client_request_duration_seconds_count{upstream="backend",error_type="timeout"} 1"#,
            r#"tollgate_upstream_leaks_total{upstream="backend"} 1"#,
            r#"tollgate_connections_open{listener="public"} 1"#,
            r#"tollgate_component_loads_total{component="search-filter",result="failure"} 1"#,
            r#"tollgate_config_reloads_total{result="success"} 1"#,
            r#"tollgate_config_reloads_total{result="failure"} 1"#,
            "tollgate_config_last_reload_success 0",
            r#"tollgate_config_hash{hash="abc"} 1"#,
            "tollgate_access_log_dropped_total 1",
            "tollgate_log_dropped_total 2",
            concat!(r#"tollgate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn what_clients_and_upstreams_choose_makes_a_bounded_number_of_series() {
        let metrics = Metrics::default();
        let (route, upstream) = (metrics.route("all"), metrics.upstream("all"));
        for number in 0..100_000u32 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a token");
            let status =
                StatusCode::from_u16(100 + u16::try_from(number % 900).expect("below 900")).expect("below 1000");
            route.request_ended(
                Some(&method),
                status,
                &format!("reason-{number}"),
                Duration::from_nanos(u64::from(number)),
            );
            upstream.answered(&method, status, Duration::ZERO);
            metrics.component_loaded(&format!("component-{number}"), true);
        }
        let text = metrics.render();
        assert!(!text.contains("M99999"));
        assert!(text.contains(r#"http_request_method="_OTHER",http_response_status_code="2xx""#));
        assert!(text.contains(r#"http_request_method="_OTHER",http_response_status_code="_OTHER""#));
        let others = format!(r#"tollgate_requests_total{{route="all",reason="_OTHER"}} {}"#, 100_000 - REASONS);
        assert!(text.contains(&others));
        let most = 2 * histogram::STATUSES * 17 + REASONS + 2 * (COMPONENTS + 1) + 100;
        assert!(series(&metrics) < most, "{} series", series(&metrics));
    }

    #[test]
    fn series_end_with_the_last_handle_and_go_on_with_a_new_one_made_before() {
        let metrics = Metrics::default();
        let empty = series(&metrics);
        let old = metrics.route("search");
        let old_plugin = old.plugin("keys");
        old_plugin.refused();
        let new = metrics.route("search");
        drop((old, old_plugin));
        let new_plugin = new.plugin("keys");
        assert!(
            metrics.render().contains(r#"refusals_total{plugin="keys",route="search"} 0"#),
            "nobody held the plugin"
        );
        new_plugin.refused();
        let newer_plugin = new.plugin("keys");
        drop(new_plugin);
        assert!(metrics.render().contains(r#"refusals_total{plugin="keys",route="search"} 1"#));
        drop((new, newer_plugin));
        assert_eq!(series(&metrics), empty);
    }

    #[test]
    fn threads_lose_no_count() {
        let metrics = Metrics::default();
        let route = metrics.route("search");
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (route, metrics) = (&route, &metrics);
                scope.spawn(move || {
                    for step in 0..1000 {
                        let reason = ["ok", "upstream-timeout", "body-too-large"][(thread + step) as usize % 3];
                        route.request_ended(Some(&Method::GET), StatusCode::OK, reason, Duration::from_millis(step));
                        if step % 100 == 0 {
                            assert!(metrics.render().ends_with("# EOF\n"));
                        }
                    }
                });
            }
        });
        let text = metrics.render();
        let total = |start: &str| -> u64 {
            let counts = text.lines().filter(|line| line.starts_with(start)).filter_map(|line| line.rsplit_once(' '));
            counts.map(|(_, count)| count.parse::<u64>().expect("a count")).sum()
        };
        assert_eq!(total("tollgate_requests_total"), 8000);
        assert_eq!(total("http_server_request_duration_seconds_count"), 8000);
    }
}
