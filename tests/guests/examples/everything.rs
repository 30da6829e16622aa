//! Has every hook and calls every function of every capability, and says in headers what came of it: what a host has to
//! keep for the components that there are. `published/VERSION/everything.wasm` is this, as it was when that version of the
//! contract was published.
use tollgate_sdk::http::header::{HeaderMap, HeaderValue};
use tollgate_sdk::http::{self, StatusCode};
use tollgate_sdk::{
    BodyFlow, Chunk, ChunkFlow, Complaints, Direction, Edits, Flow, Interest, Passing, Plugin, Problem, Request,
    ResponseHead, Streaming, Wants, crypto, http_client, kv, limiter, log, metrics, plugin, schemars, serde,
};

/// Bodies whole, or piece by piece; and whom to ask.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Everything {
    whole: bool,
    url: String,
}

const CAP: u64 = 64 << 10;

impl Plugin for Everything {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        if config.url.is_empty() { Err(Complaints::of("/url", "it is empty")) } else { Ok(config) }
    }

    fn interest(&self) -> Interest {
        let interest = Interest::new()
            .request(|see| {
                let see = see.method().scheme().authority().path().query().client();
                see.headers(["x-refuse", "x-key"]).attributes(["told"])
            })
            .response(|see| see.headers(["content-type"]).attributes(["told"]))
            .owns_headers(["x-owned"])
            .sets_attributes(["told"]);
        if self.whole { interest.request_body(CAP).response_body(CAP) } else { interest }
    }

    fn on_request(&self, request: &Request) -> Flow {
        if request.header("x-refuse").is_some() {
            let problem = Problem::new(StatusCode::FORBIDDEN, "as-it-was-asked", "Refused");
            return problem.detail("it was asked").header("x-why", "asked").fault("/a", "b").into();
        }
        let head = format!(
            "{} {}://{}{}?{}",
            request.method(),
            request.scheme(),
            request.authority(),
            request.path(),
            request.query().unwrap_or_default()
        );
        let mut edits = Edits::new().set("x-head", head).set("x-owned", "mine").remove("x-key").append("x-many", "1");
        for (name, said) in [
            ("kv", store()),
            ("limiter", limit()),
            ("crypto", secrets()),
            ("metrics", count()),
            ("http", ask(&self.url)),
        ] {
            edits = edits.set(format!("x-{name}"), said);
        }
        if log::enabled(log::Level::Info) {
            log::write(log::Level::Info, "everything was asked");
        }
        edits.append("x-many", "2").query("changed=yes").attribute("told", "by the request").memo("a memo").into()
    }

    fn on_request_body(&self, _: &Request, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        BodyFlow::Replace(Edits::new().set("x-body", "whole"), changed(body, memo.as_deref()))
    }

    fn on_response(&self, response: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        let told = response.attribute("told").unwrap_or_default();
        let memo = memo.unwrap_or_default();
        Edits::new().set("x-told", told).set("x-memo", &memo).status(StatusCode::ACCEPTED).memo(memo).into()
    }

    fn on_response_body(&self, _: &ResponseHead, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        BodyFlow::Replace(Edits::new().set("x-body", "whole"), changed(body, memo.as_deref()))
    }
}

impl Streaming for Everything {
    type Body = Option<Vec<u8>>;

    fn wants(&self) -> Wants {
        if self.whole { Wants::new() } else { Wants::new().request(Passing::Change).response(Passing::Change) }
    }

    fn begin(&self, _: Direction, memo: Option<Vec<u8>>) -> Self::Body {
        memo
    }

    fn on_chunk(&self, memo: &mut Self::Body, chunk: &Chunk) -> ChunkFlow {
        if !chunk.last {
            return ChunkFlow::Replace(chunk.bytes.to_ascii_uppercase());
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-body", HeaderValue::from_static("pieces"));
        ChunkFlow::End(changed(Vec::new(), memo.as_deref()), trailers)
    }
}

/// In large letters, and behind it what the head hook left.
fn changed(body: Vec<u8>, memo: Option<&[u8]>) -> Vec<u8> {
    [&body.to_ascii_uppercase(), &b" with "[..], memo.unwrap_or_default()].concat()
}

fn store() -> String {
    let said = kv::Store::open("sessions").and_then(|store| {
        store.set("a", b"1", Some(60_000))?;
        let (value, count) = (store.get("a")?, store.increment("count", 1, None)?);
        Ok((value, count > 0, store.list("", None, 10)?, store.delete("a")?))
    });
    format!("{said:?}")
}

fn limit() -> String {
    let window = limiter::Window { limit: 1000, period_ms: 1000, burst: 1000 };
    let taken = limiter::Bucket::open("all", &[window]).and_then(|bucket| bucket.take("a", 1));
    format!("{:?}", taken.map(|taken| taken.allowed))
}

fn secrets() -> String {
    let digest = crypto::digest(crypto::Hash::Sha256, b"a").map(|digest| digest[0]);
    let tag = crypto::hmac(crypto::Hash::Sha256, b"key", b"a").unwrap_or_default();
    let right = crypto::hmac_verify(crypto::Hash::Sha256, b"key", b"a", &tag);
    let signed = crypto::sign(crypto::Algorithm::EdDsa, b"no key", b"a").is_ok();
    let verified = crypto::verify(crypto::Algorithm::EdDsa, b"no key", b"a", b"").is_ok();
    format!("{digest:?} {right:?} {} {signed} {verified}", crypto::equal(b"a", b"a"))
}

fn count() -> String {
    let counted = metrics::Counter::open("all", "All of them.", &["kind"]).map(|all| all.add(&["a"], 1));
    let set = metrics::Gauge::open("level", "How high.", &[]).map(|level| {
        level.set(&[], 1);
        level.add(&[], 1);
    });
    let seen = metrics::Histogram::open("size", "How large.", &[], &[1.0]).map(|size| size.observe(&[], 0.5));
    format!("{} {} {}", counted.is_ok(), set.is_ok(), seen.is_ok())
}

fn ask(url: &str) -> String {
    let request = || http::Request::get(url).body(Vec::new()).expect("a request");
    let (sent, started) = (http_client::send(request(), None), http_client::start(request(), None));
    let waited = started.and_then(http_client::Pending::wait);
    let status = |answer: Result<http::Response<Vec<u8>>, http_client::Error>| answer.map(|it| it.status().as_u16());
    format!("{:?} {:?}", status(sent), status(waited))
}

plugin!(Everything, streaming);
