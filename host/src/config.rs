//! What the configuration means: valid by construction.
//!
//! A [`Config`] that exists has no wrong value in it. The file exactly as written is in [`file`]; [`parse`] turns one
//! into the other and reports every problem with its place.

mod address;
mod bounds;
pub mod cases;
pub mod file;
mod json;
mod lint;
mod listener;
mod near;
mod overlap;
pub mod parse;
mod pattern;
mod pem;
mod place;
mod plugin;
mod problem;
mod reader;
mod record;
pub mod registry;
mod rollout;
mod route;
mod secrets;
mod syntax;
mod trust;
mod units;
mod upstream;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

pub(crate) use near::nearest;
pub use overlap::Rank;
pub use parse::load;
pub use place::{Place, Places};
pub use problem::{Note, Problem, Problems, Severity};
pub use reader::Key;
pub use record::PluginRecord;
pub use secrets::Secrets;
pub use trust::Requirement;

/// One whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads that serve requests. Default: one for each CPU that the process may use.
    pub workers: NonZeroUsize,
    /// At least one, in the order of their names.
    pub listeners: Vec<Listener>,
    /// None: no listener for operators.
    pub admin: Option<Admin>,
    /// Where components come from.
    pub plugins: PluginSettings,
    /// What we call ourselves in `Via`. None: it is not written.
    pub via: Option<String>,
    /// How names are looked up.
    pub resolver: Resolver,
    /// In the order of their names.
    pub upstreams: Vec<Upstream>,
    /// Plugins by the name that chains use.
    pub plugin: BTreeMap<String, PluginSpec>,
    /// Where components are pulled from, in the order of their names.
    pub registries: Vec<registry::Registry>,
    /// At least one, in the order of their names, which has no part in which goes first: that is [`Rank`].
    pub routes: Vec<Route>,
    /// `[log]`
    pub log: Log,
    /// `[drain]`
    pub drain: Drain,
    /// None: no process takes over from another.
    pub upgrade: Option<Upgrade>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
    /// What `${env:…}` and `${file:…}` stood for in free text. Never to be written anywhere.
    pub secrets: Secrets,
    /// Every file that was read to make this: the configuration, `${file:…}`, certificates. A change of one reloads.
    pub files: Vec<PathBuf>,
    /// SHA-256 over what was read, as hexadecimal digits: two configurations with the same hash are the same.
    pub hash: String,
}

/// An address we accept on, with or without TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// As in `[listener.NAME]`.
    pub name: String,
    /// What it is bound to. Port 0 takes a free one.
    pub address: Address,
    /// The permissions of the file of a Unix socket. Default 0660.
    pub mode: u32,
    /// Peers whose connections begin with a header of the PROXY protocol. Default: none.
    pub proxy_protocol: Vec<Network>,
    /// Empty without TLS. The first one serves clients that name no host, or one that no certificate covers.
    pub tls: Vec<Certificate>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// What happens to a request header with an underscore in its name. Default: drop it.
    pub underscores: Underscores,
    /// What one client may cost.
    pub limits: ListenerLimits,
}

/// What a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine gets there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// As the file writes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A certificate chain and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, then those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What clients show in turn. Default: nothing.
    pub clients: Option<ClientCertificates>,
}

/// Which certificates clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether there is no connection without one. Default true.
    pub required: bool,
    /// A PEM file of the authorities that issue them.
    pub roots: PathBuf,
    /// A PEM file of revocation lists, one for each authority. None: nothing is revoked.
    pub crl: Option<PathBuf>,
}

impl Listener {
    /// Whether it treats connections, before they are requests, as another one does, TLS aside.
    pub(crate) fn serves_like(&self, other: &Self) -> bool {
        (&self.limits, &self.proxy_protocol, &self.trusted_proxies)
            == (&other.limits, &other.proxy_protocol, &other.trusted_proxies)
    }

    /// The files of its certificates and of what clients show. They are watched apart from the rest.
    pub fn tls_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.tls.iter().flat_map(|certificate| {
            let clients =
                certificate.clients.iter().flat_map(|clients| std::iter::once(&clients.roots).chain(&clients.crl));
            [&certificate.certificate, &certificate.key].into_iter().chain(clients)
        })
    }
}

