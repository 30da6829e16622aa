//! Cases run: one plugin alone in a chain, on the engine that serves, with a client, an upstream and a world that a file
//! describes.
//!
//! [`config::cases`](crate::config::cases) is the file as it is meant. Nothing here imitates the host: the component is
//! compiled, granted, configured and called as for any request, so that what holds here holds there.

mod bench;
mod compare;
mod differ;
mod lines;
mod pieces;
mod report;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, request, response};

use crate::capability::http_client::{Answer, Error as NoAnswerAtAll, Script, Scripted};
use crate::capability::kv::Store;
use crate::capability::limiter::{Clock, Limiter, Sizes};
use crate::chain::{Caller, Chain, Ended, Link, Timing};
use crate::client::Client;
use crate::config::Problems;
use crate::config::cases::{Answered, Body, Case, CaseFile, Flow, NoAnswer, Response as Given, Source};
use crate::error::{Audience, Error};
use crate::headers;
use crate::metrics::Metrics;
use crate::plugin::{Attributes, BUILT_IN, Component, Engine, LoadError, Origin, Plugin, Pool, Scene, Stores};
use crate::proxy_protocol;
use crate::request_id::RequestIds;
use crate::{body, config};

pub use bench::{Bench, HookCosts, bench};
pub use compare::Difference;
use pieces::Arrived;
pub use report::{Outcome, Report, junit_broken};

/// The longest body that is looked at.
const LONGEST: usize = 64 << 20;

/// Why the cases of a file were not run.
#[derive(Debug)]
pub enum CannotRun {
    /// The file of cases is not as it should be.
    Cases(Problems),
    /// The component does not load: its name, and why.
    Component(String, LoadError),
    /// There is no such component, or it cannot be read: its name, and why.
    NoComponent(String, String),
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cases(problems) => write!(f, "{problems}"),
            Self::Component(name, error) => writeln!(f, "{name}: {error}"),
            Self::NoComponent(name, why) => writeln!(f, "the component {name}: {why}"),
        }
    }
}

impl std::error::Error for CannotRun {}

/// The files that a file of cases names: its component, where that is one, and what its values are read from.
#[must_use]
pub fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(file) = config::cases::load(path, None) else { return Vec::new() };
    let component = match file.component {
        Source::File(path) => Some(path),
        Source::BuiltIn(_) => None,
    };
    file.files.into_iter().chain(component).collect()
}

/// Runs all cases of a file. `component` is tried in place of what the file names.
///
/// # Errors
/// Where there is nothing to run.
pub async fn run(engine: &Arc<Engine>, path: &Path, component: Option<&Path>) -> Result<Report, CannotRun> {
    let begun = Instant::now();
    let file = config::cases::load(path, component).map_err(CannotRun::Cases)?;
    run_file(engine, &file, path.display().to_string(), begun).await
}

/// Runs all cases of a text, called `name` in what is said of it. Paths in it start from `base`.
///
/// # Errors
/// Where there is nothing to run.
pub async fn run_text(
    engine: &Arc<Engine>,
    text: &str,
    name: &str,
    base: &Path,
    component: Option<&Path>,
) -> Result<Report, CannotRun> {
    let begun = Instant::now();
    let file = config::cases::parse(text, name, base, component).map_err(CannotRun::Cases)?;
    run_file(engine, &file, name.to_owned(), begun).await
}

async fn run_file(engine: &Arc<Engine>, file: &CaseFile, name: String, begun: Instant) -> Result<Report, CannotRun> {
    let component = find(engine, file)?;
    let outcomes = run_on(engine, &component, &file.cases).await;
    Ok(Report { file: name, component: component.name.to_string(), outcomes, time: begun.elapsed() })
}

