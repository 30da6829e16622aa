//! Who records: decides which passes, and hands them to a thread that writes them.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use super::hide::Hiding;
use super::rotate::Files;
use super::{About, Answer, Call, Frame, Input, Outcome, Recorded, encode};
use crate::config::PluginRecord;
use crate::metrics::PluginInstances;

/// Passes that may wait for the thread.
const WAITING: usize = 256;
/// Bytes that may wait for it.
const WAITING_BYTES: usize = 16 << 20;
/// The longest pass that is kept, in bytes.
const LONGEST: usize = 1 << 20;

/// The recorder of one plugin. Its thread begins with the first pass that is kept, and ends when this is dropped, after
/// it has written what waits.
pub struct Recorder {
    /// Of 2^32 passes.
    share: u64,
    failures: bool,
    seen: AtomicU64,
    waiting: Arc<AtomicUsize>,
    counts: Arc<PluginInstances>,
    thread: Mutex<Thread>,
}

enum Thread {
    NotYet(Box<Writer>),
    Runs(SyncSender<Recorded>, JoinHandle<()>),
    Ended,
}

/// A recorder, in one route.
#[derive(Clone)]
pub struct Tap {
    /// Whose.
    pub recorder: Arc<Recorder>,
    /// Its name.
    pub route: Arc<str>,
}

/// What is recorded of one pass, for each plugin by its place in the chain. Handed over when it is dropped, however the
/// pass ended.
#[derive(Default)]
pub struct Recordings(Vec<Running>);

struct Running {
    index: usize,
    tap: Tap,
    /// Whether it is kept although nothing fails.
    chosen: bool,
    pass: Recorded,
}

impl Recorder {
    /// A recorder that writes nothing before there is something to write. `secrets` are those of the configuration.
    pub fn new<'a>(
        settings: &PluginRecord,
        mut about: About,
        secrets: impl IntoIterator<Item = &'a str>,
        counts: Arc<PluginInstances>,
    ) -> Self {
        let hiding = Hiding::new(secrets);
        hiding.about(&mut about);
        let name = about.plugin.clone();
        let files = Files::new(settings.directory.clone(), &name, settings.size, settings.files, &Frame::About(about));
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer { name, hiding, files, waiting: waiting.clone(), counts: counts.clone() };
        Self {
            share: (u64::from(settings.share) << 32) / 1_000_000,
            failures: settings.failures,
            seen: AtomicU64::new(0),
            waiting,
            counts,
            thread: Mutex::new(Thread::NotYet(Box::new(writer))),
        }
    }

    /// Whether the next pass is one of the share. Drawn, so that what comes in turns is met, too.
    fn draw(&self) -> bool {
        self.share > 0 && mixed(self.seen.fetch_add(1, Relaxed)) >> 32 < self.share
    }

    /// Hands a pass to the thread, or drops it where the thread is behind.
    fn hand_over(&self, pass: Recorded) {
        let size = size(&pass);
        if size > LONGEST || self.waiting.load(Relaxed) + size > WAITING_BYTES || !self.send(pass, size) {
            self.counts.recording_dropped();
        }
    }

    fn send(&self, pass: Recorded, size: usize) -> bool {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Thread::NotYet(_) = &*thread
            && let Thread::NotYet(writer) = std::mem::replace(&mut *thread, Thread::Ended)
        {
            let (passes, waiting) = sync_channel(WAITING);
            let name = "recorder".to_owned();
            if let Ok(handle) = std::thread::Builder::new().name(name).spawn(move || writer.run(&waiting)) {
                *thread = Thread::Runs(passes, handle);
            }
        }
        let Thread::Runs(passes, _) = &*thread else { return false };
        self.waiting.fetch_add(size, Relaxed);
        let sent = passes.try_send(pass).is_ok();
        if !sent {
            self.waiting.fetch_sub(size, Relaxed);
        }
        sent
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("failures", &self.failures).finish_non_exhaustive()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Thread::Runs(passes, handle) = std::mem::replace(thread, Thread::Ended) {
            drop(passes);
            // It has at most `WAITING_BYTES` to write. One that panicked has nothing more to say.
            let _ = handle.join();
        }
    }
}