/// What happens to a request header with an underscore in its name, which some servers read as a hyphen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscores {
    /// The request goes on without it.
    Drop,
    /// The request is answered 400.
    Reject,
    /// Nothing.
    Keep,
}

/// What one client may cost a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections in all. Default 10,000.
    pub connections: NonZeroUsize,
    /// Open connections of one client, or one /64 of IPv6. None: as many as it likes. Default 256.
    pub connections_per_client: Option<NonZeroUsize>,
    /// Bytes of a request head, else 431. Default 64 KiB.
    pub head_size: usize,
    /// Fields of a request head, else 431. Default 100.
    pub head_fields: usize,
    /// Time to send a whole head, else 408 and close. Default 10 s.
    pub head_time: Duration,
    /// Time for a TLS handshake. Default 5 s.
    pub handshake_time: Duration,
    /// Time between two pieces of a request body, else 408. Default 30 s.
    pub body_idle: Duration,
    /// Bytes a second of a request body, else 408. Default 500.
    pub body_rate: Option<NonZeroU32>,
    /// Time without a request on an open connection. Default 60 s.
    pub keep_alive: Duration,
}

/// An address block, for example `10.0.0.0/8`. A single address is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its bits behind the prefix are zero.
    pub address: IpAddr,
    /// How many bits of the address are the network's: up to 32 or 128.
    pub prefix: u8,
}

/// The listener for operators. It is only ever bound to what it says, by default loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// What it is bound to. Default `127.0.0.1:9901`.
    pub address: SocketAddr,
}

/// `[plugins]`: where components come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSettings {
    /// Watched for `.wasm` files. Relative to the configuration file. Default: none.
    pub directory: Option<PathBuf>,
    /// Where the folder of compiled code is. Default: `$XDG_CACHE_HOME/tollgate` or `~/.cache/tollgate`; none where
    /// neither exists.
    pub cache: Option<PathBuf>,
    /// Where the last good version of each component of the directory is kept. Default: `tollgate-versions` in `cache`.
    pub versions: Option<PathBuf>,
    /// Instances of all plugins together, in use and idle. Default 1,000.
    pub instances: NonZeroU32,
}

/// A named group of servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// As in `[upstream.NAME]`.
    pub name: String,
    /// At least one, or one of `services`.
    pub endpoints: Vec<Member>,
    /// Names that stand for endpoints, looked up when a snapshot is built.
    pub services: Vec<Service>,
    /// Which endpoint takes a request. Default [`Balance::LeastRequest`].
    pub balance: Balance,
    /// Sends a client always to the same endpoint. Default: none.
    pub sticky: Option<Sticky>,
    /// The time in which an endpoint that is new or healthy again comes to its whole weight. Default: none.
    pub slow_start: Duration,
    /// What is spoken with its endpoints. Default [`UpstreamProtocol::Http1`].
    pub protocol: UpstreamProtocol,
    /// Sends the client's `Host` rather than the endpoint's authority. Default false.
    pub preserve_host: bool,
    /// Begins each connection with a header of the PROXY protocol. Default: none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How endpoints with TLS are verified.
    pub tls: UpstreamTls,
    /// How often the names of endpoints are looked up again. None: as their answers say.
    pub resolve: Option<Duration>,
    /// How long things may take.
    pub timeouts: UpstreamTimeouts,
    /// When a request that failed goes out once more.
    pub retries: Retries,
    /// Asks each endpoint whether it is well. Default: none.
    pub health: Option<HealthCheck>,
    /// When an endpoint whose requests fail gets none for a while.
    pub ejection: Ejection,
    /// Sends nothing for a while when too many requests fail. Default: none.
    pub breaker: Option<Breaker>,
    /// Sends requests all the same when the checks of all endpoints fail. Default false.
    pub try_all_when_down: bool,
    /// Replaces the bodies of 5xx responses by problem bodies. Default true.
    pub hide_errors: bool,
    /// Its connections to each endpoint, for each worker.
    pub connections: Connections,
}

impl Upstream {
    /// Where its endpoints are.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().map(|member| &member.endpoint)
    }

    /// The files of what its endpoints are verified by and shown. They are watched apart from the rest.
    pub fn tls_files(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.tls.roots.iter().chain(identity)
    }
}

