//! What is measured once rather than in rounds: memory of idle connections and of large bodies,
//! starts, plugins that are dropped in, several workers, many plugins.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::{Field, Settings, start_upstream};
use crate::drive::{Job, Request, Sample};
use crate::gate::{Build, Gate, ONE_WORKER, Size};
use crate::nginx::Nginx;
use crate::process::{self, Process};
use crate::report::Spread;
use crate::rows::{self, Side, Way};

/// Idle connections that are opened.
const IDLE: usize = 10_000;
/// Starts of which the median is taken.
const STARTS: usize = 7;
/// Routes with ten plugins each.
const MORE: usize = 1_000;

/// One figure beside a goal.
pub(crate) struct Fact {
    pub(crate) title: &'static str,
    pub(crate) ours: Spread,
    /// What nginx has, where it has the same.
    pub(crate) nginx: Option<Spread>,
    pub(crate) unit: &'static str,
    pub(crate) goal: Limit,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    Most(f64),
    Least(f64),
    /// Only told.
    None,
}

/// All of them, or those with `rows` in their title.
pub(crate) fn all(settings: &Settings, build: &Build, directory: &Path, field: &Field) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    let wanted = |title: &str| title.contains(&settings.rows);
    let title = "the most memory at once, all rows so far";
    if wanted(title) {
        // Large bodies stream past: this is what shows it.
        let most = |id: u32| Ok::<_, anyhow::Error>(Spread::of(vec![process::peak(id)? as f64 / f64::from(1 << 20)]));
        let (ours, nginx) = (most(field.gate.process.id())?, Some(most(field.nginx.worker)?));
        facts.push(Fact { title, ours, nginx, unit: "MiB", goal: Limit::None });
    }
    let title = "idle kept connection, 10,000 of them";
    if wanted(title) {
        let ours = held(field, Side::Tollgate)?;
        let nginx = Some(held(field, Side::Nginx)?);
        facts.push(Fact { title, ours, nginx, unit: "KiB", goal: Limit::Most(2.0) });
    }
    let title = "start to first answer, five plugins, warm code cache";
    if wanted(title) {
        let ours = starts(|| {
            let five = Size { all: false, ..ONE_WORKER };
            let gate = Gate::start(build, five, (&settings.cpu, directory, "start"), &[field.upstream])?;
            first(gate.address).map(|()| gate)
        })?;
        let own = with_certificate(directory, "start")?;
        let nginx = starts(|| {
            let nginx = Nginx::start(&settings.cpu, &own, 1, &[field.upstream])?;
            first(nginx.address).map(|()| nginx)
        })?;
        facts.push(Fact { title, ours, nginx: Some(nginx), unit: "ms", goal: Limit::Most(30.0) });
    }
    let title = "a plugin dropped into the directory, until it answers";
    if wanted(title) {
        let ours = dropped(settings, build, directory, field)?;
        facts.push(Fact { title, ours, nginx: None, unit: "s", goal: Limit::Most(1.0) });
    }
    let title = "the most memory with bodies of 10 MiB both ways, over that with 1 MiB";
    if wanted(title) {
        let ours = flat(settings, build, directory, field)?;
        facts.push(Fact { title, ours, nginx: None, unit: "MiB more", goal: Limit::Most(4.0) });
    }
    let title = "two workers on two CPUs, to one: requests a second";
    if wanted(title) {
        let [ours, nginx] = two_workers(settings, build, directory, field)?;
        facts.push(Fact { title, ours, nginx: Some(nginx), unit: "times", goal: Limit::Least(1.9) });
    }
    let title = "1,000 more routes with 10,000 plugins";
    if wanted(title) {
        facts.extend(many(settings, build, directory, field, title)?);
    }
    Ok(facts)
}

/// KiB of the proxy's memory for each connection that has had one answer.
fn held(field: &Field, side: Side) -> Result<Spread> {
    let mut job = field.job(side, Way::Kept(IDLE), &rows::plain());
    job.connections = IDLE;
    let before = process::memory(job.watch)?;
    let holder = Holder::start(field, &job)?;
    let after = process::memory(job.watch)?;
    drop(holder);
    Ok(Spread::of(vec![after.saturating_sub(before) as f64 / 1024.0 / IDLE as f64]))
}

