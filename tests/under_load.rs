//! Clients that never stop asking, while everything that serves them is replaced: no request is lost, none is answered
//! in part, and nothing is left behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{Client, Message, Origin, PATIENCE, Proxy, answer, guest, hello};

/// How often the configuration is reloaded, and how often a component is replaced.
const TIMES: usize = 50;

/// Clients on connections that they keep, and clients that make one for each request.
const KEEPING: usize = 5;
const PASSING: usize = 1;

/// Few enough that one that is lost with each version would be missed long before the end: two workers have at most two
/// plugins in two versions, and the loader tries one more.
const INSTANCES: usize = 10;

/// The configuration of a generation, which its number in a response tells.
fn config(origin: &Origin, generation: usize) -> String {
    format!(
        r#"
        plugins.instances = {INSTANCES}
        upstream.o.endpoints = ["{url}"]
        plugin.number = {{ component = "headers", config.response.set = {{ x-generation = "{generation}" }}, limits.time = "5s" }}
        plugin.greet = {{ component = "greeting", config.name = "world", limits.time = "5s" }}
        route.all = {{ path-prefix = "/", chain = ["number", "greet"], upstream = "o" }}
        "#,
        url = origin.url(),
    )
}

/// Which of the two versions of the component answered, and in which generation of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Served {
    generation: usize,
    goodbye: bool,
}

impl Served {
    /// Fails where the response is anything else than a whole answer of one generation and one version.
    fn of(response: &Message, body: &str) -> Self {
        assert_eq!((response.status(), response.text().as_str()), (200, body), "{response:?}");
        let versions = ["x-hello", "x-goodbye"].map(|name| response.header(name) == Some("world"));
        assert!(versions[0] != versions[1], "one version answers: {response:?}");
        let generation = response.header("x-generation").and_then(|number| number.parse().ok());
        Self { generation: generation.unwrap_or_else(|| panic!("no generation: {response:?}")), goodbye: versions[1] }
    }
}

/// What each client got last, for those who wait until all have seen a change.
struct Board {
    last: Mutex<Vec<Option<Served>>>,
    changed: Condvar,
    done: AtomicBool,
}

impl Board {
    fn new(clients: usize) -> Self {
        Self { last: Mutex::new(vec![None; clients]), changed: Condvar::new(), done: AtomicBool::new(false) }
    }

    fn got(&self, client: usize, served: Served) {
        let before = self.last.lock().expect("no thread panicked")[client].replace(served);
        if before != Some(served) {
            self.changed.notify_all();
        }
    }

    /// Waits until the last answer that each client got is this.
    fn all_got(&self, expected: Served) {
        let last = self.last.lock().expect("no thread panicked");
        let all = |last: &mut Vec<Option<Served>>| last.iter().any(|got| *got != Some(expected));
        let (last, waited) = self.changed.wait_timeout_while(last, PATIENCE, all).expect("no thread panicked");
        assert!(!waited.timed_out(), "not all clients see {expected:?}: {last:?}");
    }
}

/// Ends the clients, however the test ends.
struct Ending<'a>(&'a Board);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::SeqCst);
    }
}

/// Asks until it is done. Answers how many answers it got.
fn ask(proxy: &Proxy, board: &Board, place: usize) -> usize {
    let mut client = proxy.client();
    let mut last = 0;
    for count in 0.. {
        if board.done.load(Ordering::SeqCst) {
            return count;
        }
        let keeps = place < KEEPING;
        if !keeps {
            client = proxy.client();
        }
        let fields: &[_] = if keeps { &[] } else { &[("connection", "close")] };
        // Every other client sends bodies, one piece of which no buffer holds whole.
        let body = if place % 2 == 1 { format!("{place}-{count}").repeat(10_000) } else { String::new() };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let response = client.request(method, &format!("/{place}/{count}"), fields, body.as_bytes());
        let served = Served::of(&response, &format!("/{place}/{count} {}", body.len()));
        if keeps {
            assert!(served.generation >= last, "a connection goes back from {last} to {served:?}");
            last = served.generation;
        }
        board.got(place, served);
    }
    unreachable!("it counts for ever")
}

