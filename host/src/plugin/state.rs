//! What a store holds for its guest: limits, and one field for each capability.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};
use wasmtime_wasi::clocks::HostWallClock;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::engine::Pace;
use super::wasi::Stderr;
use crate::capability::limiter::Buckets;
use crate::capability::log::PluginLog;
use crate::capability::{Capabilities, http_client, kv, limiter, metrics};
use crate::config::PluginLimits;
use crate::metrics::Custom;
use crate::recording::{Played, Tape};

/// The `T` of every `Store<T>`. Lives and dies with one instance.
pub(crate) struct State {
    pub(super) limits: Memory,
    pace: Arc<Pace>,
    /// When the call that goes on has had its time.
    until: Instant,
    log: PluginLog,
    limiter: Arc<Buckets>,
    kv: kv::Granted,
    http: http_client::Granted,
    /// What the guest has asked of others in this call.
    pub(super) calls: http_client::Calls,
    custom: Arc<Custom>,
    /// What capabilities answer in this call.
    pub(super) tape: Tape,
    table: ResourceTable,
    /// Made when the guest first needs it: most never do.
    wasi: Option<WasiCtx>,
    seed: Option<u128>,
    now: Option<SystemTime>,
    /// Calls of the host that the guest made in this call.
    pub(super) host_calls: u64,
}

/// What the capabilities of one plugin stand on, the same for all of its instances.
#[derive(Clone)]
pub(crate) struct Grounds {
    pub(crate) pace: Arc<Pace>,
    pub(crate) log: PluginLog,
    pub(crate) limiter: Arc<Buckets>,
    pub(crate) kv: kv::Granted,
    pub(crate) http: http_client::Granted,
    pub(crate) custom: Arc<Custom>,
    /// What the guest's wall clock shows, where it does not show the time.
    pub(crate) now: Option<SystemTime>,
    /// What capabilities say, where they do not answer by themselves.
    pub(crate) played: Option<Played>,
}

impl State {
    /// `seed` is for hash tables of the guest; none for a random one.
    pub(super) fn new(grounds: &Grounds, limits: &PluginLimits, seed: Option<u128>) -> Self {
        let log = grounds.log.instance();
        let mut table = ResourceTable::new();
        // Handles that a guest may hold at once: a hundred buckets, stores and streams, not a host full of them.
        table.set_max_capacity(MAX_HANDLES);
        Self {
            limits: Memory::new(limits),
            pace: grounds.pace.clone(),
            until: Instant::now(),
            log,
            limiter: grounds.limiter.clone(),
            kv: grounds.kv.clone(),
            http: grounds.http.clone(),
            calls: http_client::Calls::default(),
            custom: grounds.custom.clone(),
            tape: grounds.played.clone().map_or(Tape::Off, Tape::Plays),
            table,
            wasi: None,
            seed,
            now: grounds.now,
            host_calls: 0,
        }
    }

    /// The guest may go on until then.
    pub(super) fn allow(&mut self, until: Instant) {
        self.until = until;
        self.pace.begin();
    }

    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// The epoch has advanced while the guest computes.
    pub(super) fn tick(&self) -> UpdateDeadline {
        if Instant::now() >= self.until {
            return UpdateDeadline::Interrupt;
        }
        self.pace.lasts();
        UpdateDeadline::Continue(1)
    }

    /// A call begins: what is counted for each call starts again.
    pub(super) fn begin_call(&mut self) {
        self.log.begin_call();
        self.calls.begin();
        self.limits.refused = false;
        self.host_calls = 0;
    }

    /// All is as for an instance that begins, between two calls of one that is put back to its beginning, see
    /// [`rewind`](super::rewind). False where that cannot be: the guest holds a handle, or has held two at once, and the
    /// order in which it gave them back would show in the numbers of the next ones.
    pub(super) fn renew(&mut self) -> bool {
        self.log.begin_call();
        self.calls = http_client::Calls::default();
        self.wasi = None;
        self.host_calls = 0;
        self.limits.refused = false;
        self.table.is_empty() && had_one_at_most(&mut self.table)
    }

