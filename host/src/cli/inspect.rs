//! `tollgate plugin inspect`: what a component is, before anybody lets it near a request.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{failed, say};
use crate::plugin::{Engine, Inspection, LoadError, Origin};

pub(super) fn inspect(file: &Path, json: bool, schema: bool) -> ExitCode {
    let name = file.display();
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return failed(&format!("cannot read {name}: {error}")),
    };
    let engine = match Engine::new(1, None) {
        Ok(engine) => Arc::new(engine),
        Err(error) => return failed(&format!("{error:#}")),
    };
    let inspection = match look(&engine, file, bytes) {
        Ok(inspection) => inspection,
        Err(error) => {
            if json {
                let json = serde_json::json!({ "file": name.to_string(), "problem": error.to_string() });
                say(&format!("{json:#}\n"));
            } else {
                eprintln!("{name}: {error}");
            }
            return ExitCode::from(1);
        }
    };
    if schema {
        let Some(schema) = &inspection.schema else {
            eprintln!("{name}: tells no schema of its configuration");
            return ExitCode::from(1);
        };
        say(&format!("{schema:#}\n"));
    } else if json {
        say(&format!("{}\n", serde_json::to_string_pretty(&inspection).unwrap_or_default()));
    } else {
        say(&format!("{name}: {inspection}"));
    }
    ExitCode::SUCCESS
}

fn look(engine: &Arc<Engine>, file: &Path, bytes: Vec<u8>) -> Result<Inspection, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| LoadError::Failed(error.to_string()))?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin");
    runtime.block_on(Inspection::of(engine, stem, Origin::File(file.to_owned()), bytes.into()))
}
