//! A pattern as a table: for each byte of a text, one look-up of what comes next.

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};

/// A pattern of few states, which most are.
///
/// A state is where its row begins. The first row is the state of texts that no longer can match, the second one that of
/// those that do; the last column says what comes of a text that ends here.
#[derive(Debug)]
pub(super) struct Automaton {
    /// The column of each byte.
    columns: Box<[u8; 256]>,
    next: Vec<u16>,
    width: usize,
    start: u16,
}

/// The most that may be taken for the states of a pattern and while they are found, in bytes: each instance of the plugin
/// has tables of its own.
const STATES: usize = 16 << 10;
const WORK: usize = 128 << 10;

type Dfa = dense::DFA<Vec<u32>>;

impl Automaton {
    /// The table of a pattern in the syntax of the `regex` crate; none where it would be too large, or where there is no
    /// such pattern.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .accelerate(false)
            .dfa_size_limit(Some(STATES))
            .determinize_size_limit(Some(WORK));
        // As `regex::bytes` has it.
        let dfa = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(WORK)))
            .build(pattern)
            .ok()?;
        Self::of(&dfa)
    }

    fn of(dfa: &Dfa) -> Option<Self> {
        let classes = dfa.byte_classes();
        let width = classes.alphabet_len();
        let mut rows = Rows { width, states: Vec::new() };
        let start = rows.row(dfa, dfa.start_state(&start::Config::new().anchored(Anchored::No)).ok()?)?;
        let mut next = vec![0; width];
        next.resize(2 * width, u16::try_from(width).ok()?);
        let mut done = 0;
        while let Some(state) = rows.states.get(done).copied() {
            for unit in classes.representatives(..) {
                next.push(match unit.as_u8() {
                    Some(byte) => rows.row(dfa, dfa.next_state(state, byte))?,
                    None if dfa.is_match_state(dfa.next_eoi_state(state)) => next[width],
                    None => 0,
                });
            }
            done += 1;
        }
        let columns = Box::new(std::array::from_fn(|byte| classes.get(byte as u8)));
        Some(Self { columns, next, width, start })
    }

    /// Whether it matches somewhere in the text.
    #[inline(always)]
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let mut row = usize::from(self.start);
        // The first two rows lead to themselves: it is enough to look for them now and then.
        let (chunks, rest) = text.as_chunks::<8>();
        for chunk in chunks {
            for byte in chunk {
                row = self.step(row, *byte);
            }
            if row <= self.width {
                return row == self.width;
            }
        }
        for byte in rest {
            row = self.step(row, *byte);
        }
        usize::from(self.next[row + self.width - 1]) == self.width
    }

    /// The row behind a byte.
    #[inline(always)]
    fn step(&self, row: usize, byte: u8) -> usize {
        usize::from(self.next[row + usize::from(self.columns[usize::from(byte)])])
    }
}

/// The states that have a row so far, behind the first two.
struct Rows {
    width: usize,
    states: Vec<StateID>,
}

impl Rows {
    /// Where the row of a state begins; none where the table has no room for it.
    fn row(&mut self, dfa: &Dfa, state: StateID) -> Option<u16> {
        let index = if dfa.is_dead_state(state) {
            0
        } else if dfa.is_match_state(state) {
            1
        } else if dfa.is_quit_state(state) {
            return None;
        } else {
            let known = self.states.iter().position(|known| *known == state);
            2 + known.unwrap_or_else(|| {
                self.states.push(state);
                self.states.len() - 1
            })
        };
        u16::try_from(index * self.width).ok()
    }
}
