//! Listening sockets that come from somebody else: from systemd, or from the process that this one takes over from.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tempfile::TempDir;

use super::{Origin, PATIENCE, Running, config, ends, folder, tollgate, write};

/// The binary with these sockets as systemd passes them: from descriptor 3 on, with their names, for the process `for_pid`,
/// which is the binary's own as the shell writes it.
fn passed(folder: &TempDir, sockets: [OwnedFd; 2], names: &str, for_pid: &str) -> Command {
    let binary = tollgate(folder, &[]);
    let script = format!(
        "exec 3<&0 4<&1 0</dev/null 1>&2; exec env LISTEN_PID={for_pid} LISTEN_FDS=2 LISTEN_FDNAMES={names} \"$0\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(binary.get_program()).current_dir(folder.path());
    for (name, value) in binary.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let [first, second] = sockets;
    command.stdin(first).stdout(second);
    command
}

/// Two sockets, and one more handle of each, as a service manager keeps it.
fn sockets(folder: &TempDir) -> (TcpListener, UnixListener, impl Fn() -> [OwnedFd; 2]) {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let unix = UnixListener::bind(folder.path().join("local.sock")).expect("a free path");
    let again = (tcp.try_clone().expect("a socket"), unix.try_clone().expect("a socket"));
    let handles =
        move || [again.0.try_clone().expect("a socket").into(), again.1.try_clone().expect("a socket").into()];
    (tcp, unix, handles)
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn answer(mut stream: impl Read + Write) -> String {
    stream.write_all(GET).expect("somebody reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and its end");
    answer
}

/// `public` is found by its name, whatever its address says, and `local` by its path.
#[test]
fn sockets_of_systemd_are_served_and_outlive_the_process() {
    let origin = Origin::start();
    let local = "listener.local.address = \"unix:local.sock\"\n";
    let folder = folder(&format!("{local}{}", config(&origin.address, "/a")));
    let (tcp, unix, handles) = sockets(&folder);
    let address = tcp.local_addr().expect("an address");
    let mut running = Running::spawn_kept(passed(&folder, handles(), "public:whatever", "$$"));
    assert_eq!(running.address, address, "the socket that was passed, although the configuration says any port");
    let by_tcp = || TcpStream::connect(address).expect("somebody listens");
    let by_path = || UnixStream::connect(folder.path().join("local.sock")).expect("somebody listens");
    assert!(answer(by_tcp()).ends_with("first second"));
    assert!(answer(by_path()).ends_with("first second"));

    // Between two processes, clients wait in the sockets.
    running.signal("TERM");
    assert_eq!(running.ends().0, Some(0));
    let (waiting, waiting_there) = (by_tcp(), by_path());
    let _next = Running::spawn_kept(passed(&folder, handles(), "public:local", "$$"));
    assert!(answer(waiting).ends_with("first second"), "nobody was refused");
    assert!(answer(waiting_there).ends_with("first second"));
    drop((tcp, unix));
}

#[test]
fn sockets_for_another_process_are_not_taken_and_unknown_ones_are_told() {
    let origin = Origin::start();
    let folder = folder(&config(&origin.address, "/a"));
    let (tcp, _unix, handles) = sockets(&folder);
    let address = tcp.local_addr().expect("an address");
    let running = Running::spawn_kept(passed(&folder, handles(), "public:local", "1"));
    assert_ne!(running.address, address);
    assert_eq!(running.get("/a", "").0, 200);
    drop(running);
    let mut running = Running::spawn_kept(passed(&folder, handles(), "pubic:local", "$$"));
    assert_ne!(running.address, address);
    running.signal("TERM");
    let (_, lines) = running.ends();
    let all = running.said.iter().chain(&lines);
    let told: Vec<_> = all.filter(|line| line.contains("no listener has a use for the socket")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|line| line.contains(&address.to_string()) && line.contains("pubic")), "{told:?}");
}

/// Clients that never stop asking, on kept connections and on new ones, while one process takes over from another.
#[test]
fn the_next_process_takes_over_and_no_request_is_lost() {
    let origin = Origin::start();
    let folder = folder(&format!("{}upgrade.socket = \"upgrade.sock\"\n", config(&origin.address, "/a")));
    let mut running = Running::start(&folder);
    let address = running.address;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut answered = 0;
                let mut kept: Option<BufReader<TcpStream>> = None;
                while !stop.load(Ordering::SeqCst) {
                    let mut stream = kept.take().unwrap_or_else(|| {
                        let stream = TcpStream::connect(address).expect("somebody accepts");
                        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
                        BufReader::new(stream)
                    });
                    stream.get_mut().write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n").expect("somebody reads");
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        assert_ne!(stream.read_line(&mut head).expect("an answer"), 0, "an answer after {answered}");
                    }
                    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                    let mut body = [0; 12];
                    stream.read_exact(&mut body).expect("a whole answer");
                    answered += 1;
                    let closes = head.to_ascii_lowercase().contains("connection: close");
                    kept = Some(stream).filter(|_| client % 2 == 0 && !closes);
                }
                answered
            })
        })
        .collect();
    for _ in 0..3 {
        let next = Running::start(&folder);
        assert_eq!(next.address, address, "the same port, although it is whatever was free");
        let (status, lines) = running.ends();
        assert_eq!(status, Some(0), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("another process has taken over")), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("cut")), "{lines:?}");
        running = next;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert!(client.join().expect("every request was answered") > 10);
    }

    // One that does not come so far changes nothing.
    write(
        &folder,
        &format!("{}upgrade.socket = \"upgrade.sock\"\nroute.only.upstream = 1\n", config(&origin.address, "/a")),
    );
    assert_eq!(ends(&folder, &["run"]).status, Some(1));
    assert_eq!(running.get("/a", "").0, 200);
}

