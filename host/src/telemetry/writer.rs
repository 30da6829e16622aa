//! One thread that writes lines, so that no request waits for a disk, a pipe or a terminal.
//!
//! Each worker has a buffer of its own and formats into it. The thread wakes for the first line, gives the others a
//! moment to come, takes all buffers and writes them: a few system calls a second instead of a few for each line. A
//! buffer that is full takes no more lines, and counts them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// How much may wait in one buffer: some thousand lines.
const BUFFER: usize = 1 << 20;
/// How long the end of a writer waits for a sink that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often, and how often at most, a sink that would block is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);
const ASK_AGAIN_TIMES: u32 = 100;

/// Where lines go.
pub(super) enum Sink {
    /// Standard error, whose own failures can be told nobody.
    Stderr(File),
    Stdout(File),
    /// Appended to, and opened again when asked.
    File(PathBuf, File),
    Other(Box<dyn Write + Send>),
}

/// The thread. Dropping it writes what there is, waits for that, and for two seconds at most.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A way to the thread, for one worker. Not for two at once: they would wait for each other's formatting.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Arc<Buffer>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Between the first line and the writing of all.
    delay: Duration,
    dropped: Counter,
    closed: AtomicBool,
    state: Mutex<State>,
    /// For the thread: there is something to do.
    work: Condvar,
    /// For those who wait: the thread has done something.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    buffers: Vec<Arc<Buffer>>,
    pending: bool,
    reopen: bool,
    stop: bool,
    /// How often somebody asked that all be written, and for how many of them it was.
    asked: u64,
    answered: u64,
    finished: bool,
}

#[derive(Debug, Default)]
struct Buffer(Mutex<Vec<u8>>);

impl Sink {
    /// Standard output. A descriptor of our own: Rust's keeps a buffer, and takes a closed one for a success.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Self::Stdout(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }

    /// Standard error.
    pub(super) fn stderr() -> io::Result<Self> {
        Ok(Self::Stderr(io::stderr().as_fd().try_clone_to_owned()?.into()))
    }

    /// A file that is appended to, made if it is not there.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let file = append(&path)?;
        Ok(Self::File(path, file))
    }
}

impl Writer {
    /// Starts the thread. Lines that are lost are counted in `dropped`.
    pub(super) fn start(name: &str, sink: Sink, delay: Duration, dropped: Counter) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            delay,
            dropped,
            closed: AtomicBool::new(false),
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let thread = {
            let shared = shared.clone();
            thread::Builder::new().name(name.into()).spawn(move || shared.write_to(sink))?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A buffer for one worker.
    pub(super) fn lines(&self) -> Lines {
        let buffer = Arc::new(Buffer::default());
        lock(&self.shared.state).buffers.push(buffer.clone());
        Lines { buffer, shared: self.shared.clone() }
    }

    /// Opens a file again, before the next lines are written.
    pub(super) fn reopen(&self) {
        lock(&self.shared.state).reopen = true;
        self.shared.work.notify_one();
    }

    /// Waits until everything that was appended before is written, or lost. False where that takes too long.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let mut state = lock(&self.shared.state);
        state.asked += 1;
        let asked = state.asked;
        self.shared.work.notify_one();
        let waits = |state: &mut State| state.answered < asked && !state.finished;
        let (state, _) =
            self.shared.done.wait_timeout_while(state, patience, waits).unwrap_or_else(PoisonError::into_inner);
        state.answered >= asked
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.stop = true;
        self.shared.work.notify_one();
        let waits = |state: &mut State| !state.finished;
        let (state, _) =
            self.shared.done.wait_timeout_while(state, PATIENCE, waits).unwrap_or_else(PoisonError::into_inner);
        let finished = state.finished;
        drop(state);
        // A thread that hangs in a write cannot be ended; what it has not taken is lost.
        if finished && let Some(thread) = self.thread.take() {
            // It has nothing to tell: a panic in it was reported when it happened.
            drop(thread.join());
        }
        self.shared.count_what_is_left();
    }
}

impl Lines {
    /// Lets `format` append whole lines. Never waits for the sink: where the buffer is full, or the writer has ended, the
    /// line is dropped and counted.
    pub(super) fn append(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = lock(&self.buffer.0);
        if lines.len() >= BUFFER || self.shared.closed.load(Ordering::Acquire) {
            self.shared.dropped.inc();
            return;
        }
        let first = lines.is_empty();
        format(&mut lines);
        drop(lines);
        if first {
            lock(&self.shared.state).pending = true;
            self.shared.work.notify_one();
        }
    }
}

