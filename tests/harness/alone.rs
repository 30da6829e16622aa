//! Tests of memory: that of this process is what all tests take which run just now, so each has a process of its own.

use std::process::Command;

/// Set for the process that has nothing else to do.
const ALONE: &str = "TOLLGATE_TEST_ALONE";

/// Runs a test in a process where nothing else runs. `name` is its own, with its modules.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let mut process = Command::new(std::env::current_exe().expect("this program"));
    let out = process.args(["--exact", name]).env(ALONE, "1").output().expect("it starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&out.stderr));
}

/// Bytes of this process in memory.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let number = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    number.expect("a number") << 10
}