/// A server that reads whole bodies and says how long they are; it tells of the first bytes of each, and counts how often
/// each target was asked for. Its threads end with the tests.
struct Counter {
    address: String,
    begun: Receiver<()>,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Counter {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (told, begun) = channel();
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counts = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, counts) = (told.clone(), counts.clone());
                thread::spawn(move || while count(&stream, &told, &counts).is_some() {});
            }
        });
        Self { address, begun, asked }
    }
}

/// One request; none where there is no more.
fn count(stream: &TcpStream, told: &Sender<()>, counts: &Mutex<HashMap<String, usize>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let head: Vec<String> = (&mut reader).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let target = head.first()?.split(' ').nth(1)?.to_owned();
    let field = |name: &str| {
        let lines = head.iter().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut length = 0;
    if let Some(sized) = field("content-length") {
        let sized: u64 = sized.parse().ok()?;
        reader.fill_buf().ok()?;
        let _ = told.send(());
        length = std::io::copy(&mut (&mut reader).take(sized), &mut std::io::sink()).ok()?;
        (length == sized).then_some(())?;
    } else if field("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = u64::from_str_radix(line.trim(), 16).ok()?;
            if length == 0 {
                let _ = told.send(());
            }
            std::io::copy(&mut (&mut reader).take(size + 2), &mut std::io::sink()).ok()?;
            length += size;
            if size == 0 {
                break;
            }
        }
    }
    *counts.lock().expect("no thread panicked").entry(target).or_default() += 1;
    let text = length.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    (&*stream).write_all(answer.as_bytes()).ok()
}

fn counted(origin: &Counter) -> TempDir {
    let config =
        config(&origin.address, "/a").replace("path = \"/a\"", "path-prefix = \"/\", body-size = \"unlimited\"");
    folder(&format!("upgrade.socket = \"upgrade.sock\"\n{config}"))
}

/// The next process takes over, and the one before ends without having cut anything.
fn take_over(folder: &TempDir, running: &mut Running, while_it_drains: impl FnOnce()) {
    let next = Running::start(folder);
    assert_eq!(next.address, running.address);
    running.says("another process has taken over");
    while_it_drains();
    let (status, lines) = running.ends();
    assert_eq!(status, Some(0), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("cut")), "{lines:?}");
    *running = next;
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("somebody accepts");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move {
        // What ends it shows in the requests.
        let _ = connection.await;
    });
    sender
}

/// A runtime, and an end for what hangs.
fn within<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await }).expect("it ends in time")
}

