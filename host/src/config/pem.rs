//! Files of certificates and keys.

use std::path::PathBuf;

use super::reader::{At, Reader, quoted};
use super::value::FilePath;

/// The path of a PEM file that is there and has a section of a kind in it.
pub(crate) fn pem(path: At<FilePath>, label: &str, what: &str, reader: &mut Reader<'_>) -> Option<PathBuf> {
    let file = reader.locate(&path.value.0);
    let text = match reader.file(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(wrong) => {
            let message = format!("{} is not usable as {what}: {}", reader.written(&path), wrong.why);
            let problem = reader.problem(&path, message);
            reader.report(problem.help("paths are relative to the configuration file"));
            return None;
        }
    };
    let sections: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")).collect();
    if sections.iter().any(|section| section.ends_with(label)) {
        return Some(file);
    }
    let has = match sections.first() {
        Some(section) => format!("its first PEM section is {}", quoted(section)),
        None => "it has no PEM section".to_owned(),
    };
    reader.error(&path, format!("there is not {what} in {}: {has}", reader.written(&path)));
    None
}
