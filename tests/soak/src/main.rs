//! The soak: the real binary for minutes, under clients that never stop asking, while its configuration is reloaded, a
//! plugin is replaced, and the servers behind it are killed. `make soak` runs it.
//!
//! At the end, no request may be lost beyond those that were under way on a server that was killed; memory has to be
//! flat, and no descriptor may be left.
//!
//! | variable | default | |
//! |---|---|---|
//! | `SOAK_SECONDS` | 600 | how long it takes, of which the first fifth is for warming up |
//! | `TOLLGATE` | beside this program | the binary |
//! | `PLUGIN` | | a component that is dropped in again and again, as another version each time |
//!
//! The same program is the servers, each a process of its own, so that one can be killed with SIGKILL.

mod backend;
mod clients;
mod disturb;
mod proxy;
mod report;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use clients::Board;
use disturb::Disturbance;
use proxy::Proxy;
use report::Sample;

/// Servers behind the proxy.
const BACKENDS: usize = 3;
/// How long after the end descriptors may take to be closed.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    match LocalSet::new().block_on(&runtime, role()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn role() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => soak().await,
        Some("backend") => backend::run(arguments.next().context("an address is missing")?.parse()?).await,
        Some(other) => bail!("`{other}`: run it without arguments; see its source for the variables"),
    }
}

async fn soak() -> Result<()> {
    let seconds: u64 = match std::env::var("SOAK_SECONDS") {
        Ok(text) => text.parse().context("SOAK_SECONDS is a number")?,
        Err(_) => 600,
    };
    ensure!(seconds >= 20, "SOAK_SECONDS is at least 20");
    let whole = Duration::from_secs(seconds);
    let mut disturbance = Disturbance::start(BACKENDS)?;
    let proxy = Rc::new(Proxy::start(&disturbance.addresses()).await?);
    let board = Rc::new(Board::default());
    let clients = clients::start(&proxy, &board).await?;
    let begun = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let mut said = begun;
    while begun.elapsed() < whole {
        sleep(Duration::from_secs(1)).await;
        samples.push(Sample::take(&proxy, begun)?);
        disturbance.once(&proxy, &board).await?;
        if said.elapsed() >= Duration::from_secs(30) {
            said = Instant::now();
            eprintln!("soak: {} s, {}", begun.elapsed().as_secs(), board.summary());
        }
    }
    disturbance.heal()?;
    board.stop();
    for client in clients {
        client.await.context("a client panicked")?;
    }
    // What is left open now belongs to nobody, apart from connections to servers that are kept on purpose.
    let ended = Instant::now();
    let left = loop {
        let left = proxy.descriptors()?.saturating_sub(proxy.upstream_connections().await?);
        if left <= proxy.descriptors_at_start || ended.elapsed() > PATIENCE {
            break left;
        }
        sleep(Duration::from_millis(250)).await;
    };
    let verdict = report::report(&samples, &board, &disturbance, left, &proxy);
    proxy.stop()?;
    ensure!(verdict, "something above is not as it has to be");
    Ok(())
}
