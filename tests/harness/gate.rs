//! A gate in an upstream: requests wait before it until the test opens it.

use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// Closed at first, and open for good from then on. Clones are the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    arrived: usize,
    open: bool,
}

impl Gate {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("no thread panicked");
        state.arrived += 1;
        changed.notify_all();
        let waited = changed.wait_timeout_while(state, PATIENCE, |state| !state.open);
        assert!(!waited.expect("no thread panicked").1.timed_out(), "nobody opened the gate");
    }

    /// Waits until this many have come.
    pub(crate) fn arrived(&self, count: usize) {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("no thread panicked");
        let waited = changed.wait_timeout_while(state, PATIENCE, |state| state.arrived < count);
        assert!(!waited.expect("no thread panicked").1.timed_out(), "fewer than {count} came");
    }

    pub(crate) fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().expect("no thread panicked").open = true;
        changed.notify_all();
    }
}