/// One endpoint of an upstream, and its part of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its part beside the weights of the others, 1 to 1000. Default 1.
    pub weight: NonZeroU32,
    /// Those with the highest take all requests, as long as one of them can. Default 0.
    pub priority: i32,
}

/// The connections of one worker to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Those kept open while idle. Default 64.
    pub idle: usize,
    /// All of them. None: as many as there are requests.
    pub most: Option<NonZeroUsize>,
    /// How long a request waits where there are so many. Default 1 s.
    pub wait: Duration,
    /// How long one is kept without a request. Default 60 s.
    pub idle_time: Duration,
    /// How old one becomes, up to a tenth less. None: as old as it likes.
    pub age: Option<Duration>,
    /// Requests over one of them. None: as many as there are.
    pub requests: Option<NonZeroU32>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            idle: 64,
            most: None,
            wait: Duration::from_secs(1),
            idle_time: Duration::from_secs(60),
            age: None,
            requests: None,
        }
    }
}

/// What is spoken with the endpoints of an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
    /// With TLS what the endpoint chooses, HTTP/2 rather; else HTTP/1.1.
    Auto,
}

/// A name that stands for endpoints (SRV).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Such as `_http._tcp.search.internal`.
    pub name: String,
    /// Whether its endpoints are spoken to with TLS.
    pub tls: bool,
}

/// `[resolver]`: how names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one of them may take to answer. Default 2 s.
    pub timeout: Duration,
    /// An answer holds for at least this. Default 5 s.
    pub shortest: Duration,
    /// And at most for this. Default 5 min.
    pub longest: Duration,
    /// How long it is not asked again where there was no answer. Default 1 s.
    pub failed: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { servers: Vec::new(), timeout: 2 * second, shortest: 5 * second, longest: 300 * second, failed: second }
    }
}

/// Which endpoint takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Of two that are drawn by weight, the one with fewer requests for its weight.
    LeastRequest,
    /// Each in turn, as often as its weight says, and those of one endpoint far apart (smooth).
    RoundRobin,
    /// Of two that are drawn by weight, the one that is likely to answer sooner.
    PeakEwma,
    /// Always the same one for the same key, unless it has far more than its part.
    ConsistentHash(HashKey),
}

/// What tells requests apart for [`Balance::ConsistentHash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Address,
    /// The path, without its query.
    Path,
    /// The first field of this name.
    Header(HeaderName),
    /// The first cookie of this name.
    Cookie(String),
}

/// A cookie that leads a client back to the endpoint that answered it first.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// Its name, a token of RFC 9110. Default `endpoint`.
    pub cookie: String,
    /// What it is signed with.
    pub key: String,
    /// How long browsers keep it. None: until they are closed.
    pub lifetime: Option<Duration>,
}

/// Without the key.
impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sticky").field("cookie", &self.cookie).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// One address in an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Whether it is spoken to with TLS.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// `host:port` as it goes into `Host`, without a default port; an IPv6 address in brackets.
    pub authority: HeaderValue,
    /// The path of a Unix socket that stands for host and port. They are `localhost` and 80 then, as such servers are
    /// asked and as they speak of themselves.
    pub unix: Option<PathBuf>,
}

impl Endpoint {
    /// Where it is: `host:port`, or `unix:` and a path.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.unix {
            Some(path) => format!("unix:{}", path.display()),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

/// How TLS endpoints are verified, which they always are, and what they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// A PEM file of roots in place of the system's.
    pub roots: Option<PathBuf>,
    /// The name in SNI and in the certificate, in place of the endpoint's host.
    pub name: Option<String>,
    /// What endpoints that ask for a certificate are shown: PEM files of a chain and of its key. Default: nothing.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The oldest version that is spoken. Default [`TlsVersion::Tls12`].
    pub oldest: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// How long an upstream may take for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Name and TCP. Default 3 s.
    pub connect: Duration,
    /// The TLS handshake. Default 5 s.
    pub tls: Duration,
    /// From the end of the request to the end of the response's head. Default 15 s.
    pub response_header: Duration,
    /// Between two pieces of a body. Default 60 s.
    pub idle: Duration,
    /// One try, up to the response's head. Default: none.
    pub once: Option<Duration>,
    /// The whole exchange with all tries, for responses that end by themselves. Default 60 s.
    pub total: Duration,
}

