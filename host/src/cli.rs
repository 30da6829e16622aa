//! The commands, each calling one function. Output for people goes to standard error, data to standard output.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::authority::{Authority, Scheme};
use crate::config::{self, Config, Problems};
use crate::metrics::Metrics;
use crate::plugin::{Engine, Library};
use crate::router::{Asked, Router};
use crate::server::{Options, Server, StartError};
use crate::telemetry::{Redaction, Telemetry};
use crate::{demo, key, path};

/// What `run` takes where no file is named.
const DEFAULT: &str = "tollgate.toml";

/// An API proxy in which everything that decides about a request is a sandboxed WebAssembly component.
#[derive(Parser)]
#[command(name = "tollgate", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// As in `run`.
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve: CONFIG, else ./tollgate.toml, else the embedded demo
    Run {
        /// The configuration file
        config: Option<PathBuf>,
    },
    /// Report every problem of a configuration, and start nothing: exit status 0 fine, 1 problems, 2 could not read
    Check {
        /// The configuration file
        config: Option<PathBuf>,
        /// Problems as JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Tell which route takes a request, through which chain, and why the others do not
    Explain {
        /// The configuration file
        config: PathBuf,
        /// For example GET
        method: Method,
        /// For example https://api.example.com/v1/search?q=tea
        url: Uri,
        /// A header of the request, 'name: value'
        #[arg(short = 'H', long = "header")]
        headers: Vec<String>,
    },
    /// List the components that plugins can use: built in, and dropped into the plugins directory
    Plugins {
        /// The configuration file
        config: Option<PathBuf>,
        /// The list as JSON
        #[arg(long)]
        json: bool,
    },
    /// API keys
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key, shown once, and the line for the configuration
    New {
        /// Whose key it is
        #[arg(default_value = "consumer")]
        consumer: String,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => run(arguments.config),
        Some(Command::Run { config }) => run(config),
        Some(Command::Check { config, json }) => check(&config.unwrap_or_else(|| DEFAULT.into()), json),
        Some(Command::Explain { config, method, url, headers }) => explain(&config, &method, &url, &headers),
        Some(Command::Plugins { config, json }) => plugins(config, json),
        Some(Command::Key(KeyCommand::New { consumer })) => new_key(&consumer),
    }
}

/// The commands, for who mistypes one.
const COMMANDS: [&str; 6] = ["run", "check", "explain", "plugins", "key", "help"];

/// The life of the process: configuration → build → announce → wait → drain.
fn run(path: Option<PathBuf>) -> ExitCode {
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
    let options = Options { path, metrics, telemetry: Some(telemetry.clone()), ..Options::default() };
    let server = match Server::start(config, options) {
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
        eprintln!("tollgate: listening on {address} ({name})");
    }
    if let Some(address) = server.admin() {
        eprintln!("tollgate: admin on http://{address}/ (healthz, readyz, metrics, state)");
    }
    if let Some(key) = &key {
        eprint!("\nTry:\n\n{}", demo::lines(key));
    }
    eprintln!("tollgate: ready");
    if let Err(error) = signals.wait(&server) {
        return failed(&format!("there is no thread for signals: {error}"));
    }
    eprintln!("tollgate: draining");
    let cut = server.stop();
    if cut > 0 {
        eprintln!("tollgate: {cut} connections were cut");
    }
    telemetry.flush(std::time::Duration::from_secs(1));
    ExitCode::SUCCESS
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

    /// Reloads on `SIGHUP`, and returns on `SIGTERM` and `SIGINT`. A second one of those ends the process at once.
    fn wait(self, server: &Server) -> std::io::Result<()> {
        let Self { runtime, mut reload, mut terminate, mut interrupt } = self;
        loop {
            let ends = runtime.block_on(async {
                tokio::select! {
                    _ = reload.recv() => false,
                    _ = terminate.recv() => true,
                    _ = interrupt.recv() => true,
                }
            });
            if ends {
                break;
            }
            // What is wrong is in the log already.
            let _ = server.reload();
        }
        std::thread::Builder::new().name("tollgate-hurry".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            eprintln!("tollgate: told twice, ending at once");
            std::process::exit(1);
        })?;
        Ok(())
    }
}

fn demonstration() -> anyhow::Result<(Config, key::NewKey)> {
    let key = key::new_key("demo")?;
    let config = demo::config(&key, demo::upstream()?)?;
    Ok((config, key))
}

fn check(path: &Path, json: bool) -> ExitCode {
    let (problems, fine) = match config::load(path) {
        Ok(config) => match build(config) {
            Ok(warnings) => (warnings, true),
            Err(StartError::Problems(problems)) => (problems, false),
            Err(StartError::Machine(error)) => return failed(&format!("{error:#}")),
        },
        Err(problems) => (problems, false),
    };
    if json {
        let list: Vec<_> = problems.iter().collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
    } else {
        eprint!("{problems}");
        if fine {
            eprintln!("{}: fine", path.display());
        }
    }
    match (fine, problems.is_unreadable()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::from(1),
    }
}

