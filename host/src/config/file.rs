//! The file exactly as written: every key, what its value is, and what it means. The comments of the fields are the
//! documentation of the keys; [`keys`] lists them all.

use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use tracing::Level;

use super::json::PluginConfig;
use super::reader::{At, Key, Named, OneOrMore, Read as _, table};
use super::record::PassShare;
use super::rollout::Share;
use super::route::rewrite::Template;
use super::trust::WrittenRequirement;
use super::upstream::values::{
    BalanceWord, CheckPath, CookieName, NameServer, RetryStatus, Status, WhenDown, WrittenEndpoint,
};
use super::value::{
    BodySize, ComponentName, Count, EncodedSlash, Fields, FileMode, FilePath, Grants, HostName, HttpGrant, MethodName,
    Path, Priority, ProtocolName, Pseudonym, Reference, ShowCertificate, Size, Text,
};
use super::{
    AccessLog, Address, Endpoint, HashKey, HostMatch, Isolation, LogFormat, Network, OnFailure, Part, RolloutKey,
    Underscores, UpstreamProtocol,
};
use crate::minisign::PublicKey;

/// Each key of the file with its whole path, such as `route.NAME.path-prefix`, in the order of this page.
#[must_use]
pub fn keys() -> Vec<(String, &'static Key)> {
    fn walk(prefix: &str, keys: &'static [Key], out: &mut Vec<(String, &'static Key)>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            out.push((path.clone(), key));
            walk(&format!("{path}{}.", key.step), key.keys, out);
        }
    }
    let mut out = Vec::new();
    walk("", File::KEYS, &mut out);
    out
}

table! {
    /// The whole file.
    "a configuration" "a table"
    pub(crate) struct File {
        /// Threads that serve requests, 1 to 1024. Default: one for each CPU that the process may use.
        "workers" workers: Count,
        /// Addresses that requests are accepted on, by name. At least one.
        "listener" listener: Named<Listener>,
        /// The listener for operators. Without this table there is none.
        "admin" admin: Admin,
        /// Where components come from, and what all plugins together may take.
        "plugins" plugins: Plugins,
        /// A name that tells nothing, for `Via` in requests to upstreams and in their answers (RFC 9110, section 7.6.3). A
        /// request that has it there already has come in a circle, and is answered 508. Default: `Via` is not written.
        "via" via: Pseudonym,
        /// How the names of endpoints are looked up.
        "resolver" resolver: Resolver,
        /// Groups of servers that requests are sent to, by name.
        "upstream" upstream: Named<Upstream>,
        /// Components with their configuration, under the names that chains use.
        "plugin" plugin: Named<Plugin>,
        /// Keys that components may be signed with, by name.
        "key" key: Named<TrustedKey>,
        /// How registries are reached that components are pulled from, by name. One without a table is reached by HTTPS,
        /// without credentials.
        "registry" registry: Named<Registry>,
        /// Which requests go through which chain to which upstream, by name. At least one. Their order in the file
        /// decides nothing.
        "route" route: Named<Route>,
        /// What is logged, and where.
        "log" log: Log,
        /// What `SIGTERM` does.
        "drain" drain: Drain,
        /// How the next process takes over the listening sockets of this one. Without this table it does not.
        "upgrade" upgrade: Upgrade,
    }
}

table! {
    /// `[upgrade]`: a process that starts while another one serves takes its listening sockets over, and that one drains:
    /// no connection is refused in between.
    "a table" "{ socket = \"upgrade.sock\" }"
    pub(crate) struct Upgrade {
        /// The path of the Unix socket where the one asks the other. Only its own user may. Required.
        "socket" socket: FilePath,
    }
}

