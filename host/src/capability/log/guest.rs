//! What a guest sees of the log.

use wasmtime::component::{HasData, Linker};

use super::{Level, PluginLog};
use crate::bindings::log as wit;
use crate::capability::Capabilities;

/// The log of one instance.
struct Guest;

impl HasData for Guest {
    type Data<'a> = &'a mut PluginLog;
}

pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Guest>(linker, T::log)
}

impl wit::Host for PluginLog {
    fn enabled(&mut self, level: wit::Level) -> wasmtime::Result<bool> {
        Ok(Self::enabled(self, level.into()))
    }

    fn write(&mut self, level: wit::Level, message: String) -> wasmtime::Result<()> {
        Self::write(self, level.into(), &message);
        Ok(())
    }
}

impl From<wit::Level> for Level {
    fn from(level: wit::Level) -> Self {
        match level {
            wit::Level::Debug => Self::Debug,
            wit::Level::Info => Self::Info,
            wit::Level::Warn => Self::Warn,
            wit::Level::Error => Self::Error,
        }
    }
}