impl Recordings {
    /// A call begins of the plugin at `index`; none where the pass is not recorded.
    pub(crate) fn begin(&mut self, index: usize, tap: &Tap, request_id: &str, hook: &str) -> Option<Box<Call>> {
        if !self.0.iter().any(|one| one.index == index) {
            let chosen = tap.recorder.draw();
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let pass = Recorded {
                route: tap.route.to_string(),
                request_id: request_id.to_owned(),
                at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
                calls: Vec::new(),
            };
            self.0.push(Running { index, tap: tap.clone(), chosen, pass });
        }
        let running = self.0.iter().find(|one| one.index == index)?;
        (running.chosen || running.tap.recorder.failures).then(|| Box::new(Call::begin(hook)))
    }

    /// A call has ended.
    pub(crate) fn end(&mut self, index: usize, call: Call) {
        if let Some(running) = self.0.iter_mut().find(|one| one.index == index) {
            running.pass.calls.push(call);
        }
    }

    /// What it answered last turned out to be none.
    pub(crate) fn failed(&mut self, index: usize, kind: &str, detail: &str) {
        let running = self.0.iter_mut().find(|one| one.index == index);
        if let Some(call) = running.and_then(|running| running.pass.calls.last_mut()) {
            call.outcome = Outcome::Fail { kind: kind.to_owned(), detail: detail.to_owned() };
        }
    }
}

impl Drop for Recordings {
    fn drop(&mut self) {
        for Running { tap, chosen, pass, .. } in self.0.drain(..) {
            let failed = tap.recorder.failures && pass.calls.iter().any(Call::failed);
            if !pass.calls.is_empty() && (chosen || failed) {
                tap.recorder.hand_over(pass);
            }
        }
    }
}

struct Writer {
    name: String,
    hiding: Hiding,
    files: Files,
    waiting: Arc<AtomicUsize>,
    counts: Arc<PluginInstances>,
}

impl Writer {
    fn run(mut self, passes: &Receiver<Recorded>) {
        let mut told = false;
        while let Ok(mut pass) = passes.recv() {
            let size = size(&pass);
            self.hiding.pass(&mut pass);
            let written = match encode(&Frame::Pass(pass)) {
                Some(frame) => self.files.write(&frame),
                None => Err(std::io::ErrorKind::FileTooLarge.into()),
            };
            match written {
                Ok(()) => {
                    told = false;
                    self.counts.recording_written();
                }
                Err(error) => {
                    self.counts.recording_dropped();
                    // Once, until it works again.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(plugin = self.name, %error, "recordings cannot be written");
                    }
                }
            }
            self.waiting.fetch_sub(size, Relaxed);
        }
    }
}

/// About how many bytes a pass takes.
fn size(pass: &Recorded) -> usize {
    let fields =
        |fields: &[(String, Vec<u8>)]| fields.iter().map(|(name, value)| name.len() + value.len() + 16).sum::<usize>();
    let call = |call: &Call| {
        let input = match &call.input {
            Input::None => 0,
            Input::Request { path, query, headers, attributes, .. } => {
                let attributes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
                path.len() + query.as_ref().map_or(0, String::len) + fields(headers) + attributes
            }
            Input::Response { headers, .. } => fields(headers),
        };
        let said = |said: &super::Said| {
            said.asked.len()
                + match &said.answer {
                    Answer::Value(Ok(Some(value))) => value.len(),
                    Answer::Keys(Ok(keys)) => keys.iter().map(String::len).sum(),
                    Answer::Http(Ok((_, headers, body))) => fields(headers) + body.len(),
                    _ => 16,
                }
        };
        let outcome = match &call.outcome {
            Outcome::Edit(changes) => {
                fields(&changes.set)
                    + fields(&changes.append)
                    + changes.body.as_ref().map_or(0, Vec::len)
                    + changes.memo.as_ref().map_or(0, Vec::len)
            }
            Outcome::Respond { headers, body, .. } => fields(headers) + body.len(),
            _ => 64,
        };
        128 + input + call.body.as_ref().map_or(0, Vec::len) + call.said.iter().map(said).sum::<usize>() + outcome
    };
    pass.calls.iter().map(call).sum()
}

