//! What a guest sees of the client.

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, spawn_local};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::{Answer, Asked, Error, Granted, Outgoing, PER_CALL, check};
use crate::bindings::http_client as wit;
use crate::bindings::{Header, Response};
use crate::capability::Capabilities;
use crate::recording::{Answer as Heard, Fields, Said, Tape};

/// A request that is under way, and its place on the tape of its call, where that is recorded.
#[derive(Debug)]
pub struct Pending(Under, Option<usize>);

/// What a handle of a guest stands for.
pub type PendingHandle = Pending;

#[derive(Debug)]
enum Under {
    /// A task of this worker. Its connection closes with it.
    Way(oneshot::Receiver<Result<Answer, Error>>, AbortHandle),
    /// Answered already.
    Known(Option<Result<Answer, Error>>),
    /// Was never answered when it was recorded.
    Never,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Under::Way(_, task) = &self.0 {
            task.abort();
        }
    }
}

impl Pending {
    async fn wait(mut self) -> Result<Answer, Error> {
        match &mut self.0 {
            // A task that is gone without an answer was ended from outside.
            Under::Way(answer, _) => answer.await.unwrap_or(Err(Error::Unavailable)),
            Under::Known(answer) => answer.take().unwrap_or(Err(Error::Unavailable)),
            Under::Never => std::future::pending().await,
        }
    }
}

/// What one instance has asked in one call.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// While a plugin is configured there is nothing to send.
    pub(crate) configuring: bool,
    started: u32,
    open: Vec<AbortHandle>,
}

impl Calls {
    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.started = 0;
    }

    /// Counts a request.
    pub(super) fn another(&mut self) -> Result<(), Error> {
        if self.started >= PER_CALL {
            return Err(Error::TooMany);
        }
        self.started += 1;
        Ok(())
    }

    /// A call has ended, and with it what it did not wait for.
    pub(crate) fn end(&mut self) {
        for task in self.open.drain(..) {
            // Of one that has ended, nothing happens.
            task.abort();
        }
    }
}

/// The client of one plugin, and what one instance does with it.
pub(crate) struct Guest<'a> {
    pub(crate) granted: &'a Granted,
    pub(crate) calls: &'a mut Calls,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) tape: &'a mut Tape,
}

impl HasData for Guest<'static> {
    type Data<'a> = Guest<'a>;
}

pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Guest<'static>>(linker, T::http_client)
}

impl Guest<'_> {
    fn begin(&mut self, request: wit::Request) -> Result<Pending, Error> {
        if self.calls.configuring {
            return Err(Error::Unavailable);
        }
        let wit::Request { method, url, headers, body, timeout_ms } = request;
        let fields = headers.iter().map(|field| (&*field.name, &*field.value)).collect();
        let asked = Asked { method: &method, url: &url, fields, body: body.into(), timeout_ms };
        let (place, ask) = check(self.granted, asked)?;
        self.calls.another()?;
        let place_on_tape = match self.tape {
            Tape::Off => None,
            Tape::Records(said) => {
                said.push(Said { asked: format!("{} {}", ask.method, ask.url), answer: Heard::Never });
                Some(said.len() - 1)
            }
            Tape::Plays(played) => {
                return Ok(Pending(again(played.take(&format!("{} {}", ask.method, ask.url))), None));
            }
        };
        if let Some(script) = &self.granted.instead {
            return Ok(Pending(Under::Known(Some(script.answer(&ask))), place_on_tape));
        }
        let outgoing = Outgoing::here().ok_or(Error::Unavailable)?;
        let room = self.granted.room.clone().try_acquire_owned().map_err(|_| Error::TooMany)?;
        let granted = self.granted.clone();
        let (answers, answer) = oneshot::channel();
        let task = spawn_local(async move {
            let outcome = outgoing.send(&granted, place, ask).await;
            drop(room);
            // Nobody waits any more: then it was for nothing.
            let _ = answers.send(outcome);
        });
        self.calls.open.push(task.abort_handle());
        Ok(Pending(Under::Way(answer, task.abort_handle()), place_on_tape))
    }

    async fn wait(&mut self, pending: Pending) -> Result<Answer, Error> {
        let place_on_tape = pending.1;
        let answer = pending.wait().await;
        if let (Some(place), Tape::Records(said)) = (place_on_tape, &mut *self.tape)
            && let Some(said) = said.get_mut(place)
        {
            said.answer = Heard::Http(answer.as_ref().map(kept).map_err(Clone::clone));
        }
        answer
    }
}

/// An answer as it is recorded.
fn kept(answer: &Answer) -> (u16, Fields, Vec<u8>) {
    let field =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    (answer.status.as_u16(), answer.headers.iter().map(field).collect(), answer.body.to_vec())
}

/// An answer that was recorded. The file is not to be trusted.
fn again(heard: Option<Heard>) -> Under {
    let answer = match heard {
        Some(Heard::Never) => return Under::Never,
        Some(Heard::Http(Ok((status, fields, body)))) => {
            let mut headers = http::HeaderMap::new();
            for (name, value) in &fields {
                let field = (http::HeaderName::from_bytes(name.as_bytes()), http::HeaderValue::from_bytes(value));
                if let (Ok(name), Ok(value)) = field {
                    // More than a map can hold were never answered.
                    let _ = headers.try_append(name, value);
                }
            }
            let status = http::StatusCode::from_u16(status).map_err(|_| Error::Protocol);
            status.map(|status| Answer { status, headers, body: body.into() })
        }
        Some(Heard::Http(Err(error))) => Err(error),
        _ => Err(Error::Connect),
    };
    Under::Known(Some(answer))
}

impl wit::Host for Guest<'_> {
    async fn send(&mut self, request: wit::Request) -> wasmtime::Result<Result<Response, wit::Error>> {
        Ok(match self.begin(request) {
            Ok(pending) => self.wait(pending).await.map(Into::into).map_err(Into::into),
            Err(error) => Err(error.into()),
        })
    }
}

impl wit::HostPending for Guest<'_> {
    fn start(&mut self, request: wit::Request) -> wasmtime::Result<Result<Resource<Pending>, wit::Error>> {
        match self.begin(request) {
            Ok(pending) => Ok(Ok(self.table.push(pending)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn wait(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Result<Response, wit::Error>> {
        let pending = self.table.delete(pending)?;
        Ok(Guest::wait(self, pending).await.map(Into::into).map_err(Into::into))
    }

    fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| Header {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_vec(),
        };
        Self {
            status: answer.status.as_u16(),
            headers: answer.headers.iter().map(header).collect(),
            body: answer.body.into(),
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NotGranted => Self::NotGranted,
            Error::InvalidRequest(why) => Self::InvalidRequest(why),
            Error::AddressNotAllowed => Self::AddressNotAllowed,
            Error::Resolve => Self::Resolve,
            Error::Connect => Self::Connect,
            Error::Tls => Self::Tls,
            Error::Timeout => Self::Timeout,
            Error::Protocol => Self::Protocol,
            Error::TooLarge => Self::TooLarge,
            Error::TooMany => Self::TooMany,
            Error::Unavailable => Self::Unavailable,
        }
    }
}
