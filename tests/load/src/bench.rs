//! One run: starts everything, checks that it works, measures in rounds, reports.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::chart;
use crate::drive::{Job, Request, Sample};
use crate::facts;
use crate::gate::{Build, Gate, ONE_WORKER};
use crate::nginx::Nginx;
use crate::process::{self, Process, Spent};
use crate::report;
use crate::rows::{self, Row, Side, Target, Way};
use crate::upstream;

/// What comes before each measurement and is not counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// What the environment says.
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) cpu: String,
    /// For the one row that needs two.
    pub(crate) second: String,
    pub(crate) rows: String,
    out: PathBuf,
}

/// Samples of each target, one for each round.
pub(crate) type Samples = BTreeMap<&'static str, Vec<Sample>>;

/// The whole benchmark.
pub(crate) fn run() -> Result<()> {
    let settings = Settings::read()?;
    let build = Build::find()?;
    // Kept afterwards: configurations and logs of both sides are there to look at.
    let directory = settings.out.join("run");
    fs::create_dir_all(&directory)?;
    let field = Field::start(&settings, &build, &directory)?;
    let (rows, targets) = chosen(&settings);
    for (side, request) in rows::probes() {
        field.probe(side, &request).with_context(|| format!("{side:?} does not do its work"))?;
    }
    let mut samples = Samples::new();
    for round in 1..=settings.rounds {
        let mut order: Vec<&Target> = targets.iter().collect();
        if round % 2 == 0 {
            // What comes first in a round comes last in the next, so that a drift of the machine favours nobody.
            order.reverse();
        }
        for target in order {
            let sample = field.measure(target, &settings).with_context(|| target.name.to_owned())?;
            eprintln!(
                "round {round}: {:18} {:8.2} µs ({:.2} user) {:9.0} requests/s  p50 {:.0} µs  p99 {:.0} µs",
                target.name,
                sample.cost(),
                sample.user as f64 / sample.requests as f64,
                sample.rate(),
                sample.p50,
                sample.p99
            );
            samples.entry(target.name).or_default().push(sample);
        }
    }
    if samples.contains_key("nothing") {
        field.check_calls()?;
    }
    let facts = facts::all(&settings, &build, &directory, &field)?;
    ensure!(!rows.is_empty() || !facts.is_empty(), "no row has `{}` in its title", settings.rows);
    let about = report::About::read(&settings, &build.program)?;
    let results = settings.out.join("results.json");
    fs::write(&results, serde_json::to_string_pretty(&report::json(&about, &rows, &samples, &facts))?)?;
    fs::write(settings.out.join("chart.svg"), chart::chart(&about, &rows, &samples))?;
    let table = report::table(&about, &rows, &samples, &facts);
    fs::write(settings.out.join("table.md"), &table)?;
    print!("{table}");
    eprintln!("\nwritten: {}", results.display());
    Ok(())
}

impl Settings {
    fn read() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str, default: f64| -> Result<f64> {
            let Some(value) = variable(name) else { return Ok(default) };
            value.parse().with_context(|| format!("{name} is `{value}`, which is no number"))
        };
        let rounds = number("ROUNDS", 3.0)? as usize;
        let seconds = number("SECONDS", 4.0)?;
        ensure!(rounds >= 1 && (0.1..=600.0).contains(&seconds), "ROUNDS is at least 1, SECONDS 0.1 to 600");
        let out = match variable("OUT") {
            // nginx takes a path that is not absolute for one in its own directory.
            Some(out) => std::path::absolute(out)?,
            // The target directory, wherever it is: this program is in one of its profiles.
            None => {
                std::env::current_exe()?.parent().and_then(Path::parent).context("no target directory")?.join("bench")
            }
        };
        let cpu = variable("CPU").unwrap_or_else(|| "0".to_owned());
        let second = variable("SECOND").unwrap_or_else(|| "1".to_owned());
        Ok(Self { rounds, seconds, cpu, second, rows: variable("ROWS").unwrap_or_default(), out })
    }

    /// A job of the usual length.
    pub(crate) fn timed(&self, job: Job) -> Job {
        Job { warm_up: WARM_UP, time: Duration::from_secs_f64(self.seconds), ..job }
    }
}

