//! The `tollgate` command.

/// A request takes dozens of small allocations and frees them in another order. Where a plugin is called, mimalloc takes
/// 0.8 µs more for a whole request, and glibc's allocator takes 1 µs more than that, even without any plugin. A machine
/// with larger pages than the one that compiles needs `JEMALLOC_SYS_WITH_LG_PAGE` there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    tollgate::cli::main()
}
