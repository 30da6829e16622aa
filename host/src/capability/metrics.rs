//! Numbers of plugins: what stands behind `tollgate:plugin/metrics`.
//!
//! The series belong to [`metrics`](crate::metrics), which shows them beside all others and keeps each plugin within its
//! bounds; here is what a guest sees of them.

mod guest;

pub use guest::{CounterHandle, GaugeHandle, HistogramHandle};
pub(crate) use guest::{Guest, link};
