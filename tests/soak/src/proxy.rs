//! The proxy: the real binary, in a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Proxy {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) trust: Arc<rustls::ClientConfig>,
    pub(crate) descriptors_at_start: usize,
    admin: SocketAddr,
    id: u32,
    /// None before it was started.
    child: Mutex<Option<Child>>,
    folder: TempDir,
    backends: Vec<SocketAddr>,
    plugin: Option<Vec<u8>>,
}

impl Proxy {
    pub(crate) async fn start(backends: &[SocketAddr]) -> Result<Self> {
        let program = match std::env::var_os("TOLLGATE") {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe()?.with_file_name("tollgate"),
        };
        ensure!(program.exists(), "{} is not there: build it, or name it in TOLLGATE", program.display());
        let plugin = match std::env::var_os("PLUGIN") {
            Some(path) => {
                let path = PathBuf::from(path);
                Some(fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?)
            }
            None => None,
        };
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("plugins"))?;
        let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        fs::write(folder.path().join("cert.pem"), identity.cert.pem())?;
        fs::write(folder.path().join("key.pem"), identity.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(identity.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut trust = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        trust.alpn_protocols = vec![b"h2".to_vec()];
        let [plain, tls, admin] = free()?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut proxy = Self {
            plain,
            tls,
            admin,
            trust: Arc::new(trust),
            descriptors_at_start: 0,
            id: 0,
            child: Mutex::new(None),
            folder,
            backends: backends.to_vec(),
            plugin,
        };
        proxy.drop_in(0)?;
        proxy.write(0)?;
        let mut command = Command::new(program);
        command.arg("run").arg(proxy.folder.path().join("tollgate.toml"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        proxy.id = child.id();
        proxy.child = Mutex::new(Some(child));
        let begun = Instant::now();
        while proxy.admin("GET", "/readyz").await.is_err() {
            if begun.elapsed() > PATIENCE || proxy.has_ended() {
                bail!("the proxy did not start: {}", proxy.log());
            }
            sleep(Duration::from_millis(50)).await;
        }
        proxy.descriptors_at_start = proxy.descriptors()?;
        Ok(proxy)
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Loads a configuration that differs from the one before.
    pub(crate) async fn reload(&self, generation: usize) -> Result<()> {
        self.write(generation)?;
        let answer = self.admin("POST", "/reload").await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "a reload is refused: {answer}");
        Ok(())
    }

    fn write(&self, generation: usize) -> Result<()> {
        let endpoints: Vec<String> = self.backends.iter().map(|address| format!("\"http://{address}\"")).collect();
        let endpoints = endpoints.join(", ");
        let greet = match self.plugin {
            Some(_) => "plugin.greet = { component = \"greeting\", config.name = \"world\", limits.time = \"5s\" }",
            None => {
                "plugin.greet = { component = \"headers\", config.response.set = { x-hello = \"world\" }, limits.time = \"5s\" }"
            }
        };
        let (plain, tls, admin) = (self.plain, self.tls, self.admin);
        let text = format!(
            r#"workers = 2
listener.plain.address = "{plain}"
[listener.secure]
address = "{tls}"
tls = {{ certificate = "cert.pem", key = "key.pem" }}
[admin]
address = "{admin}"
[plugins]
directory = "plugins"
cache = "cache"
[log]
access = "off"
level = "warn"
[upstream.servers]
endpoints = [{endpoints}]
retries = {{ attempts = 3, least = 10000 }}
ejection = {{ time = "1s", longest = "2s" }}
health = {{ path = "/health", interval = "500ms" }}
connections = {{ age = "5s", requests = 500 }}
timeouts.idle = "30s"
[upstream.calls]
endpoints = [{endpoints}]
protocol = "http2"
ejection = {{ time = "1s", longest = "2s" }}
health = {{ path = "/health", interval = "500ms" }}
connections = {{ age = "5s", requests = 500 }}
timeouts.idle = "30s"
[plugin.number]
component = "headers"
config.response.set = {{ x-generation = "{generation}" }}
limits.time = "5s"
[route.all]
path-prefix = "/"
chain = ["number", "greet"]
upstream = "servers"
[route.events]
path = "/events"
upstream = "servers"
[route.grpc]
path-prefix = "/grpc"
upstream = "calls"
streaming = true
body-size = "unlimited"
[route.socket]
path = "/socket"
upstream = "servers"
upgrade = ["websocket"]
"#
        );
        put(
            &self.folder.path().join("tollgate.toml"),
            format!("{text}\n[plugin]\n{}\n", &greet["plugin.".len()..]).as_bytes(),
        )
    }

    /// Another version of the plugin: the same one, with a custom section of its own behind it.
    /// Answers whether there is one.
    pub(crate) fn drop_in(&self, version: usize) -> Result<bool> {
        let Some(plugin) = &self.plugin else { return Ok(false) };
        let name = format!("v{version:07}");
        let section = [&[0, u8::try_from(name.len() + 1)?, u8::try_from(name.len())?], name.as_bytes()].concat();
        put(&self.folder.path().join("plugins/greeting.wasm"), &[plugin.as_slice(), &section].concat())?;
        Ok(true)
    }

    /// Open files and sockets, without the memory images of components.
    pub(crate) fn descriptors(&self) -> Result<usize> {
        Ok(self.open()?.iter().filter(|path| !is_image(path)).count())
    }

    /// Memory images of components. The engine keeps those of instances that are gone for up to a hundred of its places.
    pub(crate) fn images(&self) -> Result<usize> {
        Ok(self.open()?.iter().filter(|path| is_image(path)).count())
    }

    fn open(&self) -> Result<Vec<PathBuf>> {
        let all = fs::read_dir(format!("/proc/{}/fd", self.id)).context("the proxy has ended")?;
        // One may be closed while we look.
        Ok(all.filter_map(|one| fs::read_link(one.ok()?.path()).ok()).collect())
    }

    /// Bytes of memory (the resident set).
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).context("the proxy has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in status")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
    }

    /// Connections to servers, as the proxy itself counts them.
    pub(crate) async fn upstream_connections(&self) -> Result<usize> {
        let answer = self.admin("GET", "/state").await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        let state: serde_json::Value = serde_json::from_str(body)?;
        let upstreams = state["upstreams"].as_array().context("no upstreams in the state")?;
        let endpoints = upstreams.iter().filter_map(|upstream| upstream["endpoints"].as_array()).flatten();
        Ok(endpoints.filter_map(|endpoint| endpoint["connections"].as_u64()).sum::<u64>() as usize)
    }

    async fn admin(&self, method: &str, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let ask = format!("{method} {path} HTTP/1.1\r\nhost: soak\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(ask.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 "), "no answer to {method} {path}");
        Ok(answer)
    }

    /// Ends it as a service manager would.
    pub(crate) fn stop(&self) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut child = child.context("it was not started")?;
        Command::new("kill").arg(self.id.to_string()).status()?;
        let status = child.wait()?;
        ensure!(status.success(), "it ended with {status}: {}", self.log());
        Ok(())
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Whatever went wrong, it does not go on without us.
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_image(path: &Path) -> bool {
    path.to_string_lossy().starts_with("/memfd:")
}

/// Written beside, and renamed there, so that it appears whole.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("beside");
    fs::write(&beside, bytes)?;
    Ok(fs::rename(&beside, path)?)
}

/// Loopback addresses that are free now.
pub(crate) fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let sockets: Vec<_> = (0..N).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr()).collect::<Result<_, _>>()?;
    addresses.try_into().map_err(|_| anyhow::anyhow!("too few addresses"))
}
