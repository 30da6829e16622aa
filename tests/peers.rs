//! Other people's programs on both sides: nginx as a server, curl, Python and Node as clients, and Python's WebSocket and
//! gRPC as both. What is not installed is said, and left out; `make setup-test` installs nginx and what Python needs.

mod grpc;
mod installed;
mod websocket;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Identity, Origin, Proxy, answer, until};

/// Whether a program is here and starts. Where it does not, that is said.
fn is_here(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let here = status.is_ok_and(|status| status.success());
    if !here {
        eprintln!("there is no `{program} {}` here, so it is not tried", arguments.join(" "));
    }
    here
}

/// What a program prints, when it is given this text.
fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it is here");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{program}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A proxy with a plain and a TLS listener before an origin that says what it was sent.
fn start() -> (Origin, Proxy, TempDir, PathBuf) {
    let origin = Origin::start(|request| {
        let method = request.start.split(' ').next().unwrap_or_default();
        answer("text/plain", &format!("{method} {} {}", request.target(), request.body.len()))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let table = Identity::new(&["localhost"]).write(folder.path(), "cert");
    let config = format!(
        "listener.secure = {{ address = \"127.0.0.1:0\", tls = {table} }}\nupstream.o.endpoints = [\"{}\"]\n\
         route.all = {{ path-prefix = \"/\", upstream = \"o\" }}",
        origin.url()
    );
    let certificate = folder.path().join("cert.pem");
    (origin, Proxy::start(&config, &[]), folder, certificate)
}

#[test]
fn curl_over_each_version_of_http() {
    if !is_here("curl", &["--version"]) {
        return;
    }
    let (_origin, proxy, _folder, certificate) = start();
    let plain = format!("http://{}/a?b=c", proxy.address("public"));
    let secure = format!("https://localhost:{}/a?b=c", proxy.address("secure").port());
    let certificate = certificate.to_str().expect("a path of text");
    let http2 = run("curl", &["--version"], "").contains("HTTP2");
    let (trusting, trusting2) = (["--http1.1", "--cacert", certificate], ["--http2", "--cacert", certificate]);
    let mut ways: Vec<(&[&str], &str, &str)> =
        vec![(&["--http1.0"], &plain, "1.1"), (&["--http1.1"], &plain, "1.1"), (&trusting, &secure, "1.1")];
    if http2 {
        ways.push((&["--http2-prior-knowledge"], &plain, "2"));
        ways.push((&trusting2, &secure, "2"));
    } else {
        eprintln!("curl has no HTTP/2 here, so that is not tried");
    }
    for (way, url, version) in ways {
        let common = ["--silent", "--show-error", "--fail", "--max-time", "30", "--write-out", " %{http_version}", url];
        let ask = |more: &[&str], input: &str| run("curl", &[way, &common, more].concat(), input);
        let got = |method: &str, length: usize| format!("{method} /a?b=c {length} {version}");
        assert_eq!(ask(&[], ""), got("GET", 0), "{way:?}");
        assert_eq!(ask(&["--request", "DELETE"], ""), got("DELETE", 0), "{way:?}");
        // Longer than curl sends before it is told to go on, and, but for HTTP/1.0, of a length that it does not say.
        let long = "x".repeat(300_000);
        if way != ["--http1.0"] {
            assert_eq!(ask(&["--upload-file", "-"], &long), got("PUT", long.len()), "{way:?}");
        }
        assert_eq!(ask(&["--data-binary", "@-"], &long), got("POST", long.len()), "{way:?}");
    }
}

#[test]
fn pythons_clients() {
    if !is_here("python3", &["-c", "import http.client"]) {
        return;
    }
    let (_origin, proxy, _folder, _) = start();
    let address = proxy.address("public");
    let script = format!(
        r#"
import http.client
connection = http.client.HTTPConnection("{}", {}, timeout=30)
def ask(method, body=None, **more):
    connection.request(method, "/a", body, **more)
    response = connection.getresponse()
    print(response.status, response.read().decode())
ask("GET")
ask("POST", b"x" * 100000)
ask("PUT", iter([b"x" * 10, b"y" * 20]), encode_chunked=True)
ask("HEAD")
ask("GET")
"#,
        address.ip(),
        address.port()
    );
    let printed = run("python3", &["-"], &script);
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    assert_eq!(lines, ["200 GET /a 0", "200 POST /a 100000", "200 PUT /a 30", "200", "200 GET /a 0"]);
    if !is_here("python3", &["-c", "import requests"]) {
        return;
    }
    let script = format!(
        r#"
import requests
with requests.Session() as session:
    session.trust_env = False
    for ask in (lambda url: session.get(url, params={{"q": "a b"}}), lambda url: session.post(url, json={{"a": 1}}),
                lambda url: session.put(url, data=iter([b"x" * 10, b"y" * 20]))):
        response = ask("http://{address}/a")
        print(response.status_code, response.text)
"#
    );
    let printed = run("python3", &["-"], &script);
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["200 GET /a?q=a+b 0", "200 POST /a 8", "200 PUT /a 30"]);
}

#[test]
fn nodes_clients() {
    if !is_here("node", &["-e", "fetch"]) {
        return;
    }
    let (_origin, proxy, _folder, certificate) = start();
    let script = format!(
        r#"
import http2 from "node:http2";
import fs from "node:fs";
const url = "http://{plain}/a";
const say = async (response) => console.log(response.status, await response.text());
await say(await fetch(url));
await say(await fetch(url, {{ method: "POST", body: "x".repeat(100000) }}));
const stream = new ReadableStream({{ start(c) {{ c.enqueue(new Uint8Array(10)); c.enqueue(new Uint8Array(20)); c.close(); }} }});
await say(await fetch(url, {{ method: "PUT", body: stream, duplex: "half" }}));
const session = http2.connect("https://localhost:{secure}", {{ ca: fs.readFileSync({certificate:?}) }});
const ask = (headers, body) => new Promise((resolve, reject) => {{
    const stream = session.request(headers);
    let status, text = "";
    stream.on("response", (headers) => status = headers[":status"]);
    stream.on("data", (piece) => text += piece);
    stream.on("end", () => resolve(status + " " + text));
    stream.on("error", reject);
    stream.end(body);
}});
const answers = await Promise.all([ask({{ ":path": "/a" }}), ask({{ ":path": "/a", ":method": "POST" }}, "x".repeat(100000))]);
answers.forEach((answer) => console.log(answer));
session.close();
"#,
        plain = proxy.address("public"),
        secure = proxy.address("secure").port(),
    );
    let printed = run("node", &["--input-type=module", "-"], &script);
    let expected = ["200 GET /a 0", "200 POST /a 100000", "200 PUT /a 30", "200 GET /a 0", "200 POST /a 100000"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

/// An nginx of its own, as a server.
struct Nginx {
    master: Child,
    _folder: TempDir,
}

impl Nginx {
    fn start(server: &str, address: SocketAddr) -> Option<Self> {
        let programs = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let Some(program) = programs.into_iter().find(|program| PathBuf::from(program).exists()) else {
            eprintln!("there is no nginx here, so it is not tried: `make setup-test` installs it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .concat();
        let file = folder.path().join("nginx.conf");
        let text = format!(
            "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/error.log;\nevents {{}}\n\
             http {{ access_log off;\n{temporary}server {{ listen {address};\n{server}\n}} }}\n"
        );
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).stderr(Stdio::null());
        let master = command.spawn().expect("it is here");
        until("nginx accepts", || std::net::TcpStream::connect(address).is_ok());
        Some(Self { master, _folder: folder })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

#[test]
fn nginx_as_a_server() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    drop(socket);
    let server = format!(
        "server_name origin.test;\nkeepalive_timeout 2s 2s;\nkeepalive_requests 3;\n\
         location /text {{ default_type text/plain; return 200 \"$request_method $request_uri $http_x_forwarded_for\"; }}\n\
         location /moved {{ return 302 http://{address}/text; }}\n\
         location = /slash {{ return 301 /text; }}\n\
         location /broken {{ return 500; }}\n\
         location /long {{ root .; gzip off; try_files /nothing =404; }}\n"
    );
    let Some(_nginx) = Nginx::start(&server, address) else { return };
    let config = format!(
        "upstream.o.endpoints = [\"http://{address}\"]\nroute.all = {{ path-prefix = \"/\", upstream = \"o\" }}"
    );
    let proxy = Proxy::start(&config, &[]);
    let mut client = proxy.client();
    // nginx closes each connection after three of them, and says so.
    for count in 0..20 {
        let response = client.request("GET", &format!("/text?{count}"), &[], b"");
        assert_eq!(response.text(), format!("GET /text?{count} 127.0.0.1"));
        assert_eq!(response.header("server"), None, "{response:?}");
    }
    let post = client.request("POST", "/text", &[], &[b'x'; 100_000]);
    assert_eq!(post.text(), "POST /text 127.0.0.1");
    let chunked = "PUT /text HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send(chunked);
    assert_eq!(client.response().text(), "PUT /text 127.0.0.1");
    for path in ["/moved", "/slash"] {
        let moved = client.request("GET", path, &[], b"");
        assert_eq!(moved.header("location"), Some("http://api.test/text"), "{path}: {moved:?}");
        assert!(!moved.text().contains(&address.port().to_string()), "{moved:?}");
    }
    let broken = client.request("GET", "/broken", &[], b"");
    assert_eq!((broken.status(), broken.code().as_str()), (500, "upstream-status"));
    assert!(!broken.text().contains("nginx"), "{broken:?}");
    assert_eq!(client.request("GET", "/long", &[], b"").status(), 404);
}