/// Whether a component passes the file of cases that lies beside it.
///
/// # Errors
/// [`LoadError::Cases`], with what is not as expected.
pub async fn pass_all(engine: &Arc<Engine>, component: &Arc<Component>, path: &Path) -> Result<(), LoadError> {
    let wrong = |problems: Problems| LoadError::Cases(problems.to_string().trim_end().to_owned());
    let file = config::cases::load(path, None).map_err(wrong)?;
    let outcomes = run_on(engine, component, &file.cases).await;
    let failed: Vec<_> = outcomes.into_iter().filter(|outcome| !outcome.passed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = failed.iter().map(|outcome| outcome.to_string().trim_end().to_owned()).collect();
    Err(LoadError::Cases(format!("{} of {}\n{}", failed.len(), file.cases.len(), lines.join("\n"))))
}

/// The component that a file of cases is about, compiled.
pub(crate) fn find(engine: &Arc<Engine>, file: &CaseFile) -> Result<Arc<Component>, CannotRun> {
    let (name, origin, bytes) = match &file.component {
        Source::BuiltIn(name) => {
            let Some((_, bytes)) = BUILT_IN.iter().find(|(known, _)| known == name) else {
                let known: Vec<_> = BUILT_IN.iter().map(|(known, _)| *known).collect();
                let known = known.join(", ");
                let why = format!("it is not built in ({known}), and a file's name ends in .wasm");
                return Err(CannotRun::NoComponent(name.clone(), why));
            };
            (name.clone(), Origin::BuiltIn, Bytes::from_static(bytes))
        }
        Source::File(path) => {
            let name = path.display().to_string();
            match std::fs::read(path) {
                Ok(bytes) => (name, Origin::File(path.clone()), bytes.into()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let why = "there is no such file: build it, or name another component";
                    return Err(CannotRun::NoComponent(name, why.to_owned()));
                }
                Err(error) => return Err(CannotRun::NoComponent(name, format!("it cannot be read: {error}"))),
            }
        }
    };
    let compiled = Component::compile(engine, &name, origin, bytes);
    compiled.map(Arc::new).map_err(|error| CannotRun::Component(name, error))
}

/// Runs cases on a component, each in a world of its own.
pub async fn run_on(engine: &Arc<Engine>, component: &Arc<Component>, cases: &[Case]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for case in cases {
        let heard = lines::Heard::default();
        let seen = heard.while_running(pass(engine, component, case, &heard)).await;
        outcomes.push(match seen {
            Ok(seen) => Outcome::of(case, compare::differences(case, &seen), Some(&seen)),
            Err(error) => Outcome::of(case, compare::not_loaded(case, &error), None),
        });
    }
    // What listened is gone: what nobody else hears costs nothing again.
    tracing::callsite::rebuild_interest_cache();
    outcomes
}

/// What came of a pass.
struct Seen {
    flow: Flow,
    /// The word of a refusal, or the reason of a failure.
    code: Option<String>,
    /// For who looks for the cause of a failure.
    detail: Option<String>,
    /// What the upstream gets.
    request: Option<Arrived<request::Parts>>,
    /// What the client gets.
    response: Arrived<response::Parts>,
    attributes: Attributes,
    /// Those that the case names.
    stores: BTreeMap<String, Arc<Store>>,
    log: Vec<String>,
    time: Duration,
    /// Bytes of linear memory; 0 where the instance is gone.
    memory: usize,
}

async fn pass(
    engine: &Arc<Engine>,
    component: &Arc<Component>,
    case: &Case,
    heard: &lines::Heard,
) -> Result<Seen, LoadError> {
    let world = World::of(case)?;
    let plugin = Arc::new(Plugin::load_in(engine, component, &case.plugin, &world.stores, &world.scene).await?);
    let metrics = Metrics::default();
    let pool = Rc::new(Pool::new(plugin.clone(), metrics.plugin(&plugin.name)));
    let link = Link::new(pool.clone(), &metrics.route("case"), &plugin.name);
    let chain = Chain::new(vec![link], true);
    pool.warm().await;
    let mut seen = None;
    for time in 0..case.times.max(1) {
        if time > 0 {
            let more = u64::try_from(case.every.as_nanos()).unwrap_or(u64::MAX);
            world.advanced.fetch_add(more, Ordering::Relaxed);
        }
        heard.forget();
        seen = Some(once(case, &chain).await);
    }
    let Some(Once { flow, ended, request, response, attributes, time, .. }) = seen else {
        return Err(LoadError::Failed("nothing was sent".to_owned()));
    };
    let memory = pool.memory_used();
    // What an instance has not yet said of its last call, it says in the end.
    drop((chain, pool, plugin));
    let (code, detail) = match ended {
        Some(Ended::Refused(_, code)) => (Some(code), None),
        Some(Ended::Failed(error)) => (Some(error.reason().code().to_owned()), Some(error.detail().to_owned())),
        Some(Ended::Answered(_)) | None => (None, None),
    };
    let log = heard.lines();
    Ok(Seen { flow, code, detail, request, response, attributes, stores: world.held, log, time, memory })
}

/// What a plugin finds in place of the world.
struct World {
    stores: Stores,
    /// Those that the case names.
    held: BTreeMap<String, Arc<Store>>,
    scene: Scene,
    script: Arc<Script>,
    /// By how much the limiter's clock was moved, in nanoseconds.
    advanced: Arc<AtomicU64>,
}

impl World {
    fn of(case: &Case) -> Result<Self, LoadError> {
        // Both before the plugin takes hold of them, which keeps them from being forgotten.
        let advanced = Arc::new(AtomicU64::new(0));
        let stores = Stores { limiter: limiter(&advanced), ..Stores::default() };
        let names = case.kv.iter().map(|(name, _)| name).chain(case.expect.kv.iter().map(|(name, _)| name));
        let held: BTreeMap<_, _> = names.map(|name| (name.clone(), stores.kv.open(name))).collect();
        for (name, entries) in &case.kv {
            for (key, value) in entries {
                let set = held[name].set(key, value.as_bytes(), None, Instant::now());
                set.map_err(|error| LoadError::Failed(format!("the entry {key:?} of the store {name:?}: {error}")))?;
            }
        }
        let script = Arc::<Script>::default();
        let scene = Scene { now: case.now, http: Some(script.clone()), played: None, silent: false };
        let world = Self { stores, held, scene, script, advanced };
        world.answer_again(case);
        Ok(world)
    }

    /// Lays down what servers answer, each answer once.
    fn answer_again(&self, case: &Case) {
        *lock(&self.script.0) = case.http.iter().map(scripted).collect();
    }
}

/// A pass of its own, as it went.
struct Once {
    flow: Flow,
    ended: Option<Ended>,
    request: Option<Arrived<request::Parts>>,
    response: Arrived<response::Parts>,
    attributes: Attributes,
    time: Duration,
    /// Where the chain keeps them.
    timings: Vec<Timing>,
}

async fn once(case: &Case, chain: &Chain) -> Once {
    let mut request = sent(case);
    headers::remove_owned(request.headers_mut(), chain.owned());
    let before = (request.uri().clone(), request.headers().clone());
    let mut pass = chain.begin(Caller {
        client: Client::direct(case.request.client),
        source: proxy_protocol::Source::Unknown,
        scheme: case.request.scheme,
        authority: case.request.authority.clone(),
        audience: Audience::of_request(&request),
        request_id: RequestIds::new().next(),
    });
    pass.attributes = case.request.attributes.iter().cloned().collect();

    let begun = Instant::now();
    let went = pass.on_request(Box::new(request)).await;
    let mut time = begun.elapsed();
    let (upstream, answer) = match went {
        Ok(crate::chain::Flow::Continue(request)) => match Arrived::all((*request).into_parts()).await {
            Ok(request) => (Some(request), answered(case)),
            Err(error) => (None, pass.fail(Error::new(error.of_request()))),
        },
        Ok(crate::chain::Flow::Respond(response)) => (None, response),
        Err(error) => (None, pass.fail(error)),
    };
    let unanswered = (answer.status(), answer.headers().clone());
    let begun = Instant::now();
    let response = pass.on_response(answer).await;
    time += begun.elapsed();
    let response = match Arrived::all(response.into_parts()).await {
        Ok(response) => response,
        // A client sees that it was cut; here is why.
        Err(error) => {
            let (head, body) = pass.fail(Error::new(error.of_response())).into_parts();
            Arrived::whole(head, body.collect(LONGEST).await.unwrap_or_default())
        }
    };

    let flow = match &pass.ended {
        Some(Ended::Answered(_)) => Flow::Respond,
        Some(Ended::Refused(..)) => Flow::Refuse,
        Some(Ended::Failed(_)) => Flow::Fail,
        None => {
            let same = upstream.as_ref().is_some_and(|request| {
                (&request.head.uri, &request.head.headers) == (&before.0, &before.1)
                    && request.has(case.request.body.as_ref())
            });
            let same = same && (response.head.status, &response.head.headers) == (unanswered.0, &unanswered.1);
            let same = same && response.has(case.response.body.as_ref());
            let said: Attributes = case.request.attributes.iter().cloned().collect();
            if same && pass.attributes == said { Flow::Continue } else { Flow::Edit }
        }
    };
    let timings = pass.timings();
    Once { flow, ended: pass.ended.take(), request: upstream, response, attributes: pass.attributes, time, timings }
}

/// What the client sends.
fn sent(case: &Case) -> Request<body::Body> {
    let given = &case.request;
    let target = match &given.query {
        Some(query) => format!("{}?{query}", given.path),
        None => given.path.clone(),
    };
    let mut request = Request::new(pieces::coming(given.body.as_ref()));
    *request.method_mut() = given.method.clone();
    // The file was checked: a canonical path and a query of visible characters are a target.
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.headers_mut() = fields(&given.headers, given.body.as_ref());
    if given.body.is_none() {
        headers::tell_of_no_body(&given.method, request.headers_mut());
    }
    request
}

/// What the upstream answers.
fn answered(case: &Case) -> Response<body::Body> {
    let given = &case.response;
    let mut response = Response::new(pieces::coming(given.body.as_ref()));
    // The file was checked: 200 to 599.
    *response.status_mut() = StatusCode::from_u16(given.status).unwrap_or_default();
    *response.headers_mut() = fields(&given.headers, given.body.as_ref());
    response
}

/// What a server answers that the plugin asks.
fn scripted(given: &Answered) -> Scripted {
    let answer = |given: &Given| {
        let body = pieces::bytes(given.body.as_ref());
        let mut headers = fields(&given.headers, given.body.as_ref());
        headers.remove(CONTENT_LENGTH);
        // The file was checked: 200 to 599.
        Answer { status: StatusCode::from_u16(given.status).unwrap_or_default(), headers, body }
    };
    Scripted {
        method: given.method.clone(),
        url: given.url.clone(),
        headers: given.with.clone(),
        answer: given.answer.as_ref().map(answer).map_err(|why| match why {
            NoAnswer::Connect => NoAnswerAtAll::Connect,
            NoAnswer::Resolve => NoAnswerAtAll::Resolve,
            NoAnswer::Tls => NoAnswerAtAll::Tls,
            NoAnswer::Timeout => NoAnswerAtAll::Timeout,
            NoAnswer::Protocol => NoAnswerAtAll::Protocol,
            NoAnswer::TooLarge => NoAnswerAtAll::TooLarge,
            NoAnswer::AddressNotAllowed => NoAnswerAtAll::AddressNotAllowed,
        }),
    }
}

/// The fields that the file names, and those that every message with a body has. Of one in pieces nobody says the length.
fn fields(given: &[(http::HeaderName, HeaderValue)], body: Option<&Body>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in given {
        map.append(name, value.clone());
    }
    if let Some(Body::Text(text) | Body::Json(text)) = body
        && !map.contains_key(CONTENT_LENGTH)
    {
        map.insert(CONTENT_LENGTH, text.len().into());
    }
    if matches!(body, Some(Body::Json(_))) && !map.contains_key(CONTENT_TYPE) {
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    map
}

/// A limiter whose clock the case moves, in nanoseconds.
fn limiter(advanced: &Arc<AtomicU64>) -> Arc<Limiter> {
    let (begin, advanced) = (Instant::now(), advanced.clone());
    Limiter::with_clock(
        Sizes::default(),
        Clock::new(move || begin + Duration::from_nanos(advanced.load(Ordering::Relaxed))),
    )
}

/// Nothing panics while it holds this lock.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
