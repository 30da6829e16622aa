//! What came of cases: for people, and in the form that build servers read.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::{Difference, Seen};
use crate::config::cases::Case;

/// Of a difference that stands in one line, in bytes. The values of a longer one stand below each other.
const ONE_LINE: usize = 120;

/// What came of a file of cases.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// What was tried.
    pub component: String,
    /// One for each case.
    #[serde(rename = "cases")]
    pub outcomes: Vec<Outcome>,
    /// How long all of it took, compiling included.
    #[serde(skip)]
    pub time: Duration,
}

/// What came of one case.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// As in `[case.NAME]`.
    pub name: String,
    /// Where it stands: file, line and column.
    pub place: String,
    /// Whether all was as expected.
    pub passed: bool,
    /// What was not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What all calls of hooks took together, in microseconds; none where nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_us: Option<f64>,
    /// What the instance has of memory afterwards, in bytes; none where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<usize>,
    /// What the plugin logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl Outcome {
    pub(super) fn of(case: &Case, differences: Vec<Difference>, seen: Option<&Seen>) -> Self {
        Self {
            name: case.name.clone(),
            place: case.place.to_string(),
            passed: differences.is_empty(),
            differences,
            time_us: seen.map(|seen| seen.time.as_nanos() as f64 / 1000.0),
            memory: seen.map(|seen| seen.memory).filter(|bytes| *bytes > 0),
            log: seen.map(|seen| seen.log.clone()).unwrap_or_default(),
        }
    }
}

impl Report {
    /// Whether all cases were as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// How many were not.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.passed).count()
    }

    /// One `testsuite` of the format that JUnit writes and build servers read. [`junit_broken`] is one for a file that could
    /// not be run.
    #[must_use]
    pub fn junit(&self) -> String {
        let mut xml = String::new();
        let (tests, failures, time) = (self.outcomes.len(), self.failed(), self.time.as_secs_f64());
        // Writing to a String cannot fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{time:.3}\">",
            escape(&self.file)
        );
        for outcome in &self.outcomes {
            let time = outcome.time_us.unwrap_or_default() / 1e6;
            let (name, class) = (escape(&outcome.name), escape(&self.component));
            let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time:.6}\"");
            if outcome.passed {
                xml += "/>\n";
                continue;
            }
            let lines: Vec<_> = outcome.differences.iter().map(ToString::to_string).collect();
            let first = lines.first().map_or("", |line| line);
            let text = escape(&format!("{}\n{}", outcome.place, lines.join("\n")));
            let _ = writeln!(xml, ">\n      <failure message=\"{}\">{text}</failure>\n    </testcase>", escape(first));
        }
        xml + "  </testsuite>\n"
    }
}

/// A `testsuite` for a file that could not be run: an error, so that no build server takes it for nothing to run.
#[must_use]
pub fn junit_broken(file: &str, why: &str) -> String {
    let (name, why) = (escape(file), escape(why.trim_end()));
    let first = why.lines().next().unwrap_or_default();
    format!(
        "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\">\n    <testcase name=\"it can be run\" \
         classname=\"{name}\">\n      <error message=\"{first}\">{why}</error>\n    </testcase>\n  </testsuite>\n"
    )
}

/// A line for each case, and below it what was not as expected.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            write!(f, "{outcome}")?;
        }
        let (all, failed) = (self.outcomes.len(), self.failed());
        writeln!(f, "{}: {} of {all} cases passed", self.file, all - failed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed {
            write!(f, "ok    {}", self.name)?;
            if let Some(time) = self.time_us {
                write!(f, "  ({time:.0} µs")?;
                if let Some(memory) = self.memory {
                    write!(f, ", {} KiB", memory.div_ceil(1024))?;
                }
                f.write_char(')')?;
            }
            return writeln!(f);
        }
        writeln!(f, "FAIL  {}  ({})", self.name, self.place)?;
        for difference in &self.differences {
            writeln!(f, "        {difference}")?;
        }
        if !self.log.is_empty() {
            writeln!(f, "        it logged:")?;
            for line in &self.log {
                writeln!(f, "          {}", line.escape_debug())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, expected, found } = self;
        if what.len() + expected.len() + found.len() <= ONE_LINE {
            return write!(f, "{what}: expected {expected}, found {found}");
        }
        write!(f, "{what}:\n          expected {expected}\n          found    {found}")
    }
}

/// Text in XML 1.0: what cannot be there becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out.push('\n'),
            '\t' => out.push('\t'),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_is_xml_whatever_a_plugin_says() {
        let difference =
            Difference { what: "log".into(), expected: "\"<a & b>\"".into(), found: "\u{1}\u{ffff}".into() };
        let outcome = Outcome {
            name: "a\"b".into(),
            place: "x.test.toml:3:1".into(),
            passed: false,
            differences: vec![difference],
            time_us: Some(12.5),
            memory: None,
            log: Vec::new(),
        };
        let report =
            Report { file: "x".into(), component: "x".into(), outcomes: vec![outcome], time: Duration::from_millis(7) };
        let xml = report.junit();
        assert!(xml.contains("tests=\"1\" failures=\"1\""), "{xml}");
        assert!(xml.contains("name=\"a&quot;b\"") && xml.contains("&lt;a &amp; b&gt;"), "{xml}");
        assert!(!xml.contains(['\u{1}', '\u{ffff}']), "{xml}");
    }
}
