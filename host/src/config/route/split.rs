//! Which other upstreams get requests of a route, or copies of them.

use super::{Known, check_name};
use crate::config::bounds::{count, size};
use crate::config::reader::{At, Entry, Reader};
use crate::config::{HashKey, Mirror, Part, Split, file};

pub(super) fn split(
    entry: Entry<crate::config::reader::OneOrMore<file::Split>>,
    main: Option<&String>,
    known: &Known<'_>,
    reader: &mut Reader<'_>,
) -> Vec<Split> {
    let mut out: Vec<Split> = Vec::new();
    let mut all = 0;
    for At { value: written, span, path } in entry.value().map(|several| several.0).unwrap_or_default() {
        let here = At { value: (), span, path };
        let upstream = reader.require(written.upstream, "upstream", &here);
        let part = reader.require(written.percent, "percent", &here);
        let (Some(upstream), Some(part)) = (upstream, part) else { continue };
        check_name(&upstream, "upstream", known.upstreams, reader);
        let name = &upstream.value.0;
        if main == Some(name) {
            let problem = reader.problem(&upstream, format!("{name:?} is the upstream of the route already"));
            reader.report(problem.help("it gets what the splits leave"));
        } else if out.iter().any(|other| other.upstream == *name) {
            reader.error(&upstream, format!("{name:?} has a part already"));
        }
        all += part.value.0;
        if all > Part::ALL.0 {
            reader.error(&part, "together that is more than a hundred percent");
        }
        out.push(Split { upstream: upstream.value.0, part: part.value });
    }
    out
}

pub(super) fn by(entry: Entry<HashKey>, split: &[Split], reader: &mut Reader<'_>) -> Option<HashKey> {
    if let (Entry::Is(at), true) = (&entry, split.is_empty()) {
        let problem = reader.problem(at, "there is nothing to split");
        reader.report(problem.help("add split = { upstream = \"…\", percent = 5 }, or remove this key"));
    }
    entry.value()
}

pub(super) fn mirror(entry: Entry<file::Mirror>, known: &Known<'_>, reader: &mut Reader<'_>) -> Option<Mirror> {
    let Entry::Is(At { value: written, span, path }) = entry else { return None };
    let upstream = reader.require(written.upstream, "upstream", &At { value: (), span, path });
    if let Some(upstream) = &upstream {
        check_name(upstream, "upstream", known.upstreams, reader);
    }
    Some(Mirror {
        part: written.percent.or(Part::ALL),
        body: size(reader, written.body, 64 << 10, 0..=16 << 20),
        most: count(reader, written.most, 16, 1..=10_000).0,
        upstream: upstream?.value.0,
    })
}