impl Shared {
    fn write_to(&self, mut sink: Sink) {
        let _finished = Finished(self);
        let mut failed = false;
        let mut torn = false;
        let mut taken = Vec::new();
        loop {
            let mut state = lock(&self.state);
            let idle = |state: &mut State| !(state.pending || state.reopen || state.is_urgent());
            state = self.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
            let calm = |state: &mut State| !state.is_urgent();
            (state, _) = self.work.wait_timeout_while(state, self.delay, calm).unwrap_or_else(PoisonError::into_inner);
            let (asked, stop, reopen) = (state.asked, state.stop, std::mem::take(&mut state.reopen));
            state.pending = false;
            // A buffer that only we hold belongs to a worker that is gone, and is taken for the last time.
            let buffers = state.buffers.clone();
            state.buffers.retain(|buffer| Arc::strong_count(buffer) > 2);
            drop(state);

            if stop {
                self.closed.store(true, Ordering::Release);
            }
            let mut result = if reopen { sink.reopen() } else { Ok(()) };
            for buffer in buffers {
                taken.clear();
                std::mem::swap(&mut *lock(&buffer.0), &mut taken);
                if !taken.is_empty() {
                    let written = self.write(&mut sink, &taken, &mut torn);
                    result = result.and(written);
                }
            }
            if let Err(error) = &result
                && !failed
            {
                sink.report(error);
            }
            failed = result.is_err();

            lock(&self.state).answered = asked;
            self.done.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Writes all, or counts the lines that were not written whole. `torn` is whether the last write ended in a line.
    fn write(&self, sink: &mut Sink, lines: &[u8], torn: &mut bool) -> io::Result<()> {
        let mut written = 0;
        let result = sink.write(lines, torn, &mut written);
        if result.is_err() {
            self.dropped.inc_by(count(&lines[written..]));
        }
        result
    }

    fn count_what_is_left(&self) {
        self.closed.store(true, Ordering::Release);
        let buffers = std::mem::take(&mut lock(&self.state).buffers);
        let left: u64 = buffers.iter().map(|buffer| count(&std::mem::take(&mut *lock(&buffer.0)))).sum();
        self.dropped.inc_by(left);
    }
}

impl State {
    fn is_urgent(&self) -> bool {
        self.stop || self.asked > self.answered
    }
}

impl Sink {
    fn write(&mut self, lines: &[u8], torn: &mut bool, written: &mut usize) -> io::Result<()> {
        if *torn {
            self.write_some(b"\n", &mut 0)?;
            *torn = false;
        }
        let result = self.write_some(lines, written);
        *torn = *written > 0 && lines[*written - 1] != b'\n';
        result
    }

    fn write_some(&mut self, bytes: &[u8], written: &mut usize) -> io::Result<()> {
        let mut asked = 0;
        while *written < bytes.len() {
            let rest = &bytes[*written..];
            let result = match self {
                Self::Stdout(file) | Self::Stderr(file) | Self::File(_, file) => file.write(rest),
                Self::Other(other) => other.write(rest),
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal or a pipe that somebody else has put into non-blocking mode.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && asked < ASK_AGAIN_TIMES => {
                    asked += 1;
                    thread::park_timeout(ASK_AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where that fails, the old file stays in use.
    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            *file = append(path)?;
        }
        Ok(())
    }

    /// Once for a series of failures. Not where the report would go to the sink that failed.
    fn report(&self, error: &io::Error) {
        match self {
            Self::Stderr(_) => {}
            Self::File(path, _) => tracing::error!("cannot write to the log {}: {error}", path.display()),
            Self::Stdout(_) | Self::Other(_) => tracing::error!("cannot write to the log: {error}"),
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout(_) => f.write_str("Stdout"),
            Self::Stderr(_) => f.write_str("Stderr"),
            Self::File(path, _) => f.debug_tuple("File").field(path).finish(),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// Tells those who wait that the thread has ended, by a panic too.
struct Finished<'a>(&'a Shared);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        lock(&self.0.state).finished = true;
        self.0.done.notify_all();
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// A formatter that panicked has left at most a part of one line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Long enough for any machine: what waits for it ends much earlier, or the test fails.
    const LONG: Duration = Duration::from_secs(60);

    /// A sink that hands on what it gets, and takes the next piece only when it is told how much of it, or an error.
    struct Stepwise {
        got: mpsc::Sender<Vec<u8>>,
        answers: mpsc::Receiver<io::Result<usize>>,
    }

    impl Write for Stepwise {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.got.send(bytes.to_vec()));
            self.answers.recv().unwrap_or(Ok(bytes.len())).map(|most| most.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stepwise() -> (Writer, Counter, mpsc::Receiver<Vec<u8>>, mpsc::Sender<io::Result<usize>>) {
        let (got, written) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let dropped = Counter::default();
        let sink = Sink::Other(Box::new(Stepwise { got, answers }));
        let writer = Writer::start("test", sink, Duration::ZERO, dropped.clone()).unwrap();
        (writer, dropped, written, answer)
    }

    fn put(lines: &Lines, text: &str) {
        lines.append(|out| out.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn lines_of_all_workers_arrive_whole_and_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let dropped = Counter::default();
        let writer = Writer::start("test", Sink::file(path.clone()).unwrap(), Duration::ZERO, dropped.clone()).unwrap();
        thread::scope(|scope| {
            for worker in 0..8 {
                let lines = writer.lines();
                scope.spawn(move || (0..1000).for_each(|number| put(&lines, &format!("{worker} {number}\n"))));
            }
        });
        drop(writer);
        let text = std::fs::read_to_string(path).unwrap();
        for worker in 0..8 {
            let prefix = format!("{worker} ");
            let numbers: Vec<usize> = text
                .lines()
                .filter_map(|line| line.strip_prefix(&prefix))
                .map(|number| number.parse().unwrap())
                .collect();
            assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        }
        assert_eq!((text.lines().count(), dropped.get()), (8000, 0));
    }

    #[test]
    fn a_sink_that_takes_nothing_blocks_nobody_and_losses_are_counted() {
        let (writer, dropped, written, answer) = stepwise();
        let lines = writer.lines();
        put(&lines, "first\n");
        assert_eq!(written.recv_timeout(LONG).unwrap(), b"first\n", "the thread hangs in this write now");
        let line = "x".repeat(1023) + "\n";
        for _ in 0..3000 {
            put(&lines, &line);
        }
        assert_eq!(dropped.get(), 3000 - 1024, "a megabyte waits");
        assert!(!writer.flush(Duration::from_millis(1)));
        drop(answer);
        assert!(writer.flush(LONG));
        assert_eq!(written.recv_timeout(LONG).unwrap().len(), BUFFER);
        put(&lines, "last\n");
        drop(writer);
        assert_eq!(written.recv_timeout(LONG).unwrap(), b"last\n", "what waits is written before the end");
        put(&lines, "too late\n");
        assert_eq!(dropped.get(), 3000 - 1024 + 1);
    }

    #[test]
    fn a_failed_write_loses_counted_lines_and_the_next_one_begins_a_line() {
        let (writer, dropped, written, answer) = stepwise();
        let lines = writer.lines();
        answer.send(Ok(5)).unwrap();
        answer.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        lines.append(|out| out.extend_from_slice(b"one\ntwo\nthree\n"));
        assert!(writer.flush(LONG));
        assert_eq!(dropped.get(), 2, "two was torn, three was not begun");
        answer.send(Ok(1)).unwrap();
        answer.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
        answer.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
        answer.send(Ok(100)).unwrap();
        put(&lines, "four\n");
        assert!(writer.flush(LONG));
        let attempts: Vec<_> = written.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
        assert_eq!(attempts, ["one\ntwo\nthree\n", "wo\nthree\n", "\n", "four\n", "four\n", "four\n"]);
        assert_eq!(dropped.get(), 2);
    }

    #[test]
    fn a_file_is_opened_again_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
        let writer =
            Writer::start("test", Sink::file(path.clone()).unwrap(), Duration::ZERO, Counter::default()).unwrap();
        let lines = writer.lines();
        put(&lines, "one\n");
        assert!(writer.flush(LONG));
        std::fs::rename(&path, &moved).unwrap();
        put(&lines, "two\n");
        assert!(writer.flush(LONG));
        writer.reopen();
        put(&lines, "three\n");
        drop(writer);
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn lines_wait_for_each_other_but_not_for_a_flush() {
        let (got, written) = mpsc::channel();
        let (_, answers) = mpsc::channel();
        let sink = Sink::Other(Box::new(Stepwise { got, answers }));
        let writer = Writer::start("test", sink, LONG * 60, Counter::default()).unwrap();
        let (a, b) = (writer.lines(), writer.lines());
        put(&a, "a\n");
        put(&b, "b\n");
        put(&a, "c\n");
        drop((a, b));
        assert!(writer.flush(LONG), "does not wait for an hour");
        let attempts: Vec<_> = written.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
        assert_eq!(attempts, ["a\nc\n", "b\n"], "buffers of workers that are gone are written too");
        assert!(lock(&writer.shared.state).buffers.is_empty());
    }
}
