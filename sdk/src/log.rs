//! Lines for the operator.

#[cfg(target_arch = "wasm32")]
use crate::bindings::tollgate::plugin::log as wit;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something to look at.
    Warn,
    /// Something is broken.
    Error,
}

/// Whether a line of this level would be written. Ask before formatting one.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_arch = "wasm32")]
    return wit::enabled(level.into());
    #[cfg(not(target_arch = "wasm32"))]
    return level >= Level::Info;
}

/// Writes one line under the plugin's name. Natively, to standard error.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    wit::write(level.into(), message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

#[cfg(target_arch = "wasm32")]
impl From<Level> for wit::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
