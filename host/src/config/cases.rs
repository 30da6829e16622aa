//! Cases: what has to come of a pass through one plugin, as a file says it.
//!
//! The file is read as a configuration is, with the same words and every problem at its place. What is here is the file
//! as it is meant; [`crate::cases`] runs it.

mod body;
mod file;
mod value;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use super::bounds::{DAY, count, within};
use super::parse::{document, text};
use super::place::{Place, Places};
use super::plugin::{grant, limits};
use super::problem::{Problem, Problems};
use super::reader::{At, Entry, Named, Reader};
use super::units::show_duration;
use super::value::Text;
use super::{Grant, Isolation, OnFailure, PluginLimits, PluginSpec};
use crate::authority::{Authority, Scheme};

/// What the name of a file of cases ends with.
pub const ENDING: &str = ".test.toml";

/// The time of one call, where the file says nothing.
const CALL: Duration = Duration::from_secs(5);

/// The most often that one request is sent.
const MOST_TIMES: usize = 1_000_000;

/// A file of cases.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// What is tried.
    pub component: Source,
    /// In the order of their names.
    pub cases: Vec<Case>,
    /// Files that it names.
    pub files: Vec<PathBuf>,
}

/// Where the component of a file of cases comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A built-in.
    BuiltIn(String),
    /// A file.
    File(PathBuf),
}

/// One pass through a chain of one plugin.
#[derive(Debug, Clone)]
pub struct Case {
    /// As in `[case.NAME]`.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What is tried, and how it is configured.
    pub plugin: PluginSpec,
    /// What the plugin's clock shows; none for the machine's.
    pub now: Option<SystemTime>,
    /// What is in each store before.
    pub kv: Vec<(String, Vec<(String, String)>)>,
    /// What servers answer that the plugin asks.
    pub http: Vec<Answered>,
    /// What the client sends.
    pub request: Request,
    /// What the upstream answers.
    pub response: Response,
    /// How often the request is sent.
    pub times: usize,
    /// How far the limiter's clock advances between two times.
    pub every: Duration,
    /// What has to come of it.
    pub expect: Expect,
}

/// What the client sends.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// How the client reached the listener.
    pub scheme: Scheme,
    /// Host and port in normal form.
    pub authority: String,
    /// The path, as it is written.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// Those that the file names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The address of the client.
    pub client: IpAddr,
    /// What plugins before this one have said.
    pub attributes: Vec<(String, String)>,
    /// The body.
    pub body: Option<Body>,
}

/// What the upstream answers.
#[derive(Debug, Clone)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Those that the file names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Option<Body>,
}

/// What a server answers that the plugin asks.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The method that is answered.
    pub method: Method,
    /// The URL that is answered.
    pub url: String,
    /// Header fields that the request has to have.
    pub with: Vec<(HeaderName, HeaderValue)>,
    /// The answer, or why there is none.
    pub answer: Result<Response, NoAnswer>,
}

/// Why a server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It cannot be reached.
    Connect,
    /// It has no address.
    Resolve,
    /// It does not prove who it is.
    Tls,
    /// It takes too long.
    Timeout,
    /// It does not speak HTTP.
    Protocol,
    /// It says too much.
    TooLarge,
    /// Its address is none that may be dialled.
    AddressNotAllowed,
}

/// A body of a request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// As it is.
    Text(String),
    /// JSON text, of which the value counts.
    Json(String),
    /// In these pieces, and with these fields behind it.
    Chunks(Vec<String>, Vec<(HeaderName, HeaderValue)>),
}

/// What a pass comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It goes on, and nothing was changed.
    Continue,
    /// It goes on, and something was changed.
    Edit,
    /// The plugin answers.
    Respond,
    /// The plugin refuses.
    Refuse,
    /// The plugin fails.
    Fail,
}

impl Flow {
    /// As the file writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Edit => "edit",
            Self::Respond => "respond",
            Self::Refuse => "refuse",
            Self::Fail => "fail",
        }
    }
}

