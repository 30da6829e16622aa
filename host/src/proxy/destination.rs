//! Where a route's requests go: to its upstream, and parts of them to others.

use std::rc::Rc;
use std::sync::Arc;

use http::Request;

use crate::body::Body;
use crate::config::{HashKey, Part};
use crate::metrics::UpstreamMetrics;
use crate::random::Random;
use crate::upstream::{Asking, Upstream, key};

/// An upstream, and what is counted of it.
pub(super) struct Destination {
    pub(super) upstream: Rc<Upstream>,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

/// The upstreams of a route.
pub(super) struct Destinations {
    /// Gets what the others leave.
    main: Rc<Destination>,
    others: Vec<(Part, Rc<Destination>)>,
    by: Option<HashKey>,
    random: Random,
}

impl Destinations {
    pub(super) fn new(main: Rc<Destination>, others: Vec<(Part, Rc<Destination>)>, by: Option<HashKey>) -> Self {
        Self { main, others, by, random: Random::new() }
    }

    pub(super) fn main(&self) -> &Destination {
        &self.main
    }

    /// Whether there is a choice.
    pub(super) fn are_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// The one that takes a request. With a key it is always the same one, in every worker and process with this
    /// configuration; and a part that grows keeps those that it had.
    pub(super) fn of(&self, request: &Request<Body>, asking: &Asking) -> &Rc<Destination> {
        if self.others.is_empty() {
            return &self.main;
        }
        let all = u64::from(Part::ALL.0);
        let drawn = match &self.by {
            None => self.random.below(all),
            Some(by) => key(by, request.uri(), request.headers(), asking).map(|key| key % all),
        };
        let Some(mut at) = drawn else { return &self.main };
        for (part, destination) in &self.others {
            match at.checked_sub(u64::from(part.0)) {
                None => return destination,
                Some(rest) => at = rest,
            }
        }
        &self.main
    }
}