/// When a request that failed goes out once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Tries beside the first. Default 1.
    pub attempts: u32,
    /// Statuses that are worth another try. Default 502, 503, 504.
    pub statuses: Vec<StatusCode>,
    /// The longest wait before the second try. Default 25 ms.
    pub backoff: Duration,
    /// What it doubles up to. Default 250 ms.
    pub longest_backoff: Duration,
    /// The longest `Retry-After` that is waited for. Default 2 s.
    pub longest_wait: Duration,
    /// Retries for a hundred requests. Default 20.
    pub budget: u32,
    /// Retries in a second that are allowed in any case. Default 3.
    pub least: u32,
    /// Bytes of a request body that are kept for another try. Default 64 KiB.
    pub body: usize,
}

/// How an endpoint is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for. None: that a connection comes about is enough.
    pub path: Option<PathAndQuery>,
    /// What means that it is well. Empty: 200 to 299.
    pub statuses: Vec<StatusCode>,
    /// The time between two checks. Default 10 s.
    pub interval: Duration,
    /// How long a check may take. Default 2 s.
    pub timeout: Duration,
    /// Successes in a row before it gets requests again. Default 2.
    pub healthy: u32,
    /// Failures in a row before it gets none. Default 3.
    pub unhealthy: u32,
}

/// When an endpoint whose requests fail gets none for a while. A failure is no response at all, or a 5xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row; 0 does not eject for that. Default 5.
    pub failures: u32,
    /// Failures of a hundred requests; 0 does not eject for that. Default 0.
    pub ratio: u32,
    /// The least requests for that. Default 100.
    pub volume: u32,
    /// The time in which they are counted. Default 10 s.
    pub window: Duration,
    /// How long the first ejection lasts. Default 30 s.
    pub time: Duration,
    /// The longest one. Default 5 min.
    pub longest: Duration,
    /// Endpoints of a hundred that are ejected at once. Default 50.
    pub most: u32,
}

/// A circuit breaker. A failure is no response at all, or a 5xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// Failures of a hundred requests at which it opens. Default 50.
    pub ratio: u32,
    /// The least requests for that. Default 20.
    pub volume: u32,
    /// The time in which they are counted. Default 10 s.
    pub window: Duration,
    /// How long it stays open the first time. Default 5 s.
    pub time: Duration,
    /// The longest time that it stays open. Default 1 min.
    pub longest: Duration,
    /// Requests that it lets pass then. Default 1.
    pub probes: u32,
}

/// A component with its configuration, under the name that chains use.
#[derive(Clone)]
pub struct PluginSpec {
    /// As in `[plugin.NAME]`.
    pub name: String,
    /// The name of a built-in, or of a file in the plugins directory without `.wasm`; or the whole reference of one of a
    /// registry.
    pub component: String,
    /// What is pulled from a registry; none for a component that is here.
    pub pulled: Option<registry::Reference>,
    /// The plugin's own configuration as compact JSON text; `{}` where there is none.
    pub config: String,
    /// Where each value of `config` stands in the file, for complaints of the plugin.
    pub places: Places,
    /// What its failure does to the request.
    pub on_failure: OnFailure,
    /// Whether instances are used again.
    pub isolation: Isolation,
    /// What one call and one instance may cost.
    pub limits: PluginLimits,
    /// Which capabilities it may import.
    pub grant: Grant,
    /// Which of its passes are recorded; none where none is.
    pub record: Option<PluginRecord>,
    /// What the component has to be, one of these. Empty: any will do.
    pub require: Vec<Requirement>,
    /// How a new version of the component comes into use. None: for all requests at once.
    pub rollout: Option<Rollout>,
}

/// How a new version of a component comes into use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// It takes the place of the old one in a part of the passes.
    Canary(CanaryPart),
    /// It sees what the old one sees, and is compared with it.
    Shadow,
}

/// The part of the passes in which a new version takes the place of the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryPart {
    /// How many.
    pub canary: Part,
    /// What decides whether a request is among them.
    pub key: RolloutKey,
}

/// What decides which version of a plugin a request meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutKey {
    /// The client's address.
    Address,
    /// The first field of this name.
    Header(HeaderName),
}

