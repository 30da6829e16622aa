//! Leaves a secret of each request wherever a plugin can leave one, and looks through all of its memory for those of others.
//! With the field `x-crash` it then panics.
#![allow(unsafe_code, reason = "to look at memory that nothing of it points to any more")]

use std::cell::RefCell;
use std::hint::black_box;

use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

struct Remember {
    keep: bool,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Config {
    /// Whether secrets are kept for longer than a call.
    keep: bool,
}

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static PLACE: RefCell<[u8; 4096]> = const { RefCell::new([0; 4096]) };
}

/// Bytes of a secret that are the same in all of them, and that stand nowhere in this program.
const SAME: usize = 8;

impl Plugin for Remember {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        Ok(Self { keep: config.keep })
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see.headers(["x-secret", "x-size", "x-crash"]))
    }

    fn on_request(&self, request: &Request) -> Flow {
        let secret = request.header("x-secret").unwrap_or_default();
        let found = others(secret);
        if self.keep {
            let size =
                request.header("x-size").and_then(|size| std::str::from_utf8(size).ok()?.parse().ok()).unwrap_or(0);
            keep(secret, size);
        }
        assert!(request.header("x-crash").is_none(), "as it was asked");
        Edits::new().set("x-found", found.to_string()).set("x-echo", secret).into()
    }
}
plugin!(Remember);

/// How many secrets there are in memory that are not this one.
fn others(secret: &[u8]) -> usize {
    let Some(same) = secret.get(..SAME) else { return usize::MAX };
    let size = memory();
    // SAFETY: all of it is memory of this instance, whose only thread writes none of it meanwhile.
    let all = unsafe { std::slice::from_raw_parts(16 as *const u8, size - 16) };
    let begins = |at: &usize| all[*at] == same[0] && all[*at..].starts_with(same);
    (0..all.len() - secret.len()).filter(begins).filter(|at| !all[*at..].starts_with(secret)).count()
}

fn memory() -> usize {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size(0) << 16;
    #[cfg(not(target_arch = "wasm32"))]
    unreachable!("it is made for WebAssembly")
}

/// On the heap, in so many bytes; in a place of its own; and far down the stack.
fn keep(secret: &[u8], size: usize) {
    KEPT.with_borrow_mut(|kept| kept.push(secret.iter().copied().cycle().take(size).collect()));
    PLACE.with_borrow_mut(|place| place.iter_mut().zip(secret.iter().cycle()).for_each(|(to, from)| *to = *from));
    down(secret, 8);
}

#[inline(never)]
fn down(secret: &[u8], left: u32) {
    let mut frame = [0_u8; 2048];
    frame.iter_mut().zip(secret.iter().cycle()).for_each(|(to, from)| *to = *from);
    black_box(&frame);
    if left > 0 {
        down(secret, left - 1);
    }
    black_box(&frame);
}
