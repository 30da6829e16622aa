//! The listener for operators: health, readiness, metrics, state, reload. A thread of its own, so that neither a busy
//! worker nor a loader that compiles keeps a probe waiting.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::LocalSet;

use crate::body::Body;
use crate::config::{ListenerLimits, Mirror, Part, Split};
use crate::error::Audience;
use crate::metrics;
use crate::server::connection::{Connections, Received};
use crate::server::drain::Drain;
use crate::server::seats::Seat;
use crate::server::socket::{Acceptor, Listening};
use crate::server::{Decision, Request as ToLoader, View, accept, socket};

/// Connections of operators at once.
const CONNECTIONS: usize = 100;

/// The admin listener. Ends when dropped.
pub(crate) struct Admin {
    address: SocketAddr,
    /// For the next process.
    socket: StdListener,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens on a socket that is there already, or on one of its own.
    pub(crate) fn start(
        address: SocketAddr,
        inherited: Option<Listening>,
        view: Arc<View>,
        loader: mpsc::Sender<ToLoader>,
    ) -> anyhow::Result<Self> {
        let socket = match inherited {
            Some(Listening::Tcp(socket)) => socket,
            _ => {
                let bound = socket::bind_tcp(address, 1);
                let mut sockets = bound.with_context(|| format!("admin: cannot listen on {address}"))?;
                sockets.pop().context("admin: no socket")?
            }
        };
        let address = socket.local_addr()?;
        let again = socket.try_clone()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || LocalSet::new().block_on(&runtime, serve(socket, view, loader, stopped));
        let thread = std::thread::Builder::new().name("tollgate-admin".to_owned()).spawn(run)?;
        Ok(Self { address, socket: again, stop: Some(stop), thread: Some(thread) })
    }

    /// One more handle of its socket.
    pub(crate) fn socket(&self) -> anyhow::Result<Listening> {
        Ok(Listening::Tcp(self.socket.try_clone()?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by then.
            let _ = thread.join();
        }
    }
}

async fn serve(socket: StdListener, view: Arc<View>, loader: mpsc::Sender<ToLoader>, stopped: oneshot::Receiver<()>) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "the admin listener cannot accept"),
    };
    let carry = move |received, _| {
        let (view, loader) = (view.clone(), loader.clone());
        async move {
            match received {
                Received::Request(request, _) => answer(&request, &view, &loader).await,
                Received::Refused(error) => error.response(&Audience::default(), "").map(Body::from),
            }
        }
    };
    let connections = Rc::new(Connections::new(carry, limits(), None, Drain::new()));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // The connections of operators are no traffic: they are counted where nobody reads it.
    let Some(seat) = Seat::all(1).pop() else { return };
    accept::run(Acceptor::Tcp(socket), connections, seat, room, Arc::default(), async {
        // Dropped, not sent: both mean the end.
        let _ = stopped.await;
    })
    .await;
}

fn limits() -> ListenerLimits {
    ListenerLimits {
        connections: NonZeroUsize::new(CONNECTIONS).unwrap_or(NonZeroUsize::MIN),
        connections_per_client: None,
        head_size: 16 << 10,
        head_fields: 100,
        head_time: Duration::from_secs(10),
        handshake_time: Duration::from_secs(5),
        body_idle: Duration::from_secs(10),
        body_rate: None,
        keep_alive: Duration::from_secs(60),
    }
}

async fn answer(request: &Request<Body>, view: &View, loader: &mpsc::Sender<ToLoader>) -> Response<Body> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/healthz" if get => text(StatusCode::OK, "ok\n"),
        "/readyz" if get && view.draining.load(Ordering::Relaxed) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        "/readyz" if get => text(StatusCode::OK, "ready\n"),
        "/metrics" if get => reply(StatusCode::OK, metrics::CONTENT_TYPE, view.metrics.render()),
        "/state" if get => reply(StatusCode::OK, "application/json", format!("{:#}\n", state(view))),
        // A browser cannot be made to send this across origins: it would have to ask first, and gets no answer to that.
        "/reload" if request.method() == Method::POST && !request.headers().contains_key("origin") => {
            reload(loader).await
        }
        "/healthz" | "/readyz" | "/metrics" | "/state" => not_allowed("GET, HEAD"),
        "/reload" => not_allowed("POST"),
        path => match rollout(path) {
            Some((name, decision)) if request.method() == Method::POST && !request.headers().contains_key("origin") => {
                decide(loader, name, decision).await
            }
            Some(_) => not_allowed("POST"),
            None => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics, /state, POST /reload, POST /plugins/NAME/promote, and POST \
                 /plugins/NAME/rollback\n",
            ),
        },
    }
}