/// The rows that are asked for, and the targets that they need.
fn chosen(settings: &Settings) -> (Vec<Row>, Vec<Target>) {
    let rows: Vec<Row> = rows::rows().into_iter().filter(|row| row.title.contains(&settings.rows)).collect();
    let needed = |target: &Target| rows.iter().any(|row| row.ours == target.name || row.beside == target.name);
    let targets = rows::targets().into_iter().filter(needed).collect();
    (rows, targets)
}

/// The processes, all on one CPU.
pub(crate) struct Field {
    pub(crate) own: PathBuf,
    pub(crate) nginx: Nginx,
    pub(crate) gate: Gate,
    pub(crate) upstream: SocketAddr,
    cpu: String,
    certificate: PathBuf,
    _upstream: Process,
}

impl Field {
    fn start(settings: &Settings, build: &Build, directory: &Path) -> Result<Self> {
        let own = std::env::current_exe()?;
        let certificate = certificate(directory)?;
        let [upstream] = process::free()?;
        let upstream_process = start_upstream(&own, &settings.cpu, upstream, directory)?;
        let nginx = Nginx::start(&settings.cpu, directory, 1, &[upstream])?;
        let gate = Gate::start(build, ONE_WORKER, (&settings.cpu, directory, "tollgate"), &[upstream])?;
        let cpu = settings.cpu.clone();
        Ok(Self { own, nginx, gate, upstream, cpu, certificate, _upstream: upstream_process })
    }

    pub(crate) fn job(&self, side: Side, way: Way, request: &Request) -> Job {
        let (plain, tls, watch) = match side {
            Side::Nginx => (self.nginx.address, self.nginx.tls, self.nginx.worker),
            Side::Tollgate => (self.gate.address, self.gate.tls, self.gate.process.id()),
        };
        let secure = matches!(way, Way::Tls | Way::Handshakes | Way::Http2);
        Job {
            address: if secure { tls } else { plain },
            tls: secure.then(|| self.certificate.clone()),
            request: request.clone(),
            connections: match way {
                Way::Kept(connections) => connections,
                Way::Handshakes => 16,
                Way::Tls | Way::Http2 | Way::Rate(_) => 64,
            },
            handshakes: way == Way::Handshakes,
            rate: if let Way::Rate(rate) = way { Some(rate) } else { None },
            warm_up: Duration::ZERO,
            time: Duration::ZERO,
            watch,
        }
    }

    /// One request, and whether it is answered as expected.
    fn probe(&self, side: Side, request: &Request) -> Result<()> {
        let mut job = self.job(side, Way::Kept(1), request);
        // A proxy may close the connection after a refusal.
        (job.handshakes, job.time) = (true, Duration::from_millis(10));
        self.drive(&job).map(drop)
    }

    fn measure(&self, target: &Target, settings: &Settings) -> Result<Sample> {
        let job = settings.timed(self.job(target.side, target.way, &target.request));
        if target.way == Way::Http2 { self.h2load(&job) } else { self.drive(&job) }
    }