/// SplitMix64: numbers in a row as numbers that look drawn.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::Frames;
    use super::*;
    use crate::metrics::Metrics;

    fn tap(directory: PathBuf, share: u32, failures: bool) -> (Tap, Metrics) {
        let metrics = Metrics::default();
        let settings = PluginRecord { share, failures, directory, size: 1 << 20, files: 2 };
        let about = About { plugin: "p".into(), ..About::default() };
        let recorder = Recorder::new(&settings, about, [], metrics.plugin("p"));
        (Tap { recorder: Arc::new(recorder), route: "r".into() }, metrics)
    }

    fn one(tap: &Tap, id: usize, outcome: Outcome, body: usize) {
        let mut recordings = Recordings::default();
        if let Some(mut call) = recordings.begin(0, tap, &id.to_string(), "on-request") {
            call.outcome = outcome;
            call.body = Some(vec![b'x'; body]);
            recordings.end(0, *call);
        }
    }

    fn written(directory: &std::path::Path) -> usize {
        let Ok(bytes) = std::fs::read(directory.join("p.tollrec")) else { return 0 };
        Frames::new(&bytes).unwrap().filter(|frame| matches!(frame, Ok(Frame::Pass(_)))).count()
    }

    fn failed() -> Outcome {
        Outcome::Fail { kind: "trap".into(), detail: String::new() }
    }

    #[test]
    fn a_share_of_passes_is_kept_and_every_failure() {
        let directory = tempfile::tempdir().unwrap();
        let (tenth, _) = tap(directory.path().into(), 100_000, true);
        let drawn = (0..2000).filter(|_| tenth.recorder.draw()).count();
        assert!((150..250).contains(&drawn), "{drawn} of 2000 are a tenth");
        let (tap, metrics) = tap(directory.path().into(), 0, true);
        (0..50).for_each(|id| one(&tap, id, Outcome::Continue, 0));
        (0..3).for_each(|id| one(&tap, id, failed(), 0));
        let _counts = metrics.plugin("p");
        drop(tap);
        assert_eq!(written(directory.path()), 3);
        let text = metrics.render();
        assert!(text.contains(r#"tollgate_plugin_recordings_total{plugin="p",outcome="written"} 3"#), "{text}");
    }

    #[test]
    fn what_is_too_long_is_dropped_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (tap, metrics) = tap(directory.path().into(), 1_000_000, false);
        one(&tap, 1, failed(), LONGEST + 1);
        one(&tap, 2, Outcome::Continue, 10);
        let _counts = metrics.plugin("p");
        drop(tap);
        assert_eq!(written(directory.path()), 1);
        let text = metrics.render();
        assert!(text.contains(r#"tollgate_plugin_recordings_total{plugin="p",outcome="dropped"} 1"#), "{text}");
    }

    #[test]
    fn where_nothing_can_be_written_nothing_waits() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "no directory").unwrap();
        let (tap, metrics) = tap(file, 1_000_000, false);
        (0..WAITING * 2).for_each(|id| one(&tap, id, Outcome::Continue, 0));
        let _counts = metrics.plugin("p");
        drop(tap);
        let text = metrics.render();
        let dropped = format!(r#"tollgate_plugin_recordings_total{{plugin="p",outcome="dropped"}} {}"#, WAITING * 2);
        assert!(text.contains(&dropped), "{text}");
    }
}
