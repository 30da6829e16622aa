//! The same bytes to Tollgate, to nginx and to hyper. Where they do not take the same requests, `docs/framing.md` says
//! so and why: one row for each seed of the fuzz target `framing` on which they differ, exactly as it is seen here.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;
use tollgate_fuzz::framing::{End, by_hyper};

use crate::harness::{Client, Message, Origin, Proxy};

/// What each of them makes of an input: the requests that it takes, with the lengths of their bodies, and the status of
/// what it refuses.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    ours: String,
    hypers: String,
    nginx: String,
}

#[test]
fn every_difference_from_others_stands_in_the_documentation() {
    let origin = Origin::start(told);
    // Whoever waits for more ends soon.
    let proxy = Proxy::start(
        &format!(
            "listener.public.limits = {{ head-time = \"1s\", body-idle = \"1s\", keep-alive = \"1s\" }}\n\
             upstream.o.endpoints = [\"{}\"]\nroute.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n",
            origin.url()
        ),
        &[],
    );
    let Some(nginx) = Nginx::start(origin.address()) else {
        eprintln!("there is no nginx here, so nothing is compared with it: `make setup-test` installs it");
        return;
    };
    let seeds = seeds();
    let ours = proxy.address("public");
    let seen: BTreeMap<&str, Row> = thread::scope(|scope| {
        let parts: Vec<_> = seeds.chunks(seeds.len().div_ceil(16)).collect();
        let row = |(name, bytes): &'static (String, Vec<u8>)| {
            (name.as_str(), Row { ours: ask(ours, bytes), hypers: hypers(bytes), nginx: ask(nginx.address, bytes) })
        };
        let parts: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || part.iter().map(row).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().expect("answers")).collect()
    });
    let page = fs::read_to_string(root().join("docs/framing.md")).expect("the page");
    let same_nginx = page.contains(&nginx.version);
    if !same_nginx {
        eprintln!("{} is here, and the page is about another one: it is not compared", nginx.version);
    }
    let reasons: BTreeMap<&str, &str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | `"))
        .map(|(name, rest)| (name, rest.rsplit_once(" | ").map_or("", |(_, why)| why)))
        .collect();
    let mut table = String::new();
    for (name, bytes) in seeds {
        let Row { ours, hypers, nginx } = &seen[name.as_str()];
        if taken(ours) == taken(hypers) && (taken(ours) == taken(nginx) || !same_nginx) {
            continue;
        }
        let why = reasons.get(name.as_str()).copied().unwrap_or_default();
        let cells = format!("| {name} | `{}` | {ours} | {hypers} | ", shown(bytes));
        let row = format!("{cells}{nginx} | {why} |\n");
        table += &row;
        assert!(!why.is_empty(), "docs/framing.md has no row for this difference: {row}");
        let told = page.lines().any(|line| format!("{line}\n") == row || !same_nginx && line.starts_with(&cells));
        assert!(told, "docs/framing.md should have this row: {row}");
    }
    for name in reasons.keys() {
        assert!(table.contains(&format!("| {name} | ")) || !same_nginx, "docs/framing.md: no difference in {name}");
    }
}

/// The requests alone, without how others were refused.
fn taken(told: &str) -> Vec<&str> {
    told.split(", ").filter(|one| one.contains(' ') || *one == "next").collect()
}

/// The bytes without the request behind them, as the page shows them.
fn shown(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(NEXT.as_bytes()).unwrap_or(bytes);
    bytes.escape_ascii().to_string().replace("\\r\\n", "⏎").replace("\\\"", "\"").replace('|', "\\|")
}

/// What stands behind most seeds.
const NEXT: &str = "GET /behind HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the origin tells of a request.
fn told(request: &Message) -> Vec<u8> {
    let method = request.start.split(' ').next().unwrap_or_default();
    let told = format!("{method} {} {}", request.target(), request.body.len());
    format!("HTTP/1.1 200 OK\r\nx-told: {told}\r\ncontent-length: {}\r\n\r\n{told}", told.len()).into_bytes()
}

/// Leaked: the threads that read them are as many as they please.
fn seeds() -> &'static [(String, Vec<u8>)] {
    let mut seeds: Vec<_> = fs::read_dir(root().join("host/fuzz/seeds/framing"))
        .expect("seeds")
        .map(|entry| entry.expect("a seed").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a seed"))
        })
        .collect();
    seeds.sort();
    seeds.leak()
}

/// What the origin told of the requests that a proxy sent on, and how it answered the others itself.
fn ask(address: SocketAddr, bytes: &[u8]) -> String {
    let mut client = Client::connect(address);
    client.send(bytes);
    let all = client.rest();
    let (mut rest, mut told) = (all.as_str(), Vec::new());
    while let Some((head, behind)) = rest.starts_with("HTTP/1.").then(|| rest.split_once("\r\n\r\n")).flatten() {
        let field = |name: &str| {
            head.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let status = head.split(' ').nth(1).unwrap_or_default();
        let request = field("x-told").map(|(_, told)| told);
        let bodiless = status == "100" || request.is_some_and(|request| request.starts_with("HEAD "));
        let length = field("content-length").filter(|_| !bodiless).and_then(|(_, length)| length.parse().ok());
        rest = behind.get(length.unwrap_or(0)..).unwrap_or_default();
        if status != "100" {
            told.push(request.map_or(status.to_owned(), self::request));
        }
    }
    if !rest.is_empty() {
        told.push(format!("{rest} as HTTP/0.9"));
    }
    if told.is_empty() { "closed".to_owned() } else { told.join(", ") }
}

fn request(told: &str) -> String {
    if told == "GET /behind 0" { "next".to_owned() } else { told.to_owned() }
}

/// As the proxies' answers are told.
fn hypers(bytes: &[u8]) -> String {
    let reading = by_hyper(bytes);
    let mut told: Vec<String> = reading
        .messages
        .iter()
        .take_while(|message| message.whole)
        .map(|message| {
            let (line, _version) = message.line.rsplit_once(' ').expect("three words");
            let (method, target) = line.split_once(' ').expect("three words");
            // A proxy sends the path alone.
            let path = target.strip_prefix("http://").map_or(target, |rest| &rest[rest.find('/').unwrap_or(0)..]);
            request(&format!("{method} {path} {}", message.body.len()))
        })
        .collect();
    if matches!(reading.end, End::Refused(_)) || reading.messages.last().is_some_and(|last| !last.whole) {
        told.push("refused".to_owned());
    }
    told.join(", ")
}

/// A running nginx, with its own defaults for everything that it reads.
struct Nginx {
    address: SocketAddr,
    /// `nginx/1.2.3`
    version: String,
    process: Child,
    _folder: TempDir,
}

impl Nginx {
    /// None where it is not installed.
    fn start(origin: SocketAddr) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from);
        let program = program.into_iter().find(|path| path.exists())?;
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let path = folder.path().display();
        let file = folder.path().join("nginx.conf");
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log crit;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
             access_log off; keepalive_timeout 1s; client_header_timeout 1s; client_body_timeout 1s;\n\
             client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;\n\
             uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n\
             server {{ listen {address}; location / {{ proxy_pass http://{origin}; }} }}\n\
             }}\n"
        );
        fs::write(&file, configuration).expect("a file");
        let version = Command::new(&program).arg("-v").output().expect("nginx starts").stderr;
        let version = String::from_utf8_lossy(&version).trim().replace("nginx version: ", "");
        let mut process = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts");
        while TcpStream::connect(address).is_err() {
            let ended = process.try_wait().expect("a process");
            assert!(ended.is_none(), "nginx did not start: {:?}", fs::read_to_string(folder.path().join("error.log")));
            thread::yield_now();
        }
        Some(Self { address, version, process, _folder: folder })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
