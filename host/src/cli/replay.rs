//! `tollgate plugin replay`: runs what was recorded with another build, and shows every decision that differs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{failed, say};
use crate::plugin::{Component, Engine, Origin};
use crate::replay;

/// What is asked for.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// A recording, a .tollrec file
    recording: PathBuf,
    /// The build to run it with, a .wasm file
    component: PathBuf,
    /// Another build, to compare with in place of what was recorded
    #[arg(long, value_name = "COMPONENT")]
    base: Option<PathBuf>,
    /// What differs as JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn replay(asked: &Asked) -> ExitCode {
    match run(asked) {
        Ok(same) => ExitCode::from(u8::from(!same)),
        Err(error) => failed(&error),
    }
}

/// Whether nothing differs.
fn run(asked: &Asked) -> Result<bool, String> {
    let recording = replay::read(&asked.recording).map_err(|why| format!("{}: {why}", asked.recording.display()))?;
    let engine = Arc::new(Engine::new(16, None).map_err(|error| format!("{error:#}"))?);
    let component = compile(&engine, &asked.component)?;
    let base = asked.base.as_deref().map(|base| compile(&engine, base)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let ran = runtime.block_on(replay::run(&engine, &recording, &component, base.as_ref()));
    let report = ran.map_err(|error| format!("the component {error}"))?;
    if asked.json {
        say(&format!("{:#}\n", serde_json::json!(report)));
    } else {
        say(&report.to_string());
    }
    Ok(report.differing.is_empty())
}

fn compile(engine: &Engine, path: &Path) -> Result<Arc<Component>, String> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let compiled = Component::compile(engine, &name, Origin::File(path.to_owned()), bytes.into());
    compiled.map(Arc::new).map_err(|error| format!("{name}: {error}"))
}
