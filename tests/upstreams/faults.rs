//! Servers that are killed, and networks that are cut, slow and lossy.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::with;
use crate::harness::{Origin, Proxy, answer, until};

/// Where the server in a process of its own listens.
const LISTEN: &str = "TOLLGATE_TEST_LISTEN";

/// The server of the tests below, which run this program once more for it. It ends when it is killed.
#[test]
#[ignore = "a server for the tests beside it, in a process that can be killed"]
fn serve() {
    let Ok(address) = std::env::var(LISTEN) else { return };
    let listener = TcpListener::bind(address).expect("a free port");
    let _origin = Origin::start_on(listener, |request| answer("text/plain", &request.body.len().to_string()));
    eprintln!("serving");
    loop {
        std::thread::park();
    }
}

/// A server in a process of its own, perhaps in a network of its own.
struct Process(Child);

impl Process {
    fn start(address: SocketAddr, network: Option<&str>) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = match network {
            Some(network) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", network]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(["--exact", "upstreams::faults::serve", "--ignored", "--nocapture"])
            .env(LISTEN, address.to_string());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "serving"), "the server does not start on {address}");
        Self(child)
    }

    /// By SIGKILL.
    fn kill(&mut self) {
        self.0.kill().expect("a process");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}

#[test]
fn one_of_three_that_is_killed_costs_three_requests_at_most_and_comes_back() {
    let addresses = [free(), free(), free()];
    let mut servers: Vec<Process> = addresses.iter().map(|address| Process::start(*address, None)).collect();
    let urls = addresses.map(|address| format!("http://{address}"));
    let settings = format!(
        "endpoints = {urls:?}\nbalance = \"round-robin\"\nejection.time = \"1s\"\n\
         health = {{ path = \"/\", interval = \"200ms\", healthy = 2, unhealthy = 3 }}"
    );
    let proxy = Proxy::start(&with(&settings), &[]);
    let state = || {
        let endpoints = &proxy.admin("/state").json()["upstreams"][0]["endpoints"];
        endpoints[1]["state"].as_str().expect("a word").to_owned()
    };
    let (done, failed, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (proxy, done, failed, over) = (&proxy, &done, &failed, &over);
            scope.spawn(move || {
                let mut client = proxy.client();
                while !over.load(Ordering::SeqCst) {
                    let (method, body): (_, &[u8]) = if number == 0 { ("POST", b"body") } else { ("GET", b"") };
                    let right = client.request(method, "/", &[], body).status() == 200;
                    failed.fetch_add(usize::from(!right), Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let more = |count: usize| {
            let so_far = done.load(Ordering::SeqCst);
            until("requests go on", || done.load(Ordering::SeqCst) > so_far + count);
        };
        more(200);
        servers[1].kill();
        until("it is noticed", || state() != "up");
        more(500);
        servers[1] = Process::start(addresses[1], None);
        until("it gets requests again", || state() == "up");
        more(200);
        over.store(true, Ordering::SeqCst);
    });
    let failed = failed.into_inner();
    assert!(failed <= 3, "{failed} of {} failed", done.into_inner());
}

/// All that is reached over it: TEST-NET-2 (RFC 5737), which nobody has.
const REACH: &str = "198.51.100.0/30";

/// A network of its own, with an address on each side. Dropping it takes it away.
struct Network {
    name: String,
    ours: String,
    far: String,
    theirs: std::net::Ipv4Addr,
}

impl Network {
    /// None where this machine has none for us.
    fn start() -> Option<Self> {
        let id = std::process::id();
        let (name, ours, far) = (format!("tollgate-{id}"), format!("tg{id}a"), format!("tg{id}b"));
        let theirs = std::net::Ipv4Addr::new(198, 51, 100, 2);
        if !does(&["ip", "netns", "add", &name]) {
            eprintln!("no network namespaces here (they take root): cuts, delays and losses are not tried");
            return None;
        }
        let network = Self { name, ours, far, theirs };
        let far_does = |words: &[&str]| does(&[&["ip", "-n", network.name.as_str()], words].concat());
        let right = does(&["ip", "link", "add", &network.ours, "type", "veth", "peer", "name", &network.far])
            && does(&["ip", "link", "set", &network.far, "netns", &network.name])
            && does(&["ip", "address", "add", "198.51.100.1/30", "dev", &network.ours])
            && does(&["ip", "link", "set", &network.ours, "up"])
            && far_does(&["address", "add", "198.51.100.2/30", "dev", &network.far])
            && far_does(&["link", "set", &network.far, "up"])
            && far_does(&["link", "set", "lo", "up"])
            // Whatever happens to the link, nothing goes anywhere else.
            && does(&["ip", "route", "add", "unreachable", REACH, "metric", "4000"]);
        if !right {
            eprintln!("no networks of our own here: cuts, delays and losses are not tried");
            return None;
        }
        Some(network)
    }

    /// Takes the other side away, or gives it back.
    fn far_end(&self, how: &str) -> bool {
        does(&["ip", "-n", &self.name, "link", "set", &self.far, how])
    }

    /// Has packets to the other side take their time: by netem, or over a line of 20,000 bits a second, which a request
    /// needs a tenth of a second for.
    fn slow(&self) -> bool {
        let discipline = ["tc", "qdisc", "replace", "dev", &self.ours, "root"];
        does(&[&discipline[..], &["netem", "delay", "100ms", "20ms"]].concat())
            || does(&[&discipline[..], &["tbf", "rate", "20kbit", "burst", "1600", "latency", "2s"]].concat())
    }

    /// Loses one in so many packets that the other side sends; of one, all.
    fn lossy(&self, one_in: u32) -> bool {
        let rule = format!(
            "add table ip {0}\nadd chain ip {0} in {{ type filter hook input priority 0; }}\nflush chain ip {0} in\n\
             add rule ip {0} in iifname {1} numgen random mod {one_in} 0 drop\n",
            self.name, self.ours
        );
        does(&["nft", &rule])
    }

    /// Neither any more.
    fn heal(&self) {
        does(&["tc", "qdisc", "delete", "dev", &self.ours, "root"]);
        does(&["nft", "delete", "table", "ip", &self.name]);
    }
}

fn does(words: &[&str]) -> bool {
    let status = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Drop for Network {
    fn drop(&mut self) {
        self.heal();
        does(&["ip", "route", "delete", "unreachable", REACH, "metric", "4000"]);
        does(&["ip", "link", "delete", &self.ours]);
        does(&["ip", "netns", "delete", &self.name]);
    }
}

#[test]
fn a_network_that_is_slow_lossy_or_cut_loses_no_request_that_may_be_repeated() {
    let Some(network) = Network::start() else { return };
    let far = SocketAddr::from((network.theirs, 8080));
    let _server = Process::start(far, Some(&network.name));
    let near = Origin::start(|_| answer("text/plain", "near"));
    let settings = format!(
        "endpoints = [\"http://{far}\", {:?}]\nbalance = \"round-robin\"\nretries = {{ attempts = 2, least = 1000 }}\n\
         timeouts = {{ connect = \"1s\", try = \"2s\" }}\nejection = {{ failures = 2, time = \"1s\" }}",
        near.url()
    );
    let proxy = Proxy::start(&with(&settings), &[]);
    // One connection, so that one worker goes round the endpoints.
    let client = std::cell::RefCell::new(proxy.client());
    let ask = |count: usize| -> Vec<String> {
        (0..count)
            .map(|_| {
                let response = client.borrow_mut().request("GET", "/", &[], b"");
                assert_eq!(response.status(), 200, "{response:?}");
                response.text()
            })
            .collect()
    };
    assert_eq!(ask(2).iter().filter(|text| *text == "0").count(), 1, "both answer");
    if network.slow() {
        assert_eq!(ask(10).iter().filter(|text| *text == "0").count(), 5, "slow is not broken");
    } else {
        eprintln!("no netem and no tbf in this kernel: delays are not tried");
    }
    if network.lossy(20) {
        ask(20);
        // Nothing comes through any more, and nobody says so.
        assert!(network.lossy(1));
    } else {
        eprintln!("no nft here: losses are not tried, cuts are");
        assert!(network.far_end("down"));
    }
    ask(10);
    let state = || {
        let endpoints = &proxy.admin("/state").json()["upstreams"][0]["endpoints"];
        endpoints[0]["state"].as_str().expect("a word").to_owned()
    };
    assert_ne!(state(), "up");
    assert!(network.far_end("up"));
    network.heal();
    until("the far one gets requests again", || {
        ask(1);
        state() == "up"
    });
}
