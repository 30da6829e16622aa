//! What the hooks of a plugin cost: a case run over and over, on the engine that serves.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Once, World, once};
use crate::chain::{Chain, Link, Timing};
use crate::config::Isolation;
use crate::config::cases::Case;
use crate::metrics::Metrics;
use crate::plugin::{Component, Engine, Hook, LoadError, Plugin, Pool};

/// What one case costs in one isolation.
#[derive(Debug, Serialize)]
pub struct Bench {
    /// The name of the case.
    pub case: String,
    /// `pooled`, or `request` where each call has a fresh instance.
    pub isolation: &'static str,
    /// Passes that were measured.
    pub passes: u32,
    /// Of these, how many came to nothing since the plugin failed.
    pub failed: u32,
    /// Why the last of them did.
    pub failure: Option<String>,
    /// In the order in which a pass calls them.
    pub hooks: Vec<HookCosts>,
}

/// What one hook costs.
#[derive(Debug, Serialize)]
pub struct HookCosts {
    /// As in the contract.
    pub hook: &'static str,
    /// How often it was called. A hook for pieces of bodies is called several times in a pass.
    pub calls: usize,
    /// From what it is given to what was done of its answer, in the middle of all calls, in microseconds.
    pub median_us: f64,
    /// The same, which one call of a hundred exceeds.
    pub p99_us: f64,
    /// Of that, what the guest had, in the middle of all calls.
    pub guest_us: f64,
    /// Of that, what it took to make an instance, in the middle of those calls that had to.
    pub start_us: Option<f64>,
    /// Calls of capabilities and of WASI, on average.
    pub host_calls: f64,
    /// Bytes that were copied into the guest for the hook, on average.
    pub bytes_in: f64,
    /// Bytes that were copied out of it, on average.
    pub bytes_out: f64,
    /// The most memory that an instance had, in bytes.
    pub memory: usize,
}

/// Runs a case so often, first with instances that are used again and then with one for each call.
///
/// # Errors
/// The component does not load as the case says.
pub async fn bench(
    engine: &Arc<Engine>,
    component: &Arc<Component>,
    case: &Case,
    passes: u32,
) -> Result<Vec<Bench>, LoadError> {
    let mut benches = Vec::new();
    for isolation in [Isolation::Pooled, Isolation::Request] {
        benches.push(run(engine, component, case, isolation, passes).await?);
    }
    Ok(benches)
}

async fn run(
    engine: &Arc<Engine>,
    component: &Arc<Component>,
    case: &Case,
    isolation: Isolation,
    passes: u32,
) -> Result<Bench, LoadError> {
    let mut case = case.clone();
    case.plugin.isolation = isolation;
    let world = World::of(&case)?;
    let plugin = Arc::new(Plugin::load_in(engine, component, &case.plugin, &world.stores, &world.scene).await?);
    let metrics = Metrics::default();
    let pool = Rc::new(Pool::new(plugin.clone(), metrics.plugin(&plugin.name)));
    let chain = Chain::new(vec![Link::new(pool.clone(), &metrics.route("case"), &plugin.name)], true).timed(true);
    // Caches are warm where a plugin is called often.
    for _ in 0..(passes / 10).max(1) {
        world.answer_again(&case);
        once(&case, &chain).await;
    }
    let mut calls: BTreeMap<usize, (Hook, Vec<Timing>)> = BTreeMap::new();
    let (mut failed, mut failure) = (0, None);
    for _ in 0..passes {
        world.answer_again(&case);
        let Once { timings, ended, .. } = once(&case, &chain).await;
        if let Some(crate::chain::Ended::Failed(error)) = ended {
            failed += 1;
            failure = Some(error.detail().to_owned());
        }
        for timing in timings {
            calls.entry(timing.hook as usize).or_insert((timing.hook, Vec::new())).1.push(timing);
        }
    }
    Ok(Bench {
        case: case.name.clone(),
        isolation: if isolation == Isolation::Pooled { "pooled" } else { "request" },
        passes,
        failed,
        failure,
        hooks: calls.into_values().map(|(hook, calls)| costs(hook, &calls)).collect(),
    })
}

fn costs(hook: Hook, calls: &[Timing]) -> HookCosts {
    let sorted = |of: &dyn Fn(&Timing) -> Option<Duration>| {
        let mut times: Vec<_> = calls.iter().filter_map(of).collect();
        times.sort();
        times
    };
    let at = |times: &[Duration], percent: usize| {
        let time = times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        time.map(|time| time.as_secs_f64() * 1e6)
    };
    let average = |of: fn(&Timing) -> u64| calls.iter().map(of).sum::<u64>() as f64 / calls.len().max(1) as f64;
    let took = sorted(&|timing| Some(timing.took));
    HookCosts {
        hook: hook.as_str(),
        calls: calls.len(),
        median_us: at(&took, 50).unwrap_or_default(),
        p99_us: at(&took, 99).unwrap_or_default(),
        guest_us: at(&sorted(&|timing| Some(timing.spent.in_guest(timing.took))), 50).unwrap_or_default(),
        start_us: at(&sorted(&|timing| timing.spent.started), 50),
        host_calls: average(|timing| timing.spent.host_calls),
        bytes_in: average(|timing| timing.spent.bytes_in),
        bytes_out: average(|timing| timing.spent.bytes_out),
        memory: calls.iter().map(|timing| timing.spent.memory).max().unwrap_or_default(),
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instances = if self.isolation == "pooled" { "instances used again" } else { "a fresh instance each" };
        writeln!(f, "{}, {instances}, {} passes", self.case, self.passes)?;
        if let Some(why) = &self.failure {
            writeln!(f, "  {} of them failed: {why}", self.failed)?;
        }
        if self.hooks.is_empty() {
            return writeln!(f, "  no hook was called");
        }
        writeln!(
            f,
            "  {:<18} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9} {:>9}",
            "", "median", "p99", "in guest", "start", "host calls", "bytes in", "bytes out", "memory"
        )?;
        for hook in &self.hooks {
            let start = hook.start_us.map_or("-".to_owned(), |start| format!("{start:.1} µs"));
            writeln!(
                f,
                "  {:<18} {:>10} {:>10} {:>10} {:>10} {:>10.1} {:>9.0} {:>9.0} {:>9}",
                hook.hook,
                format!("{:.1} µs", hook.median_us),
                format!("{:.1} µs", hook.p99_us),
                format!("{:.1} µs", hook.guest_us),
                start,
                hook.host_calls,
                hook.bytes_in,
                hook.bytes_out,
                format!("{} KiB", hook.memory >> 10),
            )?;
        }
        Ok(())
    }
}
