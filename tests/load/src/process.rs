//! Processes of the benchmark: started on one CPU, watched through `/proc`, ended when dropped.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Clock ticks of `/proc/PID/stat` in a second: 100 on every Linux (`USER_HZ`).
const TICKS: u64 = 100;

/// A process pinned to CPUs.
pub(crate) struct Process {
    child: Child,
}

/// Time on the CPU, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent {
    pub(crate) user: u64,
    pub(crate) kernel: u64,
}

impl Process {
    /// Starts a program on these CPUs, as `taskset -c` writes them. Its messages go to `log`.
    pub(crate) fn start(cpus: &str, program: &Path, arguments: &[&OsStr], log: &Path) -> Result<Self> {
        let log = fs::File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let mut command = pinned(cpus, program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{} cannot be started by taskset", program.display()))?;
        Ok(Self { child })
    }

    /// `taskset` becomes the program, so that this is the program's.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM lets nginx's master take its worker with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A command on these CPUs.
pub(crate) fn pinned(cpus: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus]).arg(program);
    command
}

/// What a process and all of its threads have spent so far.
pub(crate) fn spent(id: u32) -> Result<Spent> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id} has ended"))?;
    // proc(5): the name may hold anything, also parentheses; what follows the last one is fields 3 and on.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace()).context("no stat line")?;
    let mut times = fields.skip(11).map(str::parse::<u64>);
    let mut next = || Ok::<u64, anyhow::Error>(times.next().context("a short stat line")?? * 1_000_000 / TICKS);
    Ok(Spent { user: next()?, kernel: next()? })
}

/// Bytes of memory that a process has to itself, and its part of what it shares (Pss).
pub(crate) fn memory(id: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// The most bytes of memory that a process has had at once (its resident set).
pub(crate) fn peak(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// Loopback addresses that are free now.
pub(crate) fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let sockets: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = sockets.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().map_err(|_| anyhow::anyhow!("too few addresses"))
}

/// The processes that a process has started.
pub(crate) fn children(id: u32) -> Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    Ok(list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect())
}

impl Spent {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user.saturating_sub(before.user), kernel: self.kernel.saturating_sub(before.kernel) }
    }
}
