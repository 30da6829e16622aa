use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

struct Files {
    directory: TempDir,
    made: Vec<Certificate>,
}

impl Files {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), made: Vec::new() }
    }

    fn certificate(&mut self, names: &[&str], until: i32) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let place = self.made.len();
        let write = |kind, text: String| {
            let path = self.directory.path().join(format!("{place}-{kind}.pem"));
            fs::write(&path, text).unwrap();
            path
        };
        let files = Certificate {
            certificate: write("certificate", certificate.pem()),
            key: write("key", key.serialize_pem()),
            clients: None,
        };
        self.made.push(files);
    }
}

#[test]
fn a_name_gets_its_own_certificate_then_its_wildcard_then_the_first() {
    let mut files = Files::new();
    files.certificate(&["first.example"], 2100);
    files.certificate(&["*.b.example", "b.example"], 2100);
    files.certificate(&["x.b.example"], 2100);
    files.certificate(&["first.example", "last.example"], 2100);
    let (names, ends) = Names::load(&files.made, &[&None], &aws_lc_rs::default_provider()).unwrap();
    assert_eq!(ends.len(), 4);
    assert!(ends.iter().all(|(_, ends)| *ends == 4_102_444_800), "{ends:?}");
    let chosen = |name: &str| {
        let found = names.find(name).key.cert[0].clone();
        files.made.iter().position(|made| crate::pem::certificates(&made.certificate).unwrap()[0] == found).unwrap()
    };
    for (name, place) in [
        ("first.example", 0),
        ("b.example", 1),
        ("b.example.", 1),
        ("y.b.example", 1),
        ("x.b.example", 2),
        ("last.example", 3),
        ("deep.y.b.example", 0),
        ("other.example", 0),
        ("example", 0),
        ("", 0),
    ] {
        assert_eq!(chosen(name), place, "{name}");
    }
}

#[test]
fn what_is_wrong_names_the_file() {
    let mut files = Files::new();
    files.certificate(&["a.example"], 2100);
    files.certificate(&["b.example"], 2100);
    files.certificate(&["old.example"], 2021);
    let [good, other, old] = <[Certificate; 3]>::try_from(files.made.clone()).unwrap();
    assert!(load(&[good.clone(), other.clone()]).is_ok());

    let mixed = Certificate { key: other.key.clone(), ..good.clone() };
    let swapped = Certificate { certificate: good.key.clone(), key: good.certificate.clone(), clients: None };
    let missing = Certificate { key: files.directory.path().join("none.pem"), ..good.clone() };
    for (certificate, file, words) in [
        (&old, &old.certificate, "certificate 1: has expired"),
        (&mixed, &other.key, "is not the key of"),
        (&swapped, &good.key, "has no certificate"),
        (&missing, &missing.key, "cannot be read"),
    ] {
        let error = load(&[good.clone(), certificate.clone()]).unwrap_err();
        assert_eq!(&error.file, file);
        assert!(error.problem.contains(words), "{error}");
    }
    assert!(load(&[]).is_err());
}
