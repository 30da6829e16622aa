//! Python's peers, in an environment of their own that `make setup-test` makes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{is_here, run};

/// With this in the environment, it is an error that they are missing.
const REQUIRED: &str = "TOLLGATE_PEERS";

/// A server that runs, until it is dropped.
pub(super) struct Peer {
    child: Child,
    python: String,
    pub(super) port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Where a script of ours is.
pub(super) fn script(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
    file.to_str().expect("a path of text").to_owned()
}

impl Peer {
    /// Starts a server that prints its port first. None where what it needs is not installed, which is said.
    pub(super) fn start(server: &str) -> Option<Self> {
        let python = PathBuf::from(env!("PEERS")).join("bin").join("python");
        let python = python.to_str().expect("a path of text").to_owned();
        if !is_here(&python, &["-c", "import grpc, websockets"]) {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{REQUIRED} is set, and {python} has no grpcio or websockets"
            );
            eprintln!("without them, {server} is not tried: `make setup-test` installs them");
            return None;
        }
        let mut command = Command::new(&python);
        let mut child = command.arg(script(server)).stdout(Stdio::piped()).spawn().expect("it is here");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut port = String::new();
        output.read_line(&mut port).expect("it prints");
        let port = port.trim().parse().expect("a port");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                kept.lock().expect("no thread panicked").push(line);
            }
        });
        Some(Self { child, python, port, lines })
    }

    /// What a client prints that is to talk to this address.
    pub(super) fn ask(&self, client: &str, address: SocketAddr) -> String {
        run(&self.python, &[&script(client), &address.to_string()], "")
    }

    /// How often it has printed a line.
    pub(super) fn said(&self, line: &str) -> usize {
        self.lines.lock().expect("no thread panicked").iter().filter(|said| *said == line).count()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