    /// The resources that the guest holds handles of.
    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// Whether a table that is empty never had more than one entry at once. Each handle of a guest is one in the table, and
/// its places are used again before the table grows.
fn had_one_at_most(table: &mut ResourceTable) -> bool {
    let most = table.max_capacity();
    // It may not grow: what goes in goes where something was before.
    table.set_max_capacity(0);
    let places = [table.push(()), table.push(())];
    table.set_max_capacity(most);
    let one = places[1].is_err();
    // The first one last: that is the place to be used next, as it was.
    for place in places.into_iter().rev().flatten() {
        let _ = table.delete(place);
    }
    one
}

/// What a guest finds of the world through WASI.
fn surroundings(log: &PluginLog, seed: Option<u128>, now: Option<SystemTime>) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(Stderr::new(log)).stderr(Stderr::new(log)).max_random_size(MAX_RANDOM);
    if let Some(seed) = seed {
        wasi.insecure_random_seed(seed);
    }
    if let Some(now) = now {
        wasi.wall_clock(Stopped(now));
    }
    wasi.build()
}

/// A wall clock that always shows the same.
pub(super) struct Stopped(pub(super) SystemTime);

impl HostWallClock for Stopped {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Handles of one instance.
pub(super) const MAX_HANDLES: usize = 256;

/// Random bytes in one call.
pub(super) const MAX_RANDOM: u64 = 64 << 10;

/// Each call of a guest asks for one of these first, so that they count calls.
impl Capabilities for State {
    fn log(&mut self) -> &mut PluginLog {
        self.host_calls += 1;
        &mut self.log
    }

    fn limiter(&mut self) -> limiter::Guest<'_> {
        self.host_calls += 1;
        limiter::Guest { buckets: &self.limiter, table: &mut self.table, tape: &mut self.tape }
    }

    fn kv(&mut self) -> kv::Guest<'_> {
        self.host_calls += 1;
        kv::Guest { granted: &self.kv, table: &mut self.table, tape: &mut self.tape }
    }

    fn http_client(&mut self) -> http_client::Guest<'_> {
        self.host_calls += 1;
        http_client::Guest { granted: &self.http, calls: &mut self.calls, table: &mut self.table, tape: &mut self.tape }
    }

    fn crypto(&mut self) {
        self.host_calls += 1;
    }

    fn metrics(&mut self) -> metrics::Guest<'_> {
        self.host_calls += 1;
        metrics::Guest { custom: &self.custom, table: &mut self.table }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.host_calls += 1;
        let ctx = self.wasi.get_or_insert_with(|| surroundings(&self.log, self.seed, self.now));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// How much linear memory and how many table elements an instance may have, and what it has.
pub(crate) struct Memory {
    memory: usize,
    table: usize,
    /// Bytes of linear memory, the high-water mark: it never shrinks.
    pub(super) used: usize,
    /// Whether a growth was refused since this was last reset, which tells a trap for want of memory from others.
    pub(super) refused: bool,
}

impl Memory {
    pub(super) fn new(limits: &PluginLimits) -> Self {
        Self { memory: limits.memory, table: limits.table, used: 0, refused: false }
    }

    /// So much more memory may be had.
    pub(super) fn allow(&mut self, more: usize) {
        self.memory = self.memory.saturating_add(more);
    }

    /// So much of what it has is not its own, and was allowed in addition.
    pub(super) fn take_out(&mut self, beside: usize) {
        self.memory -= beside;
        self.used -= beside;
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.used.saturating_add(desired.saturating_sub(current));
        let granted = total <= self.memory;
        if granted {
            self.used = total;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let granted = more <= self.table;
        if granted {
            self.table -= more;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_whether_it_had_two_entries_at_once() {
        let mut table = ResourceTable::new();
        assert!(had_one_at_most(&mut table));
        let one = table.push(1).expect("there is room");
        table.delete(one).expect("it is there");
        // It is asked more than once, and tells the same.
        assert!(had_one_at_most(&mut table) && had_one_at_most(&mut table));
        let both = [table.push(1), table.push(2)].map(|place| place.expect("there is room"));
        for place in both {
            table.delete(place).expect("it is there");
        }
        // With its own checks, it never gives a place again, and an instance is given up after the first.
        assert!(cfg!(debug_assertions) || !had_one_at_most(&mut table));
    }
}