#[test]
fn nothing_is_lost_while_configurations_and_components_change() {
    let origin = Origin::start(|request| answer("text/plain", &format!("{} {}", request.target(), request.body.len())));
    let proxy = Proxy::start(&config(&origin, 0), &[("greeting", hello())]);
    let versions = [hello(), guest("goodbye")];
    let board = Board::new(KEEPING + PASSING);
    let answers = std::thread::scope(|scope| {
        let ending = Ending(&board);
        let clients: Vec<_> = (0..KEEPING + PASSING)
            .map(|place| {
                scope.spawn({
                    let (proxy, board) = (&proxy, &board);
                    move || {
                        // A client that fails ends the test, and not only itself.
                        let _ending = Ending(board);
                        ask(proxy, board, place)
                    }
                })
            })
            .collect();
        let mut served = Served { generation: 0, goodbye: false };
        board.all_got(served);
        for generation in 1..=TIMES {
            proxy.reload(&config(&origin, generation)).expect("a right configuration");
            served.generation = generation;
            board.all_got(served);

            served.goodbye = !served.goodbye;
            let bytes = &versions[usize::from(served.goodbye)];
            match generation {
                // By a link, then by a link in the place of the link.
                20 | 21 => proxy.link_in("greeting", bytes),
                // Away: the last version goes on. Then there again, as another one.
                30 => {
                    proxy.take_out("greeting");
                    let gone = Served { goodbye: !served.goodbye, ..served };
                    board.all_got(gone);
                    proxy.drop_in("greeting", bytes);
                }
                _ => proxy.drop_in("greeting", bytes),
            }
            board.all_got(served);
        }
        drop(ending);
        clients.into_iter().map(|client| client.join().expect("every request was answered")).sum::<usize>()
    });

    assert!(answers > TIMES * 4, "this was no load: {answers}");
    let metrics = proxy.admin("/metrics").text();
    for line in [
        "http_server_active_requests 0".to_owned(),
        "tollgate_config_reloads_total{result=\"failure\"} 0".to_owned(),
        format!("tollgate_component_loads_total{{component=\"greeting\",result=\"success\"}} {}", TIMES + 1),
        "tollgate_component_loads_total{component=\"greeting\",result=\"failure\"} 0".to_owned(),
        format!("tollgate_requests_total{{route=\"all\",reason=\"ok\"}} {answers}"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\nis not in\n{metrics}");
    }
    // Where the test's own thread is late, the proxy sees a new file before it is told of it, and loads it twice.
    let reloads =
        metrics.lines().find_map(|line| line.strip_prefix("tollgate_config_reloads_total{result=\"success\"} "));
    assert!(reloads.and_then(|count| count.parse().ok()).is_some_and(|count: usize| count > TIMES), "{reloads:?}");
    assert!(!metrics.lines().any(|line| line.starts_with("tollgate_plugin_errors_total") && !line.ends_with(" 0")));
    // Connections to the upstream outlive what is replaced: no client ever needs more than one at a time.
    assert!(origin.accepted() <= 2 * (KEEPING + PASSING), "{} connections", origin.accepted());
    let (cut, log) = proxy.drain();
    assert_eq!(cut, 0, "connections that did not end");
    let mut reasons: HashMap<String, usize> = HashMap::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        *reasons.entry(line["reason"].to_string()).or_default() += 1;
    }
    assert_eq!(reasons, HashMap::from([("\"ok\"".to_owned(), answers)]), "one line for each request");
}

/// Nobody tells the proxy to look. Compiled code is there already, as it is after the first start with a component.
#[test]
fn what_is_dropped_in_is_live_in_under_a_second() {
    let origin = Origin::fine();
    let config = config(&origin, 0);
    drop(Proxy::start(&config, &[("greeting", guest("goodbye"))]));
    let proxy = Proxy::start(&config, &[("greeting", hello())]);
    let mut client = proxy.client();
    let took = [guest("goodbye"), hello(), guest("goodbye")].map(|bytes| {
        let before = Served::of(&client.request("GET", "/", &[], b""), "fine");
        proxy.drop_in_unseen("greeting", &bytes);
        let begun = Instant::now();
        while Served::of(&client.request("GET", "/", &[], b""), "fine") == before {
            assert!(begun.elapsed() < PATIENCE, "nobody found it");
        }
        begun.elapsed()
    });
    // Other tests share this machine, and may hold up one of them.
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
}

/// A load that ends by an error of the proxy is no load: this is how the test above would see it.
#[test]
#[should_panic(expected = "one version answers")]
fn an_answer_of_no_version_is_a_loss() {
    let origin = Origin::fine();
    let config =
        format!("upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path = \"/\", upstream = \"o\" }}", origin.url());
    let proxy = Proxy::start(&config, &[]);
    let mut client: Client = proxy.client();
    Served::of(&client.request("GET", "/", &[], b""), "fine");
}
