//! A real registry: that of the distribution project, which Debian has as `docker-registry`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Layer, manifest, sha256};
use crate::harness::{Client, Message};

/// One on a port of its own, with nothing in it. Dropping it stops it.
pub(super) struct Distribution {
    process: Child,
    pub(super) address: SocketAddr,
    credentials: Option<&'static str>,
    _folder: TempDir,
}

/// The user `reader` with the password `hunter2-canary`, as `htpasswd -B` writes it.
const READER: &str = "reader:$2y$05$abcdefghijklmnopqrstuuVg6uW7bHRPWZkTPjmKIf1dSrkXmege.\n";
/// The same, as a request shows it.
const SHOWN: &str = "Basic cmVhZGVyOmh1bnRlcjItY2FuYXJ5";

impl Distribution {
    /// None where there is no such program, which is said. With `users`, only `reader` may ask.
    pub(super) fn start(users: bool) -> Option<Self> {
        let program = PathBuf::from("/usr/bin/docker-registry");
        if !program.exists() {
            eprintln!("there is no docker-registry here, so it is not tried: `make setup-test` installs it");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("users"), READER).expect("a file");
        let auth = format!("auth: {{ htpasswd: {{ realm: tests, path: {:?} }} }}\n", file("users"));
        let text = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {:?} }} }}\n\
             http: {{ addr: \"127.0.0.1:0\", secret: tests }}\n{}",
            file("data"),
            if users { &auth } else { "" }
        );
        std::fs::write(file("config.yml"), text).expect("a file");
        let mut command = Command::new(program);
        command.arg("serve").arg(file("config.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it is here");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            line.split_once("listening on ")?.1.split('"').next()?.parse().ok()
        });
        // It goes on writing, and somebody has to read that.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("it says where it listens");
        Some(Self { process, address, credentials: users.then_some(SHOWN), _folder: folder })
    }

    /// Pushes blobs, and a manifest that names them; answers its digest.
    pub(super) fn push(&self, repository: &str, layers: &[Layer<'_>]) -> String {
        let mut client = Client::connect(self.address);
        let config = Layer { kind: "application/vnd.wasm.config.v0+json", title: "", bytes: b"{}" };
        for layer in layers.iter().chain([&config]) {
            let begun = self.ask(&mut client, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
            assert_eq!(begun.status(), 202, "{begun:?}");
            let place = begun.header("location").expect("a place").split_once("/v2/").expect("a path").1.to_owned();
            let target = format!("/v2/{place}&digest=sha256:{}", sha256(layer.bytes));
            let kind = [("content-type", "application/octet-stream")];
            let put = self.ask(&mut client, "PUT", &target, &kind, layer.bytes);
            assert_eq!(put.status(), 201, "{put:?} {}", put.text());
        }
        let manifest = manifest(layers);
        let digest = sha256(manifest.as_bytes());
        let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
        let put =
            self.ask(&mut client, "PUT", &format!("/v2/{repository}/manifests/latest"), &kind, manifest.as_bytes());
        assert_eq!(put.status(), 201, "{put:?} {}", put.text());
        assert_eq!(put.header("docker-content-digest"), Some(&*format!("sha256:{digest}")));
        digest
    }

    fn ask(&self, client: &mut Client, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Message {
        let credentials = self.credentials.map(|credentials| ("authorization", credentials));
        let fields: Vec<_> = fields.iter().copied().chain(credentials).collect();
        client.request(method, target, &fields, body)
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