/// What has to come of a pass. What is none is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// What it comes to.
    pub flow: Option<Flow>,
    /// The word of a refusal, or the reason of a failure.
    pub code: Option<String>,
    /// What the upstream gets.
    pub request: Option<ExpectMessage>,
    /// What the client gets.
    pub response: Option<ExpectMessage>,
    /// Attributes afterwards.
    pub attributes: Vec<(String, Want)>,
    /// What is in each store afterwards.
    pub kv: Vec<(String, Vec<(String, Want)>)>,
    /// Parts of lines that are logged.
    pub log: Option<Vec<String>>,
    /// The most time of all calls.
    pub time: Option<Duration>,
    /// The most memory of the instance, in bytes.
    pub memory: Option<u64>,
    /// Parts of complaints about the configuration.
    pub complaints: Option<Vec<String>>,
}

/// What the upstream or the client has to get.
#[derive(Debug, Clone, Default)]
pub struct ExpectMessage {
    /// Of a response.
    pub status: Option<u16>,
    /// Of a request.
    pub path: Option<Want>,
    /// Of a request.
    pub query: Option<Want>,
    /// Header fields.
    pub headers: Vec<(String, Want)>,
    /// The body as text.
    pub body: Option<Want>,
    /// The body as JSON.
    pub json: Option<String>,
    /// The body in its pieces.
    pub chunks: Option<Vec<String>>,
    /// Fields behind the body.
    pub trailers: Vec<(String, Want)>,
}

/// What a value has to be.
#[derive(Debug, Clone)]
pub enum Want {
    /// Exactly these, in this order: one where the file has a text.
    Values(Vec<String>),
    /// One that the expression takes as a whole.
    Regex(Regex),
    /// There, or not there.
    Present(bool),
}

/// Reads a file of cases. `component` is tried in place of what the file names.
///
/// # Errors
/// Everything that is wrong with it; or that it could not be read ([`Problems::is_unreadable`]).
pub fn load(path: &Path, component: Option<&Path>) -> Result<CaseFile, Problems> {
    let base = path.parent().unwrap_or(Path::new(""));
    let file_name = path.display().to_string();
    let mut file = parse(&text(path)?, &file_name, base, component)?;
    file.files.insert(0, path.to_owned());
    Ok(file)
}

/// Checks the text of a file of cases. `file_name` is for messages and for the name of the component, `base` is the
/// directory that paths in it start from.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str, base: &Path, component: Option<&Path>) -> Result<CaseFile, Problems> {
    let env = |name: &str| std::env::var(name).ok();
    let (mut reader, file) = document::<file::File>(text, file_name, base, &env)?;
    let meant = file.map(|file| {
        let stem = Path::new(file_name).file_name().and_then(|name| name.to_str()).unwrap_or("plugin");
        let stem = stem.strip_suffix(ENDING).unwrap_or(stem);
        let source = match (component, file.component.value()) {
            (Some(path), _) => Source::File(path.to_owned()),
            (None, Some(named)) if named.0.ends_with(".wasm") => Source::File(reader.locate(&named.0)),
            (None, Some(named)) => Source::BuiltIn(named.0),
            (None, None) => Source::File(reader.locate(&format!("{stem}.wasm"))),
        };
        let spec = setting(file.plugin, stem, &mut reader);
        if matches!(file.case, Entry::Absent) && !reader.is_partial() {
            let at = At { value: (), span: 0..0, path: "case".to_owned() };
            let problem = reader.problem(&at, "there is no case: nothing would be tried");
            reader.report(problem.help("add [case.NAME] with what is expected"));
        }
        let tables = file.case.or(Named::default()).tables;
        let cases = tables.into_iter().map(|(name, at)| case(name, at, &spec, &mut reader)).collect();
        (source, cases)
    });
    let files = std::mem::take(&mut reader.files);
    let mut problems = reader.finish();
    problems.sort();
    match meant {
        Some((component, cases)) if !problems.has_errors() => Ok(CaseFile { component, cases, files }),
        _ => Err(problems),
    }
}

