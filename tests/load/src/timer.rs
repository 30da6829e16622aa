//! A timer that is more exact than the milliseconds which waiting for events knows: the system's own, as one more event.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

/// `timerfd_create(2)`. The newest time that was set is the one that counts.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// One that wakes whoever waits for these events.
    pub(crate) fn new(registry: &Registry, token: Token) -> Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Wakes once, this much later.
    pub(crate) fn set(&self, wait: Duration) -> Result<()> {
        // Zero would switch it off.
        let it_value = Timespec::try_from(wait.max(Duration::from_nanos(1)))?;
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: once, it_value })?;
        Ok(())
    }
}
