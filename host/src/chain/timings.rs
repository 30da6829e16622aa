//! What the hooks of one pass cost, for who asks.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;

use super::Pass;
use crate::metrics::Spent;
use crate::plugin::Hook;

/// One call of a hook, as it went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Of the plugin in the chain.
    pub(crate) index: usize,
    /// Which hook.
    pub(crate) hook: Hook,
    /// From what it is given to what was done of its answer.
    pub(crate) took: Duration,
    /// What it took beside.
    pub(crate) spent: Spent,
}

/// What a pass keeps of its calls. Bodies that outlive the pass add theirs.
pub(super) type Timings = Rc<RefCell<Vec<Timing>>>;

impl Pass<'_> {
    /// The calls that were made so far, where the chain keeps them.
    pub(crate) fn timings(&self) -> Vec<Timing> {
        self.timings.as_ref().map(|timings| timings.borrow().clone()).unwrap_or_default()
    }

    /// The durations of the plugins that were called so far, in milliseconds, as `Server-Timing` has them (W3C Server
    /// Timing): `auth;dur=0.041, quota;dur=0.009`. Each is the sum of its hooks. None where nobody asked or none was called.
    pub(crate) fn server_timing(&self) -> Option<HeaderValue> {
        let timings = self.timings.as_ref()?.borrow();
        let mut text = String::new();
        for (index, link) in self.chain.links.iter().enumerate() {
            let mut own = timings.iter().filter(|timing| timing.index == index).peekable();
            if own.peek().is_none() {
                continue;
            }
            let took: Duration = own.map(|timing| timing.took).sum();
            let comma = if text.is_empty() { "" } else { ", " };
            // Names of plugins are tokens.
            let _ = write!(text, "{comma}{};dur={:.3}", link.pool.plugin.name, took.as_secs_f64() * 1000.0);
        }
        if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
    }
}
