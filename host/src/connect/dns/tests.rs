//! Against a server by script on a socket of its own, with the clock stopped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::*;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

/// What a server says to a name and a kind: a code and records, each with its seconds; or nothing at all.
type Said = Option<(u8, Vec<(u16, u32, Vec<u8>)>)>;

/// A server that answers by script over UDP, with `truncated` only over TCP.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    asked: Rc<RefCell<Vec<String>>>,
    truncated: Rc<Cell<bool>>,
}

impl Server {
    async fn start(script: impl Fn(&str, u16) -> Said + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let server = Self { address, asked: Rc::default(), truncated: Rc::default() };
        let script = Rc::new(script);
        spawn_local({
            let (server, script) = (server.clone(), script.clone());
            async move {
                let mut buffer = [0; 512];
                loop {
                    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                    let question = &buffer[..length];
                    // A packet that somebody else sends says nothing, nor does one with another number.
                    let mut forged = answer(question, (0, vec![(1, 60, vec![6, 6, 6, 6])]));
                    forged[1] ^= 1;
                    socket.send_to(&forged, from).await.unwrap();
                    let Some(mut said) = server.say(question, &*script) else { continue };
                    if server.truncated.get() {
                        said.truncate(question.len());
                        said[2] |= 2;
                        said[7] = 0;
                    }
                    socket.send_to(&said, from).await.unwrap();
                }
            }
        });
        spawn_local({
            let server = server.clone();
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                    stream.read_exact(&mut question).await.unwrap();
                    let said = server.say(&question, &*script).unwrap();
                    stream.write_all(&[&(said.len() as u16).to_be_bytes()[..], &said].concat()).await.unwrap();
                }
            }
        });
        server
    }

    fn say(&self, question: &[u8], script: &dyn Fn(&str, u16) -> Said) -> Option<Vec<u8>> {
        let mut name = String::new();
        let mut at = 12;
        while question[at] > 0 {
            let end = at + 1 + usize::from(question[at]);
            name += &format!("{}.", String::from_utf8_lossy(&question[at + 1..end]));
            at = end;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let name = name.trim_end_matches('.');
        self.asked.borrow_mut().push(format!("{name} {kind}"));
        Some(answer(question, script(name, kind)?))
    }

    fn resolver(&self, hosts: &str, system: &str) -> (Resolver, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let config = config::Resolver { servers: vec![self.address], ..config::Resolver::default() };
        (Resolver::with_files(&config, file("hosts", hosts), file("resolv.conf", system)), folder)
    }
}

/// An answer of which all records are of the name that was asked for.
fn answer(question: &[u8], (code, records): (u8, Vec<(u16, u32, Vec<u8>)>)) -> Vec<u8> {
    let mut out = question.to_vec();
    out[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    out[7] = records.len() as u8;
    for (kind, ttl, data) in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
    }
    out
}

fn texts(found: Result<Found<SocketAddr>, Missing>) -> (Vec<String>, u64) {
    let found = found.unwrap();
    (found.records.iter().map(ToString::to_string).collect(), found.again.as_secs())
}

#[test]
fn both_families_are_asked_for_and_the_shortest_time_counts_within_bounds() {
    run(async {
        let server = Server::start(|name, kind| {
            let (four, six) = match name {
                "short.test" => (1, 100),
                "long.test" => (100_000, 200_000),
                _ => (60, 30),
            };
            Some(match kind {
                1 => (0, vec![(1, four, vec![10, 0, 0, 1]), (1, four, vec![10, 0, 0, 2])]),
                _ => (0, vec![(28, six, [[0xfd, 0].as_slice(), &[0; 13], &[5]].concat())]),
            })
        })
        .await;
        let (resolver, _folder) = server.resolver("", "");
        let all: Vec<String> = ["[fd00::5]:80", "10.0.0.1:80", "10.0.0.2:80"].map(String::from).into();
        for (host, again) in [("usual.test", 30), ("short.test", 5), ("long.test", 300)] {
            assert_eq!(texts(resolver.addresses(host, 80).await), (all.clone(), again), "{host}");
        }
    });
}

