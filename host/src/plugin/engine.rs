//! The wasmtime engine: its settings, its allocator, and the clock that ends guests which run too long.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use super::http::Engines;
use super::state::State;
use super::wasi;
use crate::capability;

/// How often the epoch advances while a call lasts: the grain of every time limit in a guest.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// How often it advances at the most seldom, while calls come and go: most last some microseconds, and waking a thread
/// for each millisecond of them would cost more than they do.
const STRIDE: Duration = Duration::from_millis(8);

/// The most memory that an instance of any plugin may be given.
pub(crate) const MAX_MEMORY: usize = 1 << 30;

/// The most elements that the tables of an instance of any plugin may have.
pub(crate) const MAX_TABLE: usize = 200_000;

/// Bytes of native stack for a guest: recursion beyond it traps. Half of the smallest stack of our threads.
const GUEST_STACK: usize = 512 << 10;

/// Core modules that one component may be made of.
const CORES: u32 = 64;

/// Bytes at the beginning of each linear memory that are put back by copying for the next instance, and keep their pages:
/// all that a plugin with a small stack and a small configuration has. What lies behind is given up to the kernel. It
/// takes up to 20 ns a KiB, whatever was written there; a page fault takes 2 to 4 µs.
const RESIDENT: usize = 512 << 10;

/// The same of tables: 512 elements.
const RESIDENT_TABLE: usize = 4 << 10;

/// Places for memories that are kept for components which had them before, for each thread that calls: as many as are
/// given up at once. A version that replaces another one takes the places of what is gone beyond them, where it would
/// otherwise take new ones, and memory would grow with each version until there are wasmtime's hundred.
const KEPT: u32 = BATCH as u32;

/// Places that are given up by one `madvise`: each interrupts every other thread of the process.
const BATCH: usize = 16;

/// The most of [`KEPT`] for all threads: wasmtime's own default.
const MOST_KEPT: u32 = 100;

/// The folder of compiled code in the directory for caches. It has to be one that nobody else uses: wasmtime cleans up
/// there from time to time, and removes every file and folder that it does not know.
const COMPILED: &str = "tollgate-compiled";

/// The file of the seed, beside that folder.
const SEED: &str = "tollgate-seed";

/// What compiles components and gives instances their memory. One for the process; it ends its clock when dropped.
pub struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    /// For components that never wait.
    pub(super) linker: Linker<State>,
    /// For components that wait.
    pub(super) waiting: Linker<State>,
    /// What hash tables of guests are seeded with where an image is made of them: secret, and the same in the next
    /// run, since compiled images are found by their content.
    pub(super) seed: u128,
    /// One permit for each instance that may exist.
    pub(super) slots: Arc<Semaphore>,
    /// For components of the standard's HTTP worlds, made when there is one.
    http: OnceLock<Engines>,
    ticker: Ticker,
    instances: u32,
    cache: Option<PathBuf>,
}

impl Engine {
    /// An engine for at most `instances` instances at once, which keeps compiled code under `cache`.
    ///
    /// # Errors
    ///
    /// Where the cache cannot be used, or this machine lacks what the engine needs.
    pub fn new(instances: u32, cache: Option<&Path>) -> anyhow::Result<Self> {
        let wasmtime = wasmtime::Engine::new(&settings(instances, cache, false)?)?;
        let mut waiting = Linker::new(&wasmtime);
        wasi::link(&mut waiting)?;
        capability::link(&mut waiting)?;
        let mut linker = waiting.clone();
        wasi::never_wait(&mut linker)?;
        let ticker = Ticker::start(&wasmtime)?;
        let seed = seed(cache)?;
        let slots = Arc::new(Semaphore::new(instances as usize));
        let (http, cache) = (OnceLock::new(), cache.map(Path::to_owned));
        Ok(Self { wasmtime, linker, waiting, seed, slots, http, ticker, instances, cache })
    }
}

/// The seed that lies in the directory for caches, where there is one; a new one is left there.
fn seed(cache: Option<&Path>) -> anyhow::Result<u128> {
    let path = cache.map(|directory| directory.join(SEED));
    let known = path.as_ref().and_then(|path| std::fs::read(path).ok()?.try_into().ok());
    if let Some(known) = known {
        return Ok(u128::from_le_bytes(known));
    }
    let mut new = [0; 16];
    getrandom::fill(&mut new).context("there is no source of random numbers")?;
    if let Some(path) = path {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        // Without it the next start compiles images again, and nothing else is lost.
        if let Err(error) = file.and_then(|mut file| file.write_all(&new)) {
            tracing::debug!(path = %path.display(), %error, "the seed cannot be kept");
        }
    }
    Ok(u128::from_le_bytes(new))
}

impl Engine {
    /// What every call tells that it begins.
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.ticker.pace
    }

    /// What components of the standard's HTTP worlds need beside all this.
    pub(super) fn http(&self) -> &Engines {
        self.http.get_or_init(|| Engines::new(self.instances, self.cache.clone()))
    }
}

