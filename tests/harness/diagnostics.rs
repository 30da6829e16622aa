//! What the proxy says beside its access log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus_client::metrics::counter::Counter;
use tollgate::config;
use tollgate::telemetry::{Redaction, Telemetry};

use super::PATIENCE;

/// Every line at the lowest level, of all proxies of this process: it has one log. Only one test at a time can have it,
/// since the secrets of one configuration are what it hides.
pub(crate) struct Diagnostics {
    installed: &'static (Arc<Telemetry>, Lines),
    _alone: MutexGuard<'static, ()>,
}

impl Diagnostics {
    /// From here on, lines are kept.
    pub(crate) fn listen() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        static INSTALLED: OnceLock<(Arc<Telemetry>, Lines)> = OnceLock::new();
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let installed = INSTALLED.get_or_init(|| {
            let lines = Lines::default();
            let (format, access) = (config::LogFormat::Json, config::AccessLog::Off);
            let log = config::Log { format, access, level: tracing::Level::TRACE };
            let telemetry =
                Telemetry::install_to(lines.clone(), &log, Arc::new(Redaction::default()), Counter::default());
            (Arc::new(telemetry.expect("nobody else installs one")), lines)
        });
        Self { installed, _alone: alone }
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        let (telemetry, lines) = self.installed;
        assert!(telemetry.flush(PATIENCE), "lines are not written");
        lines.text()
    }

    pub(super) fn telemetry(&self) -> Arc<Telemetry> {
        self.installed.0.clone()
    }
}

/// What a log was given.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no thread panicked").clone()).expect("UTF-8")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no thread panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
