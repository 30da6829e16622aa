//! What a guest sees of its metrics.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::bindings::metrics as wit;
use crate::capability::Capabilities;
use crate::metrics::{Custom, Family, FamilyError, Kind};

/// What a handle of a counter stands for.
#[derive(Debug)]
pub struct CounterHandle(Arc<Family>);
/// What a handle of a gauge stands for.
#[derive(Debug)]
pub struct GaugeHandle(Arc<Family>);
/// What a handle of a histogram stands for.
#[derive(Debug)]
pub struct HistogramHandle(Arc<Family>);

/// The metrics of one plugin, and the handles of one instance.
pub(crate) struct Guest<'a> {
    pub(crate) custom: &'a Custom,
    pub(crate) table: &'a mut ResourceTable,
}

impl HasData for Guest<'static> {
    type Data<'a> = Guest<'a>;
}

pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Guest<'static>>(linker, T::metrics)
}

impl Guest<'_> {
    fn open<H: Send + 'static>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[String],
        kind: Kind,
        handle: impl FnOnce(Arc<Family>) -> H,
    ) -> wasmtime::Result<Result<Resource<H>, wit::Error>> {
        match self.custom.open(name, help, labels, kind) {
            Ok(family) => Ok(Ok(self.table.push(handle(family))?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl wit::Host for Guest<'_> {}

impl wit::HostCounter for Guest<'_> {
    fn open(
        &mut self,
        name: String,
        help: String,
        labels: Vec<String>,
    ) -> wasmtime::Result<Result<Resource<CounterHandle>, wit::Error>> {
        self.open(&name, &help, &labels, Kind::Counter, CounterHandle)
    }

    fn add(&mut self, counter: Resource<CounterHandle>, values: Vec<String>, by: u64) -> wasmtime::Result<()> {
        self.table.get(&counter)?.0.count(&values, by);
        Ok(())
    }

    fn drop(&mut self, counter: Resource<CounterHandle>) -> wasmtime::Result<()> {
        self.table.delete(counter)?;
        Ok(())
    }
}

impl wit::HostGauge for Guest<'_> {
    fn open(
        &mut self,
        name: String,
        help: String,
        labels: Vec<String>,
    ) -> wasmtime::Result<Result<Resource<GaugeHandle>, wit::Error>> {
        self.open(&name, &help, &labels, Kind::Gauge, GaugeHandle)
    }

    fn set(&mut self, gauge: Resource<GaugeHandle>, values: Vec<String>, value: i64) -> wasmtime::Result<()> {
        self.table.get(&gauge)?.0.set(&values, value);
        Ok(())
    }

    fn add(&mut self, gauge: Resource<GaugeHandle>, values: Vec<String>, by: i64) -> wasmtime::Result<()> {
        self.table.get(&gauge)?.0.move_by(&values, by);
        Ok(())
    }

    fn drop(&mut self, gauge: Resource<GaugeHandle>) -> wasmtime::Result<()> {
        self.table.delete(gauge)?;
        Ok(())
    }
}

impl wit::HostHistogram for Guest<'_> {
    fn open(
        &mut self,
        name: String,
        help: String,
        labels: Vec<String>,
        buckets: Vec<f64>,
    ) -> wasmtime::Result<Result<Resource<HistogramHandle>, wit::Error>> {
        self.open(&name, &help, &labels, Kind::Histogram(buckets), HistogramHandle)
    }

    fn observe(
        &mut self,
        histogram: Resource<HistogramHandle>,
        values: Vec<String>,
        value: f64,
    ) -> wasmtime::Result<()> {
        self.table.get(&histogram)?.0.observe(&values, value);
        Ok(())
    }

    fn drop(&mut self, histogram: Resource<HistogramHandle>) -> wasmtime::Result<()> {
        self.table.delete(histogram)?;
        Ok(())
    }
}

impl From<FamilyError> for wit::Error {
    fn from(error: FamilyError) -> Self {
        match error {
            FamilyError::Name(name) => Self::InvalidName(name),
            FamilyError::TooMany => Self::TooMany,
            FamilyError::Conflict => Self::Conflict,
            FamilyError::Buckets => Self::InvalidBuckets,
        }
    }
}
