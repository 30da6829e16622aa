//! An instance that belongs to one body until its end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::{InUse, Leased, Pool, permit};
use crate::bindings::{ChunkFlow, ChunkIn};
use crate::metrics::{Spent, WorkerInstances};
use crate::plugin::component::Hook;
use crate::plugin::instance::{Failure, Instance};

/// An instance that belongs to one body. Dropped before the body has ended, it is never used again: what it kept of
/// the body is in it.
pub(crate) struct Held {
    pool: Rc<Pool>,
    instance: Box<Instance>,
    _counted: Counted,
    /// A slow body holds its instance for long, so what bodies hold is bounded for each plugin.
    permit: OwnedSemaphorePermit,
}

impl Held {
    /// Takes an instance out of a pool.
    pub(crate) async fn take(pool: &Rc<Pool>, spent: &mut Spent) -> Result<Self, Failure> {
        let early =
            if pool.plugin.component.waits { None } else { Some(permit(&pool.plugin.in_use, pool, spent).await?) };
        let Leased { instance, _in_use, _permit } = pool.lease(spent).await?;
        let permit = match early.or(_permit) {
            Some(permit) => permit,
            None => permit(&pool.plugin.in_use, pool, spent).await?,
        };
        Ok(Self { pool: pool.clone(), instance, _counted: Counted::new(&pool.counted.worker), permit })
    }

    /// Calls one of the two hooks for chunks.
    pub(crate) async fn on_chunk(
        &mut self,
        hook: Hook,
        chunk: ChunkIn,
        began: Instant,
        spent: &mut Spent,
    ) -> Result<ChunkFlow, Failure> {
        self.instance.on_chunk(hook, (chunk,), self.pool.time(began, spent), spent).await
    }

    /// The body has ended.
    pub(crate) fn give_back(self) {
        let Self { pool, instance, permit, _counted } = self;
        let in_use = InUse::new(&pool.counted.worker);
        pool.give_back(Leased { instance, _in_use: in_use, _permit: Some(permit) });
    }
}

/// As [`InUse`], without a pool around it.
pub(in crate::plugin) struct Counted(Arc<WorkerInstances>);

impl Counted {
    pub(super) fn new(worker: &Arc<WorkerInstances>) -> Self {
        worker.call_began();
        Self(worker.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.call_ended();
    }
}
