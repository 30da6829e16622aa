//! What components of the standard's HTTP worlds do wrong, for all of them. Each is an example of this package.

use std::hint::black_box;

/// Misbehaves in the way of this name, if there is one.
pub fn misbehave(how: &str) {
    match how {
        "spin" => while black_box(true) {},
        "trap" => panic!("secret words"),
        "allocate" => {
            let mut all = Vec::new();
            while black_box(true) {
                all.push(black_box(vec![1_u8; 1 << 16]));
            }
        }
        "exit" => std::process::exit(3),
        _ => {}
    }
}

/// A number at the end of a path, such as 7 in `/zeros/7`.
pub fn number(path: &str) -> u64 {
    path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
