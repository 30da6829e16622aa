//! The binary itself: what it says, its exit status, and what signals do to it.

#[path = "cli/authors.rs"]
mod authors;
#[path = "cli/handed_over.rs"]
mod handed_over;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/signing.rs"]
mod signing;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes that works, on a busy machine with a cold cache.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with this configuration in it, to run the binary in.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, config);
    folder
}

fn write(folder: &TempDir, config: &str) {
    fs::write(folder.path().join("tollgate.toml"), config).expect("a file");
}

/// A listener on a free port, and one route.
fn config(upstream: &str, path: &str) -> String {
    format!(
        "workers = 2\nlistener.public.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         upstream.o.endpoints = [\"http://{upstream}\"]\nroute.only = {{ path = \"{path}\", upstream = \"o\" }}\n"
    )
}

/// The binary in a folder, and with compiled code that these tests share.
fn tollgate(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    command
}

/// What the binary left behind.
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

fn ends(folder: &TempDir, arguments: &[&str]) -> Ended {
    let output = tollgate(folder, arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn check_tells_by_its_status_what_is_wrong() {
    let fine = folder(&config("127.0.0.1:1", "/a"));
    for arguments in [&["check"][..], &["check", "tollgate.toml"]] {
        let ended = ends(&fine, arguments);
        assert_eq!((ended.status, ended.out.as_str()), (Some(0), ""), "{}", ended.err);
        assert!(ended.err.contains("tollgate.toml: fine"), "{}", ended.err);
    }

    // In the file itself, in what it names, and in what a plugin makes of its part.
    let keys = "plugin.keys = { component = \"api-key\", config.keys = [{ consumer = \"a\", sha256 = \"12\" }] }\n";
    let routed = config("127.0.0.1:1", "/a").replace("upstream = \"o\" }", "chain = [\"keys\"], upstream = \"o\" }");
    for (what, wrong, words) in [
        ("syntax", format!("{}[route.", config("127.0.0.1:1", "/a")), "tollgate.toml:6:"),
        (
            "a key",
            config("127.0.0.1:1", "/a").replace("upstream =", "upsteam ="),
            "unknown key \"upsteam\", did you mean \"upstream\"?",
        ),
        ("a component", format!("{routed}plugin.keys.component = \"api-kye\"\n"), "api-key"),
        ("a plugin's own", format!("{routed}{keys}"), "sha256"),
    ] {
        let ended = ends(&folder(&wrong), &["check"]);
        assert_eq!((ended.status, ended.out.as_str()), (Some(1), ""), "{what}: {}", ended.err);
        assert!(ended.err.contains(words) && ended.err.contains("tollgate.toml"), "{what}: {}", ended.err);
        // What runs is checked the same way.
        let ended = ends(&folder(&wrong), &["run"]);
        assert_eq!(ended.status, Some(1), "{what}: {}", ended.err);
        assert!(ended.err.contains(words) && !ended.err.contains("ready"), "{what}: {}", ended.err);
    }

    let empty = tempfile::tempdir().expect("a folder");
    for arguments in [&["check"][..], &["check", "nothing.toml"], &["check", "."], &["run", "nothing.toml"]] {
        let ended = ends(&empty, arguments);
        assert_eq!((ended.status, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("cannot read"), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn check_warns_of_attributes_that_nobody_sets_in_time() {
    let with = |chain: &str| {
        let plugins = "plugin.keys = { component = \"api-key\", config.keys = [] }\n\
            plugin.limit = { component = \"rate-limit\", config = { limit = 1, window = \"1s\" } }\n\
            route.all = { path-prefix = \"/\", upstream = \"o\", chain = [\"keys\"] }\n";
        let routed = config("127.0.0.1:1", "/a")
            .replace("upstream = \"o\" }", &format!("chain = [{chain}], upstream = \"o\" }}"));
        ends(&folder(&(routed + plugins)), &["check"])
    };
    let told = "the plugin `limit` looks at the attribute `consumer`, which no plugin before it in the chain of route `only` sets";
    for (chain, help) in [("\"limit\", \"keys\"", "`keys` sets it: put it before `limit`"), ("\"limit\"", told)] {
        let ended = with(chain);
        assert_eq!(ended.status, Some(0), "{}", ended.err);
        assert!(ended.err.contains(told) && ended.err.contains(help), "{}", ended.err);
    }
    let fine = with("\"keys\", \"limit\"");
    assert!(fine.status == Some(0) && !fine.err.contains("attribute"), "{}", fine.err);
}

#[test]
fn check_says_what_was_probably_meant() {
    let wrong = config("127.0.0.1:1", "/a").replace("upstream = \"o\"", "upsteam = \"o\"");
    let ended = ends(&folder(&wrong), &["check"]);
    assert!(ended.err.contains("did you mean \"upstream\"?"), "{}", ended.err);
    let ended = ends(&folder(&wrong), &["check", "--json"]);
    assert_eq!(ended.status, Some(1));
    let problems: Value = serde_json::from_str(&ended.out).expect("JSON on standard output");
    assert!(problems[0]["message"].as_str().is_some_and(|text| text.contains("upsteam")), "{problems}");
}

#[test]
fn what_is_no_command_is_refused() {
    let empty = tempfile::tempdir().expect("a folder");
    for (arguments, words) in [
        (&["chekc"][..], "chekc"),
        (&["check", "a", "b"], "unexpected argument 'b'"),
        (&["run", "--josn"], "--josn"),
        (&["plugins", "--jsn"], "'--json'"),
        (&["key"], "new"),
        (&["key", "nwe"], "'nwe'"),
        (&["explain"], "<CONFIG>"),
        (&["explain", "a.toml", "GE T", "/"], "invalid"),
    ] {
        let ended = ends(&empty, arguments);
        assert_eq!((ended.status, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{arguments:?}: {}", ended.err);
    }
    let version = ends(&empty, &["--version"]);
    assert_eq!((version.status, version.out.trim()), (Some(0), concat!("tollgate ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_mistyped_command_is_told_from_a_file_that_is_not_there() {
    let empty = folder("");
    let ended = ends(&empty, &["chekc"]);
    assert_eq!(ended.status, Some(2), "{}", ended.err);
    assert!(ended.err.contains("did you mean the command `check`?"), "{}", ended.err);
    let ended = ends(&empty, &["elsewhere.toml"]);
    assert_eq!(ended.status, Some(2), "{}", ended.err);
    assert!(ended.err.contains("elsewhere.toml") && !ended.err.contains("command"), "{}", ended.err);
}

#[test]
fn explain_says_which_route_and_why_not_the_others() {
    let folder = folder(&format!(
        "{}route.other = {{ path = \"/b\", methods = [\"POST\"], headers = {{ x-a = \"1\" }}, upstream = \"o\" }}\n",
        config("127.0.0.1:1", "/a")
    ));
    let taken = ends(&folder, &["explain", "tollgate.toml", "GET", "http://api.test/x/../a?q=1"]);
    assert_eq!((taken.status, taken.err.as_str()), (Some(0), ""));
    for words in ["GET api.test/a", "route `only`: no plugin → upstream `o`", "other: "] {
        assert!(taken.out.contains(words), "{words}: {}", taken.out);
    }
    let with_header = ends(&folder, &["explain", "tollgate.toml", "POST", "http://api.test/b", "-H", "x-a: 1"]);
    assert!(with_header.status == Some(0) && with_header.out.contains("route `other`"), "{}", with_header.out);
    for (method, url, words) in [("GET", "/none", "404 no-route"), ("DELETE", "/b", "")] {
        let none = ends(&folder, &["explain", "tollgate.toml", method, url]);
        assert_eq!(none.status, Some(1), "{method} {url}: {}{}", none.out, none.err);
        assert!(none.out.contains(words), "{method} {url}: {}", none.out);
    }
    for arguments in [&["GET", "/a", "-H", "nonsense"][..], &["GET", "/%zz"]] {
        let ended = ends(&folder, &[&["explain", "tollgate.toml"], arguments].concat());
        assert_eq!(ended.status, Some(2), "{arguments:?}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn plugins_lists_what_is_built_in_and_what_was_dropped_in() {
    let folder = folder(&format!("plugins.directory = \"plugins\"\n{}", config("127.0.0.1:1", "/a")));
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    fs::write(folder.path().join("plugins/broken.wasm"), "no component").expect("a file");
    let listed = ends(&folder, &["plugins", "--json"]);
    assert_eq!((listed.status, listed.err.as_str()), (Some(0), ""));
    let list: Value = serde_json::from_str(&listed.out).expect("JSON");
    let of = |name: &str| {
        let mut named = list.as_array().expect("a list").iter().filter(|one| one["name"] == name);
        named.next().unwrap_or_else(|| panic!("{name}: {list}"))
    };
    for name in ["api-key", "convert", "cors", "headers", "rate-limit", "validate"] {
        let one = of(name);
        assert!(one["origin"] == "built-in" && one["problem"].is_null(), "{one}");
        assert!(one["hooks"].as_array().is_some_and(|hooks| hooks.contains(&"on-request".into())), "{one}");
        assert!(one["size"].as_u64().is_some_and(|size| size > 10_000), "{one}");
    }
    assert!(of("broken")["origin"] == "file" && of("broken")["problem"].is_string(), "{list}");
    let text = ends(&folder, &["plugins"]).out;
    assert!(text.contains("rate-limit (built-in") && text.contains("not loaded"), "{text}");
}

/// The bytes of a built-in, in as many versions as there are numbers: one in a custom section, which nobody reads.
fn version(number: u8) -> Vec<u8> {
    let (_, bytes) = tollgate::plugin::BUILT_IN.iter().find(|(name, _)| *name == "headers").expect("it is built in");
    [bytes, &[0, 2, 1, b'a' + number][..]].concat()
}

#[test]
fn new_versions_are_shown_promoted_and_rolled_back() {
    let origin = Origin::start();
    let routed = config(&origin.address, "/a").replace("upstream = \"o\" }", "chain = [\"mine\"], upstream = \"o\" }");
    let plugin = "plugin.mine = { component = \"mine\", config.response.set = { x-mine = \"1\" }, rollout = { canary = \"5%\" }, limits.time = \"5s\" }\n";
    let folder = folder(&format!("plugins = {{ directory = \"plugins\", versions = \"versions\" }}\n{routed}{plugin}"));
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    let put = |number| {
        fs::write(folder.path().join("beside"), version(number)).expect("a file");
        fs::rename(folder.path().join("beside"), folder.path().join("plugins/mine.wasm")).expect("a folder");
    };
    put(0);
    let nobody = ends(&folder, &["plugins", "promote", "other"]);
    assert_eq!(nobody.status, Some(2), "{}", nobody.err);
    let mut running = Running::spawn(tollgate(&folder, &[]));
    // The same configuration for those who ask, with the port that the admin listener got.
    let text = fs::read_to_string(folder.path().join("tollgate.toml")).expect("it is there");
    let asking = text.replace("admin.address = \"127.0.0.1:0\"", &format!("admin.address = \"{}\"", running.admin));
    fs::write(folder.path().join("asking.toml"), asking).expect("a file");
    let told = |what: &str| ends(&folder, &["plugins", what, "mine", "asking.toml"]);

    let refused = told("promote");
    assert_eq!(refused.status, Some(1), "{}", refused.err);
    assert!(refused.err.contains("no new version of `mine` waits"), "{}", refused.err);
    put(1);
    running.says("gets a part of the requests");
    let listed = ends(&folder, &["plugins", "asking.toml"]).out;
    assert!(listed.contains("plugin mine: 5% of the requests meet ") && listed.contains("waiting for 50"), "{listed}");
    let promoted = told("promote");
    assert_eq!(promoted.status, Some(0), "{}", promoted.err);
    assert!(promoted.err.contains("serves all requests"), "{}", promoted.err);
    assert!(!ends(&folder, &["plugins", "asking.toml"]).out.contains("of the requests meet"));
    assert_eq!(told("rollback").status, Some(0));
    assert_eq!(told("rollback").status, Some(1), "there is nothing further back");
    assert_eq!(running.get("/a", "").0, 200);
}

#[test]
fn a_new_key_is_one_that_its_line_accepts() {
    let origin = Origin::start();
    let empty = tempfile::tempdir().expect("a folder");
    let new = ends(&empty, &["key", "new", "alice"]);
    assert_eq!(new.status, Some(0), "{}", new.err);
    let lines: Vec<&str> = new.out.lines().collect();
    let [key, line] = lines[..] else { panic!("the key and its line: {}", new.out) };
    assert!(!new.err.contains(key), "the key is data, for standard output");

    let routed = config(&origin.address, "/a").replace("upstream = \"o\" }", "chain = [\"keys\"], upstream = \"o\" }");
    let plugin = format!("plugin.keys = {{ component = \"api-key\", config.keys = [{line}], limits.time = \"5s\" }}\n");
    let folder = folder(&format!("{routed}{plugin}"));
    let checked = ends(&folder, &["check"]);
    assert_eq!(checked.status, Some(0), "{}", checked.err);
    let running = Running::start(&folder);
    assert_eq!(running.get("/a", &format!("x-api-key: {key}\r\n")).0, 200);
    assert_eq!(running.get("/a", "").0, 401);

    let other = ends(&empty, &["key", "new", "alice"]);
    assert_ne!(other.out, new.out);
    let refused = ends(&empty, &["key", "new", "two words"]);
    assert_eq!((refused.status, refused.out.as_str()), (Some(2), ""), "{}", refused.err);
}

#[test]
fn hangup_loads_the_configuration_again() {
    let origin = Origin::start();
    let folder = folder(&config(&origin.address, "/a"));
    let mut running = Running::start(&folder);
    assert_eq!((running.get("/a", "").0, running.get("/b", "").0), (200, 404));
    // Nothing changed, so that only the signal can be the reason.
    running.signal("HUP");
    running.says("the configuration was reloaded");

    write(&folder, &config(&origin.address, "/b"));
    running.signal("HUP");
    running.says("the configuration was reloaded");
    assert_eq!((running.get("/a", "").0, running.get("/b", "").0), (404, 200));

    write(&folder, "route.only = 1\n");
    running.signal("HUP");
    running.says("the configuration is refused");
    assert_eq!(running.get("/b", "").0, 200);
    running.signal("TERM");
    assert_eq!(running.ends().0, Some(0));
}

#[test]
fn a_reload_changes_what_the_log_says() {
    let folder = folder(&format!("log.level = \"error\"\n{}", config("127.0.0.1:1", "/a")));
    let mut running = Running::start(&folder);
    write(&folder, &config("127.0.0.1:1", "/b"));
    running.signal("HUP");
    running.says("the configuration was reloaded");
}

/// In a string with more around it, and in a path, a query and a field of a client that knows it.
#[test]
fn a_secret_of_the_environment_is_written_nowhere() {
    const CANARY: &str = "canary-of-the-environment";
    let origin = Origin::start();
    let folder = folder(&format!(
        "log = {{ level = \"trace\", access = {{ file = \"access.log\" }} }}\n\
         plugin.secret = {{ component = \"headers\", config.request.set = {{ authorization = \"Bearer ${{env:CANARY}}\" }}, \
         limits.time = \"5s\" }}\n{}",
        config(&origin.address, "/a").replace("path = \"/a\"", "path-prefix = \"/\", chain = [\"secret\"]")
    ));
    let unset = ends(&folder, &["check"]);
    assert_eq!(unset.status, Some(1));
    assert!(unset.err.contains("${env:CANARY} cannot be resolved: the variable is not set"), "{}", unset.err);

    let mut command = tollgate(&folder, &[]);
    command.env("CANARY", CANARY);
    let mut running = Running::spawn(command);
    let fields = format!("user-agent: {CANARY}\r\nx-forwarded-for: {CANARY}\r\n");
    assert_eq!(running.get(&format!("/{CANARY}?q={CANARY}&p=x%63anary-of-the-environment"), &fields).0, 200);
    running.signal("HUP");
    let mut said = running.says("the configuration was reloaded");
    running.signal("TERM");
    said.extend(running.ends().1);
    let log = fs::read_to_string(folder.path().join("access.log")).expect("the access log");
    assert!(log.contains("REDACTED"), "{log}");
    for text in [log, said.join("\n")] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn a_change_of_the_file_is_loaded_without_being_told() {
    let origin = Origin::start();
    let folder = folder(&config(&origin.address, "/a"));
    let mut running = Running::start(&folder);
    write(&folder, &config(&origin.address, "/b"));
    running.says("the configuration was reloaded");
    assert_eq!((running.get("/a", "").0, running.get("/b", "").0), (404, 200));
}

#[test]
fn terminate_lets_what_runs_finish() {
    for signal in ["TERM", "INT"] {
        let origin = Origin::start();
        let folder = folder(&config(&origin.address, "/a"));
        let mut running = Running::start(&folder);
        let idle = running.connect();
        let mut clients = ["head", "body"].map(|part| {
            let mut client = running.connect();
            ask_and_hold(&mut client, part);
            origin.holds();
            client
        });
        running.signal(signal);
        running.says("tollgate: draining");
        // The listener closes; until then connections may still come in, and are closed again.
        let begun = Instant::now();
        while TcpStream::connect(running.address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "it still accepts");
        }
        origin.release(2);
        let answers = clients.each_mut().map(|client| {
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("the whole answer, and the end of the connection");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nfirst second"), "{answer}");
            answer.to_lowercase()
        });
        assert!(answers[0].contains("\r\nconnection: close\r\n"), "its head came later: {}", answers[0]);
        let (status, lines) = running.ends();
        assert_eq!(status, Some(0), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("cut")), "{lines:?}");
        drop(idle);
    }
}

#[test]
fn what_takes_too_long_is_cut_and_told() {
    let origin = Origin::start();
    let folder = folder(&format!("{}drain.timeout = \"50ms\"\n", config(&origin.address, "/a")));
    let mut running = Running::start(&folder);
    let mut client = running.connect();
    ask_and_hold(&mut client, "head");
    origin.holds();
    running.signal("TERM");
    let (status, lines) = running.ends();
    assert_eq!(status, Some(0));
    assert!(lines.iter().any(|line| line.contains("1 connections were cut")), "{lines:?}");
    origin.release(1);
}

#[test]
fn terminate_twice_ends_at_once() {
    let origin = Origin::start();
    let folder = folder(&config(&origin.address, "/a"));
    let mut running = Running::start(&folder);
    let mut client = running.connect();
    ask_and_hold(&mut client, "head");
    origin.holds();
    running.signal("TERM");
    running.says("tollgate: draining");
    running.signal("TERM");
    let (status, lines) = running.ends();
    assert_eq!(status, Some(1), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("told twice")), "{lines:?}");
    let mut rest = String::new();
    let _ = client.read_to_string(&mut rest);
    assert_eq!(rest, "", "no part of an answer passes for a whole one");
    origin.release(1);
}

#[test]
fn an_address_in_use_is_said_and_nothing_is_left() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = folder(&config("127.0.0.1:1", "/a").replacen("127.0.0.1:0", &address, 1));
    let ended = ends(&folder, &["run"]);
    assert_eq!((ended.status, ended.out.as_str()), (Some(2), ""), "{}", ended.err);
    assert!(ended.err.contains(&address) && ended.err.contains("in use"), "{}", ended.err);
}

/// Z06 of the hostile inputs: more clients than there are descriptors.
#[test]
fn without_descriptors_it_waits_and_goes_on() {
    let origin = Origin::start();
    let folder = folder(&config(&origin.address, "/a"));
    let binary = tollgate(&folder, &[]);
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 64; exec \"$0\""]).arg(binary.get_program()).current_dir(folder.path());
    few.envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running = Running::spawn(few);
    assert_eq!(running.get("/a", "").0, 200);
    let many: Vec<TcpStream> = (0..100).map(|_| running.connect()).collect();
    running.says("cannot accept connections");
    drop(many);
    let begun = Instant::now();
    while running.get("/a", "").0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "it has descriptors again");
    }
    running.signal("TERM");
    assert_eq!(running.ends().0, Some(0));
}

/// The binary, serving. Killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
    admin: SocketAddr,
    /// What it said until it was ready.
    said: Vec<String>,
}

impl Running {
    /// Returns when it is ready.
    fn start(folder: &TempDir) -> Self {
        Self::spawn(tollgate(folder, &[]))
    }

    fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::null());
        Self::spawn_kept(command)
    }

    /// The same, with the standard output that the command has.
    fn spawn_kept(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        // Ends with the process. Nobody waits for it.
        thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut running = Self { child, lines, address: nowhere, admin: nowhere, said: Vec::new() };
        let said = running.says("tollgate: ready");
        let listening = said.iter().find_map(|line| line.strip_suffix(" (public)")).expect("the listener");
        let (_, address) = listening.rsplit_once(' ').expect("its address");
        running.address = address.parse().expect("an address");
        let admin = said.iter().find_map(|line| line.strip_prefix("tollgate: admin on http://")?.split('/').next());
        running.admin = admin.map_or(nowhere, |address| address.parse().expect("an address"));
        running.said = said;
        running
    }

    /// Waits for a line on standard error, and answers all until then.
    fn says(&mut self, words: &str) -> Vec<String> {
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains(words)) {
            let line = self.lines.recv_timeout(PATIENCE);
            said.push(line.unwrap_or_else(|error| panic!("{error} instead of {words:?} after {said:#?}")));
        }
        said
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }

    /// Its exit status, and what it said until then. A status of none is a signal that killed it.
    fn ends(&mut self) -> (Option<i32>, Vec<String>) {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {said:#?}"),
            }
        }
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.signal(), None, "{said:#?}");
        (status.code(), said)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        stream
    }

    /// Status and body of what a GET gets.
    fn get(&self, path: &str, fields: &str) -> (u16, String) {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status.unwrap_or_else(|| panic!("{answer:?}")), body.unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for an answer of which this part has to wait.
fn ask_and_hold(client: &mut TcpStream, part: &str) {
    client.write_all(format!("GET /a HTTP/1.1\r\nhost: a\r\nx-hold: {part}\r\n\r\n").as_bytes()).expect("it reads");
}

/// An upstream that says "first second", and waits before its head or between the two words if a request asks for it.
/// Its threads end with the tests.
struct Origin {
    address: String,
    held: Receiver<()>,
    release: Sender<()>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (hold, held) = channel();
        let (release, released) = channel();
        let released = Arc::new(Mutex::new(released));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (hold, released) = (hold.clone(), released.clone());
                thread::spawn(move || {
                    serve(&stream, || {
                        let _ = hold.send(());
                        let _ = released.lock().expect("no thread panicked").recv_timeout(PATIENCE);
                    });
                });
            }
        });
        Self { address, held, release }
    }

    /// Waits until one more request waits.
    fn holds(&self) {
        self.held.recv_timeout(PATIENCE).expect("a request that waits");
    }

    /// Lets this many of them go on.
    fn release(&self, requests: usize) {
        (0..requests).for_each(|_| self.release.send(()).expect("the origin runs"));
    }
}

/// One request for each connection.
fn serve(mut stream: &TcpStream, wait: impl Fn()) {
    let head: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let held = |part: &str| head.iter().any(|line| line.eq_ignore_ascii_case(&format!("x-hold: {part}")));
    if held("head") {
        wait();
    }
    // A client that left is the test's own doing.
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\nfirst ");
    if held("body") {
        wait();
    }
    let _ = stream.write_all(b"second");
}
