//! `pattern` and `patternProperties`: regular expressions of ECMA 262, matched in linear time.
//!
//! A pattern is translated to the syntax of the `regex` crate, whose engines never backtrack without bound. What needs
//! backtracking, look-around and back-references, is refused when the schema is compiled.

use regex::bytes::{Regex, RegexBuilder};

use super::automaton::Automaton;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    matcher: Matcher,
    written: String,
}

#[derive(Debug)]
enum Matcher {
    Table(Automaton),
    /// Where a table would be too large.
    Regex(Regex),
}

/// The most that a compiled pattern may take, in bytes.
const SIZE: usize = 1 << 20;

impl Pattern {
    /// Compiles a pattern of ECMA 262, or says why not.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let translated = translate(pattern)?;
        let matcher = match Automaton::new(&translated) {
            Some(automaton) => Matcher::Table(automaton),
            None => Matcher::Regex(regex(&translated)?),
        };
        Ok(Self { matcher, written: pattern.to_owned() })
    }

    /// Whether it matches somewhere in the text.
    #[inline(always)]
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Table(automaton) => automaton.matches(text),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }

    /// As it was written.
    pub(super) fn written(&self) -> &str {
        &self.written
    }
}

/// What matches a pattern that was translated, or what is wrong with it.
fn regex(translated: &str) -> Result<Regex, String> {
    RegexBuilder::new(translated).size_limit(SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too large a pattern".to_owned(),
        error => {
            // The crate draws the pattern and points into it; the last line says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            format!("is no pattern: {}", reason.trim_start_matches("error: "))
        }
    })
}

/// White space and line ends of ECMA 262, as the inside of a class.
const WHITE: &str = r"\t\n\x0B\x0C\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";
const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";

fn translate(pattern: &str) -> Result<String, String> {
    let mut translation = Translation { rest: pattern, out: String::with_capacity(pattern.len() + 16) };
    translation.run()?;
    Ok(translation.out)
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
}