/// Kept places of all threads. wasmtime shares them out by the CPUs that there are.
fn kept() -> u32 {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u32);
    threads.saturating_mul(KEPT).min(MOST_KEPT)
}

/// `concurrent`: with the component model's own async, which `wasi:http` 0.3 is made of.
pub(super) fn settings(instances: u32, cache: Option<&Path>, concurrent: bool) -> anyhow::Result<Config> {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(GUEST_STACK + (512 << 10))
        .memory_init_cow(true)
        // Header hooks are synchronous calls: without the bookkeeping of concurrent tasks, one that does nothing costs
        // 0.12 µs in place of 0.49.
        .concurrency_support(concurrent)
        .wasm_component_model_async(concurrent)
        // A smaller surface: what no plugin needs is off.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        // A trap's frames go to the operator's log and cost nothing until one happens.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));

    let mut pool = PoolingAllocationConfig::new();
    // A component may be several core modules (an adapter beside the main one), each with tables of its own. What is
    // linked together of a language's runtime and its libraries is more of them, 38 for Python, around one memory. They
    // are counted and not set aside; tables are.
    let cores = instances.saturating_mul(CORES);
    pool.total_component_instances(instances)
        .total_core_instances(cores)
        // The second one is beside an image, see `rewind`.
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
        .max_memories_per_component(2)
        .max_memories_per_module(2)
        .max_tables_per_component(4)
        .max_core_instances_per_component(CORES)
        .max_memory_size(MAX_MEMORY)
        .table_elements(MAX_TABLE)
        // What a call wrote there is put back by copying, where a page that is given up costs its share of a system call
        // and a fault in the next call.
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT_TABLE)
        .decommit_batch_size(BATCH)
        .max_unused_warm_slots(kept())
        // It would tell which pages were written. But 48 takes a page that is swapped out (wasmtime#14357), or that the
        // kernel is just moving, for one that was not, and then a guest would see another one's bytes.
        .pagemap_scan(Enabled::No);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));

    if let Some(directory) = cache {
        let mut cache = CacheConfig::new();
        cache.with_directory(directory.join(COMPILED));
        let cache = Cache::new(cache)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("cannot keep compiled code in {}", directory.display()))?;
        config.cache(Some(cache));
    }
    Ok(config)
}

/// The thread that advances the epoch, while guests run. Stops and is joined when dropped.
pub(super) struct Ticker {
    pub(super) pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

/// When the epoch has to advance: from the beginning of a call until none can be running any more. A proxy without
/// requests would spend 1.8 % of a CPU on it otherwise.
///
/// A call that is met by a tick looks at the clock itself, and where it may go on, asks for the next tick after
/// [`TICK`]. As long as no call does, the next one comes after a stride, which is no longer than the shortest call limit.
pub(crate) struct Pace {
    /// A call began or went on since the last tick.
    used: AtomicBool,
    /// A call lasted over the last tick.
    lasting: AtomicBool,
    /// The epoch stands still.
    resting: AtomicBool,
    /// Nanoseconds.
    stride: AtomicU64,
    stop: Mutex<bool>,
    wake: Condvar,
}

/// Time without a call, until the epoch rests.
const QUIET: Duration = Duration::from_millis(100);

impl Default for Pace {
    fn default() -> Self {
        Self {
            used: AtomicBool::default(),
            lasting: AtomicBool::default(),
            resting: AtomicBool::default(),
            stride: AtomicU64::new(STRIDE.as_nanos() as u64),
            stop: Mutex::default(),
            wake: Condvar::new(),
        }
    }
}

impl Pace {
    /// There are calls that may last no longer than this.
    pub(super) fn limit(&self, time: Duration) {
        let nanos = u64::try_from(time.max(TICK).as_nanos()).unwrap_or(u64::MAX);
        if self.stride.load(Ordering::Relaxed) > nanos {
            self.stride.fetch_min(nanos, Ordering::Relaxed);
        }
    }

    /// A call begins, or goes on after it waited for something.
    pub(super) fn begin(&self) {
        // All workers read it, and it is written once in a tick.
        if !self.used.load(Ordering::SeqCst) {
            self.used.store(true, Ordering::SeqCst);
        }
        // In one order with the ticker, which says that it rests before it looks for the last time.
        if self.resting.load(Ordering::SeqCst) {
            let _guard = self.lock();
            self.resting.store(false, Ordering::SeqCst);
            self.wake.notify_all();
        }
    }

    /// A call was met by a tick, and may go on.
    pub(super) fn lasts(&self) {
        self.begin();
        if !self.lasting.swap(true, Ordering::SeqCst) {
            let _guard = self.lock();
            self.wake.notify_all();
        }
    }