async fn reload(loader: &mpsc::Sender<ToLoader>) -> Response<Body> {
    let (answer, answered) = oneshot::channel();
    if loader.send(ToLoader::Reload(answer)).is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the server is going down\n");
    }
    match answered.await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Ok(Err(problems)) => reply(StatusCode::UNPROCESSABLE_ENTITY, PLAIN, problems.to_string()),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the server is going down\n"),
    }
}

/// `/plugins/NAME/promote` and `/plugins/NAME/rollback`.
fn rollout(path: &str) -> Option<(&str, Decision)> {
    let (name, what) = path.strip_prefix("/plugins/")?.split_once('/')?;
    match what {
        "promote" => Some((name, Decision::Promote)),
        "rollback" => Some((name, Decision::RollBack)),
        _ => None,
    }
}

async fn decide(loader: &mpsc::Sender<ToLoader>, name: &str, decision: Decision) -> Response<Body> {
    let (answer, answered) = oneshot::channel();
    if loader.send(ToLoader::Rollout(name.to_owned(), decision, answer)).is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the server is going down\n");
    }
    match answered.await {
        Ok(Ok(done)) => reply(StatusCode::OK, PLAIN, format!("{done}\n")),
        Ok(Err(why)) => reply(StatusCode::CONFLICT, PLAIN, format!("{why}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the server is going down\n"),
    }
}

/// What serves, in a form for programs. No value of a plugin's configuration is in it.
fn state(view: &View) -> Value {
    let state = view.state();
    let config = &state.snapshot.config;
    let listeners = config.listeners.iter().map(|listener| {
        json!({ "name": listener.name, "address": listener.address.to_string(), "tls": !listener.tls.is_empty() })
    });
    let routes = config.routes.iter().map(|route| {
        let percent = |part: Part| f64::from(part.0) / 1000.0;
        let split = |split: &Split| json!({ "upstream": split.upstream, "percent": percent(split.part) });
        let mirror = |mirror: &Mirror| json!({ "upstream": mirror.upstream, "percent": percent(mirror.part) });
        json!({
            "name": route.name,
            "chain": route.chain,
            "upstream": route.upstream,
            "split": route.split.iter().map(split).collect::<Vec<_>>(),
            "mirror": route.mirror.as_ref().map(mirror),
        })
    });
    let plugins = state.snapshot.plugins.values().map(|plugin| {
        let component = plugin.component();
        json!({
            "name": *plugin.name,
            "component": *component.name,
            "sha256": component.sha256,
            "imports": component.imports,
            "waits": component.waits,
            "trial": state.snapshot.trials.get(&*plugin.name).map(|trial| trial.report(config, &view.metrics)),
        })
    });
    // Without the line itself, which may hold what is nobody's business.
    let warnings = config.warnings.iter().chain(&state.snapshot.warnings).map(|warning| {
        let at = warning.place.as_ref().map(ToString::to_string);
        json!({ "message": warning.message, "key": warning.path, "at": at, "help": warning.help })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "draining": view.draining.load(Ordering::Relaxed),
        "config": { "hash": config.hash, "refused": state.refused, "warnings": warnings.collect::<Vec<_>>() },
        "listeners": listeners.collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "upstreams": state.snapshot.upstreams.iter().map(|upstream| upstream.report()).collect::<Vec<_>>(),
        "plugins": plugins.collect::<Vec<_>>(),
        "components": state.components,
    })
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    reply(status, PLAIN, body.to_owned())
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