table! {
    /// `[listener.NAME]`: an address that requests are accepted on.
    "a listener" "{ address = \"0.0.0.0:8080\" }"
    pub(crate) struct Listener {
        /// An IP address and a port; port 0 takes a free one. Or `"unix:PATH"` for a Unix socket, whose clients count as
        /// `127.0.0.1`. Required.
        "address" address: Address,
        /// The permissions of the file of a Unix socket, in octal. Default `"0660"`.
        "mode" mode: FileMode,
        /// Peers whose connections begin with a header of the PROXY protocol, version 1 or 2, which says who the client
        /// is. They have to send it, and nobody else may. Default: none.
        "proxy-protocol" proxy_protocol: Vec<At<Network>>,
        /// Certificates, which make it a TLS listener; several are chosen between by SNI. The first one serves clients
        /// that name no host, or one that no certificate covers.
        "tls" tls: OneOrMore<Certificate>,
        /// Peers whose `Forwarded` and `X-Forwarded-*` headers are believed. Default: none.
        "trusted-proxies" trusted_proxies: Vec<At<Network>>,
        /// What happens to a request header with an underscore in its name, which some servers read as a hyphen:
        /// `"drop"` it, `"reject"` the request, or `"keep"` it. Default `"drop"`.
        "underscores" underscores: Underscores,
        /// What one client may cost.
        "limits" limits: ListenerLimits,
    }
}

table! {
    /// `tls` of a listener: a certificate chain and its key.
    "a certificate" "{ certificate = \"cert.pem\", key = \"key.pem\" }"
    pub(crate) struct Certificate {
        /// A PEM file: the certificate, then those that lead to its root. Required.
        "certificate" certificate: FilePath,
        /// A PEM file: the private key of the certificate. Required.
        "key" key: FilePath,
        /// What clients that ask for a name of this certificate show in turn. Default: nothing.
        "client-certificates" clients: ClientCertificates,
    }
}

table! {
    /// `client-certificates` of a certificate.
    "a table" "{ roots = \"clients.pem\" }"
    pub(crate) struct ClientCertificates {
        /// `"required"`: without a certificate there is no connection. `"optional"`: who shows one has to show a right
        /// one. Default `"required"`.
        "mode" mode: ShowCertificate,
        /// A PEM file of the authorities that issue them. Required.
        "roots" roots: FilePath,
        /// A PEM file of revocation lists, up to 8MiB, one of each authority that issued a certificate in the chains of
        /// clients: where one is missing, or its time is over, they are refused. Default: nothing is revoked.
        "crl" crl: FilePath,
    }
}

table! {
    /// `[listener.NAME.limits]`
    "a table of limits" "{ connections = 10000 }"
    pub(crate) struct ListenerLimits {
        /// Open connections. Default 10000.
        "connections" connections: Count,
        /// Open connections of one client, or of one /64 of IPv6, where it is neither this machine nor one of
        /// `trusted-proxies`; further ones are closed before TLS. 0 for no such limit. Default 256.
        "connections-per-client" connections_per_client: Count,
        /// Size of a request head, 1KiB to 1MiB; a larger one is answered 431. Default `"64KiB"`.
        "head-size" head_size: Size,
        /// Fields of a request head, up to 1000; more are answered 431. Default 100.
        "head-fields" head_fields: Count,
        /// Time to send a whole head, else 408. Default `"10s"`.
        "head-time" head_time: Duration,
        /// Time for a TLS handshake. Default `"5s"`.
        "handshake-time" handshake_time: Duration,
        /// Time between two pieces of a request body, else 408. Default `"30s"`.
        "body-idle" body_idle: Duration,
        /// Bytes of a request body that come at least in each second that they are waited for, else 408; up to 1MiB, and
        /// `"0B"` for no such limit. The first 10 s are free, bodies of gRPC always, and what came faster makes up for
        /// pauses. Default `"500B"`.
        "body-rate" body_rate: Size,
        /// Time without a request on an open connection. Default `"60s"`.
        "keep-alive" keep_alive: Duration,
    }
}

table! {
    /// `[admin]`: health, readiness, metrics and state.
    "a table" "{ address = \"127.0.0.1:9901\" }"
    pub(crate) struct Admin {
        /// An IP address and a port, not one of a listener. Default `"127.0.0.1:9901"`.
        "address" address: SocketAddr,
    }
}

