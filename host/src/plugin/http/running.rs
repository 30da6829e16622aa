//! One request on its way through one instance.
//!
//! The instance is driven by a task of its own: it may compute, and take and give pieces of bodies, while the request is
//! elsewhere. What comes out are steps. Whoever drops the last part of a request drops the task, and with it the
//! instance, wherever it is.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request, response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout_at};
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use super::convert::{self, Asked};
use super::state::State;
use super::turn::Turn;
use super::{Code, Pre};
use crate::body::{Body, BodyError, Ticket};
use crate::deadline::{Deadline, after};
use crate::error::Reason;
use crate::metrics::Spent;
use crate::plugin::component::{Code as Made, LoadError};
use crate::plugin::instance::{Failure, FailureKind, failure, host_memory};
use crate::plugin::pool::Pool;
use crate::plugin::{Plugin, pool};

/// Calls, streams and futures of one instance at once, which are the engine's to keep.
const MAX_AT_ONCE: usize = 4096;

/// What comes out of an instance.
pub(crate) enum Step {
    /// A middleware calls the rest of its chain, and waits.
    Asks(Request<WasiBody>, Next),
    /// It answers.
    Answers(Response<WasiBody>),
    /// It says that it cannot answer.
    Refuses(String),
}

/// Who waits for the answer of the rest of a chain.
pub(crate) type Next = oneshot::Sender<Response<Ticket>>;

/// A request that is in an instance. Dropped, it ends the instance.
pub(crate) struct Running {
    steps: mpsc::UnboundedReceiver<Step>,
    /// One that came before anybody asked for it.
    early: Option<Step>,
    task: Task,
    fate: Rc<Fate>,
    /// The body that it was given last.
    fed: Rc<Fed>,
    /// How long each step may take.
    patience: Duration,
    /// Told when the answer's body has ended.
    over: oneshot::Sender<()>,
}

/// Dropped, it ends, unless it is let go.
struct Task {
    handle: AbortHandle,
    free: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.free {
            self.handle.abort();
        }
    }
}

/// What went wrong with an instance that has ended.
#[derive(Default)]
struct Fate(RefCell<Option<Failure>>);

/// A body that an instance is given, and how it comes to it.
struct Fed {
    /// None while it is read.
    body: RefCell<Option<Body>>,
    /// The instance has begun to read it.
    begun: Cell<bool>,
    /// When something of it came last.
    at: Cell<Instant>,
    /// The instance waits for more of it.
    waited_for: Cell<bool>,
    /// Why the request ends where it breaks off.
    reason: fn(&BodyError) -> Reason,
    broken: RefCell<Option<Reason>>,
}

impl Fed {
    fn new(body: Body, reason: fn(&BodyError) -> Reason) -> Rc<Self> {
        Rc::new(Self {
            body: RefCell::new(Some(body)),
            begun: Cell::default(),
            at: Cell::new(Instant::now()),
            waited_for: Cell::default(),
            reason,
            broken: RefCell::default(),
        })
    }

    /// What the instance reads.
    fn ticket(self: &Rc<Self>) -> Ticket {
        let is_empty = self.body.borrow().as_ref().is_none_or(HttpBody::is_end_stream);
        Ticket::new(if is_empty { Body::Empty } else { Body::stream(Feed(self.clone())) })
    }
}

impl Running {
    /// Lets a fresh instance have a request. Its body is taken only then.
    ///
    /// # Errors
    /// Where none becomes free in time.
    pub(crate) async fn begin(
        pool: &Rc<Pool>,
        head: &request::Parts,
        asked: &Asked<'_>,
        body: &mut Body,
        spent: &mut Spent,
    ) -> Result<Self, Failure> {
        let plugin = pool.plugin.clone();
        plugin.health.admit().map_err(pool::paused)?;
        let permits =
            [pool::permit(&plugin.in_use, pool, spent).await?, pool::permit(&plugin.engine.slots, pool, spent).await?];
        let request = convert::request(head, asked, ()).map_err(Failure::from)?;
        let fed = Fed::new(std::mem::take(body), BodyError::of_request);
        let request = request.map(|()| fed.ticket());
        let (steps_in, steps) = mpsc::unbounded_channel();
        let (over, is_over) = oneshot::channel();
        let (fate, patience) = (Rc::new(Fate::default()), plugin.limits.answer);
        let told = fate.clone();
        let pool = pool.clone();
        let task = spawn_local(async move {
            let late = async move {
                // Dropped without a word, this task is aborted.
                let _ = is_over.await;
                sleep(patience).await;
            };
            let counted = pool.count();
            tokio::select! {
                () = drive(&pool, permits, request, steps_in, &told) => {}
                () = late => tracing::debug!(plugin = &*pool.plugin.name, "goes on for too long after its answer"),
            }
            drop(counted);
        });
        let task = Task { handle: task.abort_handle(), free: false };
        Ok(Self { steps, early: None, task, fate, fed, patience, over })
    }