/// Answers what the server says of a POST, and whether the connection goes on. None: the server said that it did nothing
/// with the request (RFC 9113, section 6.8).
async fn post(sender: &mut SendRequest<Bytes>, target: &str, body: usize) -> Option<usize> {
    let mut ready = sender.clone().ready().await.ok()?;
    let request = Request::post(format!("http://a{target}")).body(()).expect("a request");
    let (response, mut stream) = ready.send_request(request, false).ok()?;
    let sent = stream.send_data(Bytes::from(vec![b'x'; body]), true);
    let response = match response.await {
        Ok(response) => response,
        Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => return None,
        Err(error) => panic!("{target}: {error}"),
    };
    sent.expect("an open stream");
    assert_eq!(response.status(), 200, "{target}");
    let mut answer = Vec::new();
    let mut body = response.into_body();
    while let Some(piece) = body.data().await {
        answer.extend_from_slice(&piece.expect("a whole answer"));
    }
    Some(String::from_utf8(answer).expect("text").parse().expect("a number"))
}

/// Clients of HTTP/2, each on a connection that it keeps as long as it may: each request is answered, and the server
/// behind sees it once.
#[test]
fn clients_of_http2_lose_nothing_either() {
    let origin = Counter::start();
    let folder = counted(&origin);
    let mut running = Running::start(&folder);
    let address = running.address;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let stop = stop.clone();
            thread::spawn(move || {
                within(async {
                    let (mut answered, mut connections) = (0, 0);
                    while !stop.load(Ordering::SeqCst) {
                        let mut sender = connect(address).await;
                        connections += 1;
                        while !stop.load(Ordering::SeqCst) {
                            let length = answered * 997 % 50_000;
                            match post(&mut sender, &format!("/{client}/{answered}"), length).await {
                                Some(told) => assert_eq!(told, length),
                                None => break,
                            }
                            answered += 1;
                        }
                    }
                    (answered, connections)
                })
            })
        })
        .collect();
    for _ in 0..3 {
        take_over(&folder, &mut running, || {});
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = 0;
    for client in clients {
        let (answered, connections) = client.join().expect("every request was answered");
        assert!(answered > 10 && connections > 3, "{answered} requests on {connections} connections");
        all += answered;
    }
    let asked = origin.asked.lock().expect("no thread panicked");
    assert_eq!(asked.len(), all, "one for each answer");
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
}

/// Uploads of which a half has gone out when the next process takes over: the first one carries them to their end.
#[test]
fn long_posts_in_flight_are_finished_by_the_one_that_has_them() {
    const HALF: usize = 1 << 20;
    let origin = Counter::start();
    let folder = counted(&origin);
    let mut running = Running::start(&folder);
    let half = vec![b'x'; HALF];
    let mut older: Vec<TcpStream> = (0..3)
        .map(|number| {
            let mut stream = running.connect();
            let head = format!("POST /1/{number} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 2 * HALF);
            stream.write_all(head.as_bytes()).expect("it reads");
            stream.write_all(&half).expect("it reads");
            stream
        })
        .collect();
    let address = running.address;
    let (go_on, goes_on) = tokio::sync::watch::channel(false);
    let newer = thread::spawn(move || {
        within(async {
            let mut sender = connect(address).await.ready().await.expect("a connection");
            let mut uploads = Vec::new();
            for number in 0..3 {
                let request = Request::post(format!("http://a/2/{number}")).body(()).expect("a request");
                let (response, mut stream) = sender.send_request(request, false).expect("it is sent");
                stream.send_data(Bytes::from(vec![b'x'; HALF]), false).expect("an open stream");
                let mut goes_on = goes_on.clone();
                uploads.push(tokio::spawn(async move {
                    goes_on.wait_for(|goes_on| *goes_on).await.expect("the test goes on");
                    stream.send_data(Bytes::from(vec![b'x'; HALF]), true).expect("an open stream");
                    let mut body = response.await.expect("an answer").into_body();
                    body.data().await.expect("a body").expect("a body")
                }));
            }
            for upload in uploads {
                assert_eq!(upload.await.expect("no panic"), (2 * HALF).to_string());
            }
        });
    });
    for _ in 0..6 {
        origin.begun.recv_timeout(PATIENCE).expect("an upload that has begun");
    }
    take_over(&folder, &mut running, || {
        go_on.send(true).expect("the client waits");
        for stream in &mut older {
            stream.write_all(&half).expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer, and the end");
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&(2 * HALF).to_string()), "{answer}");
        }
        newer.join().expect("every upload was answered");
    });
    let asked = origin.asked.lock().expect("no thread panicked");
    assert!(asked.len() == 6 && asked.values().all(|count| *count == 1), "{asked:?}");
}