table! {
    /// `[plugins]`
    "a table" "{ directory = \"plugins\" }"
    pub(crate) struct Plugins {
        /// A directory that is watched for `.wasm` files: one that appears is loaded, and replaces an older one, while
        /// requests run. Default: none.
        "directory" directory: FilePath,
        /// Where compiled code is kept, in a folder `tollgate-compiled`. Default `$XDG_CACHE_HOME/tollgate` or
        /// `~/.cache/tollgate`.
        "cache" cache: FilePath,
        /// Where the last good version of each component of the directory is kept, for the next start. Default: the folder
        /// `tollgate-versions` beside that of compiled code.
        "versions" versions: FilePath,
        /// Instances of all plugins together, in use and idle. Default 1000.
        "instances" instances: Count,
    }
}

table! {
    /// `[resolver]`: how the names of endpoints are looked up, where `/etc/hosts` does not have them.
    "a table" "{ servers = [\"10.0.0.2\"] }"
    pub(crate) struct Resolver {
        /// Name servers, each an address with or without a port. Default: those of `/etc/resolv.conf`.
        "servers" servers: Vec<At<NameServer>>,
        /// How long one of them may take to answer, before the next one is asked. Default `"2s"`.
        "timeout" timeout: Duration,
        /// The least time for which an answer holds, whatever its time to live; 1s to 1d. Default `"5s"`.
        "shortest" shortest: Duration,
        /// The longest time for which an answer holds, 1s to 1d. Default `"5m"`.
        "longest" longest: Duration,
        /// How long nobody is asked again where there was no answer, 1s to 1h. That there is no such name holds for as
        /// long as its zone says, up to 30s. Default `"1s"`.
        "failed" failed: Duration,
    }
}

table! {
    /// `[upstream.NAME]`: a group of servers.
    "an upstream" "{ endpoints = [\"http://10.0.1.5:8080\"] }"
    pub(crate) struct Upstream {
        /// Servers as `http://host:port` or `https://host:port`, or as tables with such a `url`; or `http+srv://NAME` and
        /// `https+srv://NAME` for those that a service (SRV) names. At least one is required.
        "endpoints" endpoints: Vec<At<WrittenEndpoint>>,
        /// Which endpoint takes a request: `"least-request"`, the one with fewer requests of two that are drawn;
        /// `"round-robin"`, each in turn; `"peak-ewma"`, the one that is likely to answer sooner of two that are drawn;
        /// `"consistent-hash"`, always the same one for the same `hash`. Default `"least-request"`.
        "balance" balance: BalanceWord,
        /// What `"consistent-hash"` goes by: `"address"` of the client, `"path"`, `"header:NAME"` or `"cookie:NAME"`.
        "hash" hash: HashKey,
        /// Sends a client always to the endpoint that answered it first, by a cookie.
        "sticky" sticky: Sticky,
        /// The time in which an endpoint that is new or healthy again comes to its whole weight. Default: none.
        "slow-start" slow_start: Duration,
        /// What is spoken with endpoints: `"http1"`, `"http2"` (with prior knowledge where there is no TLS), or `"auto"`:
        /// with TLS HTTP/2 where the endpoint has it, else HTTP/1.1. gRPC needs HTTP/2. Default `"http1"`.
        "protocol" protocol: UpstreamProtocol,
        /// Sends the client's `Host` rather than the endpoint's. Default false.
        "preserve-host" preserve_host: bool,
        /// Replaces the bodies of 5xx responses. Default true.
        "hide-errors" hide_errors: bool,
        /// Connections to each endpoint kept open while idle, for each worker. Default 64.
        "idle-connections" idle_connections: Count,
        /// What else holds for connections to each endpoint.
        "connections" connections: Connections,
        /// How often the names of endpoints are looked up again, 1s to 1d. Default: when the time to live of their
        /// addresses is over.
        "resolve" resolve: Duration,
        /// How long things may take.
        "timeouts" timeouts: Timeouts,
        /// When a request that failed goes out once more.
        "retries" retries: Retries,
        /// Asks each endpoint again and again whether it is well. Default: nobody asks.
        "health" health: HealthCheck,
        /// When an endpoint whose requests fail gets none for a while. The last one is never ejected.
        "ejection" ejection: Ejection,
        /// Sends nothing for a while when too many requests to the whole upstream fail. Default: there is none.
        "breaker" breaker: Breaker,
        /// What happens when the checks of all endpoints fail: `"refuse"` answers 503 at once, `"try"` sends requests all
        /// the same. Default `"refuse"`.
        "when-down" when_down: WhenDown,
        /// How `https` endpoints are verified.
        "tls" tls: UpstreamTls,
    }
}