    /// What comes out next.
    ///
    /// # Errors
    /// The instance failed, took too long, or ended without a word.
    pub(crate) async fn step(&mut self) -> Result<Step, Failure> {
        if let Some(step) = self.early.take() {
            return Ok(step);
        }
        let begun = Instant::now();
        loop {
            let by = after(begun.max(self.fed.at.get()), self.patience);
            match timeout_at(by, self.steps.recv()).await {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {
                    let failure = self.fate.0.take();
                    return Err(failure.unwrap_or_else(|| wrong("it ended without an answer")));
                }
                // A slow client has limits of its own.
                Err(_) if self.fed.waited_for.get() => self.fed.at.set(Instant::now()),
                Err(_) if by < after(self.fed.at.get(), self.patience) => {}
                Err(_) => {
                    let detail = format!("did nothing for {:?}", self.patience);
                    return Err(Failure { kind: FailureKind::Timeout, detail });
                }
            }
        }
    }

    /// Ready when there is a step that nobody has asked for: a middleware answers before it is answered. Never ready where
    /// there will be none.
    pub(crate) fn poll_early(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.early.is_none() {
            match ready!(self.steps.poll_recv(context)) {
                Some(step) => self.early = Some(step),
                None => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Answers a middleware that called the rest of its chain.
    pub(crate) fn give(&mut self, next: Next, head: &response::Parts, body: &mut Body) {
        self.fed = Fed::new(std::mem::take(body), BodyError::of_response);
        let mut response = Response::new(self.fed.ticket());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers.clone();
        // One that has failed meanwhile says so at its next step.
        let _ = next.send(response);
    }

    /// The body that it was given last, where it has not begun to read that.
    pub(crate) fn take_back(self) -> Option<Body> {
        if self.fed.begun.get() { None } else { self.fed.body.take() }
    }

    /// What was wrong with the body of the request, where something was: that is no fault of the instance.
    pub(crate) fn broken_body(&self) -> Option<Reason> {
        self.fed.broken.take()
    }

    /// The body of its answer, with what is known of its length. The instance goes on while that is read.
    pub(crate) fn answering(self, body: WasiBody, left: Option<u64>) -> GuestBody {
        let (patience, fate) = (self.patience, self.fate.clone());
        GuestBody { body, left, fate, patience, since: None, deadline: Deadline::new(), running: Some(self) }
    }

    /// Its answer has ended. What it still does, it may do for a while.
    pub(crate) fn ends(self) {
        let Self { mut task, over, .. } = self;
        // Of one that has ended already nothing is to be told.
        let _ = over.send(());
        task.free = true;
    }
}

/// The body of an instance's answer.
pub(crate) struct GuestBody {
    body: WasiBody,
    left: Option<u64>,
    fate: Rc<Fate>,
    patience: Duration,
    /// Since when its reader waits for the next piece.
    since: Option<Instant>,
    deadline: Deadline,
    /// None once it has ended.
    running: Option<Running>,
}

impl GuestBody {
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(running) = &self.running else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            loop {
                let since = *self.since.get_or_insert_with(Instant::now);
                ready!(self.deadline.poll(context, after(since, self.patience)));
                if !running.fed.waited_for.get() {
                    break;
                }
                // A slow client has limits of its own.
                self.since = None;
            }
            let detail = format!("gave nothing more of its answer for {:?}", self.patience);
            return self.fail(Failure { kind: FailureKind::Timeout, detail });
        };
        self.since = None;
        match frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => return self.fail(wrong("its answer is longer than it says")),
                    }
                }
                // A reader that knows the length does not ask for the end.
                if self.left == Some(0) || frame.is_trailers() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let detail = format!("its answer broke off: {error}");
                let failed = self.fate.0.take();
                self.fail(failed.unwrap_or(Failure { kind: FailureKind::Output, detail }))
            }
            None => {
                // What a store held is closed when it is dropped, as if it had ended.
                if let Some(failure) = self.fate.0.take() {
                    return self.fail(failure);
                }
                if self.left.is_some_and(|left| left > 0) {
                    return self.fail(wrong("its answer is shorter than it says"));
                }
                self.end();
                Poll::Ready(None)
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.running.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.running.is_none() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.ends();
        }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.running = None;
        Poll::Ready(Some(Err(failure)))
    }
}

/// A body on its way into the instance.
struct Feed(Rc<Fed>);

