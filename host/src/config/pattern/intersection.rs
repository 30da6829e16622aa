//! Whether two patterns have a text in common, decided by their automata.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;

use regex::Regex;
use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

/// How much may still be searched for texts that patterns have in common. Ordinary patterns take some hundred steps.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    /// For one comparison: a good second. After it, two patterns are said to perhaps have a text in common.
    const ONE: usize = 2_000_000;

    /// For all comparisons of a configuration.
    pub(crate) fn new() -> Self {
        Self(10 * Self::ONE)
    }
}

/// Which texts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Canonical paths: a slash first, and only what may be in one.
    Paths,
    /// Values of headers and of queries.
    Values,
}

impl Texts {
    fn has(self, byte: u8, first: bool) -> bool {
        match self {
            Self::Paths if first => byte == b'/',
            Self::Paths => byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte),
            Self::Values => byte.is_ascii_graphic() || byte == b' ',
        }
    }
}

/// Whether two patterns have a text in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intersection {
    /// They have none.
    Empty,
    /// A shortest one.
    Text(String),
    /// Nothing was found out within reasonable work, or one of them looks around (`\b`).
    Perhaps,
}

/// Looks for a text that both patterns take: breadth first through the product of their automata.
pub(crate) fn intersection(a: &Regex, b: &Regex, texts: Texts, budget: &mut Budget) -> Intersection {
    // Building the automata is work, too.
    let most = budget.0.min(Budget::ONE).saturating_sub(a.as_str().len() + b.as_str().len());
    if most == 0 {
        return Intersection::Perhaps;
    }
    let (Ok(left), Ok(right)) = (NFA::new(a.as_str()), NFA::new(b.as_str())) else {
        return Intersection::Perhaps;
    };
    let mut search = Search::new(&left, &right, most);
    let found = search.run(a, b, texts);
    budget.0 = budget.0.saturating_sub(search.work);
    found
}

/// A byte of a range for an example: letters read best.
fn preferred(mut range: RangeInclusive<u8>, allowed: impl Fn(u8) -> bool) -> Option<u8> {
    let letter = range.clone().find(|byte| byte.is_ascii_alphanumeric() && allowed(*byte));
    letter.or_else(|| range.find(|byte| allowed(*byte)))
}

/// A state of each automaton. The first byte of a path is another thing than the others, so the states before it are,
/// too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pair {
    begun: bool,
    left: StateID,
    right: StateID,
}

struct Search<'n> {
    left: Closures<'n>,
    right: Closures<'n>,
    /// Where each pair was first reached from, and by which byte.
    seen: HashMap<Pair, Option<(Pair, u8)>>,
    queue: VecDeque<Pair>,
    work: usize,
    most: usize,
}

impl<'n> Search<'n> {
    fn new(left: &'n NFA, right: &'n NFA, most: usize) -> Self {
        let closures = |nfa| Closures { nfa, known: HashMap::new() };
        let (left, right) = (closures(left), closures(right));
        Self { left, right, seen: HashMap::new(), queue: VecDeque::new(), work: 0, most }
    }

    fn run(&mut self, a: &Regex, b: &Regex, texts: Texts) -> Intersection {
        let (left, right) = (self.left.nfa, self.right.nfa);
        self.reach(None, left.start_anchored(), right.start_anchored());
        let mut perhaps = false;
        while let Some(pair) = self.queue.pop_front() {
            if matches!((left.state(pair.left), right.state(pair.right)), (State::Match { .. }, State::Match { .. })) {
                let text = self.text(pair);
                // Assertions were taken for granted on the way.
                if !a.is_match(&text) || !b.is_match(&text) {
                    perhaps = true;
                } else if texts == Texts::Values || !text.is_empty() {
                    return Intersection::Text(text);
                }
                continue;
            }
            for (x, to_left) in transitions(left, pair.left) {
                for (y, to_right) in transitions(right, pair.right) {
                    self.work += 1;
                    // One byte stands for all of a range: where they lead does not depend on it.
                    let range = x.0.max(y.0)..=x.1.min(y.1);
                    if let Some(byte) = preferred(range, |byte| texts.has(byte, !pair.begun)) {
                        self.reach(Some((pair, byte)), to_left, to_right);
                    }
                    if self.work > self.most {
                        return Intersection::Perhaps;
                    }
                }
            }
        }
        if perhaps || self.work > self.most { Intersection::Perhaps } else { Intersection::Empty }
    }