table! {
    /// `connections` of an upstream: those of one worker to one endpoint.
    "a table" "{ most = 100 }"
    pub(crate) struct Connections {
        /// As many as there may be, 1 to 100000. Default: as many as there are requests.
        "most" most: Count,
        /// How long a request waits for one of them where there are so many, else it goes to another endpoint, or is
        /// answered 503. Default `"1s"`.
        "wait" wait: Duration,
        /// How long one is kept without a request. One whose endpoint says that it closes it sooner, by
        /// `Keep-Alive: timeout=…`, is not used any more a second before that. Default `"60s"`.
        "idle" idle: Duration,
        /// How old one becomes, up to a tenth less: what it carries then is its last request. Default: as old as it likes.
        "age" age: Duration,
        /// Requests over one of them, 1 or more. Default: as many as there are.
        "requests" requests: Count,
    }
}

table! {
    /// `retries` of an upstream. Only requests that may be repeated are, by their method, and whose body is whole.
    "a table" "{ attempts = 2 }"
    pub(crate) struct Retries {
        /// Tries beside the first, up to 10. Default 1.
        "attempts" attempts: Count,
        /// Statuses that are worth another try: of 408, 425, 429 and 500 to 599. Default `[502, 503, 504]`.
        "statuses" statuses: Vec<At<RetryStatus>>,
        /// The longest wait before the second try; it doubles with each further one. Default `"25ms"`.
        "backoff" backoff: Duration,
        /// What it doubles up to. Default `"250ms"`.
        "longest-backoff" longest_backoff: Duration,
        /// The longest `Retry-After` that is waited for, where there is no other endpoint. Default `"2s"`.
        "longest-wait" longest_wait: Duration,
        /// Retries for a hundred requests, 0 to 100. Default 20.
        "budget" budget: Count,
        /// Retries in a second that are allowed in any case. Default 3.
        "least" least: Count,
        /// The longest request body of known length that is kept for another try; up to 16MiB. Default `"64KiB"`.
        "body" body: Size,
    }
}

table! {
    /// An element of `endpoints`, as a table.
    "an endpoint" "{ url = \"http://10.0.1.5:8080\", weight = 2 }"
    pub(crate) struct EndpointTable {
        /// `http://host:port` or `https://host:port`. Required.
        "url" url: Endpoint,
        /// Its part of the requests beside the weights of the others, 1 to 1000. Default 1.
        "weight" weight: Count,
        /// Those with the highest priority take all requests, as long as one of them can. Default 0.
        "priority" priority: Priority,
    }
}

table! {
    /// `sticky` of an upstream.
    "a table" "{ cookie = \"endpoint\", key = \"${file:sticky.key}\" }"
    pub(crate) struct Sticky {
        /// The name of the cookie. Default `"endpoint"`.
        "cookie" cookie: CookieName,
        /// What the cookie is signed with, a secret of 16 characters or more. Required.
        "key" key: Text,
        /// How long a browser keeps the cookie. Default: until it is closed.
        "lifetime" lifetime: Duration,
    }
}

