//! Every seed through its check: those that fuzzing begins with, and those that it once found something with.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tollgate_fuzz::{configuration, contract, framing, head, hide, json, names, path, recording, schema, xml};

/// Checks every file of a directory of the crate, and that there are at least so many.
fn each(directory: &str, at_least: usize, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .expect("a directory of seeds")
        .map(|entry| entry.expect("an entry of the directory").path())
        .collect();
    files.sort();
    assert!(files.len() >= at_least, "{} seeds in {}", files.len(), directory.display());
    for file in files {
        let bytes = fs::read(&file).expect("a seed");
        // The name of a seed that fails stands in the test's output.
        println!("{}", file.display());
        check(&bytes);
    }
}

#[test]
fn configurations() {
    each("seeds/configuration", 3, configuration::check);
    each("../tests/config", 100, configuration::check);
}

#[test]
fn what_guests_say() {
    each("seeds/contract", 20, contract::check);
}

#[test]
fn answers_of_name_servers() {
    each("seeds/names", 6, names::check);
}

#[test]
fn framing_of_requests() {
    let named = RefCell::new(BTreeSet::new());
    each("seeds/framing", 60, |bytes| named.borrow_mut().extend(framing::check(bytes)));
    assert_eq!(named.into_inner(), framing::names().collect(), "each difference from hyper has a seed that shows it");
}

#[test]
fn heads() {
    each("seeds/head", 10, head::check);
}

#[test]
fn values_that_name_upstreams() {
    each("seeds/hide", 8, hide::check);
}

#[test]
fn json_texts() {
    each("seeds/json", 10, json::check);
}

#[test]
fn paths() {
    each("seeds/path", 10, path::check);
}

#[test]
fn recordings() {
    each("seeds/recording", 10, recording::check);
}

#[test]
fn schemas() {
    each("seeds/schema", 10, schema::check);
}

#[test]
fn xml_documents() {
    each("seeds/xml", 10, xml::check);
}