    fn reach(&mut self, from: Option<(Pair, u8)>, left: StateID, right: StateID) {
        let (left, right) = (self.left.of(left, &mut self.work), self.right.of(right, &mut self.work));
        for left in left.iter() {
            for right in right.iter() {
                self.work += 1;
                if self.work > self.most {
                    return;
                }
                let pair = Pair { begun: from.is_some(), left: *left, right: *right };
                if let Entry::Vacant(entry) = self.seen.entry(pair) {
                    entry.insert(from);
                    self.queue.push_back(pair);
                }
            }
        }
    }

    fn text(&self, pair: Pair) -> String {
        let mut bytes = Vec::new();
        let mut from = self.seen.get(&pair).copied().flatten();
        while let Some((pair, byte)) = from {
            bytes.push(byte);
            from = self.seen.get(&pair).copied().flatten();
        }
        bytes.reverse();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// For each state, those that are reached from it without a byte and that take one or match. Assertions are taken to
/// hold.
struct Closures<'n> {
    nfa: &'n NFA,
    known: HashMap<StateID, Rc<[StateID]>>,
}

impl Closures<'_> {
    fn of(&mut self, from: StateID, work: &mut usize) -> Rc<[StateID]> {
        if let Some(known) = self.known.get(&from) {
            return Rc::clone(known);
        }
        let mut seen = BTreeSet::from([from]);
        let mut todo = vec![from];
        let mut out = Vec::new();
        while let Some(state) = todo.pop() {
            *work += 1;
            let mut follow = |next: StateID| {
                if seen.insert(next) {
                    todo.push(next);
                }
            };
            match self.nfa.state(state) {
                State::Look { next, .. } | State::Capture { next, .. } => follow(*next),
                State::Union { alternates } => alternates.iter().copied().for_each(follow),
                State::BinaryUnion { alt1, alt2 } => [*alt1, *alt2].into_iter().for_each(follow),
                State::Fail => {}
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => out.push(state),
            }
        }
        let out: Rc<[StateID]> = out.into();
        self.known.insert(from, Rc::clone(&out));
        out
    }
}

/// The ranges of bytes that a state takes, and where they lead.
fn transitions(nfa: &NFA, state: StateID) -> Vec<((u8, u8), StateID)> {
    match nfa.state(state) {
        State::ByteRange { trans } => vec![((trans.start, trans.end), trans.next)],
        State::Sparse(sparse) => {
            sparse.transitions.iter().map(|trans| ((trans.start, trans.end), trans.next)).collect()
        }
        State::Dense(dense) => {
            (0..=u8::MAX).filter_map(|byte| Some(((byte, byte), dense.matches_byte(byte)?))).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compile;
    use super::*;

    #[test]
    fn a_text_in_common_is_found() {
        let of = |a, b| intersection(&compile(a).unwrap(), &compile(b).unwrap(), Texts::Paths, &mut Budget::new());
        assert_eq!(of("/v[0-9]+/x", "/v1/[a-z]"), Intersection::Text("/v1/x".into()));
        assert_eq!(of("/a/[0-9]+", "/a/[a-z]+"), Intersection::Empty);
        assert_eq!(of("/a.*", "/.*b"), Intersection::Text("/ab".into()));
        assert_eq!(of("a.*", "a.*"), Intersection::Empty, "no path begins with a letter");
        assert_eq!(of("/a [0-9]", "/a [0-9]"), Intersection::Empty, "no path has a space in it");
        assert_eq!(of(r"/\ba", r"/a\b"), Intersection::Text("/a".into()));
        assert_eq!(of(r"/a\ba", r"/aa"), Intersection::Perhaps);
        assert_eq!(of(".*", ".*"), Intersection::Text("/".into()));
    }

    #[test]
    fn hostile_patterns_end() {
        let large = compile("/([a-z0-9]{0,60}/){0,30}x").unwrap();
        let other = compile("/([a-z0-8]{0,59}/){0,31}y").unwrap();
        assert_ne!(intersection(&large, &other, Texts::Paths, &mut Budget::new()), Intersection::Text(String::new()));
    }

    proptest! {
        #[test]
        fn nothing_in_common_means_no_text(a in "/[ab.]{0,3}[*+?]?[ab]{0,2}", b in "/[ab.]{0,3}[*+?]?[ab]{0,2}", text in "/[ab]{0,6}") {
            if let (Ok(a), Ok(b)) = (compile(&a), compile(&b)) && a.is_match(&text) && b.is_match(&text) {
                prop_assert!(matches!(intersection(&a, &b, Texts::Paths, &mut Budget::new()), Intersection::Text(_)));
            }
        }
    }
}