struct Holder(Child);

impl Holder {
    fn start(field: &Field, job: &Job) -> Result<Self> {
        let mut command = Command::new(&field.own);
        command.arg("hold").arg(serde_json::to_string(job)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self(command.spawn()?);
        let mut line = String::new();
        BufReader::new(holder.0.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        ensure!(line.trim() == "held", "{} connections could not be held; `ulimit -n` may be too low", job.connections);
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Milliseconds until a start has had its first answer. What it started is ended outside of that time.
fn starts<T>(start: impl Fn() -> Result<T>) -> Result<Spread> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let started = start()?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        drop(started);
    }
    Ok(Spread::of(times))
}

fn first(address: SocketAddr) -> Result<()> {
    let head = begin_of_answer(address, &rows::five())?;
    ensure!(&head == b"HTTP/1.1 200", "the first answer is {}", String::from_utf8_lossy(&head));
    Ok(())
}

/// The version and the status of an answer, over a connection of its own.
fn begin_of_answer(address: SocketAddr, request: &Request) -> Result<[u8; 12]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&request.bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head)
}

/// A directory for another proxy than those of the rows, with their certificate.
fn with_certificate(directory: &Path, name: &str) -> Result<PathBuf> {
    let own = directory.join(name);
    fs::create_dir_all(&own)?;
    for name in ["certificate.pem", "key.pem"] {
        fs::copy(directory.join(name), own.join(name))?;
    }
    Ok(own)
}

/// Seconds from the moment when another component lies in the directory until it answers. Each is one that was never
/// compiled before.
#[expect(clippy::disallowed_methods, reason = "nobody is told when it is live: it is asked again and again")]
fn dropped(settings: &Settings, build: &Build, directory: &Path, field: &Field) -> Result<Spread> {
    let own = with_certificate(directory, "dropped")?;
    let gate = Gate::start(build, ONE_WORKER, (&settings.cpu, &own, "dropped"), &[field.upstream])?;
    let begun = std::time::UNIX_EPOCH.elapsed()?.as_nanos().to_le_bytes();
    let mut times = Vec::new();
    for round in 0..STARTS {
        let (name, answer) =
            if round % 2 == 0 { ("refuse.wasm", b"HTTP/1.1 403") } else { ("nothing.wasm", b"HTTP/1.1 200") };
        let mut component = fs::read(build.plugins.join(name))?;
        // A custom section without a meaning, so that the bytes are new.
        component.extend_from_slice(&[0, 19, 1, b'x', round as u8]);
        component.extend_from_slice(&begun);
        let new = own.join("new");
        fs::write(&new, component)?;
        let since = Instant::now();
        fs::rename(&new, own.join("plugins/nothing.wasm"))?;
        while begin_of_answer(gate.address, &rows::nothing())? != *answer {
            ensure!(since.elapsed() < Duration::from_secs(10), "a plugin that was dropped in is not live");
            std::thread::sleep(Duration::from_millis(5));
        }
        times.push(since.elapsed().as_secs_f64());
    }
    Ok(Spread::of(times))
}

/// How much more memory a proxy needs for bodies of 10 MiB than for those of 1 MiB, on as many connections.
fn flat(settings: &Settings, build: &Build, directory: &Path, field: &Field) -> Result<Spread> {
    let gate = Gate::start(build, ONE_WORKER, (&settings.cpu, directory, "flat"), &[field.upstream])?;
    let id = gate.process.id();
    let mut most = Vec::new();
    for requests in [rows::large(1 << 20), rows::large(10 << 20)] {
        for request in &requests {
            let job = settings.timed(field.job(Side::Tollgate, Way::Kept(8), request));
            field.drive(&Job { address: gate.address, watch: id, ..job })?;
        }
        most.push(process::peak(id)?);
    }
    Ok(Spread::of(vec![(most[1] as f64 - most[0] as f64) / f64::from(1 << 20)]))
}

