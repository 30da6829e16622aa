//! The proxy in this process, on ports of its own, in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use prometheus_client::metrics::counter::Counter;
use tempfile::TempDir;
use tollgate::capability::limiter::{Clock, Limiter, Sizes};
use tollgate::config::{self, Problems};
use tollgate::server::{Options, Server, StartError};
use tollgate::telemetry::AccessLog;

use super::diagnostics::{Diagnostics, Lines};
use super::{Client, Message};

/// A running proxy. Dropping it drains it.
pub(crate) struct Proxy {
    server: Option<Server>,
    folder: TempDir,
    lines: Lines,
}

impl Proxy {
    /// Starts one with this configuration, to which listeners are added, and with these components (name and bytes) in
    /// its plugins directory.
    pub(crate) fn start(config: &str, components: &[(&str, Vec<u8>)]) -> Self {
        Self::try_start(config, components).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`start`](Self::start), for configurations that may be refused; the text says why.
    pub(crate) fn try_start(config: &str, components: &[(&str, Vec<u8>)]) -> Result<Self, String> {
        Self::try_start_with(config, components, Options::default())
    }

    /// As [`start`](Self::start), with what it says beside its access log.
    pub(crate) fn start_heard(config: &str, components: &[(&str, Vec<u8>)], diagnostics: &Diagnostics) -> Self {
        let options = Options { telemetry: Some(diagnostics.telemetry()), ..Options::default() };
        Self::try_start_with(config, components, options).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`start`](Self::start), with rate limits that count by this clock.
    pub(crate) fn start_at(config: &str, clock: Clock) -> Self {
        let limiter = Some(Limiter::with_clock(Sizes::default(), clock));
        let options = Options { limiter, ..Options::default() };
        Self::try_start_with(config, &[], options).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_start_with(config: &str, components: &[(&str, Vec<u8>)], options: Options) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
        for (name, bytes) in components {
            drop_in(folder.path(), name, bytes);
        }
        let path = write(folder.path(), config);
        let config = config::load(&path).map_err(|problems| problems.to_string())?;
        let lines = Lines::default();
        let access = AccessLog::to_writer(lines.clone(), Counter::default()).expect("a thread");
        let options = Options { path: Some(path), access: Some(access), ..options };
        let server = Server::start(config, options).map_err(|error: StartError| error.to_string())?;
        Ok(Self { server: Some(server), folder, lines })
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("only stop takes it")
    }

    /// Where this listener listens.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.server().address(listener).unwrap_or_else(|| panic!("no listener {listener}"))
    }

    /// Where operators ask.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.server().admin().expect("a listener")
    }

    /// A connection to the public listener.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address("public"))
    }

    /// What a GET of `target` gets, on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Message {
        self.client().request("GET", target, &[], b"")
    }

    /// What a GET of `target` gets from the listener for operators.
    pub(crate) fn admin(&self, target: &str) -> Message {
        Client::connect(self.admin_address()).request("GET", target, &[], b"")
    }

    /// What an operator says, and the status and the text of the answer.
    pub(crate) fn tell(&self, target: &str) -> (u16, String) {
        let answer = Client::connect(self.admin_address()).request("POST", target, &[], b"");
        (answer.status(), answer.text())
    }

    /// Ends it, does something to its plugins directory, and starts it again: its ports are others then.
    pub(crate) fn restart(&mut self, between: impl FnOnce(&Path)) {
        self.try_restart(between).unwrap_or_else(|why| panic!("{why}"));
    }

    /// The same, where it may not start again; the text says why.
    pub(crate) fn try_restart(&mut self, between: impl FnOnce(&Path)) -> Result<(), String> {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        between(&self.folder.path().join("plugins"));
        let path = self.folder.path().join("tollgate.toml");
        let config = config::load(&path).expect("the configuration that it had");
        let access = AccessLog::to_writer(self.lines.clone(), Counter::default()).expect("a thread");
        let options = Options { path: Some(path), access: Some(access), ..Options::default() };
        self.server = Some(Server::start(config, options).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Where its configuration is, and its plugins directory.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets the proxy look at its plugins directory, and judge new versions.
    pub(crate) fn look(&self) {
        self.server().look();
    }

    /// Puts another configuration in the place of the file, and loads it; the text says why it is refused.
    pub(crate) fn reload(&self, config: &str) -> Result<(), String> {
        write(self.folder.path(), config);
        self.server().reload().map_err(|problems: Problems| problems.to_string())
    }

    /// Puts a component into the plugins directory, and lets the proxy look at it.
    pub(crate) fn drop_in(&self, name: &str, bytes: &[u8]) {
        drop_in(self.folder.path(), name, bytes);
        self.server().look();
    }

    /// Puts a file of cases beside a component, and lets the proxy look at it.
    pub(crate) fn drop_in_cases(&self, name: &str, cases: &str) {
        self.drop_in(&format!("{name}.test.toml"), cases.as_bytes());
    }

    /// Puts a component into the plugins directory, and leaves it to the proxy to find it.
    pub(crate) fn drop_in_unseen(&self, name: &str, bytes: &[u8]) {
        drop_in(self.folder.path(), name, bytes);
    }

    /// Puts a symbolic link to a component into the plugins directory, and lets the proxy look at it.
    pub(crate) fn link_in(&self, name: &str, bytes: &[u8]) {
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder").keep();
        std::fs::write(folder.join("real"), bytes).expect("a file");
        std::os::unix::fs::symlink(folder.join("real"), folder.join("link")).expect("a link");
        std::fs::rename(folder.join("link"), component(self.folder.path(), name)).expect("a folder");
        self.server().look();
    }

    /// Takes a component out of the plugins directory, and lets the proxy look at it.
    pub(crate) fn take_out(&self, name: &str) {
        std::fs::remove_file(component(self.folder.path(), name)).expect("a component");
        self.server().look();
    }

    /// Stops it, and answers all lines of its access log.
    pub(crate) fn stop(self) -> String {
        self.drain().1
    }

    /// Stops it, and answers how many connections it had to cut, and all lines of its access log.
    pub(crate) fn drain(mut self) -> (usize, String) {
        let cut = self.server.take().expect("only drain takes it").stop();
        (cut, self.lines.text())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// What every test has: two listeners, a plugins directory, and compiled code that the tests share.
fn write(folder: &Path, config: &str) -> PathBuf {
    let path = folder.join("tollgate.toml");
    let cache = format!("plugins.cache = {:?}\n", env!("COMPILED"));
    let before = format!(
        "workers = 2\nlistener.public.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         plugins.directory = \"plugins\"\nplugins.versions = \"versions\"\n{}",
        if config.contains("plugins.cache") { "" } else { &cache },
    );
    put(folder, format!("{before}{config}").as_bytes(), &path);
    path
}

/// Of a component by its name, or of a file beside one by its whole name.
fn component(folder: &Path, name: &str) -> PathBuf {
    let ending = if name.contains('.') { "" } else { ".wasm" };
    folder.join("plugins").join(format!("{name}{ending}"))
}

/// Puts a component into the plugins directory of a folder.
pub(crate) fn drop_in(folder: &Path, name: &str, bytes: &[u8]) {
    put(folder, bytes, &component(folder, name));
}

/// Written beside, and renamed there: it appears whole, whatever the disk does meanwhile.
fn put(folder: &Path, bytes: &[u8], path: &Path) {
    let beside = folder.join("beside");
    std::fs::write(&beside, bytes).expect("a file");
    std::fs::rename(beside, path).expect("a folder");
}
