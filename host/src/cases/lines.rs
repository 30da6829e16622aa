//! What a plugin logs while its cases run: heard here, and by nobody else.

use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber as _;
use tracing::{Event, Metadata, Subscriber, span};

use super::lock;
use crate::capability::log::TARGET;

/// The most lines that are kept of a pass. A call of a plugin may write 64.
const MOST: usize = 1000;

/// The lines of a plugin, each as `warn: what it says`.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// What is logged in the course of `future` goes here.
    pub(super) async fn while_running<F: Future>(&self, future: F) -> F::Output {
        future.with_subscriber(self.clone()).await
    }

    pub(super) fn lines(&self) -> Vec<String> {
        lock(&self.0).clone()
    }

    pub(super) fn forget(&self) {
        lock(&self.0).clear();
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string().to_lowercase());
        event.record(&mut line);
        let mut lines = lock(&self.0);
        if lines.len() < MOST {
            lines.push(line.0);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 += &format!(": {value:?}");
        }
    }
}
