//! What calls of plugins cost, by route, plugin, version and hook.
//!
//! Each worker has an [`Account`] for each plugin of each chain, and is the only one that writes it: a call adds five
//! numbers with plain stores. Sums are made when somebody asks. The series of a version go away with the last request
//! that met it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Hook, Metrics, PluginError, RouteMetrics, lock};

/// What one call of a hook took beside its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls of capabilities and of WASI that the guest made. Handles that it gave back are among them.
    pub host_calls: u64,
    /// Bytes of text, fields and bodies that were copied into the guest's memory for its hook.
    pub bytes_in: u64,
    /// Bytes of text, fields and bodies that were copied out of it with the hook's answer.
    pub bytes_out: u64,
    /// How long it waited for an instance to become free; none where one was.
    pub queued: Option<Duration>,
    /// How long it took to make a fresh instance; none where there was one.
    pub started: Option<Duration>,
    /// How long the guest waited for something, such as a server, while the worker did other work.
    pub idle: Duration,
    /// Bytes of linear memory that its instance had after the call.
    pub memory: usize,
}

impl Spent {
    /// What of a call's whole time the guest had, with what the host did to hand over its input and to check its answer.
    #[must_use]
    pub fn in_guest(&self, took: Duration) -> Duration {
        let elsewhere = self.queued.unwrap_or_default() + self.started.unwrap_or_default() + self.idle;
        took.saturating_sub(elsewhere)
    }
}

/// Costs of one version of one plugin in one route's chain.
#[derive(Debug, Default)]
pub struct Costs(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// One for each worker. Only it and this list hold it.
    workers: Vec<Arc<Numbers>>,
    /// What workers counted that have given theirs up.
    gone: Totals,
}

/// A worker's part of [`Costs`].
#[derive(Debug, Clone)]
pub struct Account {
    own: Arc<Numbers>,
    /// Keeps the series.
    all: Arc<Costs>,
}

struct Numbers([AtomicU64; ALL]);

/// Numbers of an account, in this order: those of each hook, those of instances, failures by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals([u64; ALL]);

/// Calls, nanoseconds in the guest, host calls, bytes in, bytes out.
const OF_HOOK: usize = 5;
/// Instances that were waited for, nanoseconds of that, instances that were made, nanoseconds of that.
const INSTANCES: usize = OF_HOOK * Hook::ALL.len();
const FAILURES: usize = INSTANCES + 4;
const ALL: usize = FAILURES + PluginError::ALL.len();

/// What was counted of one hook.
pub(super) struct OfHook {
    pub(super) calls: u64,
    pub(super) nanos: u64,
    pub(super) host_calls: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Account {
    /// Counts a call that has ended, well or not, `took` after it began.
    pub fn called(&self, hook: impl Into<Hook>, took: Duration, spent: &Spent) {
        let at = hook.into() as usize * OF_HOOK;
        self.own.add(at, 1);
        self.own.add(at + 1, nanos(spent.in_guest(took)));
        self.own.add(at + 2, spent.host_calls);
        self.own.add(at + 3, spent.bytes_in);
        self.own.add(at + 4, spent.bytes_out);
        for (at, time) in [(INSTANCES, spent.queued), (INSTANCES + 2, spent.started)] {
            if let Some(time) = time {
                self.own.add(at, 1);
                self.own.add(at + 1, nanos(time));
            }
        }
    }

    /// Whether it is one of these.
    pub fn is_of(&self, costs: &Arc<Costs>) -> bool {
        Arc::ptr_eq(&self.all, costs)
    }

    /// Counts a failure.
    pub fn failed(&self, error: impl Into<PluginError>) {
        self.own.add(FAILURES + error.into() as usize, 1);
    }
}

impl Numbers {
    fn add(&self, at: usize, more: u64) {
        // Only one thread writes it, so there is no need for the bus to be locked.
        self.0[at].store(self.0[at].load(Relaxed).wrapping_add(more), Relaxed);
    }
}

impl Costs {
    /// A worker's part.
    pub fn account(self: &Arc<Self>) -> Account {
        let own = Arc::new(Numbers(std::array::from_fn(|_| AtomicU64::new(0))));
        let mut parts = lock(&self.0);
        parts.settle();
        parts.workers.push(own.clone());
        Account { own, all: self.clone() }
    }

    pub(super) fn totals(&self) -> Totals {
        let mut parts = lock(&self.0);
        parts.settle();
        parts.workers.iter().fold(parts.gone, |sum, part| sum.and(part))
    }
}

impl Parts {
    /// Keeps what is left of workers that count no more, so that no sum ever falls.
    fn settle(&mut self) {
        let mut gone = self.gone;
        self.workers.retain(|part| {
            let counts = Arc::strong_count(part) > 1;
            if !counts {
                gone = gone.and(part);
            }
            counts
        });
        self.gone = gone;
    }
}

impl Totals {
    fn and(mut self, part: &Numbers) -> Self {
        for (sum, number) in self.0.iter_mut().zip(&part.0) {
            *sum = sum.wrapping_add(number.load(Relaxed));
        }
        self
    }

