//! What a guest sees of the limiter.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::{Bucket, Buckets, Error, Window};
use crate::bindings::limiter as wit;
use crate::capability::Capabilities;

/// What a handle of a guest stands for.
pub type BucketHandle = Arc<Bucket>;

/// The buckets of one plugin, and the handles of one instance.
pub(crate) struct Guest<'a> {
    pub(crate) buckets: &'a Buckets,
    pub(crate) table: &'a mut ResourceTable,
}

impl HasData for Guest<'static> {
    type Data<'a> = Guest<'a>;
}

pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Guest<'static>>(linker, T::limiter)
}

impl wit::Host for Guest<'_> {}

impl wit::HostBucket for Guest<'_> {
    fn open(
        &mut self,
        name: String,
        windows: Vec<wit::Window>,
    ) -> wasmtime::Result<Result<Resource<Arc<Bucket>>, wit::Error>> {
        let window = |one: &wit::Window| Window { limit: one.limit, period_ms: one.period_ms, burst: one.burst };
        let windows: Vec<_> = windows.iter().map(window).collect();
        match self.buckets.open(&name, &windows) {
            Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn take(
        &mut self,
        bucket: Resource<Arc<Bucket>>,
        key: String,
        cost: u32,
    ) -> wasmtime::Result<Result<wit::Taken, wit::Error>> {
        let taken = match self.table.get(&bucket)?.take(&key, cost, self.buckets.now()) {
            Ok(taken) => taken,
            Err(error) => return Ok(Err(error.into())),
        };
        let standing = |one: &super::Standing| wit::Standing { remaining: one.remaining, reset_ms: one.reset_ms };
        Ok(Ok(wit::Taken {
            allowed: taken.allowed,
            retry_after_ms: taken.retry_after_ms,
            windows: taken.standings().iter().map(standing).collect(),
        }))
    }

    fn drop(&mut self, bucket: Resource<Arc<Bucket>>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidWindow(why) => Self::InvalidWindow(why),
            Error::TooManyBuckets => Self::TooManyBuckets,
            Error::Unavailable => Self::Unavailable,
        }
    }
}
