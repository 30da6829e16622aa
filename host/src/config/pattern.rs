//! Regular expressions: anchored and linear.

mod intersection;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;

pub(crate) use intersection::{Budget, Intersection, Texts, intersection};

use super::reader::Wrong;

/// What a compiled pattern may take of memory. Ordinary ones take some thousand bytes; counted repetitions of
/// Unicode classes would take a hundred million.
const LARGEST: usize = 1 << 20;

/// A pattern that takes whole texts.
pub(crate) fn compile(text: &str) -> Result<Regex, Wrong> {
    // Alone first, so that `a)|(b` is not made whole by our own brackets.
    regex_syntax::parse(text).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => complain(error.kind(), error.span()),
        regex_syntax::Error::Translate(error) => complain(error.kind(), error.span()),
        other => Wrong::because(other.to_string()),
    })?;
    RegexBuilder::new(&format!(r"\A(?:{text})\z")).size_limit(LARGEST).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Wrong::because("it is too large when compiled")
            .help("look for nested or large counted repetitions, such as {1000}"),
        // Its own end is missing: in the mode `x`, a comment runs to the end of the line, our bracket included.
        _ => Wrong::because("it ends within a comment"),
    })
}

fn complain(kind: impl std::fmt::Display, span: &regex_syntax::ast::Span) -> Wrong {
    Wrong::because(format!("{kind} (at character {})", span.start.column))
}

/// The bytes that every text a pattern takes begins with.
pub(crate) fn literal_prefix(pattern: &Regex) -> Vec<u8> {
    let Ok(hir) = regex_syntax::parse(pattern.as_str()) else {
        return Vec::new();
    };
    Extractor::new().extract(&hir).longest_common_prefix().unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_take_whole_texts() {
        let pattern = compile("/v[0-9]+|/w").unwrap();
        assert!(pattern.is_match("/v1") && pattern.is_match("/w"));
        assert!(!pattern.is_match("/v1/x") && !pattern.is_match("x/w"));
        let lines = compile("(?m)a$").unwrap();
        assert!(lines.is_match("a") && !lines.is_match("a\nb"));
        for wrong in [
            "(",
            "a)|(b",
            "[z-a]",
            "(?x) a # b",
            r"\p{Nonsense}",
            "(?:(?:a{100}){100}){100}",
            "a**{99999999999}",
            "(?=a)",
            r"(a)\1",
        ] {
            assert!(compile(wrong).is_err(), "{wrong}");
        }
        assert_eq!(compile("/v1/(").unwrap_err().why, "unclosed group (at character 5)");
    }

    #[test]
    fn literal_prefixes_are_what_every_text_begins_with() {
        let of = |text| String::from_utf8(literal_prefix(&compile(text).unwrap())).unwrap();
        assert_eq!(of("/v1/users/[0-9]+"), "/v1/users/");
        assert_eq!(of("^/v1(/x)+y"), "/v1/x");
        assert_eq!(of(r"/v1/\w+"), "/v1/");
        assert_eq!(of("/a|/b"), "/");
        assert_eq!(of("(?i)/v1"), "/");
        assert_eq!(of(".*"), "");
        assert_eq!(of("(/a)?b"), "");
    }

    proptest! {
        #[test]
        fn any_text_is_compiled_or_refused(text in ".{0,40}") {
            if let Ok(pattern) = compile(&text) {
                literal_prefix(&pattern);
            }
        }

        #[test]
        fn every_text_begins_with_the_literal_prefix(pattern in "/[ab]{0,3}(\\(a\\|b\\))?[*+?]?[ab]{0,2}", text in "/[ab]{0,6}") {
            if let Ok(pattern) = compile(&pattern) && pattern.is_match(&text) {
                prop_assert!(text.as_bytes().starts_with(&literal_prefix(&pattern)));
            }
        }
    }
}
