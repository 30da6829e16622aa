//! `tollgate run`: the life of the process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::notify::notify;
use super::{COMMANDS, DEFAULT, failed, refused};
use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::server::inherit::Inherited;
use crate::server::upgrade::{self, Predecessor};
use crate::server::{Options, Server, StartError};
use crate::telemetry::{Redaction, Telemetry};
use crate::{demo, key};

/// The life of the process: configuration → sockets that are there → build → announce → wait → drain.
pub(super) fn run(path: Option<PathBuf>) -> ExitCode {
    let path = path.or_else(|| Path::new(DEFAULT).exists().then(|| DEFAULT.into()));
    let (config, key) = match &path {
        Some(path) => match config::load(path) {
            Ok(config) => (config, None),
            Err(problems) => {
                let exit = refused(&problems);
                let word = path.to_str().filter(|_| problems.is_unreadable() && !path.exists());
                if let Some(command) = word.and_then(|word| config::nearest(word, COMMANDS)) {
                    eprintln!("help: did you mean the command `{command}`?");
                }
                return exit;
            }
        },
        None => match demonstration() {
            Ok((config, key)) => (config, Some(key)),
            Err(error) => return failed(&format!("the demo cannot be prepared: {error:#}")),
        },
    };
    for warning in &config.warnings {
        eprint!("{warning}");
    }
    let metrics = Metrics::default();
    let redaction = Arc::new(Redaction::new(config.secrets.iter(), []));
    let telemetry = match Telemetry::install(&config.log, redaction, metrics.log_dropped()) {
        Ok(telemetry) => Arc::new(telemetry),
        Err(error) => return failed(&format!("the log cannot be set up: {error}")),
    };
    if key.is_some() {
        eprintln!("tollgate: no {DEFAULT} here, so this is the demo");
    }
    let (predecessor, inherited) = match inherit(&config) {
        Ok(inherited) => inherited,
        Err(error) => return failed(&format!("the sockets that are there already cannot be taken: {error}")),
    };
    let options = Options { path, metrics, inherited, telemetry: Some(telemetry.clone()), ..Options::default() };
    let mut server = match Server::start(config, options) {
        Ok(server) => server,
        Err(StartError::Problems(problems)) => return refused(&problems),
        Err(StartError::Machine(error)) => return failed(&format!("{error:#}")),
    };
    // Before anybody is told that we are here: a signal that came too early would kill us.
    let signals = match Signals::receive() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("signals cannot be received: {error}")),
    };
    for (name, address) in server.addresses() {
        say(&format!("tollgate: listening on {address} ({name})"));
    }
    if let Some(address) = server.admin() {
        say(&format!("tollgate: admin on http://{address}/ (healthz, readyz, metrics, state)"));
    }
    if let Some(key) = &key {
        eprint!("\nTry:\n\n{}", demo::lines(key));
    }
    if let Some(predecessor) = predecessor {
        match predecessor.ready() {
            Ok(()) => say("tollgate: taking over from the process before"),
            Err(error) => tracing::warn!(%error, "the process before is gone already"),
        }
    }
    say("tollgate: ready");
    notify("READY=1");
    match signals.wait(&mut server) {
        Ok(true) => {}
        Ok(false) => {
            say("tollgate: another process has taken over");
            server.retire();
        }
        Err(error) => return failed(&format!("there is no thread for signals: {error}")),
    }
    say("tollgate: draining");
    notify("STOPPING=1");
    let cut = server.stop();
    if cut > 0 {
        say(&format!("tollgate: {cut} connections were cut"));
    }
    telemetry.flush(std::time::Duration::from_secs(1));
    ExitCode::SUCCESS
}

/// Says a line by one write: lines of the log go the same way, and none may come between its parts.
fn say(line: &str) {
    // Who cannot hear it is not there.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What operators tell a process by.
struct Signals {
    runtime: tokio::runtime::Runtime,
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they are received, and no longer end the process by themselves.
    fn receive() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let context = runtime.enter();
        let reload = signal(SignalKind::hangup())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        drop(context);
        Ok(Self { runtime, reload, terminate, interrupt })
    }

    /// Reloads on `SIGHUP`, and returns on `SIGTERM` and `SIGINT`, or, answering false, when another process has taken
    /// over. A second one of those signals ends the process at once.
    fn wait(self, server: &mut Server) -> std::io::Result<bool> {
        let Self { runtime, mut reload, mut terminate, mut interrupt } = self;
        let mut superseded = server.superseded();
        let told = loop {
            let ends = runtime.block_on(async {
                let superseded = async {
                    match &mut superseded {
                        // The sender goes only with the server.
                        Some(superseded) => _ = superseded.await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = reload.recv() => None,
                    _ = terminate.recv() => Some(true),
                    _ = interrupt.recv() => Some(true),
                    () = superseded => Some(false),
                }
            });
            if let Some(told) = ends {
                break told;
            }
            notify("RELOADING=1");
            // What is wrong is in the log already.
            let _ = server.reload();
            notify("READY=1");
        };
        std::thread::Builder::new().name("tollgate-hurry".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            say("tollgate: told twice, ending at once");
            std::process::exit(1);
        })?;
        Ok(told)
    }
}

/// The sockets that systemd passed, and those of the process that serves where this one is to.
fn inherit(config: &Config) -> std::io::Result<(Option<Predecessor>, Inherited)> {
    let passed = Inherited::from_environment()?;
    let Some(path) = config.upgrade.as_ref().map(|upgrade| &upgrade.socket) else { return Ok((None, passed)) };
    Ok(match upgrade::take_over(path)? {
        Some((predecessor, inherited)) => (Some(predecessor), inherited.and(passed)),
        None => (None, passed),
    })
}

fn demonstration() -> anyhow::Result<(Config, key::NewKey)> {
    let key = key::new_key("demo")?;
    let config = demo::config(&key, demo::upstream()?)?;
    Ok((config, key))
}
