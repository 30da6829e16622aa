//! What a guest sees of the limiter.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::{Bucket, Buckets, Error, Window};
use crate::bindings::limiter as wit;
use crate::capability::Capabilities;
use crate::recording::{Answer, Tape};

/// What a handle of a guest stands for.
pub type BucketHandle = Arc<Bucket>;

/// The buckets of one plugin, and the handles of one instance.
pub(crate) struct Guest<'a> {
    pub(crate) buckets: &'a Buckets,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) tape: &'a mut Tape,
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
        let bucket = self.table.get(&bucket)?;
        let taken = self.tape.answer(
            || format!("limiter.take {key} {cost}"),
            || {
                let taken = bucket.take(&key, cost, self.buckets.now())?;
                let standing = |one: &super::Standing| (one.remaining, one.reset_ms);
                Ok((taken.allowed, taken.retry_after_ms, taken.standings().iter().map(standing).collect()))
            },
            Answer::Taken,
            |answer| if let Answer::Taken(taken) = answer { Some(taken) } else { None },
        );
        let (allowed, retry_after_ms, windows) = match taken {
            Ok(taken) => taken,
            Err(error) => return Ok(Err(error.into())),
        };
        let standing = |(remaining, reset_ms): (u64, u64)| wit::Standing { remaining, reset_ms };
        Ok(Ok(wit::Taken { allowed, retry_after_ms, windows: windows.into_iter().map(standing).collect() }))
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