    fn tick(&self, engine: &EngineWeak) {
        let mut quiet = Duration::ZERO;
        let mut stop = self.lock();
        while !*stop {
            let waited;
            (stop, waited) = self.pause(stop);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            drop(engine);
            quiet = if self.used.swap(false, Ordering::SeqCst) { Duration::ZERO } else { quiet + waited };
            if quiet <= QUIET {
                continue;
            }
            self.resting.store(true, Ordering::SeqCst);
            if self.used.load(Ordering::SeqCst) {
                self.resting.store(false, Ordering::SeqCst);
            }
            while self.resting.load(Ordering::SeqCst) && !*stop {
                stop = self.wake.wait(stop).unwrap_or_else(PoisonError::into_inner);
            }
            quiet = Duration::ZERO;
        }
    }

    /// Waits until the next tick is due: a stride, and less as soon as a call lasts.
    fn pause<'a>(&self, stop: MutexGuard<'a, bool>) -> (MutexGuard<'a, bool>, Duration) {
        let stride = Duration::from_nanos(self.stride.load(Ordering::Relaxed));
        let nobody = |stop: &mut bool| !*stop && !self.lasting.load(Ordering::SeqCst);
        let waited = self.wake.wait_timeout_while(stop, stride, nobody);
        let (stop, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !self.lasting.swap(false, Ordering::SeqCst) {
            return (stop, stride);
        }
        let waited = self.wake.wait_timeout_while(stop, TICK, |stop| !*stop);
        (waited.unwrap_or_else(PoisonError::into_inner).0, TICK)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    pub(super) fn start(engine: &wasmtime::Engine) -> anyhow::Result<Self> {
        let pace = Arc::new(Pace::default());
        let (weak, ticking) = (engine.weak(), pace.clone());
        let thread =
            std::thread::Builder::new().name("tollgate-epoch".to_owned()).spawn(move || ticking.tick(&weak))?;
        Ok(Self { pace, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.pace.lock() = true;
        self.pace.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the ticker has been reported by then; there is nothing more to do about it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn compiled_code_is_kept_in_a_folder_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = Engine::new(1, Some(directory.path())).expect("an engine");
        // The smallest component: nothing is in it.
        let component = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
        wasmtime::component::Component::from_binary(&engine.wasmtime, &component).expect("it compiles");
        let entries = std::fs::read_dir(directory.path()).expect("it is there").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, [COMPILED, SEED]);
    }

    #[test]
    fn memory_does_not_grow_with_each_new_version() {
        const VERSIONS: u16 = 300;
        let engine = Engine::new(500, None).expect("an engine");
        let metrics = || engine.wasmtime.pooling_allocator_metrics().expect("there is a pool");
        let mut most = 0;
        for version in 0..VERSIONS {
            // A memory of one page with a byte in it, and a custom section with the number of the version.
            let mut module = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01\x0b\x07\x01\0\x41\0\x0b\x01x\0\x04\x01v".to_vec();
            module.extend_from_slice(&version.to_be_bytes());
            let module = wasmtime::Module::new(&engine.wasmtime, module).expect("it is a module");
            let mut store = wasmtime::Store::new(&engine.wasmtime, ());
            wasmtime::Instance::new(&mut store, &module, &[]).expect("it begins");
            drop(store);
            most = most.max(metrics().unused_warm_memories());
        }
        assert!(most <= kept() + KEPT, "{most} memories are kept of versions that are gone");
    }

    #[test]
    fn the_epoch_rests_without_calls_and_goes_on_with_the_next_one() {
        let engine = Engine::new(1, None).expect("an engine");
        let pace = engine.pace();
        let rests = || {
            while !pace.resting.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        };
        pace.begin();
        rests();
        pace.begin();
        assert!(!pace.resting.load(Ordering::SeqCst), "a call has begun");
        rests();
    }

    #[test]
    fn the_epoch_advances_each_tick_only_while_a_call_lasts() {
        let engine = Engine::new(1, None).expect("an engine");
        let pace = engine.pace();
        let met = || {
            pace.begin();
            while pace.used.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Instant::now()
        };
        let ticks = |lasting: bool| {
            let first = met();
            let mut last = first;
            for _ in 0..10 {
                if lasting {
                    pace.lasts();
                }
                last = met();
            }
            last - first
        };
        assert!(ticks(false) >= STRIDE * 9, "nobody asked for a tick");
        // However busy the machine is, one of these is not held up.
        assert!((0..100).any(|_| ticks(true) < STRIDE * 5), "a call lasts");
        pace.limit(TICK * 2);
        assert_eq!(pace.stride.load(Ordering::Relaxed), 2_000_000);
        pace.limit(Duration::ZERO);
        pace.limit(STRIDE);
        assert_eq!(pace.stride.load(Ordering::Relaxed), 1_000_000);
    }

    #[test]
    fn the_next_run_has_the_same_seed() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = seed(Some(directory.path())).expect("a seed");
        assert_eq!(seed(Some(directory.path())).expect("the seed"), first);
        assert_ne!(seed(None).expect("another seed"), first);
        std::fs::write(directory.path().join(SEED), "short").expect("a file");
        assert_ne!(seed(Some(directory.path())).expect("another seed"), first);
    }
}
