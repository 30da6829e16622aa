//! What came of a replay: for people, and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::recording::{Broken, Call, Outcome, Recorded};

/// How much of a value is shown, in characters.
const SHOWN: usize = 200;

/// What came of all passes.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How many there were.
    pub passes: usize,
    /// Calls of hooks in them.
    pub calls: usize,
    /// Calls that were answered in another way.
    pub differing: Vec<Differing>,
    /// What this build wants to see and was not recorded: it was not there.
    pub unseen: Vec<String>,
    /// Where the file is damaged.
    #[serde(skip)]
    pub broken: Option<Broken>,
}

/// A call that was answered in another way.
#[derive(Debug, Serialize)]
pub struct Differing {
    /// What its request was called.
    pub request_id: String,
    /// The route that it went through.
    pub route: String,
    /// The hook.
    pub hook: String,
    /// What is not as it was.
    pub differences: Vec<Difference>,
    /// What was asked of capabilities that the recording has no answer to.
    pub unknown: Vec<String>,
    /// Of a failure.
    pub detail: Option<String>,
}

/// One thing that is not as it was.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Such as `flow` or `set.x-user`.
    pub what: String,
    /// What it was; none where it was not there.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

impl Differing {
    pub(super) fn new(
        pass: &Recorded,
        call: &Call,
        differences: Vec<Difference>,
        unknown: Vec<String>,
        after: &Outcome,
    ) -> Self {
        let detail = if let Outcome::Fail { detail, .. } = after { Some(detail.clone()) } else { None };
        Self {
            request_id: pass.request_id.clone(),
            route: pass.route.clone(),
            hook: call.hook.clone(),
            differences,
            unknown,
            detail,
        }
    }
}

/// What is in one answer and not in the other. Names that stand more than once, as fields may, are compared as lists.
pub(super) fn differences(before: &Outcome, after: &Outcome) -> Vec<Difference> {
    let grouped = |outcome: &Outcome| {
        let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        outcome.facts().into_iter().for_each(|(name, value)| facts.entry(name).or_default().push(value));
        facts
    };
    let (before, after) = (grouped(before), grouped(after));
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    // What it came to is what is looked at first.
    names.sort_by_key(|name| (*name != "flow", (*name).clone()));
    names.dedup();
    let value = |facts: &BTreeMap<String, Vec<String>>, name: &str| facts.get(name).map(|values| values.join(", "));
    let difference =
        |name: &&String| Difference { what: (*name).clone(), before: value(&before, name), after: value(&after, name) };
    names.iter().map(difference).filter(|one| one.before != one.after).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.differing {
            writeln!(f, "DIFFERS  {}  {}  (route {})", shown(&one.request_id), shown(&one.hook), shown(&one.route))?;
            for Difference { what, before, after } in &one.differences {
                let value = |value: &Option<String>| value.as_deref().map_or("nothing".to_owned(), quoted);
                writeln!(f, "           {}: was {}, is {}", shown(what), value(before), value(after))?;
            }
            for asked in &one.unknown {
                writeln!(f, "           it asked {}, to which the recording has no answer", quoted(asked))?;
            }
            if let Some(detail) = &one.detail {
                writeln!(f, "           {}", shown(detail))?;
            }
        }
        for name in &self.unseen {
            writeln!(f, "note: this build looks at {}, which was not recorded", shown(name))?;
        }
        if let Some(broken) = &self.broken {
            writeln!(f, "note: the file is damaged at {broken}; what is behind that was not read")?;
        }
        let (passes, calls, differ) = (self.passes, self.calls, self.differing.len());
        writeln!(f, "{differ} of {calls} calls in {passes} passes are answered in another way")
    }
}

/// Text of a file that anybody may have written, for a terminal.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect::<String>().escape_debug().collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Changes;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let edit = |value: &str| {
            Outcome::Edit(Changes { set: vec![("x-user".into(), value.as_bytes().to_vec())], ..Changes::default() })
        };
        assert_eq!(differences(&edit("alice"), &edit("alice")), []);
        let one = |what: &str, before: Option<&str>, after: Option<&str>| Difference {
            what: what.into(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(differences(&edit("alice"), &edit("bob")), [one("set.x-user", Some("alice"), Some("bob"))]);
        let all = differences(&Outcome::Continue, &edit("bob"));
        assert_eq!(all, [one("flow", Some("continue"), Some("edit")), one("set.x-user", None, Some("bob"))]);
        let trap = |detail: &str| Outcome::Fail { kind: "trap".into(), detail: detail.into() };
        assert_eq!(differences(&trap("at 1"), &trap("at 2")), []);
    }

    #[test]
    fn a_terminal_is_not_written_to_by_a_file() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