table! {
    /// `health` of an upstream.
    "a table" "{ path = \"/healthz\" }"
    pub(crate) struct HealthCheck {
        /// What is asked for, by a GET. Default: that a connection comes about is enough.
        "path" path: CheckPath,
        /// Statuses that mean that it is well. Default: 200 to 299.
        "statuses" statuses: Vec<At<Status>>,
        /// The time between two checks, a tenth more or less. Default `"10s"`.
        "interval" interval: Duration,
        /// How long a check may take. Default `"2s"`.
        "timeout" timeout: Duration,
        /// Checks in a row that must succeed before it gets requests again, 1 to 100. Default 2.
        "healthy" healthy: Count,
        /// Checks in a row that must fail before it gets none, 1 to 100. Default 3.
        "unhealthy" unhealthy: Count,
    }
}

table! {
    /// `ejection` of an upstream. A failure is no response at all, or a 5xx.
    "a table" "{ failures = 5 }"
    pub(crate) struct Ejection {
        /// Failures in a row; 0 does not eject for that. Default 5.
        "failures" failures: Count,
        /// Failures of a hundred requests, of at least `volume` in `window`; 0 does not eject for that. Default 0.
        "ratio" ratio: Count,
        /// The least requests for `ratio`, 1 to 1000000. Default 100.
        "volume" volume: Count,
        /// The time in which failures are counted for `ratio`. Default `"10s"`.
        "window" window: Duration,
        /// How long the first ejection lasts, and each one after it twice as long as the one before. Default `"30s"`.
        "time" time: Duration,
        /// The longest ejection, and the time after which earlier ones are forgotten. Default `"5m"`.
        "longest" longest: Duration,
        /// Endpoints of a hundred that are ejected at once, but always one, and never the last. Default 50.
        "most" most: Count,
    }
}

table! {
    /// `breaker` of an upstream. A failure is no response at all, or a 5xx.
    "a table" "{ ratio = 50, volume = 20 }"
    pub(crate) struct Breaker {
        /// Failures of a hundred requests at which it opens, 1 to 100. Default 50.
        "ratio" ratio: Count,
        /// Requests in `window` that it takes to open it, 1 to 1000000. Default 20.
        "volume" volume: Count,
        /// The time in which failures are counted. Default `"10s"`.
        "window" window: Duration,
        /// How long it stays open the first time; each time that it opens again, twice as long. Default `"5s"`.
        "time" time: Duration,
        /// The longest time that it stays open. Default `"1m"`.
        "longest" longest: Duration,
        /// Requests that it lets pass after that, and that must all succeed to close it; 1 to 1000. Default 1.
        "probes" probes: Count,
    }
}

table! {
    /// `timeouts` of an upstream.
    "a table of timeouts" "{ connect = \"3s\" }"
    pub(crate) struct Timeouts {
        /// Looking up the name and connecting. Default `"3s"`.
        "connect" connect: Duration,
        /// The TLS handshake. Default `"5s"`.
        "tls" tls: Duration,
        /// From the end of the request to the end of the response's head. Default `"15s"`.
        "response-header" response_header: Duration,
        /// Between two pieces of a body. Default `"60s"`.
        "idle" idle: Duration,
        /// One try, from its beginning to the end of the response's head; another one may follow. Default: none.
        "try" once: Duration,
        /// The whole exchange with all tries, for responses that end by themselves. Default `"60s"`.
        "total" total: Duration,
    }
}

table! {
    /// `tls` of an upstream.
    "a table" "{ roots = \"roots.pem\" }"
    pub(crate) struct UpstreamTls {
        /// A PEM file of trusted roots, in place of the system's.
        "roots" roots: FilePath,
        /// The name that is asked for and that the certificate must have, in place of the endpoint's host.
        "name" name: HostName,
    }
}