/// What is the same for every case.
fn setting(entry: Entry<file::Setting>, stem: &str, reader: &mut Reader<'_>) -> PluginSpec {
    let default = PluginLimits { time: CALL, ..PluginLimits::default() };
    let of = PluginSpec { limits: default.clone(), ..PluginSpec::of(stem) };
    let Some(written) = entry.value() else { return of };
    let (config, places) = written.config.value().map_or((of.config, of.places), |config| (config.json, config.places));
    PluginSpec {
        config,
        places,
        on_failure: written.on_failure.or(OnFailure::Closed),
        isolation: written.isolation.or(Isolation::Pooled),
        limits: limits(written.limits, &default, reader),
        grant: match written.grant {
            Entry::Absent => Grant::default(),
            some => grant(some, reader),
        },
        ..of
    }
}

fn case(name: String, at: At<file::Case>, spec: &PluginSpec, reader: &mut Reader<'_>) -> Case {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let mut plugin = spec.clone();
    if let Some(config) = written.config.value() {
        (plugin.config, plugin.places) = (config.json, config.places);
    }
    if plugin.places == Places::default() {
        plugin.places.insert(String::new(), reader.source().place(&here.span));
    }
    let stores = |kv: Named<value::Texts>| kv.tables.into_iter().map(|(name, at)| (name, at.value.0)).collect();
    Case {
        place: reader.source().place(&here.span),
        plugin,
        now: written.now.value().map(|now| now.0),
        kv: stores(written.kv.or(Named::default())),
        http: written.http.or(Vec::new()).into_iter().filter_map(|at| answered(at, reader)).collect(),
        request: request(written.request, reader),
        response: response(written.response, reader),
        times: count(reader, written.times, 1, 1..=MOST_TIMES).0,
        every: within(reader, written.every, Duration::ZERO, Duration::ZERO..=31 * DAY, show_duration),
        expect: expect(written.expect, &here, reader),
        name,
    }
}

fn request(entry: Entry<file::Request>, reader: &mut Reader<'_>) -> Request {
    let mut request = Request {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "localhost".to_owned(),
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        // RFC 5737: for documentation, and nobody's.
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        attributes: Vec::new(),
        body: None,
    };
    let Some(written) = entry.value() else { return request };
    request.method = written.method.value().map_or(request.method, |method| method.0);
    request.scheme = written.scheme.value().map_or(request.scheme, |scheme| scheme.0);
    if let Entry::Is(authority) = written.authority {
        match Authority::parse(authority.value.0.as_bytes(), request.scheme) {
            Ok(parsed) => request.authority = parsed.as_str().to_owned(),
            Err(error) => reader.error(&authority, error.detail()),
        }
    }
    if let Entry::Is(path) = written.path {
        match crate::path::canonical(&path.value.0, true) {
            Ok(canonical) if canonical == path.value.0 => request.path = path.value.0,
            Ok(canonical) => {
                let problem = reader.problem(&path, "the path is not in canonical form, as plugins get it");
                reader.report(problem.help(format!("write {canonical:?}")));
            }
            Err(error) => reader.error(&path, format!("the path would be refused: {error}")),
        }
    }
    if let Entry::Is(query) = written.query {
        if !query.value.0.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            reader.error(&query, "a query has visible ASCII characters, and no #");
        }
        request.query = Some(query.value.0);
    }
    if let Entry::Is(client) = written.client {
        match client.value.0.parse() {
            Ok(address) => request.client = address,
            Err(_) => reader.error(&client, "the client is an IP address, such as \"192.0.2.1\""),
        }
    }
    request.headers = written.headers.value().unwrap_or_default().0;
    request.attributes = written.attributes.value().unwrap_or_default().0;
    request.body = body::sent(written.body, written.json, written.chunks, written.trailers, reader);
    request
}

fn answered(at: At<file::Answer>, reader: &mut Reader<'_>) -> Option<Answered> {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let url = reader.require(written.url, "url", &here)?.value.0;
    let response = Response {
        status: status(written.status, reader).unwrap_or(200),
        headers: written.headers.value().unwrap_or_default().0,
        body: body::sent(written.body, written.json, Entry::Absent, Entry::Absent, reader),
    };
    Some(Answered {
        method: written.method.value().map_or(Method::GET, |method| method.0),
        url,
        with: written.with.value().unwrap_or_default().0,
        answer: written.error.value().map_or(Ok(response), |word| Err(word.0)),
    })
}