#[test]
fn the_hosts_file_goes_first_and_localhost_needs_no_server() {
    run(async {
        let server = Server::start(|_, _| None).await;
        let (resolver, _folder) = server.resolver("10.0.0.9 Origin.test", "");
        assert_eq!(texts(resolver.addresses("origin.test", 80).await).0, ["10.0.0.9:80"]);
        assert_eq!(texts(resolver.addresses("localhost", 80).await).0, ["[::1]:80", "127.0.0.1:80"]);
        assert!(server.asked.borrow().is_empty());
    });
}

#[test]
fn short_names_are_looked_for_in_the_systems_domains() {
    run(async {
        let server = Server::start(|name, kind| {
            Some(if (name, kind) == ("search.two.test", 1) {
                (0, vec![(1, 60, vec![10, 0, 0, 3])])
            } else {
                (3, Vec::new())
            })
        })
        .await;
        let (resolver, _folder) = server.resolver("", "search one.test two.test");
        assert_eq!(texts(resolver.addresses("search", 80).await).0, ["10.0.0.3:80"]);
        assert!(resolver.addresses("other", 80).await.unwrap_err().why.contains("other does not exist"));
        let asked = server.asked.borrow();
        assert!(asked.contains(&"other.one.test 28".into()) && asked.contains(&"other 1".into()), "{asked:?}");
    });
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    run(async {
        let many: Vec<_> = (0..200_u8).map(|last| (1, 60, vec![10, 0, 1, last])).collect();
        let server = Server::start(move |_, kind| Some((0, if kind == 1 { many.clone() } else { Vec::new() }))).await;
        server.truncated.set(true);
        let (resolver, _folder) = server.resolver("", "");
        assert_eq!(texts(resolver.addresses("many.test", 80).await).0.len(), 200);
    });
}

#[test]
fn a_silent_or_broken_server_is_asked_twice_and_then_left_alone_for_a_while() {
    run(async {
        for (said, took, why) in [(None, 4, "in time"), (Some((2, Vec::new())), 0, "code 2")] {
            let server = Server::start(move |_, _| said.clone()).await;
            let (resolver, _folder) = server.resolver("", "");
            let begun = Instant::now();
            let missing = resolver.addresses("origin.test", 80).await.unwrap_err();
            assert!(missing.why.contains(why), "{missing}");
            assert_eq!((begun.elapsed().as_secs(), missing.again.as_secs()), (took, 1));
            assert_eq!(server.asked.borrow().len(), 4, "two kinds, two rounds");
        }
    });
}

#[test]
fn one_family_is_enough_where_the_other_fails() {
    run(async {
        let server = Server::start(|_, kind| match kind {
            1 => Some((0, vec![(1, 60, vec![10, 0, 0, 1])])),
            _ => Some((2, Vec::new())),
        })
        .await;
        let (resolver, _folder) = server.resolver("", "");
        assert_eq!(texts(resolver.addresses("origin.test", 80).await), (vec!["10.0.0.1:80".into()], 60));
    });
}

#[test]
fn a_service_is_where_its_records_say() {
    run(async {
        let server = Server::start(|name, kind| {
            let data = |priority: u8, port: u8| [&[0, priority, 0, 5, 31, port], &b"\x01a\x04test\x00"[..]].concat();
            Some(match (name, kind) {
                ("_http._tcp.origin.test", 33) => (0, vec![(33, 20, data(1, 144)), (33, 40, data(2, 145))]),
                _ => (3, Vec::new()),
            })
        })
        .await;
        let (resolver, _folder) = server.resolver("", "search one.test");
        let found = resolver.services("_http._tcp.origin.test").await.unwrap();
        let ports: Vec<_> = found.records.iter().map(|service| (service.priority, service.port)).collect();
        assert_eq!((ports, found.again.as_secs()), (vec![(1, 8080), (2, 8081)], 20));
        assert!(resolver.services("_http._tcp.other.test").await.is_err());
    });
}
