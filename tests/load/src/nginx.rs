//! nginx at its best: no logs, connections kept on both sides, buffers that hold the bodies.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::keys;
use crate::process::{self, Process};

/// Where Debian puts modules, and where a build from source puts them.
const MODULES: [&str; 3] = ["/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/local/nginx/modules"];

/// A running nginx.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// The first worker, whose time is taken; the master only waits.
    pub(crate) worker: u32,
    _process: Process,
}

/// The program and its version.
pub(crate) fn version() -> Result<(PathBuf, String)> {
    let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from);
    let program = program.into_iter().find(|path| path.exists()).context(
        "there is no nginx here: `apt-get install nginx-light libnginx-mod-http-lua lua-cjson`, or your system's packages",
    )?;
    let output = Command::new(&program).arg("-v").output()?;
    let version = String::from_utf8_lossy(&output.stderr).trim().replace("nginx version: ", "");
    Ok((program, version))
}

impl Nginx {
    /// Starts it in a directory of its own, with so many workers.
    pub(crate) fn start(cpus: &str, directory: &Path, workers: usize, upstreams: &[SocketAddr]) -> Result<Self> {
        let (program, _) = version()?;
        let [address, tls] = process::free()?;
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration(directory, workers, [address, tls], upstreams)?)?;
        fs::write(directory.join("filters.lua"), filters())?;
        let arguments = [OsStr::new("-p"), directory.as_os_str(), OsStr::new("-c"), file.as_os_str()];
        let log = directory.join("nginx.log");
        let mut process = Process::start(cpus, &program, &arguments, &log)?;
        while std::net::TcpStream::connect(address).is_err() {
            let ended = process.ended()?;
            ensure!(ended.is_none(), "nginx did not start: {}", fs::read_to_string(&log).unwrap_or_default());
            std::thread::yield_now();
        }
        // The master listens before it has its workers.
        let mut children = process::children(process.id())?;
        while children.len() < workers && process.ended()?.is_none() {
            std::thread::yield_now();
            children = process::children(process.id())?;
        }
        ensure!(children.len() == workers, "nginx has {} workers", children.len());
        Ok(Self { address, tls, worker: children[0], _process: process })
    }
}

fn configuration(
    directory: &Path,
    workers: usize,
    [address, tls]: [SocketAddr; 2],
    upstreams: &[SocketAddr],
) -> Result<String> {
    let servers: String = upstreams.iter().map(|upstream| format!("server {upstream}; ")).collect();
    // Each worker has a socket of its own where there are several: otherwise one takes most of the connections.
    let listen = if workers > 1 { "backlog=4096 reuseport" } else { "backlog=4096" };
    let module = |name: &str| {
        let found = MODULES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists());
        let found = found
            .with_context(|| format!("nginx's module {name} is missing: apt-get install libnginx-mod-http-lua"))?;
        Ok::<_, anyhow::Error>(format!("load_module {};\n", found.display()))
    };
    let modules = module("ndk_http_module.so")? + &module("ngx_http_lua_module.so")?;
    let path = directory.display();
    let mut text = format!(
        r#"{modules}
daemon off;
pid {path}/nginx.pid;
error_log {path}/error.log crit;
worker_processes {workers};
worker_rlimit_nofile 20000;
pcre_jit on;
events {{ worker_connections 15000; accept_mutex off; multi_accept on; }}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    client_max_body_size 0;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    http2_max_concurrent_streams 1000;
    lua_package_path "{path}/?.lua;/usr/share/lua/5.1/?.lua;;";
    lua_shared_dict counts 10m;
    init_by_lua_block {{ filters = require "filters" }}

    upstream origin {{ {servers}keepalive 128; keepalive_requests 1000000000; keepalive_timeout 600s; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_buffer_size 8k;
    proxy_buffers 8 8k;
    proxy_max_temp_file_size 0;

    server {{
        listen {address} {listen};
        listen {tls} ssl http2 {listen};
        ssl_certificate {path}/certificate.pem;
        ssl_certificate_key {path}/key.pem;
        ssl_protocols TLSv1.3;
        location /plain/ {{ proxy_pass http://origin; }}
        location /socket/ {{
            proxy_pass http://origin;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
        }}
        location /large/ {{
            proxy_pass http://origin;
            proxy_request_buffering off;
            # What is best for bodies of 1 and 10 MiB, of buffers from 16 KiB to 1 MiB, with and without buffering.
            client_body_buffer_size 256k;
            proxy_buffering off;
            proxy_buffer_size 256k;
            proxy_buffers 4 256k;
            proxy_busy_buffers_size 512k;
        }}
"#
    );
    let filters = [
        ("key", "filters.key()"),
        ("word", "filters.word()"),
        ("one", "filters.count[1]()"),
        ("five", "for i = 1, 5 do filters.count[i]() end"),
        ("json", "filters.json()"),
    ];
    for (name, call) in filters {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "        location /{name}/ {{ access_by_lua_block {{ {call} }} proxy_pass http://origin; }}"
        );
    }
    text.push_str("    }\n}\n");
    Ok(text)
}

/// What the plugins do, in Lua: without more checks than it needs, and everything that can be looked up once kept.
fn filters() -> String {
    let digests = keys::digests();
    let digest = |(consumer, digest): &(String, String)| format!("    [unhex \"{digest}\"] = \"{consumer}\",\n");
    let digests: String = digests.iter().map(digest).collect();
    let key = keys::KEY;
    format!(
        r#"local ffi = require "ffi"
local cjson = require "cjson"
local C, req, exit = ffi.C, ngx.req, ngx.exit
local counts = ngx.shared.counts
ffi.cdef [[ unsigned char *SHA256(const unsigned char *data, size_t size, unsigned char *digest); ]]
local filters = {{ count = {{}} }}

local function unhex(text) return (text:gsub("..", function(two) return string.char(tonumber(two, 16)) end)) end
local digest = ffi.new("unsigned char[32]")
local digests = {{
{digests}}}

-- As api-key: by digest, the key taken out, the consumer told to the upstream.
function filters.key()
    local key = ngx.var.http_x_api_key
    if not key then return exit(401) end
    C.SHA256(key, #key, digest)
    local consumer = digests[ffi.string(digest, 32)]
    if not consumer then return exit(401) end
    req.clear_header("x-api-key")
    req.set_header("x-consumer-id", consumer)
end

-- Less than api-key does: keys kept as they are, the request left as it is.
local words = {{ ["{key}"] = "alice" }}
function filters.word()
    if not words[ngx.var.http_x_api_key or ""] then return exit(401) end
end

for i = 1, 5 do
    local field = "http_x_tenant_" .. i
    filters.count[i] = function()
        local value = ngx.var[field]
        if not value then return exit(400) end
        counts:incr(value, 1, 0)
    end
end

-- Only parses.
function filters.json()
    req.read_body()
    local body = req.get_body_data()
    if not body or not pcall(cjson.decode, body) then return exit(400) end
end

return filters
"#
    )
}