fn response(entry: Entry<file::Response>, reader: &mut Reader<'_>) -> Response {
    let Some(written) = entry.value() else { return Response { status: 200, headers: Vec::new(), body: None } };
    Response {
        status: status(written.status, reader).unwrap_or(200),
        headers: written.headers.value().unwrap_or_default().0,
        body: body::sent(written.body, written.json, written.chunks, written.trailers, reader),
    }
}

fn expect(entry: Entry<file::Expect>, case: &At<()>, reader: &mut Reader<'_>) -> Expect {
    let written = match entry {
        Entry::Is(at) => at.value,
        Entry::Wrong => return Expect::default(),
        Entry::Absent => {
            nothing(case, reader);
            return Expect::default();
        }
    };
    let here = case;
    // One that was reported is something that was expected.
    let some = written.is_wrong_somewhere();
    let texts = |list: Vec<At<Text>>| list.into_iter().map(|at| at.value.0).collect();
    let expect = Expect {
        flow: written.flow.value().map(|word| word.0),
        code: written.code.value().map(|code| code.0),
        request: written.request.value().map(|request| {
            body::one_of(&request.body, &request.json, &request.chunks, reader);
            ExpectMessage {
                status: None,
                path: request.path.value().map(|want| want.0),
                query: request.query.value().map(|want| want.0),
                headers: request.headers.value().unwrap_or_default().0,
                body: request.body.value().map(|want| want.0),
                json: request.json.value().map(|json| json.0),
                chunks: request.chunks.value().map(texts),
                trailers: request.trailers.value().unwrap_or_default().0,
            }
        }),
        response: written.response.value().map(|response| {
            body::one_of(&response.body, &response.json, &response.chunks, reader);
            ExpectMessage {
                status: status(response.status, reader),
                path: None,
                query: None,
                headers: response.headers.value().unwrap_or_default().0,
                body: response.body.value().map(|want| want.0),
                json: response.json.value().map(|json| json.0),
                chunks: response.chunks.value().map(texts),
                trailers: response.trailers.value().unwrap_or_default().0,
            }
        }),
        attributes: written.attributes.value().unwrap_or_default().0,
        kv: {
            let stores = written.kv.or(Named::default()).tables;
            stores.into_iter().map(|(name, at)| (name, at.value.0)).collect()
        },
        log: written.log.value().map(texts),
        time: written.time.value(),
        memory: written.memory.value().map(|size| size.0),
        complaints: written.complaints.value().map(texts),
    };
    if expect.is_nothing() && !some {
        nothing(here, reader);
    }
    if expect.complaints.is_some() && expect.is_a_pass() {
        let problem = reader.problem(here, "a plugin that refuses its configuration gets no request");
        reader.report(problem.help("expect `complaints` alone"));
    }
    expect
}

impl Expect {
    fn is_nothing(&self) -> bool {
        self.complaints.is_none() && !self.is_a_pass()
    }

    /// Whether a pass is looked at.
    fn is_a_pass(&self) -> bool {
        self.flow.is_some()
            || self.code.is_some()
            || self.request.is_some()
            || self.response.is_some()
            || !self.attributes.is_empty()
            || !self.kv.is_empty()
            || self.log.is_some()
            || self.time.is_some()
            || self.memory.is_some()
    }
}

/// A case that cannot fail is a mistake.
fn nothing(case: &At<()>, reader: &mut Reader<'_>) {
    let problem: Problem = reader.problem(case, "the case expects nothing, and so cannot fail");
    reader.report(problem.help("add expect = { flow = \"continue\" }"));
}

fn status(entry: Entry<crate::config::value::Count>, reader: &mut Reader<'_>) -> Option<u16> {
    match entry {
        Entry::Is(_) => u16::try_from(count(reader, entry, 200, 200..=599).0).ok(),
        Entry::Absent | Entry::Wrong => None,
    }
}

/// An origin as a grant has it, for tests of what may be reached.
#[cfg(test)]
pub(crate) fn origin(text: &str) -> Option<super::HttpOrigin> {
    let endpoint = super::address::endpoint(text).ok()?;
    Some(super::HttpOrigin { endpoint, addresses: Vec::new(), roots: None })
}

/// A network, likewise.
#[cfg(test)]
pub(crate) fn network(text: &str) -> super::Network {
    super::address::network(text).expect("a network")
}