/// What one escape or one character of a class stands for.
enum Atom {
    Char(char),
    /// The inside of a class.
    Set(&'static str),
    /// The inside of a class, negated.
    NotSet(&'static str),
    /// `\p{…}` or `\P{…}`, as written.
    Property(String),
}

impl Translation<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(character) = self.next() {
            match character {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '.' => self.out.push_str(r"[^\n\r\u{2028}\u{2029}]"),
                '(' => self.group()?,
                '{' if quantifier(self.rest).is_none() => self.out.push_str(r"\{"),
                '{' => {
                    let len = quantifier(self.rest).unwrap_or_default();
                    self.out.push('{');
                    self.out.push_str(&self.rest[..len]);
                    self.rest = &self.rest[len..];
                }
                '}' | ']' => {
                    self.out.push('\\');
                    self.out.push(character);
                }
                other => self.out.push(other),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn group(&mut self) -> Result<(), String> {
        for look_around in ["?=", "?!", "?<=", "?<!"] {
            if self.rest.starts_with(look_around) {
                return Err(format!("uses look-around, `({look_around}`, which cannot be matched in linear time"));
            }
        }
        if self.rest.starts_with('?') && !self.rest.starts_with("?:") && !self.rest.starts_with("?<") {
            return Err("has a group that begins with `(?` and something else than `:` or `<name>`".to_owned());
        }
        self.out.push('(');
        // A `?` behind it is no quantifier.
        if self.take("?:") {
            self.out.push_str("?:");
        } else if self.take("?<") {
            self.out.push_str("?<");
        }
        Ok(())
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        if self.take("b") {
            self.out.push_str(r"(?-u:\b)");
        } else if self.take("B") {
            self.out.push_str(r"(?-u:\B)");
        } else if self.rest.starts_with(|next: char| next.is_ascii_digit() && next != '0')
            || self.rest.starts_with("k<")
        {
            return Err("uses a back-reference, which cannot be matched in linear time".to_owned());
        } else {
            match self.atom()? {
                Atom::Char(character) => push_char(&mut self.out, character),
                Atom::Set(set) => self.out.push_str(&format!("[{set}]")),
                Atom::NotSet(set) => self.out.push_str(&format!("[^{set}]")),
                Atom::Property(property) => self.out.push_str(&property),
            }
        }
        Ok(())
    }

    /// What follows a backslash.
    fn atom(&mut self) -> Result<Atom, String> {
        let unfinished = || "ends within an escape".to_owned();
        Ok(match self.next().ok_or_else(unfinished)? {
            'd' => Atom::Set(DIGIT),
            'D' => Atom::NotSet(DIGIT),
            'w' => Atom::Set(WORD),
            'W' => Atom::NotSet(WORD),
            's' => Atom::Set(WHITE),
            'S' => Atom::NotSet(WHITE),
            't' => Atom::Char('\t'),
            'n' => Atom::Char('\n'),
            'v' => Atom::Char('\u{b}'),
            'f' => Atom::Char('\u{c}'),
            'r' => Atom::Char('\r'),
            '0' if !self.rest.starts_with(|next: char| next.is_ascii_digit()) => Atom::Char('\0'),
            'c' => match self.next() {
                Some(letter) if letter.is_ascii_alphabetic() => Atom::Char(char::from(letter as u8 % 32)),
                _ => return Err(r"has `\c` without a letter".to_owned()),
            },
            'x' => Atom::Char(self.hex(2).and_then(char::from_u32).ok_or(r"has `\x` without two hexadecimal digits")?),
            'u' => Atom::Char(self.unicode().ok_or(r"has `\u` without a character's hexadecimal digits")?),
            letter @ ('p' | 'P') => {
                let end = self.rest.find('}').filter(|_| self.rest.starts_with('{'));
                let end = end.ok_or(r"has `\p` without `{…}`")?;
                let property = format!("\\{letter}{}", &self.rest[..=end]);
                self.rest = &self.rest[end + 1..];
                Atom::Property(property)
            }
            other if other.is_ascii_alphanumeric() => {
                return Err(format!(r"has `\{other}`, which is no escape of ECMA 262"));
            }
            other => Atom::Char(other),
        })
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.rest = &self.rest[digits..];
        u32::from_str_radix(text, 16).ok()
    }

    fn unicode(&mut self) -> Option<char> {
        if self.take("{") {
            let end = self.rest.find('}')?;
            let code = u32::from_str_radix(&self.rest[..end], 16).ok()?;
            self.rest = &self.rest[end + 1..];
            return char::from_u32(code);
        }
        let first = self.hex(4)?;
        if (0xd800..0xdc00).contains(&first) && self.take("\\u") {
            let second = self.hex(4).filter(|second| (0xdc00..0xe000).contains(second))?;
            return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        }
        char::from_u32(first)
    }

    fn class(&mut self) -> Result<(), String> {
        let negated = self.take("^");
        if self.take("]") {
            // Nothing, and anything.
            self.out.push_str(if negated { r"[\x00-\u{10FFFF}]" } else { r"[^\x00-\u{10FFFF}]" });
            return Ok(());
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        loop {
            let from = self.class_atom()?;
            let Some(from) = from else { break };
            // A range where a dash stands between two characters.
            let dash = self.rest.strip_prefix('-').filter(|rest| !rest.starts_with(']'));
            match (from, dash) {
                (Atom::Char(from), Some(rest)) => {
                    self.rest = rest;
                    match self.class_atom()? {
                        Some(Atom::Char(to)) if to < from => {
                            return Err("has a range in a class whose end comes before its beginning".to_owned());
                        }
                        Some(Atom::Char(to)) => {
                            push_char(&mut self.out, from);
                            self.out.push('-');
                            push_char(&mut self.out, to);
                        }
                        Some(set) => {
                            push_char(&mut self.out, from);
                            push_char(&mut self.out, '-');
                            self.set(set);
                        }
                        None => return Err("has a class without its end".to_owned()),
                    }
                }
                (from, _) => self.set(from),
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn set(&mut self, atom: Atom) {
        match atom {
            Atom::Char(character) => push_char(&mut self.out, character),
            Atom::Set(set) => self.out.push_str(set),
            Atom::NotSet(set) => self.out.push_str(&format!("[^{set}]")),
            Atom::Property(property) => self.out.push_str(&property),
        }
    }

    /// One element of a class; none at its end.
    fn class_atom(&mut self) -> Result<Option<Atom>, String> {
        match self.next() {
            Some(']') => Ok(None),
            Some('\\') if self.take("b") => Ok(Some(Atom::Char('\u{8}'))),
            Some('\\') => self.atom().map(Some),
            Some(other) => Ok(Some(Atom::Char(other))),
            None => Err("has a class without its end".to_owned()),
        }
    }
}

/// The length of what makes `{` a quantifier: `n}`, `n,}` or `n,m}`.
fn quantifier(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let (least, most) = rest[..end].split_once(',').unwrap_or((&rest[..end], ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end + 1)
}

/// A character that stands for itself, in a class or not.
fn push_char(out: &mut String, character: char) {
    if character.is_ascii_alphanumeric() {
        out.push(character);
    } else {
        out.push_str(&format!(r"\u{{{:X}}}", u32::from(character)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for text in matching {
            assert!(compiled.matches(text.as_bytes()), "{pattern} should match {text:?}");
        }
        for text in others {
            assert!(!compiled.matches(text.as_bytes()), "{pattern} should not match {text:?}");
        }
    }

    #[test]
    fn patterns_mean_what_ecma_262_says() {
        check("^a*$", &["", "aaa"], &["b", "aa\n"]);
        check(r"^\d+$", &["12"], &["১২", ""]);
        check(r"^\w$", &["a", "_"], &["é", "-"]);
        check(r"^\s$", &["\u{feff}", "\u{2029}", " ", "\u{b}", "\u{2003}"], &["x", "\u{200b}"]);
        check(r"^\S\D\W$", &["xx-", "éé!", "éé😀"], &[" x-", "x1-", "xxx"]);
        check(r"\bcat\b", &["a cat.", "écat"], &["cats"]);
        check(r"^a\Bb$", &["ab"], &["a b"]);
        check("^.$", &["a", "\u{85}", "😀"], &["\n", "\r", "\u{2028}"]);
        check(r"^[\d\-x]+$", &["1-x"], &["y"]);
        check(r"^[a-c\d-]$", &["-", "b", "3"], &["d"]);
        check(r"^[\w-.]$", &["-", ".", "a"], &["/"]);
        check("^[a&&b]$", &["a", "&", "b"], &["c"]);
        check("^[[a]$", &["[", "a"], &["b"]);
        check("^[~~#^]$", &["~", "#", "^"], &["b"]);
        check("^[^]$", &["x", "\n"], &["", "xy"]);
        check("[]", &[], &["", "x"]);
        check(r"^\u00e9\u{1F600}\ud83d\ude00\x41\cA\0\/\-$", &["é😀😀A\u{1}\0/-"], &["e"]);
        check(r"^[\b]$", &["\u{8}"], &["b"]);
        check(r"^\p{Letter}\P{L}\p{Script=Greek}$", &["é1α"], &["11α"]);
        check("^(?:a|(?<name>b))+$", &["abab"], &["c"]);
        check("^a{2}b{1,}c{0,1}$", &["aabc", "aabbb"], &["ab"]);
        check("^a{,2}{x}$", &["a{,2}{x}"], &["aa"]);
        check("^a+?b??$", &["aa", "ab"], &["b"]);
        check("^{}]$", &["{}]"], &[]);
    }

    #[test]
    fn what_needs_backtracking_is_refused() {
        for pattern in ["a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b", r"(a)\1", r"(?<n>a)\k<n>"] {
            assert!(Pattern::new(pattern).unwrap_err().contains("linear time"), "{pattern}");
        }
        for pattern in
            [r"\a", r"\Z", "(", ")", "[a", "*", r"\", r"\u12", r"\xg0", "[z-a]", r"\c1", r"\p", r"\p{Nope}", "(?i)a"]
        {
            Pattern::new(pattern).expect_err(pattern);
        }
        assert_eq!(Pattern::new("((a{1000}){1000}){1000}").unwrap_err(), "is too large a pattern");
    }

    #[test]
    fn what_schemas_have_is_a_table_and_what_is_large_is_none() {
        let table = |pattern: &str| matches!(Pattern::new(pattern).unwrap().matcher, Matcher::Table(_));
        for small in
            ["^[A-Z]{3}-[0-9]{4}$", "^[a-z0-9-]{1,63}$", r"^\d{4}-\d\d-\d\d$", "^x-", "^(GET|POST|PUT)$", "a.*b"]
        {
            assert!(table(small), "{small}");
        }
        assert!(!table(r"^\p{L}{1,8}$"));
        check(r"^\p{L}{1,8}$", &["Grüße", "名前"], &["", "a1", &"é".repeat(9)]);
    }

    proptest! {
        #[test]
        fn a_table_answers_as_the_engine_does(
            pattern in r"\^?(([abé.]|\[\^?[a-c]-?\]|\(a\|b?\)|\\b|\\W)([?*+]|\{1,3\})?){0,5}\$?",
            texts in prop::collection::vec("[abcé \n-]{0,8}", 8),
        ) {
            let translated = translate(&pattern).unwrap();
            let engine = regex(&translated).unwrap();
            if let Some(table) = Automaton::new(&translated) {
                for text in texts {
                    prop_assert_eq!(table.matches(text.as_bytes()), engine.is_match(text.as_bytes()), "{} {:?}", pattern, text);
                }
            }
        }
    }

    #[test]
    fn a_hostile_pattern_takes_linear_time() {
        // Exponential in a backtracking engine: 2^50 steps.
        let text = format!("{}!", "a".repeat(50));
        check("^(a+)+$", &[&"a".repeat(50)], &[&text]);
        check(r"^(\w+\s?)*$", &[], &[&"a".repeat(100_000).replace("aaaaaaaaaa", "aaaaaaaaa!")]);
    }
}