table! {
    /// `[plugin.NAME]`: a component with its configuration.
    "a plugin" "{ component = \"api-key\" }"
    pub(crate) struct Plugin {
        /// A built-in component, or the name of a file in the plugins directory without `.wasm`; or
        /// `"oci://HOST/REPOSITORY@sha256:DIGEST"`, with the digest of the manifest, for one that is pulled from a registry.
        /// Required.
        "component" component: ComponentName,
        /// The plugin's own configuration, which it checks when it is loaded. Its keys are those of the component.
        "config" config: PluginConfig,
        /// What a trap, a timeout or an overload of the plugin does to the request: `"closed"` refuses it, `"open"` lets
        /// it pass as if the plugin were not in the chain. Default `"closed"`.
        "on-failure" on_failure: OnFailure,
        /// `"pooled"` reuses an instance for many requests, one at a time; `"request"` takes a fresh one for each call.
        /// Default `"pooled"`.
        "isolation" isolation: Isolation,
        /// What one call and one instance may cost.
        "limits" limits: PluginLimits,
        /// Which component it must be: `"sha256:…"` with the 64 hexadecimal digits that `tollgate plugin inspect` shows,
        /// or `"signature:NAME"` for one that is signed with the key `[key.NAME]`. Of a list, one is enough. Any other
        /// component is not taken. Default: any is.
        "require" require: OneOrMore<WrittenRequirement>,
        /// How a new version of the component comes into use. Default: for all requests at once.
        "rollout" rollout: Rollout,
        /// Which capabilities it may import beside `log`, `limiter`, `crypto` and `metrics`, which all plugins have.
        "grant" grant: Grant,
        /// Records what it sees and answers, to be run again with `tollgate plugin replay`. Default: nothing is.
        "record" record: Record,
    }
}

table! {
    /// `[key.NAME]`: a key that components may be signed with.
    "a key" "{ public-key = \"RWQ…\" }"
    pub(crate) struct TrustedKey {
        /// The line that `tollgate plugin keygen` or `minisign -G` shows, or `"${file:NAME.pub}"` for the file. Required.
        "public-key" public_key: PublicKey,
    }
}

table! {
    /// `[registry.NAME]`: how a registry is reached.
    "a registry" "{ origin = \"https://registry.example.com\" }"
    pub(crate) struct Registry {
        /// As `https://host` or `https://host:port`, with host and port as in `component`. With `http://` everything crosses
        /// the network in the clear. Required.
        "origin" origin: Endpoint,
        /// Who asks. Default: nobody in particular.
        "username" username: Text,
        /// The password or access token that goes with it, such as `"${file:/run/secrets/registry}"`.
        "password" password: Text,
        /// A PEM file of trusted roots, in place of the system's.
        "roots" roots: FilePath,
        /// Addresses and networks, beside public ones, where the servers may be that the registry sends us on to: for
        /// tokens and for the components themselves. Default: none.
        "addresses" addresses: Vec<At<Network>>,
        /// How long pulling one component may take in all. Up to 10m. Default `"30s"`.
        "timeout" timeout: Duration,
    }
}

table! {
    /// `record` of a plugin: which of its passes are written to files, without credentials.
    "a table" "{ share = \"1%\" }"
    pub(crate) struct Record {
        /// How many of the passes, drawn: `"0.0001%"` to `"100%"`. Default: none.
        "share" share: PassShare,
        /// Whether passes in which it fails (traps, runs too long and so on) are written always. Default false.
        "failures" failures: bool,
        /// Where the files go, `NAME.tollrec` for each plugin. Default `"recordings"`.
        "directory" directory: FilePath,
        /// The size of a file, 64KiB to 1GiB, after which another one is begun. Default `"16MiB"`.
        "size" size: Size,
        /// How many files of one plugin are kept, 1 to 100; older ones are removed. Default 4.
        "files" files: Count,
    }
}

table! {
    /// `rollout` of a plugin.
    "a table" "{ canary = \"5%\" }"
    pub(crate) struct Rollout {
        /// The part of the requests that a new version gets until it is promoted or rolled back, `"0.01%"` to `"50%"`.
        /// Required.
        "canary" canary: Share,
        /// What decides whether a request is among them, always in the same way: `"address"` of the client, or
        /// `"header:NAME"`. A request without that header stays with the old version. Default `"address"`.
        "key" key: RolloutKey,
    }
}

