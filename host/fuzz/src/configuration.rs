//! The configuration: whatever a file says, there is an answer, and one that can be relied on.

use std::path::{Path, PathBuf};

use tollgate::config::parse::parse;
use tollgate::config::{Config, Place, Places, Problem, Problems};
use tollgate::router::Router;

/// What `${env:CANARY}` stands for, and no report may show.
const CANARY: &str = "canary-0123456789";

/// The text of a configuration file.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match read(text) {
        Ok(config) => accepted(text, &config),
        Err(problems) => {
            assert!(problems.has_errors(), "refused without an error:\n{problems}");
            assert!(!problems.is_unreadable());
            reported(text, problems.iter());
            let report = problems.to_string();
            assert!(text.contains("canary") || !report.contains(CANARY), "a secret is shown:\n{report}");
            assert_eq!(report, read(text).expect_err("refused before").to_string(), "reported in another way");
        }
    }
}

/// Where relative paths begin: the golden files of the configuration's own tests.
fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config")
}

fn read(text: &str) -> Result<Config, Problems> {
    let env = |name: &str| match name {
        "CANARY" => Some(CANARY.to_owned()),
        "PORT" => Some("8080".to_owned()),
        _ => None,
    };
    parse(text, "fuzz.toml", &base(), &env)
}

fn reported<'p>(text: &str, problems: impl Iterator<Item = &'p Problem>) {
    for problem in problems {
        assert!(!problem.message.is_empty());
        let place = problem.place.as_ref();
        inside(text, place.unwrap_or_else(|| panic!("nowhere: {problem}")));
        problem.notes.iter().for_each(|note| inside(text, &note.place));
        serde_json::to_string(problem).expect("a problem is JSON");
    }
}

/// A place is in the file, and shows what stands there.
fn inside(text: &str, place: &Place) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = text.split('\n').nth(place.line - 1).unwrap_or_else(|| panic!("{place} is below the file"));
    let characters = line.chars().count();
    assert!((1..=characters + 1).contains(&place.column), "{place} is not in {line:?}");
    assert!(line.contains(&*place.text), "{place} shows {:?}, which is not in {line:?}", place.text);
    assert!(place.width >= 1 && place.width <= characters.max(1), "{place} is {} wide in {line:?}", place.width);
}

fn accepted(text: &str, config: &Config) {
    reported(text, config.warnings.iter());
    let again = read(text).expect("accepted before");
    assert_eq!(again.hash, config.hash);
    assert_eq!(format!("{again:?}"), format!("{config:?}"), "read in another way");
    let commented = read(&format!("{text}\n# a comment")).expect("a comment changes nothing");
    assert_eq!(commented.routes.len(), config.routes.len());

    assert!(!config.listeners.is_empty() && !config.routes.is_empty());
    for route in &config.routes {
        let upstream = |name: &String| config.upstreams.iter().any(|upstream| upstream.name == *name);
        assert!(route.upstreams().all(upstream), "{:?}", route.end);
        assert!(route.plugins().all(|name| config.plugin.contains_key(name)), "{:?}", route.chain);
    }
    for upstream in &config.upstreams {
        assert!(!upstream.endpoints.is_empty() && upstream.endpoints().all(|endpoint| endpoint.port != 0));
    }
    for plugin in config.plugin.values() {
        let value: serde_json::Value = serde_json::from_str(&plugin.config).expect("a plugin's configuration is JSON");
        assert!(value.is_object(), "{}", plugin.config);
        found(&value, "", &plugin.places, text);
    }
    let router = Router::new(config.routes.iter().map(|route| (route, ())));
    let _ = router.keeps_encoded_slash();
}

/// Every value has a place, that of its own or of one around it.
fn found(value: &serde_json::Value, pointer: &str, places: &Places, text: &str) {
    if let Some(place) = places.of(pointer) {
        inside(text, place);
    }
    let step = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| found(item, &step(&index.to_string()), places, text));
        }
        serde_json::Value::Object(members) => {
            members.iter().for_each(|(name, member)| found(member, &step(name), places, text));
        }
        _ => {}
    }
}
