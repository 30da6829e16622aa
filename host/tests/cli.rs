//! The binary itself: what it says, its exit status, and what signals do to it.

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

/// A built-in component, as a file.
fn built_in(folder: &TempDir, name: &str) {
    let (_, bytes) = tollgate::plugin::BUILT_IN.iter().find(|(known, _)| *known == name).expect("a built-in");
    fs::write(folder.path().join(format!("{name}.wasm")), bytes).expect("a file");
}

#[test]
fn inspect_shows_what_a_component_is() {
    let folder = folder("");
    built_in(&folder, "rate-limit");
    let told = ends(&folder, &["plugin", "inspect", "rate-limit.wasm"]);
    assert_eq!(told.status, Some(0), "{}", told.err);
    for words in [
        "rate-limit.wasm: a plugin for version 0.1.0 of the contract",
        "on-request, on-request-body, on-response, on-response-body",
        "tollgate:plugin/limiter@0.1.0",
        "no grant",
        "limit",
    ] {
        assert!(told.out.contains(words), "{words} in {}", told.out);
    }

    let told = ends(&folder, &["plugin", "inspect", "--json", "rate-limit.wasm"]);
    let json: Value = serde_json::from_str(&told.out).expect("JSON on standard output");
    assert_eq!((&json["contract"], &json["grant"]), (&"0.1.0".into(), &Value::Null), "{json}");
    assert_eq!(json["size"], fs::metadata(folder.path().join("rate-limit.wasm")).expect("a file").len());
    assert!(json["capabilities"].as_array().is_some_and(|names| names.contains(&"limiter".into())), "{json}");

    let told = ends(&folder, &["plugin", "inspect", "--schema", "rate-limit.wasm"]);
    let schema: Value = serde_json::from_str(&told.out).expect("JSON on standard output");
    assert_eq!(schema, json["schema"]);
    assert!(schema["$schema"].as_str().is_some_and(|draft| draft.contains("2020-12")), "{schema}");
}

#[test]
fn inspect_says_why_a_file_is_no_plugin() {
    let folder = folder("");
    built_in(&folder, "cors");
    let whole = fs::read(folder.path().join("cors.wasm")).expect("a file");
    // A component that exports nothing: the preamble alone.
    let nothing = b"\0asm\x0d\0\x01\0";
    for (what, bytes, words) in [
        ("empty", &b""[..], "not a WebAssembly component"),
        ("text", b"hello", "not a WebAssembly component"),
        ("a core module", b"\0asm\x01\0\0\0", "build it for the target wasm32-wasip2"),
        ("cut off", &whole[..whole.len() / 2], "not a valid component"),
        ("a component", nothing, "it is a component, but not a plugin"),
    ] {
        fs::write(folder.path().join("it.wasm"), bytes).expect("a file");
        let told = ends(&folder, &["plugin", "inspect", "it.wasm"]);
        assert_eq!((told.status, told.out.as_str()), (Some(1), ""), "{what}: {}", told.err);
        assert!(told.err.starts_with("it.wasm: ") && told.err.contains(words), "{what}: {}", told.err);
        let told = ends(&folder, &["plugin", "inspect", "--json", "it.wasm"]);
        let json: Value = serde_json::from_str(&told.out).expect("JSON on standard output");
        assert!(json["problem"].as_str().is_some_and(|problem| problem.contains(words)), "{what}: {json}");
        assert_eq!(told.status, Some(1), "{what}");
    }
    let told = ends(&folder, &["plugin", "inspect", "nothing.wasm"]);
    assert_eq!(told.status, Some(2));
    assert!(told.err.contains("cannot read nothing.wasm"), "{}", told.err);
}

/// A file of cases for `cors`, of which the second fails where `status` is not 204.
fn cors_cases(folder: &TempDir, status: u16) {
    let text = format!(
        r#"component = "cors"
        plugin.config.origins = ["https://a.example"]
        [case.one]
        expect.response.status = 200
        [case.preflight]
        request = {{ method = "OPTIONS", headers = {{ origin = "https://a.example", access-control-request-method = "GET" }} }}
        expect.response.status = {status}
        "#
    );
    fs::write(folder.path().join("it.test.toml"), text).expect("a file");
}

#[test]
fn test_tells_by_its_status_what_failed() {
    let folder = folder("");
    cors_cases(&folder, 204);
    let fine = ends(&folder, &["plugin", "test", "it.test.toml", "--junit", "it.xml"]);
    assert_eq!(fine.status, Some(0), "{}{}", fine.out, fine.err);
    assert!(fine.out.contains("ok    preflight") && fine.out.contains("2 of 2 cases passed"), "{}", fine.out);
    let junit = |folder: &TempDir| fs::read_to_string(folder.path().join("it.xml")).expect("a file");
    assert!(junit(&folder).contains("tests=\"2\" failures=\"0\""), "{}", junit(&folder));

    cors_cases(&folder, 200);
    let failed = ends(&folder, &["plugin", "test", "it.test.toml", "--json", "--junit", "it.xml"]);
    assert_eq!(failed.status, Some(1), "{}", failed.err);
    let json: Value = serde_json::from_str(&failed.out).expect("JSON on standard output");
    let case = &json["files"][0]["cases"][1];
    assert_eq!((&case["name"], &case["passed"]), (&"preflight".into(), &false.into()), "{json}");
    assert_eq!(case["differences"][0]["what"], "response.status", "{json}");
    assert_eq!(case["place"], "it.test.toml:5:9", "{json}");
    assert!(junit(&folder).contains("<failure message=\"response.status: expected 200, found 204\">"));

    built_in(&folder, "rate-limit");
    let other = ends(&folder, &["plugin", "test", "it.test.toml", "--component", "rate-limit.wasm"]);
    assert_eq!(other.status, Some(1), "{}", other.err);
    assert!(other.out.contains("refuses its configuration"), "another component is tried: {}", other.out);
}

