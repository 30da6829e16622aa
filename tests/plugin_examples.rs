//! The examples in the documentation of the built-in plugins are configurations that start.

use std::fs;
use std::path::Path;

use crate::harness::{Origin, Proxy};

#[test]
fn every_example_of_a_plugin_starts() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let origin = Origin::fine();
    let mut examples = 0;
    for folder in fs::read_dir(plugins).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let Ok(readme) = fs::read_to_string(folder.join("README.md")) else { continue };
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
        for block in readme.split("```toml\n").skip(1) {
            let example = block.split("```").next().expect("text");
            assert!(example.contains(&format!("component = \"{name}\"")), "{name} in:\n{example}");
            let heading = |line: &str| line.strip_prefix("[plugin.")?.strip_suffix(']').map(str::to_owned);
            let chain: Vec<_> = example.lines().filter_map(heading).filter(|name| !name.contains('.')).collect();
            assert!(!chain.is_empty(), "no plugin in:\n{example}");
            let config = format!(
                "upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path = \"/\", chain = {chain:?}, upstream = \"o\" }}\n{example}",
                origin.url(),
            );
            Proxy::try_start(&config, &[]).unwrap_or_else(|why| panic!("the example of {name}: {why}"));
            examples += 1;
        }
    }
    assert!(examples >= 6, "{examples} examples of six plugins");
}
