//! What is wrong with a configuration: as text for people and as data for programs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::place::Place;

/// Whether a problem keeps a configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It does.
    Error,
    /// Allowed, but probably not meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The name that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The key, for example `route.search.chain[1]`. Empty for the whole file.
    pub path: String,
    /// Where. None for a problem of no place in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Other places that have a part in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// Another place, and what it has to do with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What is there.
    pub message: String,
    /// Where.
    pub place: Place,
}

impl Problem {
    /// Something that keeps the configuration from being used.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            suggestion: None,
            path: String::new(),
            place: None,
            help: None,
            notes: Vec::new(),
        }
    }

    /// Something that is allowed, but probably not meant.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// The same, at a place and key.
    #[must_use]
    pub fn at(mut self, place: Place, path: impl Into<String>) -> Self {
        self.place = Some(place);
        self.path = path.into();
        self
    }

    /// The same, with what was probably meant.
    #[must_use]
    pub fn suggest(mut self, name: Option<impl Into<String>>) -> Self {
        self.suggestion = name.map(Into::into);
        self
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with another place.
    #[must_use]
    pub fn note(mut self, message: impl Into<String>, place: Place) -> Self {
        self.notes.push(Note { message: message.into(), place });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        if let Some(name) = &self.suggestion {
            write!(f, ", did you mean {name:?}?")?;
        }
        if let Some(place) = &self.place {
            show(f, place, &self.path)?;
        } else if !self.path.is_empty() {
            write!(f, "\n  at {}", self.path)?;
        }
        for note in &self.notes {
            write!(f, "\nnote: {}", note.message)?;
            show(f, &note.place, "")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        f.write_char('\n')
    }
}

fn show(f: &mut fmt::Formatter<'_>, place: &Place, label: &str) -> fmt::Result {
    let number = place.line.to_string();
    let gutter = number.len();
    write!(f, "\n{:gutter$}--> {place}\n{:gutter$} |\n{number} | ", "", "")?;
    // One character for one: the carets below count on it.
    for character in place.text.chars() {
        f.write_char(match character {
            '\t' => ' ',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })?;
    }
    write!(f, "\n{:gutter$} | {:indent$}{:^<width$}", "", "", "", indent = place.indent, width = place.width)?;
    if label.is_empty() { Ok(()) } else { write!(f, " {label}") }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    list: Vec<Problem>,
    left_off: usize,
    unreadable: bool,
}

impl Problems {
    /// More are counted, but not kept: nobody reads on, and a hostile file shall not fill the memory.
    const MOST: usize = 200;

    /// That a configuration could not be read at all.
    pub(crate) fn unreadable(problem: Problem) -> Self {
        Self { list: vec![problem], left_off: 0, unreadable: true }
    }

    /// Whether the file could not be read, so that nothing is known about what is in it.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Whether one of them keeps the configuration from being used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Errors and warnings, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// The problems themselves.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.list
    }

    /// Adds one, unless there are too many already.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < Self::MOST {
            self.list.push(problem);
        } else {
            // An error takes the place of a warning: which warnings there were matters less than that it is refused.
            let warning = self.list.iter_mut().rfind(|kept| kept.severity == Severity::Warning);
            if let (Severity::Error, Some(warning)) = (problem.severity, warning) {
                *warning = problem;
            }
            self.left_off += 1;
        }
    }

    /// Brings them into the order of the file; those without a place come first.
    pub fn sort(&mut self) {
        self.list.sort_by(|a, b| {
            let key = |problem: &Problem| problem.place.as_ref().map(|place| (place.line, place.column));
            key(a).cmp(&key(b)).then_with(|| a.severity.cmp(&b.severity))
        });
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut all = Self::default();
        problems.into_iter().for_each(|problem| all.push(problem));
        all.sort();
        all
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{problem}")?;
        }
        let errors = self.list.iter().filter(|problem| problem.severity == Severity::Error).count();
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        write!(f, "{}", count(errors, "error"))?;
        if errors < self.list.len() {
            write!(f, ", {}", count(self.list.len() - errors, "warning"))?;
        }
        if self.left_off > 0 {
            write!(f, ", and {} more", self.left_off)?;
        }
        f.write_char('\n')
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_problems_are_counted_and_errors_stay() {
        let mut problems = Problems::default();
        (0..300).for_each(|_| problems.push(Problem::warning("small")));
        problems.push(Problem::error("large"));
        assert_eq!(problems.iter().count(), Problems::MOST);
        assert!(problems.has_errors());
        assert!(problems.to_string().ends_with("1 error, 199 warnings, and 101 more\n"));
    }
}