#[test]
fn test_says_what_it_cannot_run() {
    let folder = folder("");
    for (text, status, words) in [
        ("[case.a]\nexpct.flow = \"edit\"\n", 1, "did you mean \"expect\"?"),
        ("[case.a]\nexpect.flow = \"edit\"\n", 2, "it.wasm: it cannot be read"),
        ("component = \"corse\"\n[case.a]\nexpect.flow = \"edit\"\n", 2, "not built in (api-key, "),
        ("component = \"it.test.toml\"\n[case.a]\nexpect.flow = \"edit\"\n", 2, "a file's name ends in .wasm"),
    ] {
        fs::write(folder.path().join("it.test.toml"), text).expect("a file");
        let ended = ends(&folder, &["plugin", "test", "it.test.toml"]);
        assert_eq!(ended.status, Some(status), "{text}: {}", ended.err);
        assert!(ended.err.contains(words), "{text}: {}", ended.err);
    }
    fs::write(folder.path().join("it.test.toml"), "[case.a]\nexpect.flow = \"edit\"\n").expect("a file");
    fs::write(folder.path().join("it.wasm"), b"\0asm\x01\0\0\0").expect("a file");
    let module = ends(&folder, &["plugin", "test", "it.test.toml"]);
    assert_eq!(module.status, Some(1), "{}", module.err);
    assert!(module.err.contains("it.wasm: a core WebAssembly module"), "{}", module.err);
    assert_eq!(ends(&folder, &["plugin", "test", "nothing.test.toml"]).status, Some(2));
}