/// Loads everything that the configuration names, and serves nothing of it.
fn build(config: Config) -> Result<Problems, StartError> {
    let warnings = config.warnings.iter().cloned().collect();
    crate::server::build(config).map(|()| warnings)
}

fn explain(path: &Path, method: &Method, url: &Uri, fields: &[String]) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let mut headers = HeaderMap::new();
    for field in fields {
        let parsed = field.split_once(':').and_then(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            return failed(&format!("`{field}` is no header: write it as 'name: value'"));
        };
        headers.append(name, value);
    }
    let scheme = Scheme::of(url.scheme_str() == Some("https"));
    let named = url.authority().map(|authority| authority.as_str().to_owned());
    let host = named.or_else(|| Some(headers.get("host")?.to_str().ok()?.to_owned())).unwrap_or("localhost".to_owned());
    let authority = match Authority::parse(host.as_bytes(), scheme) {
        Ok(authority) => authority,
        Err(error) => return failed(&format!("400 {}: {}", error.reason().code(), error.detail())),
    };
    let router = Router::new(config.routes.iter().map(|route| (route, route)));
    let canonical = match path::canonical(url.path(), router.keeps_encoded_slash()) {
        Ok(canonical) => canonical,
        Err(error) => return failed(&format!("400 bad-path: {error}")),
    };
    let asked = Asked { method, host: authority.host(), path: &canonical, query: url.query(), headers: &headers };
    println!("{method} {}{canonical}", authority.as_str());
    for (name, verdict) in router.explain(asked) {
        println!("  {name}: {verdict}");
    }
    match router.find(asked) {
        Ok(route) => {
            let chain = if route.chain.is_empty() { "no plugin".to_owned() } else { route.chain.join(" → ") };
            println!("route `{}`: {chain} → upstream `{}`", route.name, route.upstream);
            ExitCode::SUCCESS
        }
        Err(none) => {
            if let Some(route) = router.preflight(asked) {
                println!("a preflight: the chain of route `{}` may answer it, else", route.name);
            }
            let error = crate::error::Error::from(none);
            println!("{} {}", error.reason().status().as_u16(), error.reason().code());
            ExitCode::from(1)
        }
    }
}

fn plugins(path: Option<PathBuf>, json: bool) -> ExitCode {
    let path = path.or_else(|| Path::new(DEFAULT).exists().then(|| DEFAULT.into()));
    let (directory, cache) = match path.map(|path| config::load(&path)) {
        Some(Ok(config)) => (config.plugins.directory, config.plugins.cache),
        Some(Err(problems)) => return refused(&problems),
        None => (None, None),
    };
    let mut library = match Engine::new(16, cache.as_deref()) {
        Ok(engine) => Library::new(Arc::new(engine), directory),
        Err(error) => return failed(&format!("{error:#}")),
    };
    for change in library.look() {
        library.settle(change, None);
    }
    let mut list = Vec::new();
    for report in library.reports() {
        let component = library.find(&report.name).ok().flatten();
        let hooks = crate::plugin::Hook::ALL;
        list.push(serde_json::json!({
            "name": report.name,
            "origin": report.origin,
            "size": report.size,
            "sha256": component.as_ref().map(|one| one.sha256.clone()),
            "hooks": component.as_ref().map(|one| {
                hooks.iter().filter(|hook| one.exports(**hook)).map(|hook| hook.as_str()).collect::<Vec<_>>()
            }),
            "imports": component.as_ref().map(|one| one.imports.clone()),
            "problem": report.problem,
        }));
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    for one in &list {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let words = |key: &str| {
            let list = one[key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(", ")
        };
        println!("{} ({}, {} KiB)", text("name"), text("origin"), one["size"].as_u64().unwrap_or_default() / 1024);
        match one["problem"].as_str() {
            Some(problem) => println!("  not loaded: {problem}"),
            None => println!("  sha256 {}\n  hooks {}\n  imports {}", text("sha256"), words("hooks"), words("imports")),
        }
    }
    ExitCode::SUCCESS
}

fn new_key(consumer: &str) -> ExitCode {
    match key::new_key(consumer) {
        Ok(new) => {
            eprintln!("The key, which is shown only now:");
            println!("{}", new.key);
            eprintln!("\nFor `config.keys` of an api-key plugin:");
            println!("{}", new.toml_line);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("{error}")),
    }
}

fn refused(problems: &Problems) -> ExitCode {
    eprint!("{problems}");
    if problems.is_unreadable() { ExitCode::from(2) } else { ExitCode::from(1) }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("tollgate: {message}");
    ExitCode::from(2)
}
