//! Lines of plugins for the operator: what stands behind `tollgate:plugin/log`, and behind a guest's standard
//! output and error.
//!
//! A plugin may say anything and as often as it likes: a line is cut, a call has a quota, and the log escapes what would
//! break a line or a terminal, as it does for all lines. Nothing here ever fails a plugin.

mod guest;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use guest::link;

/// The longest line, in bytes. The rest of a longer one is replaced by `…`.
pub const LONGEST_LINE: usize = 8 << 10;
/// How many lines one call may write.
pub const LINES_PER_CALL: u32 = 64;
/// How many bytes all lines of one call may have together. The line that goes beyond it is the last one.
pub const BYTES_PER_CALL: u32 = 64 << 10;

/// The target of all lines of plugins, for those who filter by it.
pub(crate) const TARGET: &str = "plugin";

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author of the plugin.
    Debug,
    /// For the record.
    Info,
    /// Something is not as it should be, and the plugin went on.
    Warn,
    /// Something failed.
    Error,
}

/// The lines of one instance of a plugin. Clones are the same instance's: its imports, its standard output and error.
#[derive(Debug, Clone)]
pub struct PluginLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plugin: Arc<str>,
    /// Nothing is written.
    silent: bool,
    lines: AtomicU32,
    bytes: AtomicU32,
    dropped: AtomicU32,
    /// Whether the guest has said anything since the call began: most calls say nothing, and end without a look at the rest.
    spoke: AtomicBool,
    /// What the guest has written of a line that it has not ended.
    open: Mutex<Vec<u8>>,
}

impl PluginLog {
    /// The log of a plugin's first instance, by the name that chains use.
    pub fn new(plugin: &str) -> Self {
        Self::of(plugin.into(), false)
    }

    /// The log of a plugin whose lines nobody is to see.
    pub fn silent(plugin: &str) -> Self {
        Self::of(plugin.into(), true)
    }

    /// The log of another instance of the same plugin, with a quota of its own.
    pub fn instance(&self) -> Self {
        Self::of(self.0.plugin.clone(), self.0.silent)
    }

    fn of(plugin: Arc<str>, silent: bool) -> Self {
        let zero = || AtomicU32::new(0);
        Self(Arc::new(Shared {
            plugin,
            silent,
            lines: zero(),
            bytes: zero(),
            dropped: zero(),
            spoke: AtomicBool::new(false),
            open: Mutex::default(),
        }))
    }

    /// Whether a line of this level would be written by anybody.
    pub fn enabled(&self, level: Level) -> bool {
        if self.0.silent {
            return false;
        }
        match level {
            Level::Debug => tracing::enabled!(target: TARGET, tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: TARGET, tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: TARGET, tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: TARGET, tracing::Level::ERROR),
        }
    }

    /// Writes one line, if the call has not used up its quota. A line of a level that nobody writes costs nothing of it.
    pub fn write(&self, level: Level, message: &str) {
        if self.enabled(level) {
            self.0.write(level, message);
        }
    }

    /// Takes bytes of the guest's standard output or error, and writes the lines that they end, as warnings. Of a line
    /// that is too long only the beginning is kept.
    pub fn output(&self, mut bytes: &[u8]) {
        self.0.spoke.store(true, Ordering::Relaxed);
        let mut open = lock(&self.0.open);
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            keep(&mut open, &bytes[..end]);
            bytes = &bytes[end + 1..];
            self.0.end_line(&mut open);
        }
        keep(&mut open, bytes);
    }

    /// A call begins, with a whole quota. What the call before it left is written first: a line without an end, and how
    /// many lines were dropped. The last call's is written when the instance is dropped.
    pub fn begin_call(&self) {
        self.0.end_call();
    }
}

