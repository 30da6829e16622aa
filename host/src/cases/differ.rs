//! Where two values part, so that nobody has to look for it in a page of text.

use std::fmt::Write as _;

use serde_json::Value;

/// The longest text that is shown whole, in characters.
const SHORT: usize = 80;
/// How much is shown of a longer one before and behind the place where it parts, in characters.
const BEFORE: usize = 20;
const BEHIND: usize = 40;
/// The most places of one document that are told.
const PLACES: usize = 10;

/// Tells each place in which two documents part: what it is called (`response.json/a/0`), and both values there.
pub(super) fn json(what: &str, expected: &Value, found: &Value, tell: &mut dyn FnMut(&str, String, String)) {
    let mut places = Vec::new();
    part(what, Some(expected), Some(found), &mut places);
    let more = places.len().saturating_sub(PLACES);
    for (at, expected, found) in places.into_iter().take(PLACES) {
        tell(&at, expected, found);
    }
    if more > 0 {
        tell(what, "no further difference".to_owned(), format!("{more} more"));
    }
}

fn part(at: &str, expected: Option<&Value>, found: Option<&Value>, places: &mut Vec<(String, String, String)>) {
    // As in a JSON Pointer (RFC 6901).
    let inside = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (expected, found) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let further = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(further) {
                part(&inside(key), one.get(key), other.get(key), places);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                part(&inside(&index.to_string()), one.get(index), other.get(index), places);
            }
        }
        (one, other) if one == other => {}
        (one, other) => {
            let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            places.push((at.to_owned(), shown(one), shown(other)));
        }
    }
}

/// Both texts, from where they part; none where they are equal, or short enough to be shown whole.
pub(super) fn text(expected: &str, found: &str) -> Option<(String, String)> {
    let long = |text: &str| text.chars().nth(SHORT).is_some();
    if expected == found || !(long(expected) || long(found)) {
        return None;
    }
    let same = expected.chars().zip(found.chars()).take_while(|(one, other)| one == other).count();
    let shared: String = expected.chars().take(same).collect();
    let line = shared.matches('\n').count() + 1;
    let column = shared.chars().rev().take_while(|character| *character != '\n').count() + 1;
    let window = |text: &str| {
        let from = same.saturating_sub(BEFORE);
        let mut shown = String::new();
        // Writing to a String cannot fail.
        let _ = write!(shown, "line {line}, column {column}: {}", if from > 0 { "…" } else { "" });
        let part: String = text.chars().skip(from).take(same - from + BEHIND).collect();
        shown += &format!("{part:?}");
        if text.chars().nth(same + BEHIND).is_some() {
            shown.push('…');
        }
        shown
    };
    Some((window(expected), window(found)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(expected: &Value, found: &Value) -> Vec<String> {
        let mut told = Vec::new();
        json("body", expected, found, &mut |at, one, other| told.push(format!("{at} {one} {other}")));
        told
    }

    #[test]
    fn documents_part_where_their_values_do() {
        let one = json!({ "same": [1, 2], "a/b": { "c": 1 }, "gone": null, "kind": [] });
        let other = json!({ "same": [1, 2], "a/b": { "c": 2 }, "kind": {}, "new": "x" });
        let told = ["body/a~1b/c 1 2", "body/gone null nothing", "body/kind [] {}", "body/new nothing \"x\""];
        assert_eq!(places(&one, &other), told);
        assert_eq!(places(&one, &one), [""; 0]);
        assert_eq!(places(&json!([1, 2]), &json!([1])), ["body/1 2 nothing"]);
        assert_eq!(places(&json!(1), &json!(2)), ["body 1 2"]);
        let many: Vec<_> = (0..15).collect();
        let told = places(&json!(many), &json!([]));
        assert_eq!((told.len(), told[10].as_str()), (11, "body no further difference 5 more"));
    }

    #[test]
    fn long_texts_are_shown_from_where_they_part() {
        assert_eq!(text("short", "shirt"), None);
        let long = "äß".repeat(50);
        assert_eq!(text(&long, &long), None);
        let (one, other) = text(&format!("a\n{long}1 and so on"), &format!("a\n{long}2")).expect("they differ");
        assert_eq!(one, format!("line 2, column 101: …{:?}", "äß".repeat(10) + "1 and so on"));
        assert_eq!(other, format!("line 2, column 101: …{:?}", "äß".repeat(10) + "2"));
        let (one, other) = text("a", &long).expect("they differ");
        assert_eq!(one, "line 1, column 1: \"a\"");
        assert_eq!(other, format!("line 1, column 1: {:?}…", "äß".repeat(20)));
    }
}