table! {
    /// `limits` of a plugin.
    "a table of limits" "{ time = \"10ms\", memory = \"16MiB\" }"
    pub(crate) struct PluginLimits {
        /// The time of one call, including what it waits for; ten times that, and at least 1s, while it is configured.
        /// Up to 1m. Default `"10ms"`.
        "time" time: Duration,
        /// The linear memory of one instance, 64KiB to 4GiB. Default `"16MiB"`.
        "memory" memory: Size,
        /// The elements of all tables of one instance. Default 20000.
        "table" table: Count,
        /// Instances in use at once, in all workers. Default 64.
        "instances" instances: Count,
        /// How long a request waits for an instance. `"0s"` does not wait. Default `"100ms"`.
        "wait" wait: Duration,
    }
}

table! {
    /// `grant` of a plugin.
    "a table of capabilities" "{ kv = [\"sessions\"] }"
    pub(crate) struct Grant {
        /// Names of key-value stores. Plugins that are granted the same name share the store.
        "kv" kv: Vec<At<Grants>>,
        /// Origins that it may send requests to: `"https://idp.example.com"`, or a table. Where the name stands for an
        /// address that is not public, nothing is sent, unless the table names the address.
        "http" http: Vec<At<HttpGrant>>,
    }
}

table! {
    /// An origin of `grant.http`, as a table.
    "an origin" "{ origin = \"https://idp.example.com\" }"
    pub(crate) struct HttpOrigin {
        /// As `http://host:port` or `https://host:port`. Required.
        "origin" origin: Endpoint,
        /// Addresses and networks that the name may stand for although they are not public. Default: none.
        "addresses" addresses: Vec<At<Network>>,
        /// A PEM file of trusted roots, in place of the system's.
        "roots" roots: FilePath,
    }
}

table! {
    /// `[route.NAME]`: a match, a chain, an upstream. One of `path`, `path-prefix` and `path-regex` is required.
    "a route" "{ path = \"/v1/search\", upstream = \"search\" }"
    pub(crate) struct Route {
        /// Exactly this path, in canonical form and without a query.
        "path" path: Path,
        /// This path and everything below it, on borders of segments: `"/v1"` takes `/v1` and `/v1/x`, never `/v1x`.
        "path-prefix" path_prefix: Path,
        /// A regular expression that takes the whole path. There is no need of `^` and `$`.
        "path-regex" path_regex: Regex,
        /// A host, or all below one: `"*.example.com"` takes `a.example.com` and `a.b.example.com`. Default: any.
        "host" host: HostMatch,
        /// Methods, in capitals. `"GET"` takes `HEAD`, too. Default: all.
        "methods" methods: Vec<At<MethodName>>,
        /// Request headers that must all match: a value, `{ regex = "…" }` for the whole value, or `{ present = true }`.
        "headers" headers: Fields,
        /// Query parameters that must all match, decoded; values as in `headers`.
        "query" query: Fields,
        /// Routes with a higher one are looked at first. Default 0.
        "priority" priority: Priority,
        /// Names of plugins: in this order on requests, in reverse on responses. Default: none.
        "chain" chain: Vec<At<Reference>>,
        /// The name of the upstream. Required.
        "upstream" upstream: Reference,
        /// Parts of the requests that go to other upstreams: one table, or several.
        "split" split: OneOrMore<Split>,
        /// What keeps a client on its side of a split: `"address"` of the client, `"path"`, `"header:NAME"` or
        /// `"cookie:NAME"`. A request without the header or cookie goes to `upstream`. Default: each is drawn by itself.
        "split-by" split_by: HashKey,
        /// Sends copies of requests to another upstream, and throws the answers away.
        "mirror" mirror: Mirror,
        /// Is taken away from the begin of paths before they go to the upstream, and put back before those that it answers.
        "strip-prefix" strip_prefix: Path,
        /// Is put before paths that go to the upstream, after `strip-prefix`, and taken away from those that it answers.
        "add-prefix" add_prefix: Path,
        /// The path that the upstream sees in place of the client's: text with `{NAME}` for groups `(?<NAME>…)` of
        /// `path-regex`.
        "rewrite" rewrite: Template,
        /// The longest request body, else 413; or `"unlimited"`. Default `"1MiB"`.
        "body-size" body_size: BodySize,
        /// `"keep"` lets `%2F` in paths through as it is; `"reject"` answers 400. Default `"reject"`.
        "encoded-slash" encoded_slash: EncodedSlash,
        /// Protocols that connections may go on with when the upstream agrees (`101 Switching Protocols`). From then on
        /// bytes pass both ways, and `timeouts.idle` of the upstream is the one limit. No plugin of the chain may ask
        /// for bodies. Default: none, and `Upgrade` is ignored.
        "upgrade" upgrade: Vec<At<ProtocolName>>,
        /// Declares that bodies of this route go on for long (events, streams of gRPC): a plugin of the chain that asks
        /// for whole bodies is an error. Default false.
        "streaming" streaming: bool,
    }
}

