//! The commands, each calling one function. Output for people goes to standard error, data to standard output.

mod bench;
mod check;
mod inspect;
mod key;
mod new;
mod notify;
mod plugins;
mod replay;
mod rollout;
mod run;
mod sign;
mod test;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use http::{Method, Uri};

use crate::config::Problems;

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
    #[command(args_conflicts_with_subcommands = true)]
    Plugins {
        #[command(subcommand)]
        rollout: Option<RolloutCommand>,
        /// The configuration file
        config: Option<PathBuf>,
        /// The list as JSON
        #[arg(long)]
        json: bool,
    },
    /// For authors of plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// API keys
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum RolloutCommand {
    /// Give the new version of a plugin's component all requests
    Promote(OfPlugin),
    /// Give the new version of a plugin's component none, or go back to the one that served before
    Rollback(OfPlugin),
}

#[derive(clap::Args)]
struct OfPlugin {
    /// The plugin, as in [plugin.NAME]
    name: String,
    /// The configuration file of the server that runs
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum PluginCommand {
    /// Make a project to begin a plugin from, in a folder of its name
    New {
        /// Of the component, such as my-plugin
        name: String,
        /// What it is written in
        #[arg(long, value_enum, default_value_t = new::Language::Rust)]
        language: new::Language,
    },
    /// Show what a component is: hooks, imports, what must be granted. Exit status 1 where it is no plugin
    Inspect {
        /// The component, a .wasm file
        file: PathBuf,
        /// The same as JSON
        #[arg(long)]
        json: bool,
        /// Only the JSON Schema of its configuration
        #[arg(long, conflicts_with = "json")]
        schema: bool,
    },
    /// Make a pair of keys for signing components: NAME.key and NAME.pub, and the lines for the configuration
    Keygen {
        /// As in [key.NAME]
        name: String,
    },
    /// Sign a component: the signature is a file beside it, in the format of minisign
    Sign(sign::ToSign),
    /// Verify the signature beside a component: exit status 0 signed by this key, 1 not, 2 could not read
    Verify(sign::ToVerify),
    /// Run cases on the engine that serves: exit status 0 all passed, 1 some did not, 2 could not read
    Test(test::Asked),
    /// Show what one call of each hook costs: time, host calls, bytes, memory. Exit status 1 where it does not load
    Bench(bench::Asked),
    /// Run what was recorded with another build: exit status 0 the same, 1 something differs, 2 could not run
    Replay(replay::Asked),
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
        None => run::run(arguments.config),
        Some(Command::Run { config }) => run::run(config),
        Some(Command::Check { config, json }) => check::check(&config.unwrap_or_else(|| DEFAULT.into()), json),
        Some(Command::Explain { config, method, url, headers }) => check::explain(&config, &method, &url, &headers),
        Some(Command::Plugins { rollout: Some(RolloutCommand::Promote(of)), .. }) => of.tell("promote"),
        Some(Command::Plugins { rollout: Some(RolloutCommand::Rollback(of)), .. }) => of.tell("rollback"),
        Some(Command::Plugins { rollout: None, config, json }) => plugins::plugins(config, json),
        Some(Command::Plugin(PluginCommand::Inspect { file, json, schema })) => inspect::inspect(&file, json, schema),
        Some(Command::Plugin(PluginCommand::New { name, language })) => new::new(&name, language),
        Some(Command::Plugin(PluginCommand::Keygen { name })) => sign::keygen(&name),
        Some(Command::Plugin(PluginCommand::Sign(asked))) => sign::sign(&asked),
        Some(Command::Plugin(PluginCommand::Verify(asked))) => sign::verify(&asked),
        Some(Command::Plugin(PluginCommand::Test(asked))) => test::test(&asked),
        Some(Command::Plugin(PluginCommand::Bench(asked))) => bench::bench(&asked),
        Some(Command::Plugin(PluginCommand::Replay(asked))) => replay::replay(&asked),
        Some(Command::Key(KeyCommand::New { consumer })) => key::new(&consumer),
    }
}

impl OfPlugin {
    fn tell(self, what: &str) -> ExitCode {
        rollout::tell(&self.config.unwrap_or_else(|| DEFAULT.into()), &self.name, what)
    }
}

/// The commands, for who mistypes one.
const COMMANDS: [&str; 7] = ["run", "check", "explain", "plugins", "plugin", "key", "help"];

fn refused(problems: &Problems) -> ExitCode {
    eprint!("{problems}");
    if problems.is_unreadable() { ExitCode::from(2) } else { ExitCode::from(1) }
}

/// Data on standard output. Who reads it may have read enough, as `head` has: that is no failure.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn failed(message: &str) -> ExitCode {
    eprintln!("tollgate: {message}");
    ExitCode::from(2)
}