    /// Of a hook; none where it was never called.
    pub(super) fn hook(&self, hook: Hook) -> Option<OfHook> {
        let at = hook as usize * OF_HOOK;
        let [calls, nanos, host_calls, bytes_in, bytes_out] = std::array::from_fn(|index| self.0[at + index]);
        (calls > 0).then_some(OfHook { calls, nanos, host_calls, bytes_in, bytes_out })
    }

    /// Instances that were waited for, and the nanoseconds of that.
    pub(super) fn waits(&self) -> (u64, u64) {
        (self.0[INSTANCES], self.0[INSTANCES + 1])
    }

    /// Instances that were made, and the nanoseconds of that.
    pub(super) fn starts(&self) -> (u64, u64) {
        (self.0[INSTANCES + 2], self.0[INSTANCES + 3])
    }

    pub(super) fn failures(&self, error: PluginError) -> u64 {
        self.0[FAILURES + error as usize]
    }

    fn report(&self) -> Value {
        let hooks = Hook::ALL.into_iter().filter_map(|hook| {
            let OfHook { calls, nanos, host_calls, bytes_in, bytes_out } = self.hook(hook)?;
            let report = json!({
                "calls": calls,
                "guest_us": nanos / 1000,
                "host_calls": host_calls,
                "bytes_in": bytes_in,
                "bytes_out": bytes_out,
            });
            Some((hook.as_str().to_owned(), report))
        });
        let failures = PluginError::ALL.into_iter().filter(|kind| self.failures(*kind) > 0);
        let failures = failures.map(|kind| (kind.as_str().to_owned(), json!(self.failures(kind))));
        let ((waits, waited), (starts, starting)) = (self.waits(), self.starts());
        json!({
            "hooks": hooks.collect::<Map<_, _>>(),
            "failures": failures.collect::<Map<_, _>>(),
            "instances": {
                "started": starts, "start_us": starting / 1000, "waits": waits, "wait_us": waited / 1000,
            },
        })
    }
}

impl RouteMetrics {
    /// The costs of a version of a plugin in this route's chain, for its load.
    pub fn costs(&self, plugin: &str, version: &str) -> Arc<Costs> {
        self.costs.find_or_make(&format!("{plugin}@{version}"))
    }

    /// Those that are counted, by plugin and version.
    pub(super) fn all_costs(&self) -> Vec<(String, String, Arc<Costs>)> {
        let split = |(key, costs): (Box<str>, Arc<Costs>)| {
            // No version has an `@`.
            let (plugin, version) = key.rsplit_once('@')?;
            Some((plugin.to_owned(), version.to_owned(), costs))
        };
        self.costs.alive().into_iter().filter_map(split).collect()
    }
}

impl Metrics {
    /// What a plugin cost so far, by route and version, for programs.
    pub fn costs_of(&self, plugin: &str) -> Value {
        let mut list = Vec::new();
        for (route, metrics) in self.0.routes.alive() {
            for (_, version, costs) in metrics.all_costs().iter().filter(|(name, _, _)| name == plugin) {
                let mut report = costs.totals().report();
                report["route"] = json!(*route);
                report["version"] = json!(version);
                list.push(report);
            }
        }
        Value::Array(list)
    }
}

impl Metrics {
    /// The instances of a plugin now, for programs. A new version that gets a part of the requests has instances of its
    /// own, which are not among them.
    pub fn instances_of(&self, plugin: &str) -> Value {
        let instances = self.0.plugins.alive().into_iter().find(|(name, _)| **name == *plugin);
        let Some((_, instances)) = instances else { return Value::Null };
        let (in_use, idle) = instances.sums();
        json!({ "in_use": in_use, "idle": idle, "most_memory": instances.memory() })
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self([0; ALL])
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Totals::default().and(self).fmt(f)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_all_workers_and_never_fall() {
        let costs = Arc::new(Costs::default());
        let spent = Spent { host_calls: 2, bytes_in: 30, bytes_out: 4, ..Spent::default() };
        let (one, other) = (costs.account(), costs.account());
        for account in [&one, &other, &one.clone()] {
            account.called(Hook::Response, Duration::from_nanos(700), &spent);
        }
        other.failed(PluginError::Trap);
        drop(other);
        for _ in 0..2 {
            let totals = costs.totals();
            let hook = totals.hook(Hook::Response).expect("it was called");
            assert_eq!((hook.calls, hook.nanos, hook.host_calls, hook.bytes_in, hook.bytes_out), (3, 2100, 6, 90, 12));
            assert!(totals.hook(Hook::Request).is_none());
            assert_eq!(totals.failures(PluginError::Trap), 1);
        }
    }

    #[test]
    fn what_was_waited_for_is_no_time_in_the_guest() {
        let micros = Duration::from_micros;
        let spent = Spent { queued: Some(micros(50)), started: Some(micros(7)), idle: micros(900), ..Spent::default() };
        assert_eq!(spent.in_guest(micros(1000)), micros(43));
        // Clocks are read at different times.
        assert_eq!(spent.in_guest(micros(900)), Duration::ZERO);
        let costs = Arc::new(Costs::default());
        let account = costs.account();
        account.called(Hook::Request, micros(1000), &spent);
        assert_eq!((costs.totals().waits(), costs.totals().starts()), ((1, 50_000), (1, 7_000)));
    }
}
