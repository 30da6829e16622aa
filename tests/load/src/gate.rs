//! Tollgate, as released: one worker, no access log, a route for each row.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::keys;
use crate::process::{Process, free};

/// A running Tollgate.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) tls: SocketAddr,
    admin: SocketAddr,
    pub(crate) process: Process,
}

/// Where its parts are.
pub(crate) struct Build {
    pub(crate) program: PathBuf,
    /// `nothing.wasm` and `count.wasm`.
    pub(crate) plugins: PathBuf,
}

impl Build {
    /// Beside this program, where cargo puts both.
    pub(crate) fn find() -> Result<Self> {
        let own = std::env::current_exe()?;
        let profile = own.parent().context("this program is nowhere")?;
        let program = profile.join("tollgate");
        ensure!(program.exists(), "no {}: cargo build --release -p tollgate", program.display());
        let plugins = profile.join("../wasm32-wasip2/plugin/examples");
        ensure!(plugins.join("count.wasm").exists(), "no plugins in {}: run this as `make bench`", plugins.display());
        Ok(Self { program, plugins })
    }
}

/// How large a Tollgate is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) workers: usize,
    /// The routes and plugins of all rows, or only the five plugins that count.
    pub(crate) all: bool,
    /// Routes beside those of the rows, each with ten plugins of its own.
    pub(crate) more: usize,
}

/// What all rows are measured on.
pub(crate) const ONE_WORKER: Size = Size { workers: 1, all: true, more: 0 };
/// The plugins of the rows that are not made in a loop.
const PLUGINS: &str = r#"
[plugin.nothing]
component = "nothing"

[plugin.safe]
component = "headers"
config = { request.set = { "x-stage" = "live" }, response.set = { "x-served-by" = "gate" } }

[plugin.order]
component = "validate"
[plugin.order.config.body.schema]
type = "object"
required = ["id", "customer", "items"]
additionalProperties = false
[plugin.order.config.body.schema.properties]
id = { type = "string", pattern = "^[A-Z]{3}-[0-9]{4}$" }
note = { type = "string", maxLength = 1000 }
customer = { type = "object", required = ["name", "mail"], additionalProperties = false, properties = { name = { type = "string", minLength = 1 }, mail = { type = "string", minLength = 3 } } }
[plugin.order.config.body.schema.properties.items]
type = "array"
minItems = 1
maxItems = 100
[plugin.order.config.body.schema.properties.items.items]
type = "object"
required = ["sku", "quantity", "price"]
additionalProperties = false
properties = { sku = { type = "string", pattern = "^[A-Z]{3}-[0-9]{4}$" }, quantity = { type = "integer", minimum = 1, maximum = 1000 }, price = { type = "number", minimum = 0 } }
"#;

impl Gate {
    /// Starts it, and returns when it accepts. `name` tells its files in the directory from those of others; the cache of
    /// compiled code is shared.
    pub(crate) fn start(
        build: &Build,
        size: Size,
        (cpus, directory, name): (&str, &Path, &str),
        upstreams: &[SocketAddr],
    ) -> Result<Self> {
        let plugins = directory.join("plugins");
        fs::create_dir_all(&plugins)?;
        for name in ["count.wasm", "nothing.wasm"] {
            fs::copy(build.plugins.join(name), plugins.join(name))?;
        }
        let [address, tls, admin] = free()?;
        let file = directory.join(format!("{name}.toml"));
        fs::write(&file, configuration(directory, size, [address, tls, admin], upstreams))?;
        let log = directory.join(format!("{name}.log"));
        let process = Process::start(cpus, &build.program, &[OsStr::new("run"), file.as_os_str()], &log)?;
        let mut gate = Self { address, tls, admin, process };
        while TcpStream::connect(gate.address).is_err() {
            let ended = gate.process.ended()?;
            ensure!(ended.is_none(), "tollgate did not start: {}", fs::read_to_string(&log).unwrap_or_default());
            std::thread::yield_now();
        }
        Ok(gate)
    }

    /// What the admin listener answers, head and body.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        let host = self.admin;
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200"), "{method} {path}: {text}");
        Ok(text)
    }
}

fn configuration(directory: &Path, size: Size, addresses: [SocketAddr; 3], upstreams: &[SocketAddr]) -> String {
    let [address, tls, admin] = addresses;
    let path = directory.display();
    let workers = size.workers;
    let endpoints: Vec<String> = upstreams.iter().map(|upstream| format!("\"http://{upstream}\"")).collect();
    let endpoints = endpoints.join(", ");
    let mut text = format!(
        r#"workers = {workers}

[listener.plain]
address = "{address}"
limits = {{ connections = 15000, keep-alive = "10m" }}

[listener.tls]
address = "{tls}"
tls = {{ certificate = "{path}/certificate.pem", key = "{path}/key.pem" }}
limits = {{ connections = 15000, keep-alive = "10m" }}

[admin]
address = "{admin}"

[log]
access = "off"
level = "warn"

[plugins]
directory = "{path}/plugins"
cache = "{path}/cache"

[upstream.origin]
endpoints = [{endpoints}]
idle-connections = 128
"#
    );
    // Writing to a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{arguments}");
    };
    if size.all {
        line(format_args!("{PLUGINS}"));
    }
    for (name, isolation) in [("key", "pooled"), ("fresh", "request")].into_iter().filter(|_| size.all) {
        line(format_args!("\n[plugin.{name}]\ncomponent = \"api-key\"\nisolation = \"{isolation}\""));
        line(format_args!("[plugin.{name}.config]\nkeys = ["));
        for (consumer, digest) in keys::digests() {
            line(format_args!("    {{ consumer = \"{consumer}\", sha256 = \"{digest}\" }},"));
        }
        line(format_args!("]"));
    }
    for number in 1..=5 {
        line(format_args!(
            "\n[plugin.count-{number}]\ncomponent = \"count\"\ngrant = {{ kv = [\"counts\"] }}\n\
             config = {{ header = \"x-tenant-{number}\", store = \"counts\" }}"
        ));
    }
    let five = "\"count-1\", \"count-2\", \"count-3\", \"count-4\", \"count-5\"";
    let routes = [
        ("plain", "", "1MiB"),
        ("nothing", "\"nothing\"", "1MiB"),
        ("key", "\"key\"", "1MiB"),
        ("fresh", "\"fresh\"", "1MiB"),
        ("one", "\"count-1\"", "1MiB"),
        ("five", five, "1MiB"),
        ("json", "\"order\"", "1MiB"),
        ("large", "", "unlimited"),
        ("large-chain", "\"key\", \"safe\"", "unlimited"),
    ];
    for (name, chain, size) in routes.into_iter().filter(|(name, ..)| size.all || *name == "five") {
        line(format_args!(
            "\n[route.{name}]\npath-prefix = \"/{name}\"\nchain = [{chain}]\nupstream = \"origin\"\nbody-size = \"{size}\""
        ));
    }
    if size.all {
        line(format_args!(
            "\n[route.socket]\npath-prefix = \"/socket\"\nupstream = \"origin\"\nupgrade = [\"websocket\"]"
        ));
    }
    for route in 0..size.more {
        let own: Vec<String> = (0..10).map(|plugin| format!("\"more-{route}-{plugin}\"")).collect();
        for name in &own {
            line(format_args!("\n[plugin.{}]\ncomponent = \"nothing\"", name.trim_matches('"')));
        }
        let chain = own.join(", ");
        line(format_args!(
            "\n[route.more-{route}]\npath-prefix = \"/more/{route}\"\nchain = [{chain}]\nupstream = \"origin\""
        ));
    }
    text
}
