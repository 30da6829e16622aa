//! Misbehaves in the hook and in the way of its configuration, unless the request has `x-behave`. Says in `x-misbehaved`
//! whether this instance ever did.
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use tollgate_sdk::http::header::{HeaderMap, HeaderValue};
use tollgate_sdk::{
    BodyFlow, Chunk, ChunkFlow, Complaints, Direction, Edits, Flow, Interest, Passing, Plugin, Request, ResponseHead,
    Streaming, Wants, crypto, http, http_client, kv, limiter, log, metrics, plugin, schemars, serde,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Misbehave {
    at: At,
    how: How,
    /// A server that it may ask.
    server: String,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
enum At {
    Configure,
    Request,
    RequestBody,
    RequestChunk,
    Response,
    ResponseBody,
    ResponseChunk,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
enum How {
    Trap,
    Exit,
    Spin,
    Sleep,
    Allocate,
    Recurse,
    /// Answers with far too much.
    Huge,
    /// Answers with what no plugin may set.
    Invalid,
    FloodLog,
    FloodKv,
    FloodLimiter,
    FloodCrypto,
    FloodMetrics,
    FloodHttpClient,
    /// Gives each capability what it cannot take, hears so, and goes on.
    WrongValues,
}

thread_local! {
    static MISBEHAVED: Cell<bool> = const { Cell::new(false) };
}

impl Misbehave {
    fn reach(&self, here: At, behave: bool) {
        if self.at == here && !behave {
            MISBEHAVED.set(true);
            self.misbehave();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "to block is one of the things that are wrong")]
    fn misbehave(&self) {
        match self.how {
            How::Trap => panic!("secret words"),
            How::Exit => std::process::exit(3),
            How::Spin => while black_box(true) {},
            How::Sleep => std::thread::sleep(Duration::from_secs(3600)),
            How::Allocate => {
                let mut all = Vec::new();
                while black_box(true) {
                    all.push(black_box(vec![1_u8; 1 << 16]));
                }
            }
            How::Recurse => assert_eq!(down(u64::MAX), 0),
            How::Huge | How::Invalid => {}
            How::FloodLog => self.flood(|| log::write(log::Level::Error, "flood")),
            How::FloodKv => {
                let store = kv::Store::open("flood").expect("it is granted");
                self.flood(|| _ = black_box(store.increment("flood", 1, None)));
            }
            How::FloodLimiter => {
                let window = limiter::Window { limit: 1, period_ms: 1000, burst: 1 };
                self.flood(|| _ = black_box(limiter::Bucket::open("flood", &[window])));
            }
            How::FloodCrypto => self.flood(|| _ = black_box(crypto::digest(crypto::Hash::Sha256, b"flood"))),
            How::FloodMetrics => self.flood(|| _ = black_box(metrics::Counter::open("flood", "", &[]))),
            How::FloodHttpClient => self.flood(|| std::mem::forget(black_box(self.ask(&self.server)))),
            How::WrongValues => self.wrong_values(),
        }
    }

    fn flood(&self, mut call: impl FnMut()) {
        while black_box(true) {
            call();
        }
    }

    fn ask(&self, url: &str) -> Result<http_client::Pending, http_client::Error> {
        let request = http::Request::get(url).body(Vec::new());
        http_client::start(request.map_err(|error| http_client::Error::InvalidRequest(error.to_string()))?, None)
    }

    fn wrong_values(&self) {
        let store = kv::Store::open("flood").expect("it is granted");
        assert!(store.set(&"k".repeat(1 << 20), b"v", Some(u64::MAX)).is_err());
        assert!(store.set("k", &vec![0; 1 << 20], Some(0)).is_err());
        assert!(kv::Store::open("of somebody else").is_err());
        let window = limiter::Window { limit: u64::MAX, period_ms: u64::MAX, burst: 0 };
        assert!(limiter::Bucket::open("wrong", &[window; 100]).is_err());
        assert!(crypto::sign(crypto::Algorithm::Rs256, &[0; 100_000], b"").is_err());
        assert!(metrics::Histogram::open("\n", "", &[""], &[f64::NAN, -1.0]).is_err());
        assert!(self.ask("http://169.254.169.254/latest/meta-data").and_then(http_client::Pending::wait).is_err());
        log::write(log::Level::Debug, &"\r\n\u{0}".repeat(100_000));
    }

    fn wrong(&self, here: At, behave: bool) -> Option<Edits> {
        match self.how {
            _ if self.at != here || behave => None,
            How::Huge => Some((0..300).fold(Edits::new(), |edits, _| edits.append("x-huge", "a".repeat(4096)))),
            How::Invalid => Some(Edits::new().set("x-invalid", "1\r\n\r\nHTTP/1.1 200 OK")),
            _ => None,
        }
    }
}

#[inline(never)]
fn down(left: u64) -> u64 {
    let frame = black_box([left; 64]);
    if left == 0 { 0 } else { down(left - 1) + black_box(frame)[3] - left }
}

fn behaves(memo: Option<Vec<u8>>) -> bool {
    memo.is_some()
}

impl Plugin for Misbehave {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        if config.at == At::Configure {
            config.misbehave();
        }
        Ok(config)
    }

    fn interest(&self) -> Interest {
        let head = Interest::new().request(|see| see.headers(["x-behave"])).response(|see| see);
        match self.at {
            At::RequestBody => head.request_body(64 << 10),
            At::ResponseBody => head.response_body(64 << 10),
            _ => head,
        }
    }

    fn on_request(&self, request: &Request) -> Flow {
        let behave = request.header("x-behave").is_some();
        self.reach(At::Request, behave);
        if let Some(edits) = self.wrong(At::Request, behave) {
            return edits.into();
        }
        let edits = Edits::new().set("x-misbehaved", MISBEHAVED.get().to_string());
        if behave { edits.memo("behave").into() } else { edits.into() }
    }

    fn on_request_body(&self, _: &Request, _: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        let behave = behaves(memo);
        self.reach(At::RequestBody, behave);
        self.wrong(At::RequestBody, behave).map_or(BodyFlow::Continue, BodyFlow::Edit)
    }

    fn on_response(&self, _: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        let behave = behaves(memo);
        self.reach(At::Response, behave);
        self.wrong(At::Response, behave).map_or(Flow::Continue, Flow::Edit)
    }

    fn on_response_body(&self, _: &ResponseHead, _: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        let behave = behaves(memo);
        self.reach(At::ResponseBody, behave);
        self.wrong(At::ResponseBody, behave).map_or(BodyFlow::Continue, BodyFlow::Edit)
    }
}

impl Streaming for Misbehave {
    type Body = (At, bool);

    fn wants(&self) -> Wants {
        match self.at {
            At::RequestChunk => Wants::new().request(Passing::Change),
            At::ResponseChunk => Wants::new().response(Passing::Change),
            _ => Wants::new(),
        }
    }

    fn begin(&self, direction: Direction, memo: Option<Vec<u8>>) -> (At, bool) {
        (if direction == Direction::Request { At::RequestChunk } else { At::ResponseChunk }, behaves(memo))
    }

    fn on_chunk(&self, (here, behave): &mut (At, bool), chunk: &Chunk) -> ChunkFlow {
        self.reach(*here, *behave);
        match self.how {
            _ if *behave => ChunkFlow::Continue,
            How::Huge => ChunkFlow::Replace(vec![b'a'; (1 << 20) + 1]),
            How::Invalid if chunk.last => {
                let mut trailers = HeaderMap::new();
                trailers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
                ChunkFlow::End(Vec::new(), trailers)
            }
            How::Invalid => ChunkFlow::End(Vec::new(), HeaderMap::new()),
            _ => ChunkFlow::Continue,
        }
    }
}
plugin!(Misbehave, streaming);