impl Shared {
    fn write(&self, level: Level, message: &str) {
        self.spoke.store(true, Ordering::Relaxed);
        if !self.admit(message.len()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let end = message.floor_char_boundary(LONGEST_LINE);
        let (message, more) = (&message[..end], if end < message.len() { "…" } else { "" });
        let plugin = &*self.plugin;
        match level {
            Level::Debug => tracing::debug!(target: TARGET, plugin, "{message}{more}"),
            Level::Info => tracing::info!(target: TARGET, plugin, "{message}{more}"),
            Level::Warn => tracing::warn!(target: TARGET, plugin, "{message}{more}"),
            Level::Error => tracing::error!(target: TARGET, plugin, "{message}{more}"),
        }
    }

    /// Clones never write at once: an instance does one thing at a time. Were they to, a quota would be exceeded by one.
    fn admit(&self, length: usize) -> bool {
        let (lines, bytes) = (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        if lines >= LINES_PER_CALL || bytes >= BYTES_PER_CALL {
            return false;
        }
        let length = u32::try_from(length.min(LONGEST_LINE)).unwrap_or(BYTES_PER_CALL);
        self.lines.store(lines + 1, Ordering::Relaxed);
        self.bytes.store(bytes + length, Ordering::Relaxed);
        true
    }

    fn end_line(&self, open: &mut Vec<u8>) {
        let text = open.strip_suffix(b"\r").unwrap_or(open);
        if !text.is_empty() && !self.silent && tracing::enabled!(target: TARGET, tracing::Level::WARN) {
            self.write(Level::Warn, &String::from_utf8_lossy(text));
        }
        open.clear();
    }

    fn end_call(&self) {
        if !self.spoke.load(Ordering::Relaxed) {
            return;
        }
        self.end_line(&mut lock(&self.open));
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        self.lines.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.spoke.store(false, Ordering::Relaxed);
        if dropped > 0 {
            let plugin = &*self.plugin;
            tracing::warn!(target: TARGET, plugin, dropped, "lines beyond the quota of one call were dropped");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end_call();
    }
}

/// One byte more than the longest line, and a whole character more than that: enough to see that it was too long.
fn keep(open: &mut Vec<u8>, bytes: &[u8]) {
    let room = (LONGEST_LINE + 4).saturating_sub(open.len());
    open.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Nothing panics while it holds this lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tracing::field::{Field, Visit};
    use tracing::{Event, Metadata, Subscriber, span};

    use super::*;

    /// What `tracing` was told: level and fields of each line, below a level.
    #[derive(Clone)]
    struct Heard(Arc<Mutex<Vec<String>>>, tracing::Level);

    impl Subscriber for Heard {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.1
        }

        fn event(&self, event: &Event<'_>) {
            struct Fields(String);
            impl Visit for Fields {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    self.0 += &format!(" {}={value:?}", field.name());
                }
            }
            let mut fields = Fields(format!("{} {}", event.metadata().target(), event.metadata().level()));
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn heard(level: tracing::Level, speak: impl FnOnce(PluginLog)) -> Vec<String> {
        let heard = Heard(Arc::default(), level);
        tracing::subscriber::with_default(heard.clone(), || speak(PluginLog::new("keys")));
        heard.0.lock().unwrap().clone()
    }

    #[test]
    fn lines_carry_their_plugin_and_their_level() {
        let lines = heard(tracing::Level::INFO, |log| {
            assert!(log.enabled(Level::Info) && !log.enabled(Level::Debug));
            for level in [Level::Debug, Level::Info, Level::Warn, Level::Error] {
                log.write(level, "hello");
            }
        });
        let rest = r#"message=hello plugin="keys""#;
        assert_eq!(lines, ["INFO", "WARN", "ERROR"].map(|level| format!("plugin {level} {rest}")));
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        let lines = heard(tracing::Level::INFO, |log| {
            log.write(Level::Info, &"ä".repeat(LONGEST_LINE));
            log.write(Level::Info, &format!("x{}", "ä".repeat(LONGEST_LINE)));
            log.write(Level::Info, &"y".repeat(LONGEST_LINE));
        });
        assert!(lines[0].contains(&format!("={}… ", "ä".repeat(LONGEST_LINE / 2))));
        assert!(lines[1].contains(&format!("=x{}… ", "ä".repeat(LONGEST_LINE / 2 - 1))));
        assert!(lines[2].contains(&format!("={} ", "y".repeat(LONGEST_LINE))));
    }

    #[test]
    fn a_call_has_a_quota_and_what_goes_beyond_is_told_once() {
        let lines = heard(tracing::Level::INFO, |log| {
            (0..1_000_000).for_each(|_| log.write(Level::Debug, "nobody listens, and nothing is counted"));
            (0..1000).for_each(|number| log.write(Level::Info, &number.to_string()));
            log.instance().write(Level::Info, "another instance");
            log.begin_call();
            log.begin_call();
            (0..100).for_each(|_| log.write(Level::Info, &"z".repeat(LONGEST_LINE * 2)));
        });
        assert_eq!(lines.len(), 64 + 1 + 1 + 8 + 1);
        assert!(lines[63].contains("message=63 "));
        assert!(lines[64].contains("another instance"), "has a quota of its own");
        assert!(lines[65].contains("WARN") && lines[65].contains("dropped=936"));
        assert!(lines[74].contains("dropped=92"), "told when the instance ends");
    }

    #[test]
    fn standard_output_becomes_lines() {
        let lines = heard(tracing::Level::INFO, |log| {
            for piece in ["one\ntw", "o", "\r\n\n", "\nth\u{fc}"] {
                log.clone().output(piece.as_bytes());
            }
            log.output(b"\xff ree");
            log.begin_call();
            log.begin_call();
            log.output(b"four\npanicked");
        });
        let messages = ["one", "two", "th\u{fc}\u{fffd} ree", "four", "panicked"];
        assert_eq!(lines, messages.map(|message| format!("plugin WARN message={message} plugin=\"keys\"")));
    }

    #[test]
    fn standard_output_is_bounded_and_shares_the_quota() {
        let lines = heard(tracing::Level::INFO, |log| {
            (0..10_000).for_each(|_| log.output(&[b'e'; 1000]));
            assert!(lock(&log.0.open).capacity() <= 2 * (LONGEST_LINE + 4));
            log.output(b"\n");
            (0..100).for_each(|_| log.output(b"x\n"));
            log.write(Level::Error, "too late");
        });
        assert_eq!(lines.len(), 65);
        assert!(lines[0].contains("e… "));
        assert!(lines[64].contains("dropped=38"));
    }
}
