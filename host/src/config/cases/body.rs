//! The ways in which a file of cases says a body, of which one is enough.

use super::Body;
use super::value::{Given, Json};
use crate::config::problem::Problem;
use crate::config::reader::{At, Entry, Reader};
use crate::config::value::Text;

/// A body that somebody sends.
pub(super) fn sent(
    text: Entry<Text>,
    json: Entry<Json>,
    chunks: Entry<Vec<At<Text>>>,
    trailers: Entry<Given>,
    reader: &mut Reader<'_>,
) -> Option<Body> {
    one_of(&text, &json, &chunks, reader);
    if let (Entry::Is(trailers), Entry::Absent) = (&trailers, &chunks) {
        let problem = reader.problem(trailers, "trailers come behind a body in pieces");
        reader.report(problem.help("say the body as chunks = [\"…\"]"));
    }
    if let Entry::Is(chunks) = &chunks {
        for empty in chunks.value.iter().filter(|chunk| chunk.value.0.is_empty()) {
            reader.error(empty, "a piece of a body is not empty");
        }
    }
    let text = text.value().map(|text| Body::Text(text.0));
    let json = json.value().map(|json| Body::Json(json.0));
    let chunks = chunks.value().map(|chunks| chunks.into_iter().map(|chunk| chunk.value.0).collect());
    let chunks = chunks.map(|chunks| Body::Chunks(chunks, trailers.value().unwrap_or_default().0));
    text.or(json).or(chunks)
}

/// More than one of the ways is a mistake.
pub(super) fn one_of<T, U, V>(body: &Entry<T>, json: &Entry<U>, chunks: &Entry<V>, reader: &mut Reader<'_>) {
    both(body, json, "`body` and `json`", reader);
    both(body, chunks, "`body` and `chunks`", reader);
    both(json, chunks, "`json` and `chunks`", reader);
}

fn both<T, U>(one: &Entry<T>, other: &Entry<U>, names: &str, reader: &mut Reader<'_>) {
    if let (Entry::Is(_), Entry::Is(at)) = (one, other) {
        let problem: Problem = reader.problem(at, format!("{names} are both here, and say the same"));
        reader.report(problem.help("leave one out"));
    }
}
