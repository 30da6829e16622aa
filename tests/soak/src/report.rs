//! What was measured, and whether it is as it has to be.

use anyhow::Result;
use tokio::time::{Duration, Instant};

use crate::clients::Board;
use crate::disturb::Disturbance;
use crate::proxy::Proxy;

/// The first part of the time is for warming up.
const WARM_UP: usize = 5;
/// How much more memory there may be in the last quarter than in the first after warming up, in hundredths, and in bytes:
/// allocators give back late, and what two snapshots of a configuration have at once is more than one.
const MORE: u64 = 110;
const SLACK: u64 = 8 << 20;

/// One moment.
pub(crate) struct Sample {
    at: Duration,
    memory: u64,
    descriptors: usize,
}

impl Sample {
    pub(crate) fn take(proxy: &Proxy, begun: Instant) -> Result<Self> {
        Ok(Self { at: begun.elapsed(), memory: proxy.memory()?, descriptors: proxy.descriptors()? })
    }
}

/// Prints it all. Answers whether it is right.
pub(crate) fn report(samples: &[Sample], board: &Board, around: &Disturbance, left: usize, proxy: &Proxy) -> bool {
    println!("| requests | answered | cut by a kill |");
    println!("|---|---|---|");
    for (kind, done) in &*board.done.borrow() {
        println!("| {kind} | {done} | {} |", board.excused.borrow().get(kind).unwrap_or(&0));
    }
    let Disturbance { reloads, versions, kills, .. } = around;
    println!("\n{reloads} reloads, {versions} versions of the plugin, {kills} servers killed");
    let warm = &samples[samples.len() / WARM_UP..];
    let quarter = warm.len().div_ceil(4);
    let mean = |part: &[Sample]| part.iter().map(|sample| sample.memory).sum::<u64>() / part.len().max(1) as u64;
    let (early, late) = (mean(&warm[..quarter]), mean(&warm[warm.len() - quarter..]));
    let most = samples.iter().map(|sample| sample.memory).max().unwrap_or(0);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    println!("memory: {} early, {} late, {} at most", mib(early), mib(late), mib(most));
    let descriptors = samples.iter().map(|sample| sample.descriptors).max().unwrap_or(0);
    let begin = proxy.descriptors_at_start;
    println!("descriptors: {begin} at the start, {descriptors} at most, {left} at the end without kept connections");
    if let Some(last) = samples.last() {
        println!("time: {} s", last.at.as_secs());
    }
    let lost = board.lost.borrow();
    println!("lost requests: {}", lost.len());
    for one in lost.iter().take(20) {
        println!("  {one}");
    }
    let flat = late <= early * MORE / 100 + SLACK;
    let clean = left <= begin;
    let log = proxy.log();
    let quiet = !log.contains("panicked");
    for (right, what) in [
        (lost.is_empty(), "requests were lost"),
        (flat, "memory grows"),
        (clean, "descriptors are left"),
        (quiet, "the proxy panicked"),
        (board.done.borrow().values().all(|done| *done > 0), "somebody got no answer at all"),
    ] {
        if !right {
            println!("NOT RIGHT: {what}");
        }
    }
    lost.is_empty() && flat && clean && quiet
}
