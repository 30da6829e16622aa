//! `tollgate plugin test`: runs cases, and says what was not as expected.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{failed, say};
use crate::cases::{self, CannotRun, Report};
use crate::config::cases::ENDING;
use crate::plugin::Engine;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The name that stands for it in place of a file's.
const STANDARD_INPUT: &str = "-";

/// What is asked for.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// Files of cases; - for standard input
    #[arg(required = true)]
    cases: Vec<PathBuf>,
    /// The component to try, a .wasm file, in place of what the files name
    #[arg(long)]
    component: Option<PathBuf>,
    /// What came of it as JSON on standard output
    #[arg(long)]
    json: bool,
    /// What came of it in JUnit's format, in a file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run again whenever one of the files or components changes
    #[arg(long)]
    watch: bool,
}

/// How it ended, the worst of all files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Passed = 0,
    Failed = 1,
    Unreadable = 2,
}

pub(super) fn test(asked: &Asked) -> ExitCode {
    if let Some(why) = asked.cases.iter().find_map(|path| no_cases(path)) {
        return failed(&why);
    }
    if asked.watch && asked.cases.iter().any(|path| path == Path::new(STANDARD_INPUT)) {
        return failed("standard input is read once: --watch needs files");
    }
    let engine = match Engine::new(16, None) {
        Ok(engine) => Arc::new(engine),
        Err(error) => return failed(&format!("{error:#}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("{error}")),
    };
    loop {
        let before = asked.watch.then(|| stamps(asked));
        let verdict = match runtime.block_on(all(&engine, asked)) {
            Ok(verdict) => verdict,
            Err(error) => return failed(&error),
        };
        let Some(before) = before else { return ExitCode::from(verdict as u8) };
        eprintln!("tollgate: waiting for a change");
        while stamps(asked) == before {
            runtime.block_on(async { tokio::time::sleep(LOOK).await });
        }
    }
}

/// What somebody meant who names something else than a file of cases.
fn no_cases(path: &Path) -> Option<String> {
    let name = path.display();
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        let cases = entries.iter().find(|entry| entry.to_str().is_some_and(|name| name.ends_with(ENDING)));
        let meant = cases.map(|cases| format!(", such as {}", cases.display()));
        return Some(format!("{name} is a folder: name a file of cases{}", meant.unwrap_or_default()));
    }
    let is_component = path.extension().is_some_and(|ending| ending == "wasm");
    is_component.then(|| format!("{name} is a component: name its cases, as in `plugin test CASES --component {name}`"))
}

async fn all(engine: &Arc<Engine>, asked: &Asked) -> Result<Verdict, String> {
    let mut verdict = Verdict::Passed;
    let mut reports = Vec::new();
    let mut broken = Vec::new();
    for path in &asked.cases {
        match one(engine, path, asked.component.as_deref()).await? {
            Ok(report) => {
                if !report.passed() {
                    verdict = verdict.max(Verdict::Failed);
                }
                if !asked.json {
                    say(&report.to_string());
                }
                reports.push(report);
            }
            Err(why) => {
                verdict = verdict.max(match &why {
                    CannotRun::Cases(problems) if problems.is_unreadable() => Verdict::Unreadable,
                    CannotRun::NoComponent(..) => Verdict::Unreadable,
                    CannotRun::Cases(_) | CannotRun::Component(..) => Verdict::Failed,
                });
                eprint!("{why}");
                broken.push((path.display().to_string(), why.to_string()));
            }
        }
    }
    if asked.json {
        let broken: Vec<_> =
            broken.iter().map(|(file, why)| serde_json::json!({ "file": file, "problem": why })).collect();
        say(&format!("{:#}\n", serde_json::json!({ "files": reports, "broken": broken })));
    }
    if let Some(path) = &asked.junit {
        junit(path, &reports, &broken).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(verdict)
}

/// One file.
async fn one(engine: &Arc<Engine>, path: &Path, component: Option<&Path>) -> Result<Result<Report, CannotRun>, String> {
    if path != Path::new(STANDARD_INPUT) {
        return Ok(cases::run(engine, path, component).await);
    }
    let text = std::io::read_to_string(std::io::stdin());
    let text = text.map_err(|error| format!("cannot read standard input: {error}"))?;
    Ok(cases::run_text(engine, &text, "standard input", Path::new(""), component).await)
}

fn junit(path: &Path, reports: &[Report], broken: &[(String, String)]) -> std::io::Result<()> {
    let suites: String = reports.iter().map(Report::junit).collect();
    let suites = suites + &broken.iter().map(|(file, why)| cases::junit_broken(file, why)).collect::<String>();
    std::fs::write(path, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n"))
}

/// How the files look that decide what comes out: those of cases, and those that they name.
fn stamps(asked: &Asked) -> Vec<Option<(u64, u64, i64, i64)>> {
    let mut files: Vec<PathBuf> = asked.cases.clone();
    files.extend(asked.component.clone());
    for path in &asked.cases {
        files.extend(cases::files(path));
    }
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.size(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}
