//! The load benchmark: Tollgate beside nginx, in one run, before the same upstream. `make bench` runs it.
//!
//! Proxy, load and upstream share one CPU, which is the steadiest: waking another one is charged to the sender. What is
//! measured first is the CPU time that the proxy takes for a request, from `/proc/PID/stat`; absolute values wander with
//! the machine, so that rows compare within one round.
//!
//! | variable | default | |
//! |---|---|---|
//! | `ROUNDS` | 3 | how often everything is measured, in turn |
//! | `SECONDS` | 4 | how long each measurement takes, after half a second that is not counted |
//! | `CPU` | 0 | the CPU that all share |
//! | `SECOND` | 1 | another one, for the row of two workers |
//! | `ROWS` | | only rows with this in their title |
//! | `NETWORK` | | `machine`: in the machine's network, with its congestion control, and not in one of its own |
//! | `OUT` | `target/bench` | where `table.md`, `results.json` and `chart.svg` go |
//!
//! The same program is the upstream and the load, each a process of its own.

mod bench;
mod chart;
mod drive;
mod facts;
mod gate;
mod keys;
mod network;
mod nginx;
mod process;
mod report;
mod rows;
mod stream;
mod timer;
mod upstream;
mod websocket;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

fn main() -> ExitCode {
    match role() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn role() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next();
    let mut argument = || arguments.next().context("an argument is missing");
    match role.as_deref() {
        None => {
            network::enter()?;
            bench::run()
        }
        Some("upstream") => upstream::run(argument()?.parse()?, argument()?.parse()?),
        Some("drive") => {
            println!("{}", serde_json::to_string(&drive::run(&serde_json::from_str(&argument()?)?)?)?);
            Ok(())
        }
        Some("hold") => drive::hold(&serde_json::from_str(&argument()?)?),
        Some(other) => bail!("`{other}`: run it without arguments; see its source for the variables"),
    }
}