table! {
    /// `split` of a route.
    "a table" "{ upstream = \"search-next\", percent = 5 }"
    pub(crate) struct Split {
        /// The name of the other upstream. Required.
        "upstream" upstream: Reference,
        /// Requests of a hundred, 0 to 100, with up to three decimals. Required.
        "percent" percent: Part,
    }
}

table! {
    /// `mirror` of a route.
    "a table" "{ upstream = \"search-next\", percent = 5 }"
    pub(crate) struct Mirror {
        /// The name of the other upstream. Required.
        "upstream" upstream: Reference,
        /// Requests of a hundred that are copied, 0 to 100, with up to three decimals. Default 100.
        "percent" percent: Part,
        /// The longest request body that is copied, up to 16MiB. Default `"64KiB"`.
        "body" body: Size,
        /// Copies under way at once, for each worker; 1 to 10000. More are left out, and counted. Default 16.
        "most" most: Count,
    }
}

table! {
    /// What a header or a parameter of a query must be, as a table.
    "a matcher" "{ regex = \"…\" }"
    pub(crate) struct Matcher {
        /// A regular expression that takes the whole value.
        "regex" regex: Regex,
        /// That it is there, whatever its value.
        "present" present: bool,
    }
}

table! {
    /// `[log]`
    "a table" "{ format = \"json\" }"
    pub(crate) struct Log {
        /// `"json"` for programs, `"text"` for people. Default `"json"`.
        "format" format: LogFormat,
        /// Where one line for each request goes: `"stdout"`, `"off"`, or `{ file = "access.log" }`. Default `"stdout"`.
        "access" access: AccessLog,
        /// The least level of all other lines, which go to standard error: `"error"`, `"warn"`, `"info"`, `"debug"` or
        /// `"trace"`. Default `"info"`.
        "level" level: Level,
    }
}

table! {
    /// `access` of `[log]`, as a table.
    "a table" "{ file = \"access.log\" }"
    pub(crate) struct AccessFile {
        /// A file that lines are appended to. Required.
        "file" file: FilePath,
    }
}

table! {
    /// `[drain]`
    "a table" "{ timeout = \"30s\" }"
    pub(crate) struct Drain {
        /// How long connections are still accepted while `/readyz` answers 503. Default `"0s"`.
        "grace" grace: Duration,
        /// How long requests in flight may take after that. Default `"30s"`.
        "timeout" timeout: Duration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_kebab_case_documented_and_has_an_example() {
        let keys = keys();
        assert!(keys.len() > 60, "{}", keys.len());
        for (path, key) in keys {
            assert!(key.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{path}");
            let about = key.about.trim();
            assert!(about.len() > 15 && about.ends_with('.'), "{path}: {about:?}");
            assert!(!key.noun.is_empty() && !(key.example)().is_empty(), "{path}");
        }
    }

    #[test]
    fn paths_of_keys_show_where_names_go() {
        let paths: Vec<String> = keys().into_iter().map(|(path, _)| path).collect();
        for path in [
            "workers",
            "listener.NAME.limits.head-size",
            "listener.NAME.tls.certificate",
            "route.NAME.headers.NAME.regex",
        ] {
            assert!(paths.iter().any(|known| known == path), "{path} in {paths:?}");
        }
    }
}