impl PluginSpec {
    /// A component under its own name, with everything else as it is where a configuration says nothing.
    #[must_use]
    pub fn of(component: &str) -> Self {
        Self {
            name: component.to_owned(),
            component: component.to_owned(),
            pulled: None,
            config: "{}".to_owned(),
            places: Places::default(),
            on_failure: OnFailure::Closed,
            isolation: Isolation::Pooled,
            limits: PluginLimits::default(),
            grant: Grant::default(),
            require: Vec::new(),
            rollout: None,
            record: None,
        }
    }
}

/// What a trap, a timeout or an overload of a plugin does to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// The request is refused: 500, or 503 for an overload. The default.
    Closed,
    /// The chain goes on as if the plugin were not in it.
    Open,
}

/// Whether the requests of a plugin share instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// An instance serves many requests, one at a time. The default.
    Pooled,
    /// A fresh instance for each hook call, or one that was put back to its beginning.
    Request,
}

/// What one call and one instance of a plugin may cost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PluginLimits {
    /// The time of one call, including what it waits for. Default 10 ms; ten times that in `configure`, and at least 1 s.
    /// Of a `wasi:http` component, what it computes at a stretch.
    pub time: Duration,
    /// How long a `wasi:http` component may take to answer, and between two pieces of its answer. Default 15 s.
    pub answer: Duration,
    /// The linear memory of an instance, in bytes. Default 16 MiB.
    pub memory: usize,
    /// The elements of all tables of an instance. Default 20,000.
    pub table: usize,
    /// Instances of this plugin in use at once, in all workers. Default 64.
    pub instances: NonZeroU32,
    /// How long a request waits for an instance. Default 100 ms.
    pub wait: Duration,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(10),
            answer: Duration::from_secs(15),
            memory: 16 << 20,
            table: 20_000,
            instances: NonZeroU32::MIN.saturating_add(63),
            wait: Duration::from_millis(100),
        }
    }
}

/// Which capabilities a plugin may import beside those that every plugin has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Grant {
    /// Names of key-value stores.
    pub kv: Vec<String>,
    /// Origins that it may send requests to.
    pub http: Vec<HttpOrigin>,
}

/// An origin that a plugin may send requests to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpOrigin {
    /// Scheme, host and port.
    pub endpoint: Endpoint,
    /// Addresses that its name may stand for although they are not public.
    pub addresses: Vec<Network>,
    /// A PEM file of roots in place of the system's.
    pub roots: Option<PathBuf>,
}

impl HttpOrigin {
    /// The origin that is written so, such as `https://idp.example.com`; none where it is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Some(Self { endpoint: address::endpoint(text).ok()?, addresses: Vec::new(), roots: None })
    }
}

/// A match, a chain, and what answers behind it.
#[derive(Debug, Clone)]
pub struct Route {
    /// As in `[route.NAME]`.
    pub name: String,
    /// Where the route begins in the file.
    pub place: Option<Place>,
    /// Which requests it takes.
    pub matches: Match,
    /// Higher ones are looked at first. Default 0.
    pub priority: i32,
    /// Names of plugins, in the order of requests.
    pub chain: Vec<String>,
    /// Where each of them stands in the file.
    pub chain_places: Vec<Place>,
    /// What answers behind the chain.
    pub end: End,
    /// Parts of the requests that go to other upstreams. Together at most all of them.
    pub split: Vec<Split>,
    /// What keeps a client on its side of a split. None: each request is drawn by itself.
    pub split_by: Option<HashKey>,
    /// Sends copies of some requests to another upstream. Default: none.
    pub mirror: Option<Mirror>,
    /// What the upstream sees in place of the client's path. None: the same.
    pub rewrite: Option<Rewrite>,
    /// The longest request body, else 413. Default 1 MiB; `"unlimited"` is written `None`.
    pub body_size: Option<u64>,
    /// Protocols that connections may go on with, in lower case. Default: none.
    pub upgrade: Vec<String>,
    /// Whether its bodies go on for long. Default false.
    pub streaming: bool,
    /// Whether responses say how long each plugin took. Default false.
    pub server_timing: bool,
}

impl Route {
    /// The names of all upstreams that its requests, or copies of them, may go to.
    pub fn upstreams(&self) -> impl Iterator<Item = &String> {
        let others = self.split.iter().map(|split| &split.upstream);
        self.end.upstream().into_iter().chain(others).chain(self.mirror.iter().map(|mirror| &mirror.upstream))
    }

