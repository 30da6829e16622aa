//! Replay: passes that were recorded, on the engine that serves, with another build of the plugin.
//!
//! Each call is made with what its hook was given then, capabilities say what they said, and the clock shows what it
//! showed; only the memo is the new build's own. What it answers is compared with what was answered.

mod report;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::Request;

use crate::authority::Scheme;
use crate::capability::http_client::Script;
use crate::chain::{Caller, Chain, Link};
use crate::client::Client;
use crate::config::{Grant, HttpOrigin, Isolation, PluginSpec};
use crate::error::Audience;
use crate::metrics::Metrics;
use crate::plugin::{Component, Engine, LoadError, Plugin, Pool, Scene, Stores, about};
use crate::proxy_protocol::Source;
use crate::recording::{About, Broken, Call, Frame, Frames, Input, Outcome, Played, Recorded};
use crate::request_id::RequestIds;

pub use report::{Difference, Differing, Report};

/// The longest file that is read, in bytes.
const LARGEST: u64 = 2 << 30;

/// A recording as it is run: passes, each with what it is of.
#[derive(Debug, Default)]
pub struct Recording {
    /// In the order of the file.
    pub passes: Vec<(Arc<About>, Recorded)>,
    /// Where the file is damaged, if it is: nothing behind that was read.
    pub broken: Option<Broken>,
}

/// Reads a file of recordings.
///
/// # Errors
/// Why there is nothing to run.
pub fn read(path: &Path) -> Result<Recording, String> {
    let known = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if known.len() > LARGEST {
        return Err("it is larger than any recording".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut recording = Recording::default();
    let mut about = None;
    for frame in Frames::new(&bytes).map_err(|broken| broken.why.to_owned())? {
        match (frame, &about) {
            (Ok(Frame::About(new)), _) => about = Some(Arc::new(new)),
            (Ok(Frame::Pass(pass)), Some(about)) => recording.passes.push((about.clone(), pass)),
            (Ok(Frame::Pass(_)), None) => return Err("it does not say of what it is".to_owned()),
            (Err(broken), _) => recording.broken = Some(broken),
        }
    }
    Ok(recording)
}

/// What a build makes of one pass.
struct Made {
    outcomes: Vec<Outcome>,
    /// What it asked that the recording does not know, by call.
    unknown: Vec<Vec<String>>,
    sees: Vec<String>,
}

/// Runs a recording with a build of the plugin, and compares it with what was recorded, or with what `base` makes of it.
///
/// # Errors
/// Where the plugin does not load with the configuration that was recorded.
pub async fn run(
    engine: &Arc<Engine>,
    recording: &Recording,
    component: &Arc<Component>,
    base: Option<&Arc<Component>>,
) -> Result<Report, LoadError> {
    let mut report = Report { passes: recording.passes.len(), broken: recording.broken.clone(), ..Report::default() };
    for (about, pass) in &recording.passes {
        let made = again(engine, component, about, pass).await?;
        let before: Vec<Outcome> = match base {
            Some(base) => again(engine, base, about, pass).await?.outcomes,
            None => pass.calls.iter().map(|call| call.outcome.clone()).collect(),
        };
        for new in made.sees.iter().filter(|name| !was_seen(name, &about.sees)) {
            if !report.unseen.contains(new) {
                report.unseen.push(new.clone());
            }
        }
        let calls = pass.calls.iter().zip(before).zip(made.outcomes).zip(made.unknown);
        for (((call, before), after), unknown) in calls {
            report.calls += 1;
            let differences = report::differences(&before, &after);
            if !differences.is_empty() {
                report.differing.push(Differing::new(pass, call, differences, unknown, &after));
            }
        }
    }
    Ok(report)
}

/// Whether what a build wants to see was recorded.
fn was_seen(name: &str, sees: &[String]) -> bool {
    let all = name.rsplit_once('.').map(|(group, _)| format!("{group}.*"));
    sees.iter().any(|seen| seen == name || Some(seen) == all.as_ref())
}

/// One pass in a world of its own.
async fn again(
    engine: &Arc<Engine>,
    component: &Arc<Component>,
    of: &About,
    pass: &Recorded,
) -> Result<Made, LoadError> {
    let played = Played::default();
    let scene = Scene {
        now: Some(UNIX_EPOCH + Duration::from_millis(pass.at_ms.min(LAST_MS))),
        http: Some(Arc::new(Script::default())),
        played: Some(played.clone()),
        silent: false,
    };
    let plugin = Plugin::load_in(engine, component, &spec(of), &Stores::default(), &scene).await?;
    let plugin = Arc::new(plugin);
    let sees = about(&plugin).sees;
    let metrics = Metrics::default();
    let pool = Rc::new(Pool::new(plugin.clone(), metrics.plugin(&plugin.name)));
    let link = Link::new(pool, &metrics.route(&pass.route), &plugin.name);
    let chain = Chain::new(vec![link], true);
    let mut running = chain.begin(caller(pass.calls.first()));
    let mut made = Made { outcomes: Vec::new(), unknown: Vec::new(), sees };
    for call in &pass.calls {
        played.load(call.said.clone());
        let outcome = running.again(call).await;
        made.outcomes.push(outcome.unwrap_or_else(|why| Outcome::Fail { kind: "recording".to_owned(), detail: why }));
        made.unknown.push(played.finish().0);
    }
    Ok(made)
}

/// The end of the year 9999: a clock can show what is before it.
const LAST_MS: u64 = 253_402_300_799_000;

/// The plugin as it was configured.
fn spec(about: &About) -> PluginSpec {
    let mut spec = PluginSpec::of(&about.plugin);
    spec.config.clone_from(&about.config);
    spec.isolation = if about.fresh { Isolation::Request } else { Isolation::Pooled };
    // The file is not to be trusted: a minute and four gigabytes are what a configuration may allow.
    spec.limits.time = Duration::from_millis(about.time_ms.clamp(1, 60_000));
    spec.limits.memory = usize::try_from(about.memory.clamp(64 << 10, 4 << 30)).unwrap_or(usize::MAX);
    let http = about.http.iter().filter_map(|text| HttpOrigin::of(text)).collect();
    spec.grant = Grant { kv: about.kv.clone(), http };
    spec
}

fn caller(call: Option<&Call>) -> Caller {
    let request = Request::new(());
    let (scheme, authority, client) = match call.map(|call| &call.input) {
        Some(Input::Request { scheme, authority, client, .. }) => (scheme.as_str(), authority.clone(), client.clone()),
        _ => ("", String::new(), None),
    };
    let client = client.and_then(|client| client.parse().ok()).unwrap_or([0, 0, 0, 0].into());
    Caller {
        client: Client::direct(client),
        source: Source::Unknown,
        scheme: Scheme::of(scheme == "https"),
        authority,
        audience: Audience::of_request(&request),
        request_id: RequestIds::new().next(),
    }
}