impl HttpBody for Feed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let fed = &*self.0;
        fed.begun.set(true);
        // Reading it may lead back here only by way of another body.
        let Some(mut body) = fed.body.take() else { return Poll::Ready(None) };
        let frame = Pin::new(&mut body).poll_frame(context);
        fed.body.replace(Some(body));
        fed.waited_for.set(frame.is_pending());
        if let Poll::Ready(frame) = &frame {
            fed.at.set(Instant::now());
            if let Some(Err(error)) = frame {
                *fed.broken.borrow_mut() = Some((fed.reason)(error));
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.borrow().as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.borrow().as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// Instantiates a component for nothing, so that one which cannot be is refused when it is loaded.
pub(in crate::plugin) async fn on_trial(plugin: &Plugin) -> Result<(), LoadError> {
    let slot = plugin.engine.slots.clone();
    let _slot = slot.try_acquire_owned().map_err(|_| LoadError::Failed("no instance is free".to_owned()))?;
    let Made::Http(code) = &plugin.component.code else { return Ok(()) };
    let turn = turn(plugin, code);
    let mut store = store(plugin, code, &turn, None);
    let started = turn.drive(async {
        match &code.pre {
            Pre::Proxy(pre) => pre.instantiate_async(&mut store).await.map(drop),
            Pre::Service(pre) => pre.instantiate_async(&mut store).await.map(drop),
        }
    });
    let time = plugin.configure_time();
    match tokio::time::timeout(time, started).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(LoadError::Failed(super::one_line(&error))),
        Err(_) => Err(LoadError::Failed(format!("not instantiated within {time:?}"))),
    }
}

/// Instantiating takes what configuring takes.
fn turn(plugin: &Plugin, code: &Code) -> Arc<Turn> {
    let pace = plugin.engine.http().pace(code, &plugin.engine);
    Arc::new(Turn::new(pace.clone(), plugin.configure_time()))
}

fn store(plugin: &Plugin, code: &Code, turn: &Arc<Turn>, next: Option<mpsc::UnboundedSender<Step>>) -> Store<State> {
    let state = State::new(&plugin.grounds, &plugin.limits, next);
    let mut store = match &code.pre {
        Pre::Proxy(pre) => Store::new(pre.engine(), state),
        Pre::Service(pre) => Store::new(pre.engine(), state),
    };
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(host_memory(plugin));
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(MAX_AT_ONCE);
    }
    store.set_epoch_deadline(1);
    let turn = turn.clone();
    store.epoch_deadline_callback(move |_| Ok(turn.tick()));
    store
}

/// Drives an instance from its begin to its end, and leaves there what went wrong.
async fn drive(
    pool: &Pool,
    permits: [OwnedSemaphorePermit; 2],
    request: Request<Ticket>,
    steps: mpsc::UnboundedSender<Step>,
    fate: &Fate,
) {
    let plugin = &*pool.plugin;
    let Made::Http(code) = &plugin.component.code else { return };
    let turn = turn(plugin, code);
    let next = (!code.world.answers()).then(|| steps.clone());
    let mut store = store(plugin, code, &turn, next);
    let outcome = turn.drive(run(plugin, code, &mut store, request, &steps, &turn)).await;
    // Before the store goes, and closes what it held.
    if let Err(error) = outcome {
        *fate.0.borrow_mut() = Some(failure(&error, store.data().limits.refused));
    }
    pool.note_memory(store.data().limits.used);
    drop(store);
    drop(permits);
}

async fn run(
    plugin: &Plugin,
    code: &Code,
    store: &mut Store<State>,
    request: Request<Ticket>,
    steps: &mpsc::UnboundedSender<Step>,
    turn: &Turn,
) -> wasmtime::Result<()> {
    let steps = steps.clone();
    match &code.pre {
        Pre::Proxy(pre) => {
            let instance = pre.instantiate_async(&mut *store).await?;
            turn.allow(plugin.limits.time);
            let secure = request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
            let scheme = if secure { Scheme::Https } else { Scheme::Http };
            let mut view = store.data_mut().http();
            let request = view.new_incoming_request(scheme, request)?;
            let out = view.new_response_outparam_from_callback(move |answer| {
                // Nobody takes it where the request has ended.
                let _ = steps.send(match answer {
                    Ok(response) => Step::Answers(response),
                    Err(code) => Step::Refuses(format!("{code:?}")),
                });
            })?;
            instance.wasi_http_incoming_handler().call_handle(store, request, out).await
        }
        Pre::Service(pre) => {
            let instance = pre.instantiate_async(&mut *store).await?;
            turn.allow(plugin.limits.time);
            let told = store.run_concurrent(async |accessor| {
                let request = accessor.with(|mut store| {
                    let view = store.data_mut().http();
                    p3::Request::from_http(view.hooks, request).0
                });
                let step = match instance.handle(accessor, request).await? {
                    Ok(response) => {
                        Step::Answers(accessor.with(|mut store| response.into_http(&mut store, async { Ok(()) }))?)
                    }
                    Err(code) => Step::Refuses(format!("{code:?}")),
                };
                let _ = steps.send(step);
                // It may go on, and mostly does: its answer's body is yet to come.
                poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
                Ok(())
            });
            told.await?
        }
    }
}

impl Turn {
    /// Drives a guest in stretches.
    async fn drive<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        poll_fn(|context| self.take(|| guest.as_mut().poll(context))).await
    }
}

fn wrong(detail: &str) -> Failure {
    Failure { kind: FailureKind::Output, detail: detail.to_owned() }
}
