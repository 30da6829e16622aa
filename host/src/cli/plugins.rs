//! `tollgate plugins`: the components that a configuration can name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{DEFAULT, failed, refused, rollout};
use crate::config;
use crate::plugin::{Engine, Hook, Library};

pub(super) fn plugins(path: Option<PathBuf>, json: bool) -> ExitCode {
    let path = path.or_else(|| Path::new(DEFAULT).exists().then(|| DEFAULT.into()));
    let (directory, cache, admin, specs) = match path.map(|path| config::load(&path)) {
        Some(Ok(config)) => (config.plugins.directory, config.plugins.cache, config.admin, config.plugin),
        Some(Err(problems)) => return refused(&problems),
        None => (None, None, None, BTreeMap::new()),
    };
    let mut library = match Engine::new(16, cache.as_deref()) {
        Ok(engine) => Library::new(Arc::new(engine), directory),
        Err(error) => return failed(&format!("{error:#}")),
    };
    library.require(specs.values());
    // As they are, whether or not they pass their cases: what a file is, is asked here.
    for change in library.look() {
        library.settle(change, None, false);
    }
    let mut list = Vec::new();
    for report in library.reports() {
        let component = library.find(&report.name).ok().flatten();
        let hooks = Hook::ALL;
        list.push(serde_json::json!({
            "name": report.name,
            "origin": report.origin,
            "size": report.size,
            "sha256": component.as_ref().map(|one| one.sha256.clone()),
            "hooks": component.as_ref().map(|one| {
                hooks.iter().filter(|hook| one.exports(**hook)).map(|hook| hook.as_str()).collect::<Vec<_>>()
            }),
            "imports": component.as_ref().map(|one| one.imports.clone()),
            "problem": report.problem,
        }));
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    for one in &list {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let words = |key: &str| {
            let list = one[key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(", ")
        };
        println!("{} ({}, {} KiB)", text("name"), text("origin"), one["size"].as_u64().unwrap_or_default() / 1024);
        match one["problem"].as_str() {
            Some(problem) => println!("  not loaded: {problem}"),
            None => println!("  sha256 {}\n  hooks {}\n  imports {}", text("sha256"), words("hooks"), words("imports")),
        }
    }
    for trial in admin.iter().flat_map(|admin| rollout::trials(admin.address)) {
        println!("{trial}");
    }
    ExitCode::SUCCESS
}
