//! Cases, run by the program that serves.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Where the cases are.
pub(crate) enum Cases<'a> {
    File(&'a Path),
    Text(&'a str),
}

/// A case that went as expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// Its name in the file.
    pub name: String,
    /// What all calls of hooks took together; none where nothing was sent.
    pub time: Option<Duration>,
    /// What the instance has of memory afterwards, in bytes; none where it is gone.
    pub memory: Option<u64>,
    /// What the plugin logged, each line as `warn: what it says`.
    pub log: Vec<String>,
}

/// What was not as expected, or why nothing was run.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// As `tollgate plugin test` says it.
    text: String,
    /// Of all cases.
    differences: Vec<Difference>,
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is looked at, as a file names it: `response.headers.x-hello`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub found: String,
}

impl Failed {
    pub(crate) fn cannot(why: impl Into<String>) -> Self {
        Self { text: why.into(), differences: Vec::new() }
    }

    /// Everything that is not as expected; nothing where it could not be run.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

impl std::error::Error for Failed {}

/// Runs cases on a component.
pub(crate) fn run(component: &Path, cases: Cases<'_>) -> Result<Vec<Ran>, Failed> {
    let program = program();
    let mut tollgate = Command::new(&program);
    tollgate.args(["plugin", "test", "--json", "--component"]).arg(component);
    let text = match cases {
        Cases::File(path) => {
            tollgate.arg(path);
            ""
        }
        Cases::Text(text) => {
            tollgate.arg("-");
            text
        }
    };
    let output =
        tollgate.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().and_then(|mut run| {
            if let Some(mut stdin) = run.stdin.take() {
                // One that is gone says itself why.
                let _ = stdin.write_all(text.as_bytes());
            }
            run.wait_with_output()
        });
    let output = output.map_err(|error| {
        let program = program.display();
        Failed::cannot(format!(
            "{program} cannot be started: {error}\nput tollgate on the path, or say where it is: TOLLGATE=/path/to/tollgate cargo test"
        ))
    })?;
    read(&String::from_utf8_lossy(&output.stdout), &String::from_utf8_lossy(&output.stderr))
}

/// `TOLLGATE`, else what is built in the directory that this test was built in, else what is on the path.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("TOLLGATE") {
        return named.into();
    }
    let name = format!("tollgate{}", std::env::consts::EXE_SUFFIX);
    let this = std::env::current_exe().ok();
    let beside = this.and_then(|this| Some(this.parent()?.parent()?.join(&name))).filter(|beside| beside.is_file());
    beside.unwrap_or_else(|| name.into())
}

/// What the program says: what came of cases as JSON, and what is wrong with a file as text.
fn read(out: &str, err: &str) -> Result<Vec<Ran>, Failed> {
    let Ok(json) = serde_json::from_str::<Value>(out) else {
        return Err(Failed::cannot(format!("tollgate plugin test: {err}{out}")));
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let broken: String = list(&json["broken"]).iter().map(|one| text(&one["problem"])).collect();
    if !broken.is_empty() {
        return Err(Failed::cannot(broken));
    }
    let (mut ran, mut failed) = (Vec::new(), Failed { text: String::new(), differences: Vec::new() });
    for case in list(&json["files"]).iter().flat_map(|file| list(&file["cases"])) {
        let (name, log) = (text(&case["name"]), list(&case["log"]).iter().map(text).collect::<Vec<_>>());
        if case["passed"] == true {
            let micros = case["time_us"].as_f64().unwrap_or_default();
            let time = case["time_us"].is_number().then(|| Duration::from_nanos((micros * 1000.0) as u64));
            ran.push(Ran { name, time, memory: case["memory"].as_u64(), log });
            continue;
        }
        failed.text += &format!("{name}  ({})\n", text(&case["place"]));
        for one in list(&case["differences"]) {
            let [what, expected, found] = ["what", "expected", "found"].map(|key| text(&one[key]));
            failed.text += &format!("    {what}:\n      expected {expected}\n      found    {found}\n");
            failed.differences.push(Difference { what, expected, found });
        }
        for line in log {
            failed.text += &format!("    it logged: {}\n", line.escape_debug());
        }
    }
    if failed.differences.is_empty() { Ok(ran) } else { Err(failed) }
}
