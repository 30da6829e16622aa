//! What the TOML parser says, in words for those who do not know its grammar.

use std::ops::Range;

use super::place::Source;
use super::problem::Problem;

/// What is to be said about the errors of the TOML parser: one for each line, since the others follow from it.
pub(crate) fn problems(errors: &[toml::de::Error], source: &Source<'_>) -> Vec<(Range<usize>, Problem)> {
    let mut found: Vec<(Range<usize>, &str)> =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    found.sort_by_key(|(span, _)| span.start);
    let mut out = Vec::new();
    let mut last = 0;
    // Whether we are in a table that was there before, so that its keys were, too.
    let mut again = false;
    for (span, message) in found {
        let line = source.line(span.start);
        let duplicate = message == "duplicate key";
        let header = source.text_of(line).trim_start().starts_with('[');
        if line == last || (duplicate && again && !header && !source.has_header(last + 1..line)) {
            last = line;
            continue;
        }
        again = duplicate && header;
        last = line;
        let problem = problem(message, source, &span);
        out.push((span, problem));
    }
    out
}

fn problem(message: &str, source: &Source<'_>, span: &Range<usize>) -> Problem {
    let written = source.slice(span);
    let is = |beginning: &str| message.starts_with(beginning);
    let (message, help) = if message == "duplicate key" {
        (format!("{written} is defined twice"), Some("a key or table stands in one place only"))
    } else if is("string values must be quoted") && written.is_empty() {
        ("the value is missing".to_owned(), None)
    } else if is("string values must be quoted") || is("invalid boolean") {
        (
            "the value is not in quotes".to_owned(),
            Some("strings are written as \"text\"; only true and false stand alone"),
        )
    } else if is("key with no value") || written == ":" {
        ("this key has no value".to_owned(), Some("values follow an equals sign: key = \"value\""))
    } else if is("invalid basic string") || is("invalid literal string") {
        ("the quote at the end of the string is missing".to_owned(), None)
    } else if is("missing escaped value") {
        let help = "a backslash is written as \\\\, or the string in single quotes: '\\d+'";
        ("the backslash escapes nothing".to_owned(), Some(help))
    } else if is("unclosed array") || is("missing comma between array elements") {
        (message.to_owned(), Some("perhaps the \"]\" of a list is missing before this place"))
    } else if message == "recursion limit" {
        ("this is nested too deep".to_owned(), None)
    } else {
        (message.to_owned(), None)
    };
    let problem = Problem::error(format!("not TOML: {message}")).at(source.place(span), "");
    match help {
        Some(help) => problem.help(help),
        None => problem,
    }
}
