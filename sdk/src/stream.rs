//! Bodies piece by piece, in constant memory.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bindings::chunks::exports::tollgate::plugin::chunks as wit;
use crate::bindings::tollgate::plugin::http::Header;
use crate::export::configured;
use crate::{Hooks, Plugin, Problem};

/// A plugin that works on bodies piece by piece, however long they are. Made a component by `plugin!(Name, streaming)`.
///
/// What a plugin keeps from piece to piece is its [`Body`](Self::Body): it begins with each body, and never sees another.
pub trait Streaming: Plugin {
    /// What is kept from piece to piece of one body.
    type Body: 'static;

    /// Which bodies it sees. The same for the same configuration.
    fn wants(&self) -> Wants;

    /// A body begins; `memo` is what the head hook left.
    fn begin(&self, direction: Direction, memo: Option<Vec<u8>>) -> Self::Body;

    /// The next piece has come.
    fn on_chunk(&self, body: &mut Self::Body, chunk: &Chunk) -> ChunkFlow;
}

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The client's.
    Request,
    /// The upstream's.
    Response,
}

/// What a plugin does with the bodies of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// It sees them, and may refuse. Their length stays as the sender said it.
    Look,
    /// It may change them, so that their length is not known beforehand. `content-encoding` stays as the head hook leaves it.
    Change,
}

/// Which bodies a plugin sees; none at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wants {
    request: Option<Passing>,
    response: Option<Passing>,
}

impl Wants {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of requests.
    pub fn request(mut self, passing: Passing) -> Self {
        self.request = Some(passing);
        self
    }

    /// Those of responses.
    pub fn response(mut self, passing: Passing) -> Self {
        self.response = Some(passing);
        self
    }
}

/// The next piece of a body.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// 1 byte to 64 KiB; none in the last call, and in one that follows [`ChunkFlow::More`].
    pub bytes: Vec<u8>,
    /// There is no more.
    pub last: bool,
    /// Fields behind the body, in the last call.
    pub trailers: HeaderMap,
}

/// What becomes of a piece.
#[derive(Debug, Clone)]
pub enum ChunkFlow {
    /// It goes on as it is.
    Continue,
    /// These bytes go on in its place, at most 1 MiB; none keeps it back.
    Replace(Vec<u8>),
    /// These bytes, 1 byte to 1 MiB, go on in its place, and there are more: ask again once they are taken.
    More(Vec<u8>),
    /// In the last call: these bytes, and these trailers in the place of those that came.
    End(Vec<u8>, HeaderMap),
    /// The body ends here, and with it the request.
    Refuse(Problem),
}

impl From<Problem> for ChunkFlow {
    fn from(problem: Problem) -> Self {
        Self::Refuse(problem)
    }
}

impl From<ChunkFlow> for wit::ChunkFlow {
    fn from(flow: ChunkFlow) -> Self {
        match flow {
            ChunkFlow::Continue => Self::Continue,
            ChunkFlow::Replace(bytes) => Self::Replace(bytes),
            ChunkFlow::More(bytes) => Self::More(bytes),
            ChunkFlow::End(bytes, trailers) => {
                Self::End(wit::Ending { bytes, trailers: crate::message::list(&trailers) })
            }
            ChunkFlow::Refuse(problem) => Self::Refuse(problem.0),
        }
    }
}

impl From<Option<Passing>> for wit::Passing {
    fn from(passing: Option<Passing>) -> Self {
        match passing {
            None => Self::None,
            Some(Passing::Look) => Self::Look,
            Some(Passing::Change) => Self::Change,
        }
    }
}

/// Where a component keeps what its plugin keeps of a body. Implemented by `plugin!`.
pub trait Streams: Hooks<Plugin: Streaming> {
    /// Runs with what is kept of a body.
    fn body<R>(run: impl FnOnce(&mut Option<<Self::Plugin as Streaming>::Body>) -> R) -> R;
}

impl<S: Streams> wit::Guest for S {
    fn wants() -> wit::Wanted {
        let wants = configured::<S, _>(Streaming::wants);
        wit::Wanted { request: wants.request.into(), response: wants.response.into() }
    }

    fn on_request_chunk(chunk: wit::Chunk) -> wit::ChunkFlow {
        piece::<S>(Direction::Request, chunk)
    }

    fn on_response_chunk(chunk: wit::Chunk) -> wit::ChunkFlow {
        piece::<S>(Direction::Response, chunk)
    }
}

fn piece<S: Streams>(direction: Direction, chunk: wit::Chunk) -> wit::ChunkFlow {
    let (first, memo) = (chunk.first, chunk.memo);
    let chunk = Chunk { bytes: chunk.bytes, last: chunk.last, trailers: read(chunk.trailers) };
    configured::<S, _>(|plugin| {
        S::body(|kept| {
            if first {
                *kept = None;
            }
            let body = kept.get_or_insert_with(|| plugin.begin(direction, memo));
            plugin.on_chunk(body, &chunk).into()
        })
    })
}

/// The host sends no field that is none.
fn read(trailers: Vec<Header>) -> HeaderMap {
    let field =
        |header: Header| Some((HeaderName::try_from(header.name).ok()?, HeaderValue::try_from(header.value).ok()?));
    let mut map = HeaderMap::new();
    for (name, value) in trailers.into_iter().filter_map(field) {
        map.append(name, value);
    }
    map
}
