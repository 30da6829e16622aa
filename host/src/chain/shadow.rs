//! A new version of a plugin that watches: it sees what the version that serves sees, and is compared with it.
//!
//! A pass keeps what the new version would be given, what capabilities told the one that serves, and what that decided.
//! At its end this goes to a [`Watcher`], a thread beside the workers. No request waits for it; where it cannot keep up,
//! passes are left out, and that is counted.

mod watcher;

use std::sync::Arc;

use bytes::Bytes;

use super::{Pass, Side};
use crate::bindings::{RequestIn, ResponseHeadIn};
use crate::metrics::{Costs, RouteMetrics, Shadowed};
use crate::plugin::{Failure, FailureKind, Hook};
use crate::recording::{Call, Outcome, Said};

pub(crate) use watcher::Watcher;

/// A version that watches a plugin in the chain of one route.
#[derive(Clone)]
pub struct Shadow {
    watcher: Arc<Watcher>,
    counts: Arc<Shadowed>,
    costs: Arc<Costs>,
}

/// What a pass keeps for a watcher, until it ends.
pub(super) struct Watched {
    /// Of the plugin in the chain.
    index: usize,
    seen: Vec<Seen>,
    shadow: Shadow,
}

/// One hook, and what the version that serves decided.
struct Seen {
    hook: Hook,
    given: Given,
    /// What capabilities told it.
    said: Vec<Said>,
    outcome: Outcome,
}

/// What the version that watches is given.
pub(super) enum Given {
    /// It does not have the hook, which is to continue.
    Nothing,
    Request(RequestIn),
    RequestBody(RequestIn, Bytes),
    Response(ResponseHeadIn),
    ResponseBody(ResponseHeadIn, Bytes),
}

impl Shadow {
    /// The version of `watcher` in the chain of a route.
    pub(crate) fn new(watcher: Arc<Watcher>, route: &RouteMetrics) -> Self {
        let plugin = watcher.plugin();
        let (name, version) = (&plugin.name, plugin.component().version());
        Self { counts: route.shadowed(name, version), costs: route.costs(name, version), watcher }
    }
}

impl Pass<'_> {
    /// What the version that watches is given for a hook; none where nobody watches, or neither version has the hook.
    pub(super) fn shows<S: Side>(
        &self,
        index: usize,
        (hook, called): (Hook, bool),
        head: &S,
        body: Option<&Bytes>,
    ) -> Option<Box<Given>> {
        let sight = &self.chain.links[index].shadow.as_ref()?.watcher.plugin().sight;
        match sight.wants(hook) {
            true => Some(Box::new(head.given(self, sight, body))),
            false => called.then(|| Box::new(Given::Nothing)),
        }
    }

    /// What the version that serves decided in a call; none where it was not called.
    pub(super) fn decided(&mut self, index: usize, hook: Hook, given: Option<Box<Given>>, call: Option<&Call>) {
        let (Some(given), Some(shadow)) = (given, &self.chain.links[index].shadow) else { return };
        let (said, outcome) = match call {
            Some(call) => (call.said.clone(), call.outcome.clone()),
            None => (Vec::new(), Outcome::Continue),
        };
        let seen = Seen { hook, given: *given, said, outcome };
        match self.watched.iter_mut().find(|watched| watched.index == index) {
            Some(watched) => watched.seen.push(seen),
            None => self.watched.push(Watched { index, seen: vec![seen], shadow: (**shadow).clone() }),
        }
    }

    /// What it decided turned out to be nothing.
    pub(super) fn decided_nothing(&mut self, index: usize, failure: &Failure) {
        let watched = self.watched.iter_mut().find(|watched| watched.index == index);
        let Some(seen) = watched.map(|watched| &mut watched.seen) else { return };
        if matches!(failure.kind, FailureKind::Overload | FailureKind::Paused(_)) {
            // It was not asked, so there is nothing to compare with.
            seen.pop();
        } else if let Some(last) = seen.last_mut() {
            last.outcome = failure.into();
        }
    }
}

/// The pass is over.
impl Drop for Watched {
    fn drop(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        if !seen.is_empty() {
            self.shadow.watcher.hand_over(seen, &self.shadow);
        }
    }
}

impl Given {
    /// Bytes of its body.
    fn body(&self) -> usize {
        match self {
            Self::RequestBody(_, body) | Self::ResponseBody(_, body) => body.len(),
            Self::Nothing | Self::Request(_) | Self::Response(_) => 0,
        }
    }
}
