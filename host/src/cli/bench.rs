//! `tollgate plugin bench`: what one call of each hook costs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{failed, refused};
use crate::cases;
use crate::config::cases::{CaseFile, Source};
use crate::plugin::Engine;

/// What is asked for.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// The component, a .wasm file, or the name of a built-in one
    component: String,
    /// The plugin's configuration: a table of TOML or JSON, or the file that it is in
    #[arg(long)]
    config: Option<String>,
    /// A file of cases: their requests, responses, stores and answers of servers, in place of a plain GET
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    /// Only the case of this name
    #[arg(long, requires = "case")]
    name: Option<String>,
    /// How often each case is run in each isolation
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    passes: u32,
    /// The same as JSON
    #[arg(long)]
    json: bool,
}

/// What a browser or an API client sends.
const PLAIN: &str = r#"
[case.a-plain-get]
# Every case has to expect something; what comes of it is not looked at.
expect.flow = "continue"
[case.a-plain-get.request]
path = "/v1/search"
query = "q=tea"
[case.a-plain-get.request.headers]
accept = "application/json"
accept-encoding = "gzip, br"
accept-language = "en-GB,en;q=0.9"
authorization = "Bearer 0123456789abcdef0123456789abcdef"
cache-control = "no-cache"
user-agent = "example/1.0 (a client of an ordinary length)"
x-field-1 = "some value of an ordinary length"
x-field-2 = "some value of an ordinary length"
[case.a-plain-get.response]
status = 200
json = { answer = 42 }
"#;

pub(super) fn bench(asked: &Asked) -> ExitCode {
    let engine = match Engine::new(16, None) {
        Ok(engine) => Arc::new(engine),
        Err(error) => return failed(&format!("{error:#}")),
    };
    let path = asked.component.ends_with(".wasm").then(|| Path::new(&asked.component));
    let file = match &asked.case {
        Some(case) => crate::config::cases::load(case, path),
        None => crate::config::cases::parse(PLAIN, "plain.test.toml", Path::new("."), path),
    };
    let mut file = match file {
        Ok(file) => file,
        Err(problems) => return refused(&problems),
    };
    if path.is_none() {
        file.component = Source::BuiltIn(asked.component.clone());
    }
    if let Some(name) = &asked.name {
        file.cases.retain(|case| case.name == *name);
        if file.cases.is_empty() {
            return failed(&format!("there is no case `{name}`"));
        }
    }
    if let Some(config) = &asked.config {
        let config = match configuration(config) {
            Ok(config) => config,
            Err(why) => return failed(&why),
        };
        file.cases.iter_mut().for_each(|case| case.plugin.config.clone_from(&config));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("{error}")),
    };
    match runtime.block_on(all(&engine, &file, asked.passes)) {
        Ok((_, benches)) if asked.json => {
            println!("{:#}", serde_json::json!(benches));
            ExitCode::SUCCESS
        }
        Ok((version, benches)) => {
            println!("{} ({version})", asked.component);
            benches.iter().for_each(|bench| print!("{bench}"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(1)
        }
    }
}

async fn all(engine: &Arc<Engine>, file: &CaseFile, passes: u32) -> Result<(String, Vec<cases::Bench>), String> {
    let component = cases::find(engine, file).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut benches = Vec::new();
    for case in &file.cases {
        let name = &case.name;
        let more = cases::bench(engine, &component, case, passes).await;
        benches.extend(more.map_err(|error| format!("{}, {name}: {error}", component.name))?);
    }
    Ok((component.version().to_owned(), benches))
}

/// A configuration as compact JSON.
fn configuration(given: &str) -> Result<String, String> {
    let text = match given.trim_start().starts_with('{') {
        true => given.to_owned(),
        false => std::fs::read_to_string(given).map_err(|error| format!("cannot read {given}: {error}"))?,
    };
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
        return Ok(json.to_string());
    }
    // A table in one line is a value, and what is in a file a document.
    let table = match text.trim_start().starts_with('{') {
        true => toml::from_str::<toml::Table>(&format!("config = {text}")).map(|mut table| table.remove("config")),
        false => toml::from_str::<toml::Table>(&text).map(|table| Some(toml::Value::Table(table))),
    };
    let table = table.map_err(|error| format!("the configuration is neither JSON nor TOML: {error}"))?;
    serde_json::to_string(&table).map_err(|error| format!("the configuration is no JSON: {error}"))
}