/// A load and an upstream on each of two CPUs, around one proxy with two workers, beside one stack on one CPU: ours, and
/// nginx, which shows how far the machine gets with that. What a worker asks is answered on its own CPU, as an upstream on
/// another machine would not cost this one's CPUs a way between them; which clients a worker gets is the proxy's affair.
fn two_workers(settings: &Settings, build: &Build, directory: &Path, field: &Field) -> Result<[Spread; 2]> {
    let (one, two) = (settings.cpu.as_str(), settings.second.as_str());
    let both = format!("{one},{two}");
    // Beside the one that is there, on the same address.
    let _upstream: Process = start_upstream(&field.own, two, field.upstream, directory)?;
    let upstreams = [field.upstream];
    let size = Size { workers: 2, ..ONE_WORKER };
    let gate = Gate::start(build, size, (&both, directory, "two"), &upstreams)?;
    let nginx = Nginx::start(&both, &with_certificate(directory, "two")?, 2, &upstreams)?;
    let mut ratios = [Vec::new(), Vec::new()];
    for _ in 0..settings.rounds {
        let sides = [(Side::Tollgate, gate.address, gate.process.id()), (Side::Nginx, nginx.address, nginx.worker)];
        for ((side, address, watch), ratios) in sides.into_iter().zip(&mut ratios) {
            let job = settings.timed(field.job(side, Way::Kept(64), &rows::plain()));
            let alone = field.drive(&job)?.rate();
            let text = serde_json::to_string(&Job { address, watch, ..job })?;
            let drive = |cpu: &str| {
                let mut command = process::pinned(cpu, &field.own);
                command.args([OsStr::new("drive"), OsStr::new(&text)]).stdout(Stdio::piped()).spawn()
            };
            let (left, right) = (drive(one)?, drive(two)?);
            let rate = |child: Child| -> Result<f64> {
                let output = child.wait_with_output()?;
                ensure!(output.status.success(), "a load on two workers failed");
                Ok(serde_json::from_slice::<Sample>(&output.stdout)?.rate())
            };
            ratios.push((rate(left)? + rate(right)?) / alone);
        }
    }
    Ok(ratios.map(Spread::of))
}

/// The plain pass and one plugin, beside 10,000 plugins that nobody calls.
fn many(settings: &Settings, build: &Build, directory: &Path, field: &Field, title: &'static str) -> Result<Vec<Fact>> {
    let size = Size { more: MORE, ..ONE_WORKER };
    let gate = Gate::start(build, size, (&settings.cpu, directory, "many"), &[field.upstream])?;
    let memory = |id: u32| Ok::<f64, anyhow::Error>(process::memory(id)? as f64 / f64::from(1 << 20));
    let idle = memory(gate.process.id())?;
    let mut over = Vec::new();
    for _ in 0..settings.rounds {
        let few = settings.timed(field.job(Side::Tollgate, Way::Kept(64), &rows::key()));
        let many = Job { address: gate.address, watch: gate.process.id(), ..few.clone() };
        // Each as often first as second: what is looked for is smaller than what a machine's pace changes by in a minute.
        let cost = |job: &Job| Ok::<_, anyhow::Error>(field.drive(job)?.cost());
        let (first, second, third, last) = (cost(&few)?, cost(&many)?, cost(&many)?, cost(&few)?);
        over.push((second + third - first - last) / 2.0);
    }
    let begun = Instant::now();
    gate.admin("POST", "/reload")?;
    let reload = begun.elapsed().as_secs_f64();
    let fact = |title, ours, unit, goal| Fact { title, ours, nginx: None, unit, goal };
    Ok(vec![
        fact(title, Spread::of(over), "µs more", Limit::Most(0.5)),
        fact("… their reload, nothing changed", Spread::of(vec![reload]), "s", Limit::Most(1.0)),
        fact("… memory of the process", Spread::of(vec![idle]), "MiB", Limit::None),
    ])
}
