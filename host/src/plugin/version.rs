//! Versions of the contract: which components run here, and what is said of the others.

use std::cmp::Ordering;

/// The version that this host speaks, as it stands at the end of an interface's name.
pub(super) const VERSION: &str = "0.1.0";

/// Whether a component that was made for a version runs on this host: one of the same breaking version that is not newer
/// (Semantic Versioning 2.0, where below 1.0 the second number breaks).
pub(super) fn runs(version: &str) -> bool {
    fits(version, VERSION)
}

/// What is said of one that does not, by the interface that it names.
pub(super) fn refusal(interface: &str) -> String {
    let version = interface.split_once('@').map_or("", |(_, version)| version);
    match numbers(version).zip(numbers(VERSION)).map(|(its, ours)| its.cmp(&ours)) {
        Some(Ordering::Greater) => format!(
            "made for version {version} of the plugin contract (`{interface}`), which is newer than {VERSION}, the one that \
             this Tollgate speaks: bring Tollgate up to date, or build the plugin for {VERSION}"
        ),
        Some(_) => format!(
            "made for version {version} of the plugin contract (`{interface}`), which is older than {VERSION}, the one that \
             this Tollgate speaks, and does not fit it: build the plugin for {VERSION}"
        ),
        None => format!(
            "made for no version of the plugin contract that is known (`{interface}`): this Tollgate speaks {VERSION}"
        ),
    }
}

fn fits(version: &str, host: &str) -> bool {
    let (Some(its), Some(ours)) = (numbers(version), numbers(host)) else { return false };
    breaking(its) == breaking(ours) && its <= ours
}

fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut parts = version.split('.').map(|part| {
        let canonical = part == "0" || !part.starts_with('0');
        part.parse().ok().filter(|_| canonical && part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// The numbers in which two versions that fit have to be the same.
fn breaking([major, minor, patch]: [u64; 3]) -> [u64; 3] {
    match (major, minor) {
        (0, 0) => [0, 0, patch],
        (0, minor) => [0, minor, 0],
        (major, _) => [major, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_runs_what_was_made_for_an_older_version_that_fits() {
        for (version, host) in
            [("0.1.0", "0.1.0"), ("0.1.0", "0.1.7"), ("1.0.0", "1.3.0"), ("1.2.9", "1.3.0"), ("0.0.3", "0.0.3")]
        {
            assert!(fits(version, host), "{version} on {host}");
        }
        for (version, host) in [
            ("0.1.1", "0.1.0"),
            ("0.2.0", "0.1.0"),
            ("0.1.0", "0.2.0"),
            ("0.0.2", "0.0.3"),
            ("1.0.0", "0.1.0"),
            ("1.4.0", "1.3.0"),
            ("0.1.0-rc1", "0.1.0"),
            ("0.1", "0.1.0"),
            ("0.1.0.0", "0.1.0"),
            ("0.01.0", "0.1.0"),
            ("+0.1.0", "0.1.0"),
            ("", "0.1.0"),
        ] {
            assert!(!fits(version, host), "{version} on {host}");
        }
        assert!(runs(VERSION));
    }

    #[test]
    fn both_versions_are_named() {
        for (interface, words) in [
            (
                "tollgate:plugin/kv@0.2.0",
                "made for version 0.2.0 of the plugin contract (`tollgate:plugin/kv@0.2.0`), which is newer",
            ),
            ("tollgate:plugin/hooks@0.0.9", "which is older than"),
            ("tollgate:plugin/hooks@0.2.0-rc1", "no version"),
            ("tollgate:plugin/hooks", "no version"),
        ] {
            let said = refusal(interface);
            assert!(said.contains(words) && said.contains(VERSION), "{said}");
        }
    }
}