    /// The names of all plugins that its requests meet.
    pub fn plugins(&self) -> impl Iterator<Item = &String> {
        self.chain.iter().chain(self.end.service())
    }
}

/// What answers behind the chain of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The upstream of this name.
    Upstream(String),
    /// The plugin of this name, in the place of an upstream.
    Service(String),
}

impl End {
    /// The name of the upstream, where it is one.
    #[must_use]
    pub fn upstream(&self) -> Option<&String> {
        match self {
            Self::Upstream(name) => Some(name),
            Self::Service(_) => None,
        }
    }

    /// The name of the plugin, where it is one.
    #[must_use]
    pub fn service(&self) -> Option<&String> {
        match self {
            Self::Upstream(_) => None,
            Self::Service(name) => Some(name),
        }
    }
}

/// A part of a route's requests that goes to another upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The name of the upstream.
    pub upstream: String,
    /// How many requests.
    pub part: Part,
}

/// Copies of requests, of which nobody reads the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The name of the upstream.
    pub upstream: String,
    /// How many requests.
    pub part: Part,
    /// The longest body that is copied, in bytes. Default 64 KiB.
    pub body: usize,
    /// Copies under way at once, for each worker. Default 16.
    pub most: usize,
}

/// A part of requests, in thousandths of a percent: at most [`Part::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(pub u32);

impl Part {
    /// All of them.
    pub const ALL: Self = Self(100_000);
}

/// How a path is rewritten. What comes out is canonical, or the request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// By its begin. Both are canonical, without a final slash, and perhaps empty.
    Prefix {
        /// What is taken away.
        strip: String,
        /// What is put before the rest.
        add: String,
    },
    /// As a whole. The route has a [`PathMatch::Regex`] with all of these groups.
    Template(Vec<TemplatePart>),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it is.
    Text(String),
    /// What the group of this name took.
    Group(String),
}

/// Which requests a route takes.
#[derive(Debug, Clone)]
pub struct Match {
    /// By the host of the request.
    pub host: HostMatch,
    /// By its canonical path.
    pub path: PathMatch,
    /// Empty: all. `HEAD` follows `GET`.
    pub methods: Vec<Method>,
    /// All must match.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// All must match; names and values percent-decoded.
    pub query: Vec<(String, ValueMatch)>,
    /// Lets `%2F` through, undecoded, rather than answering 400. Default false.
    pub encoded_slash: bool,
}

/// Hosts are compared in lower case, without a final dot and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// Every host.
    Any,
    /// This one.
    Exact(String),
    /// `*.example.com` is kept as `.example.com`, and takes one label or more.
    Suffix(String),
}

/// Paths are compared in canonical form.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// This one.
    Exact(String),
    /// On segment borders: `/v1` and `/v1/` take `/v1` and `/v1/x`, never `/v1x`. Kept without a final slash; the
    /// prefix of everything is the empty string.
    Prefix(String),
    /// Anchored at both ends; linear time.
    Regex(regex::Regex),
}

/// What a header or a parameter of the query must be.
#[derive(Clone)]
pub enum ValueMatch {
    /// This value.
    Exact(String),
    /// Anchored at both ends; linear time.
    Regex(regex::Regex),
    /// There is one, whatever it is.
    Present,
}

/// Without the value: it may be a secret that a proxy before us sends.
impl fmt::Debug for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(_) => "Exact(…)",
            Self::Regex(_) => "Regex(…)",
            Self::Present => "Present",
        })
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The form of all lines.
    pub format: LogFormat,
    /// Where access lines go. Default: standard output.
    pub access: AccessLog,
    /// The least level of other lines, which go to standard error. Default `info`.
    pub level: tracing::Level,
}

/// The form of lines in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for programs. The default.
    Json,
    /// For people.
    Text,
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output. The default.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// `[upgrade]`: how the next process takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The Unix socket where it asks for the listening sockets.
    pub socket: PathBuf,
}

/// `[drain]`: what `SIGTERM` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// How long we go on accepting while `/readyz` says 503. Default 0 s.
    pub grace: Duration,
    /// How long requests in flight may take after that. Default 30 s.
    pub timeout: Duration,
}
