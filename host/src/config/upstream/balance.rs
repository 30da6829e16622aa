//! Which endpoint takes a request.

use super::values::{BalanceWord, CookieName};
use crate::config::bounds::{DAY, SECOND, within};
use crate::config::reader::{At, Entry, Reader};
use crate::config::units::show_duration;
use crate::config::{Balance, HashKey, Sticky, file};

/// The shortest key that a cookie is signed with.
const SHORTEST_KEY: usize = 16;

pub(super) fn balance(word: Entry<BalanceWord>, hash: Entry<HashKey>, reader: &mut Reader<'_>) -> Balance {
    let balance = match &word {
        Entry::Is(At { value: BalanceWord::ConsistentHash, .. }) => match hash {
            Entry::Is(key) => return Balance::ConsistentHash(key.value),
            Entry::Wrong => return Balance::LeastRequest,
            Entry::Absent => {
                if let (Entry::Is(at), false) = (&word, reader.is_partial()) {
                    let problem = reader.problem(at, "it is not said what the hash is made of");
                    reader.report(problem.help("add hash = \"address\", \"path\", \"header:NAME\" or \"cookie:NAME\""));
                }
                return Balance::LeastRequest;
            }
        },
        Entry::Is(At { value: BalanceWord::RoundRobin, .. }) => Balance::RoundRobin,
        Entry::Is(At { value: BalanceWord::PeakEwma, .. }) => Balance::PeakEwma,
        Entry::Is(At { value: BalanceWord::LeastRequest, .. }) | Entry::Absent | Entry::Wrong => Balance::LeastRequest,
    };
    if let (Entry::Is(at), false) = (&hash, matches!(word, Entry::Wrong)) {
        let problem = reader.problem(at, "only balance = \"consistent-hash\" goes by a hash");
        reader.report(problem.help("add it, or remove this key"));
    }
    balance
}

pub(super) fn sticky(entry: Entry<file::Sticky>, reader: &mut Reader<'_>) -> Option<Sticky> {
    let Entry::Is(At { value: written, span, path }) = entry else { return None };
    let key = reader.require(written.key, "key", &At { value: (), span, path });
    if let Some(short) = key.as_ref().filter(|key| key.value.0.len() < SHORTEST_KEY) {
        let problem = reader.problem(short, format!("the key is shorter than {SHORTEST_KEY} characters"));
        reader.report(problem.help("make one: openssl rand -hex 32"));
    }
    let lifetime = match written.lifetime {
        Entry::Absent | Entry::Wrong => None,
        lifetime => Some(within(reader, lifetime, DAY, SECOND..=400 * DAY, show_duration)),
    };
    let cookie = written.cookie.or(CookieName("endpoint".to_owned())).0;
    Some(Sticky { cookie, key: key?.value.0, lifetime })
}
