//! In the place of `allocator.rs` where a plugin has an allocator of its own, or runs natively.

pub(crate) fn configured() {}

pub(crate) fn within<R>(run: impl FnOnce() -> R) -> R {
    run()
}