    /// Has a process of its own carry out a job.
    pub(crate) fn drive(&self, job: &Job) -> Result<Sample> {
        let output = process::pinned(&self.cpu, &self.own).arg("drive").arg(serde_json::to_string(job)?).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// HTTP/2 by nghttp2's load generator. It warms up by itself, so the time of the proxy is that of all requests.
    fn h2load(&self, job: &Job) -> Result<Sample> {
        let mut command = process::pinned(&self.cpu, Path::new("h2load"));
        let url = format!("https://localhost:{}{}", job.address.port(), job.request.path);
        command.args(["--connect-to", &job.address.to_string(), "-c4", "-m16", "--groups=X25519"]);
        command.args(["-D", &job.time.as_secs_f64().ceil().to_string()]);
        for (name, value) in job.request.headers.iter().filter(|(name, _)| name != "host") {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        let before: Spent = process::spent(job.watch)?;
        let output = command.arg(&url).stdin(Stdio::null()).output();
        let output = output.context("h2load cannot be started: apt-get install nghttp2-client")?;
        let spent = process::spent(job.watch)?.since(before);
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "h2load: {}{text}", String::from_utf8_lossy(&output.stderr));
        read_h2load(&text, spent, job.time).with_context(|| format!("h2load said: {text}"))
    }

    /// Plugins that leave no trace in an answer have been called all the same.
    fn check_calls(&self) -> Result<()> {
        let metrics = self.gate.admin("GET", "/metrics")?;
        let counted = |line: &&str| line.starts_with("tollgate_plugin") && line.contains("nothing");
        ensure!(metrics.lines().any(|line| counted(&line)), "the plugin `nothing` was not called: {metrics}");
        Ok(())
    }
}

/// `requests: 1 total, 1 started, 1 done, 1 succeeded, 0 failed, 0 errored, 0 timeout`
fn read_h2load(text: &str, spent: Spent, time: Duration) -> Result<Sample> {
    let line = text.lines().find_map(|line| line.strip_prefix("requests: ")).context("no line of requests")?;
    let count = |word: &str| -> Result<u64> {
        let part = line.split(", ").find_map(|part| part.strip_suffix(word)).with_context(|| format!("no{word}"))?;
        Ok(part.parse()?)
    };
    let (done, succeeded) = (count(" done")?, count(" succeeded")?);
    ensure!(done > 0 && done == succeeded, "{done} requests, of which {succeeded} succeeded");
    ensure!(text.contains("Application protocol: h2"), "it did not speak HTTP/2");
    let seconds = time.as_secs_f64().ceil();
    Ok(Sample { requests: done, seconds, user: spent.user, kernel: spent.kernel, p50: 0.0, p99: 0.0 })
}

/// Starts this program as an upstream, and returns when it accepts.
pub(crate) fn start_upstream(own: &Path, cpu: &str, address: SocketAddr, directory: &Path) -> Result<Process> {
    let log = directory.join(format!("upstream-{cpu}.log"));
    let at = address.to_string();
    let arguments = ["upstream", &at, cpu].map(OsStr::new);
    let mut process = Process::start(cpu, own, &arguments, &log)?;
    while !fs::read_to_string(&log)?.starts_with(upstream::READY) {
        let ended = process.ended()?;
        ensure!(ended.is_none(), "the upstream did not start: {}", fs::read_to_string(&log).unwrap_or_default());
        std::thread::yield_now();
    }
    Ok(process)
}

/// A certificate of P-256 for both proxies, and the same for clients to trust.
fn certificate(directory: &Path) -> Result<PathBuf> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(directory.join("certificate.pem"), made.cert.pem())?;
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())?;
    let trusted = directory.join("certificate.der");
    fs::write(&trusted, made.cert.der())?;
    Ok(trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_is_read_and_a_failed_request_is_no_sample() {
        let text = |succeeded: u64| {
            format!(
                "Application protocol: h2\nfinished in 2.00s\n\
                 requests: 40 total, 64 started, 40 done, {succeeded} succeeded, 0 failed, 0 errored, 0 timeout\n"
            )
        };
        let spent = Spent { user: 100, kernel: 300 };
        let sample = read_h2load(&text(40), spent, Duration::from_millis(1500)).unwrap();
        assert_eq!((sample.requests, sample.cost(), sample.rate()), (40, 10.0, 20.0));
        assert!(read_h2load(&text(39), spent, Duration::from_secs(2)).is_err());
        assert!(read_h2load(&text(40).replace("h2\n", "http/1.1\n"), spent, Duration::from_secs(2)).is_err());
    }
}