#[test]
fn bench_says_what_one_call_costs() {
    let folder = folder("");
    cors_cases(&folder, 204);
    let limit = ["--config", r#"{"limit": 5, "window": "1h", "key": "global"}"#, "--passes", "20"];
    let all = ends(&folder, &[&["plugin", "bench", "rate-limit"], &limit[..]].concat());
    assert_eq!(all.status, Some(0), "{}", all.err);
    for words in ["instances used again, 20 passes", "a fresh instance each", "median", "p99", "on-request", "KiB"] {
        assert!(all.out.contains(words), "{words} in {}", all.out);
    }
    let json = ends(&folder, &[&["plugin", "bench", "rate-limit", "--json"], &limit[..]].concat());
    let json: Value = serde_json::from_str(&json.out).expect("JSON on standard output");
    let [pooled, fresh] = &json.as_array().expect("a list")[..] else { panic!("{json}") };
    assert_eq!((&pooled["isolation"], &fresh["isolation"]), (&"pooled".into(), &"request".into()));
    for bench in [pooled, fresh] {
        assert_eq!((&bench["passes"], &bench["failed"]), (&20.into(), &0.into()), "{bench}");
        let hook = &bench["hooks"][0];
        assert_eq!((&hook["hook"], &hook["calls"]), (&"on-request".into(), &20.into()), "{bench}");
        let number = |what: &str| hook[what].as_f64().unwrap_or_else(|| panic!("{what} in {bench}"));
        assert!(number("median_us") > 0.0 && number("median_us") <= number("p99_us"), "{bench}");
        assert!(number("host_calls") >= 1.0 && number("memory") >= 65536.0, "{bench}");
        // The first five are let pass, which says something in an edit; the others are refused, which says more.
        assert!(number("bytes_out") > 0.0, "{bench}");
    }
    assert!(pooled["hooks"][0]["start_us"].is_null(), "{pooled}");
    assert!(fresh["hooks"][0]["start_us"].as_f64() > Some(0.0), "{fresh}");
    let cases =
        ends(&folder, &["plugin", "bench", "cors", "--case", "it.test.toml", "--name", "preflight", "--passes", "5"]);
    assert_eq!(cases.status, Some(0), "{}", cases.err);
    assert!(cases.out.contains("preflight, instances") && !cases.out.contains("one, "), "{}", cases.out);
}

#[test]
fn bench_says_what_it_cannot_run() {
    let folder = folder("");
    cors_cases(&folder, 204);
    for (arguments, status, words) in [
        (&["rate-limit"][..], 1, "refuses its configuration"),
        (&["rate-limit", "--config", "{ limit = "], 2, "neither JSON nor TOML"),
        (&["rate-limit", "--config", "nothing.toml"], 2, "cannot read nothing.toml"),
        (&["corse"], 1, "not built in"),
        (&["nothing.wasm"], 1, "it cannot be read"),
        (&["cors", "--case", "it.test.toml", "--name", "none"], 2, "there is no case `none`"),
        (&["cors", "--name", "none"], 2, "--case"),
        (&["cors", "--passes", "0"], 2, "--passes"),
    ] {
        let ended = ends(&folder, &[&["plugin", "bench"], arguments].concat());
        assert_eq!(ended.status, Some(status), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn test_watches() {
    let folder = folder("");
    cors_cases(&folder, 200);
    let mut command = tollgate(&folder, &["plugin", "test", "--watch", "it.test.toml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let told = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut waits = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut verdicts = told.lines().map(|line| line.expect("UTF-8")).filter(|line| line.contains("cases passed"));
    assert_eq!(verdicts.next().as_deref(), Some("it.test.toml: 1 of 2 cases passed"));
    assert!(waits.next().is_some_and(|line| line.expect("UTF-8").contains("waiting for a change")));
    cors_cases(&folder, 204);
    assert_eq!(verdicts.next().as_deref(), Some("it.test.toml: 2 of 2 cases passed"));
    child.kill().expect("it runs");
    child.wait().expect("it ran");
}

/// Runs a tool in a folder, and answers whether it could be started. One that fails is shown.
fn run_there(folder: &Path, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    // What cargo says about this build must not reach the one that is begun here.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("RUST") && name != "RUSTUP_HOME" {
            command.env_remove(&name);
        }
    }
    match command.output() {
        Ok(output) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(output.status.success(), "{program}: {}{}", text(&output.stdout), text(&output.stderr));
            true
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => panic!("{program}: {error}"),
    }
}

/// A new project, and its folder.
fn new_plugin(language: &str) -> (TempDir, std::path::PathBuf) {
    let folder = folder("");
    let made = ends(&folder, &["plugin", "new", "my-plugin", "--language", language]);
    assert_eq!((made.status, made.out.as_str()), (Some(0), ""), "{}", made.err);
    let project = folder.path().join("my-plugin");
    let page = fs::read_to_string(project.join("README.md")).expect("a page");
    assert!(page.starts_with("# my-plugin\n") && !page.contains("NAME") && !page.contains("SNAKE"), "{page}");
    (folder, project)
}

/// That a project's component passes the project's cases.
fn passes(folder: &TempDir) {
    let told = ends(folder, &["plugin", "test", "my-plugin/my-plugin.test.toml"]);
    assert_eq!(told.status, Some(0), "{}{}", told.out, told.err);
    assert!(told.out.contains("4 of 4 cases passed"), "{}", told.out);
    let told = ends(folder, &["plugin", "inspect", "my-plugin/my-plugin.wasm"]);
    assert!(told.status == Some(0) && told.out.contains("no grant"), "{}{}", told.out, told.err);
}

#[test]
fn a_new_plugin_in_rust_builds_and_passes() {
    let (folder, project) = new_plugin("rust");
    // The versions of this workspace, which are here already.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, project.join("Cargo.lock")).expect("a file");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugin");
    let target = target.to_str().expect("UTF-8");
    assert!(run_there(&project, "cargo", &["build", "--release", "--offline", "--target-dir", target]));
    let built = Path::new(target).join("wasm32-wasip2/release/my_plugin.wasm");
    fs::copy(built, project.join("my-plugin.wasm")).expect("a component");
    passes(&folder);
}

/// Where `componentize-py` is installed, as the page of the project says.
#[test]
fn a_new_plugin_in_python_builds_and_passes() {
    let (folder, project) = new_plugin("python");
    let build =
        ["-d", "wit", "-w", "local:plugin/plugin", "componentize", "--stub-wasi", "app", "-o", "my-plugin.wasm"];
    if run_there(&project, "componentize-py", &build) {
        passes(&folder);
    }
}

/// Where `componentize-js` is on the path. Otherwise `npm install` would fetch it.
#[test]
fn a_new_plugin_in_javascript_builds_and_passes() {
    let (folder, project) = new_plugin("javascript");
    if run_there(&project, "componentize-js", &["--version"]) {
        assert!(run_there(&project, "npm", &["run", "build"]));
        passes(&folder);
    }
}

#[test]
fn a_new_plugin_writes_over_nothing() {
    let (folder, project) = new_plugin("rust");
    fs::write(project.join("README.md"), "mine").expect("a file");
    let again = ends(&folder, &["plugin", "new", "my-plugin"]);
    assert_eq!(again.status, Some(2), "{}", again.err);
    assert!(again.err.contains("cannot make the folder my-plugin"), "{}", again.err);
    assert_eq!(fs::read_to_string(project.join("README.md")).expect("a file"), "mine");
    for name in ["My-plugin", "../x", "a/b", "", "1a", "a--b", "-a", "a_b", &"a".repeat(65)] {
        let refused = ends(&folder, &["plugin", "new", "--", name]);
        assert_eq!(refused.status, Some(2), "{name}: {}", refused.err);
    }
    assert_eq!(ends(&folder, &["plugin", "new", "x", "--language", "cobol"]).status, Some(2));
}
