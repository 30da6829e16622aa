//! Works on bodies piece by piece, and misbehaves where it is told to.
use tollgate_sdk::http::header::{HeaderMap, HeaderValue};
use tollgate_sdk::{
    Chunk, ChunkFlow, Complaints, Direction, Edits, Flow, Interest, Passing, Plugin, Problem, Request, Streaming,
    Wants, http::StatusCode, plugin, schemars, serde,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Pieces {
    what: What,
    #[serde(default)]
    responses: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
enum What {
    /// Small letters become large ones, and a trailer says how many bytes there were, and what the head hook left.
    Upper,
    /// Each piece is said three times, in three answers.
    Thrice,
    /// Looks, and refuses a body in which it finds `evil`.
    Guard,
    /// Wants to look, and changes.
    Liar,
    Spin,
    Trap,
    /// Answers with more than it may.
    Flood,
    /// Says that there is more, without an end and without a byte.
    Endless,
    /// Traps at the second piece, having changed the first.
    Late,
    /// Ends before the end.
    Early,
    /// Ends with a trailer that no plugin may set.
    Framing,
}

/// What is kept of one body.
#[derive(Default)]
struct Body {
    pieces: u32,
    bytes: u64,
    memo: String,
    again: u32,
    kept: Vec<u8>,
}

impl Plugin for Pieces {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see.path())
    }

    fn on_request(&self, request: &Request) -> Flow {
        let edits = Edits::new().memo(request.path());
        if request.path().ends_with("/skipped") { edits.skip_body().into() } else { edits.into() }
    }
}

impl Streaming for Pieces {
    type Body = Body;

    fn wants(&self) -> Wants {
        let passing = if matches!(self.what, What::Guard | What::Liar) { Passing::Look } else { Passing::Change };
        if self.responses { Wants::new().response(passing) } else { Wants::new().request(passing) }
    }

    fn begin(&self, _: Direction, memo: Option<Vec<u8>>) -> Body {
        let memo = memo.map(|memo| String::from_utf8_lossy(&memo).into_owned()).unwrap_or_default();
        Body { memo, ..Body::default() }
    }

    fn on_chunk(&self, body: &mut Body, chunk: &Chunk) -> ChunkFlow {
        body.pieces += 1;
        body.bytes += chunk.bytes.len() as u64;
        match self.what {
            What::Upper if chunk.last => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-bytes", HeaderValue::from(body.bytes));
                trailers.insert("x-memo", HeaderValue::try_from(&body.memo).expect("a path"));
                for (name, value) in &chunk.trailers {
                    trailers.append(name, value.clone());
                }
                ChunkFlow::End(b"!".to_vec(), trailers)
            }
            What::Upper => ChunkFlow::Replace(chunk.bytes.to_ascii_uppercase()),
            What::Thrice if chunk.last => ChunkFlow::Continue,
            What::Thrice => {
                if body.again == 0 {
                    body.kept.clone_from(&chunk.bytes);
                }
                body.again += 1;
                if body.again < 3 {
                    return ChunkFlow::More(body.kept.clone());
                }
                body.again = 0;
                ChunkFlow::Replace(std::mem::take(&mut body.kept))
            }
            What::Guard => {
                body.kept.extend_from_slice(&chunk.bytes);
                if body.kept.windows(4).any(|four| four == b"evil") {
                    return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "evil-body", "evil words").into();
                }
                body.kept.drain(..body.kept.len().saturating_sub(3));
                ChunkFlow::Continue
            }
            What::Liar => ChunkFlow::Replace(b"other".to_vec()),
            What::Spin => loop {
                std::hint::spin_loop();
            },
            What::Trap => panic!("secret words"),
            What::Flood => ChunkFlow::Replace(vec![b'a'; (1 << 20) + 1]),
            What::Endless => ChunkFlow::More(Vec::new()),
            What::Late if body.pieces > 1 => panic!("secret words"),
            What::Late => ChunkFlow::Replace(b"other".to_vec()),
            What::Early => ChunkFlow::End(Vec::new(), HeaderMap::new()),
            What::Framing if chunk.last => {
                let mut trailers = HeaderMap::new();
                trailers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
                ChunkFlow::End(Vec::new(), trailers)
            }
            What::Framing => ChunkFlow::Continue,
        }
    }
}
plugin!(Pieces, streaming);
