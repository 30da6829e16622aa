//! A Rust file as the rules see it: its code, without comments, strings and unit tests; and where a name is in it.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the workspace.
pub(crate) struct Source {
    /// From the root of the workspace, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
}

/// What breaks a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) place: String,
    pub(crate) line: String,
}

impl Source {
    /// Whether it is this file or folder, or in it. `plugin` is `plugin.rs` and all of `plugin/`.
    pub(crate) fn is_in(&self, module: &str) -> bool {
        let rest = self.path.strip_prefix("host/src/").and_then(|path| path.strip_prefix(module));
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Whether all of it is tests: `tests.rs`, and what is below it.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code that ships, with each line in its place: what the rules are about.
    pub(crate) fn code(&self) -> String {
        let code = without_comments_and_strings(&self.text);
        // Tests are last in a file, by the habits of this house.
        match code.find("\n#[cfg(test)]\nmod tests {") {
            Some(tests) => code[..tests].to_owned(),
            None => code,
        }
    }

    /// The lines of the code in which one of these names is: whole paths such as `hyper::server`, whole words.
    pub(crate) fn naming(&self, names: &[&str]) -> Vec<Breach> {
        // Most files have none of them anywhere, and need no closer look.
        if !names.iter().any(|name| self.text.contains(name)) {
            return Vec::new();
        }
        let code = self.code();
        let mut breaches = Vec::new();
        for (number, (line, shown)) in code.lines().zip(self.text.lines()).enumerate() {
            if names.iter().any(|name| is_named(name, line)) {
                breaches.push(self.breach(number + 1, shown));
            }
        }
        breaches
    }

    pub(crate) fn breach(&self, line: usize, text: &str) -> Breach {
        Breach { place: format!("{}:{line}", self.path), line: text.trim().to_owned() }
    }
}

/// The files below a folder of the workspace with one of these endings, in order; not what is built, fetched or found.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    let mut sources = Vec::new();
    for file in found {
        if endings.iter().any(|ending| file.to_string_lossy().ends_with(ending)) {
            let path = file.strip_prefix(&root).expect("it was found there").to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
            sources.push(Source { path, text });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty(), "there is nothing in {folder}");
    sources
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_file() {
            found.push(path);
        } else if !["target", "corpus", "artifacts", ".git"].contains(&name.as_str()) {
            walk(&path, found);
        }
    }
}

/// Whether a path or word is in a line of code, as a whole: `hyper` is in `hyper::rt`, not in `hyper_util`.
fn is_named(name: &str, line: &str) -> bool {
    let of_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        !before.ends_with(of_a_word) && !after.starts_with(of_a_word)
    })
}

/// Comments and the insides of strings become spaces; every line end stays where it is.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (length, is_code) = piece(rest, code.chars().last());
        let (taken, left) = rest.split_at(length.max(next.len_utf8()));
        if is_code {
            code.push_str(taken);
        } else {
            code.extend(taken.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        }
        rest = left;
    }
    code
}

/// How long the next piece is, in bytes, and whether it is code. `before` is the last letter of code.
fn piece(rest: &str, before: Option<char>) -> (usize, bool) {
    let in_a_word = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (comment(rest), false);
    }
    if rest.starts_with('"') {
        return (string(rest), false);
    }
    let prefix = rest.len() - rest.trim_start_matches(['b', 'r', 'c']).len();
    let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    if !in_a_word && (1..=2).contains(&prefix) && rest[prefix + hashes..].starts_with('"') {
        if rest[..prefix].contains('r') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &rest[prefix + hashes + 1..];
            let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
            return (prefix + hashes + 1 + length, false);
        }
        if hashes == 0 {
            return (prefix + string(&rest[prefix..]), false);
        }
    }
    if rest.starts_with('\'') {
        return letter(rest);
    }
    (1, true)
}

/// A comment in a comment is a part of it.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are letters, `'static` is a lifetime.
fn letter(rest: &str) -> (usize, bool) {
    let mut letters = rest.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((after, _))) => match rest[after + 1..].find('\'') {
            Some(end) => (after + 1 + end + 1, false),
            None => (1, true),
        },
        (Some(_), Some((end, '\''))) => (end + 1, false),
        _ => (1, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "host/src/made/up.rs".into(), text: text.into() }
    }

    fn lines(text: &str, names: &[&str]) -> Vec<String> {
        source(text).naming(names).into_iter().map(|breach| breach.place).collect()
    }

    #[test]
    fn code_is_found_with_its_line() {
        let text = "use a::b;\n\nfn f() { hyper::server::x() }\n";
        assert_eq!(lines(text, &["hyper::server"]), ["host/src/made/up.rs:3"]);
        assert_eq!(lines(text, &["hyper", "a"]), ["host/src/made/up.rs:1", "host/src/made/up.rs:3"]);
        assert_eq!(source(text).naming(&["b"])[0].line, "use a::b;");
    }

    #[test]
    fn names_are_whole() {
        for text in ["hyper_util::x", "my_hyper::x", "hypers::x", "hyper1::x"] {
            assert!(lines(text, &["hyper"]).is_empty(), "{text}");
        }
        for text in ["hyper::x", "(hyper)", "{hyper::x, y}", "::hyper::x", "r#hyper"] {
            assert_eq!(lines(text, &["hyper"]).len(), 1, "{text}");
        }
    }

    #[test]
    fn comments_strings_and_tests_are_no_code() {
        for text in [
            "// hyper",
            "/// hyper\nfn f() {}",
            "/* a /* b */ hyper */",
            "let a = \"hyper\";",
            "let a = \"\\\"hyper\";",
            "let a = r\"\\\" ; \"hyper\";\"",
            "let a = r#\"say \"hyper\" \"#;",
            "let a = b\"hyper\";",
            "let a = br##\"x\"# hyper\"##;",
            "let a = c\"hyper\";",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use hyper::x;\n}\n",
        ] {
            assert!(lines(text, &["hyper"]).is_empty(), "{text}: {}", source(text).code());
        }
    }

    #[test]
    fn what_follows_them_is_code_again() {
        for text in [
            "// a\nhyper",
            "/* a /* b */ c */ hyper",
            "let a = \"b\"; hyper",
            "let a = \"\\\\\"; hyper",
            "let a = r\"\\\"; hyper",
            "let a = r#\"b\"#; hyper",
            "let a = '\"'; hyper; '\"'",
            "let a = '\\''; hyper",
            "fn f<'a>(b: &'a str) { hyper } // '",
            "let a = b'\"'; hyper",
            "let r = 1; hyper",
            "let a = \"b\n\nc\"; hyper",
        ] {
            assert_eq!(lines(text, &["hyper"]).len(), 1, "{text}: {}", source(text).code());
        }
        assert_eq!(lines("let a = \"b\n\nc\"; hyper", &["hyper"]), ["host/src/made/up.rs:3"]);
    }

    #[test]
    fn modules_are_files_and_folders() {
        let at = |path: &str| Source { path: path.into(), text: String::new() };
        for path in ["host/src/plugin.rs", "host/src/plugin/pool.rs", "host/src/plugin/a/b.rs"] {
            assert!(at(path).is_in("plugin"), "{path}");
        }
        for path in ["host/src/plugins.rs", "host/src/a/plugin.rs", "sdk/src/plugin.rs"] {
            assert!(!at(path).is_in("plugin"), "{path}");
        }
        assert!(at("host/src/a/tests.rs").is_test() && at("host/src/a/tests/b.rs").is_test());
        assert!(!at("host/src/a/testing.rs").is_test());
    }
}
