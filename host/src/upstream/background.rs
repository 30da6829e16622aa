//! A thread for what goes on beside the requests of upstreams.

use std::fmt;
use std::pin::Pin;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

/// Runs tasks on a thread of its own, so that a busy worker keeps none of them waiting. Dropping it ends them all.
pub(super) struct Background {
    tasks: Option<mpsc::UnboundedSender<Begin>>,
    thread: Option<JoinHandle<()>>,
}

type Begin = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(#[expect(dead_code, reason = "dropping it is what it is for")] oneshot::Sender<()>);

impl Background {
    /// Where the machine has no more threads, it says so and does nothing: requests go on without it.
    pub(super) fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| {
            tracing::error!(%error, "no thread for the checks of upstreams: there are none");
            Self { tasks: None, thread: None }
        })
    }

    fn try_start() -> std::io::Result<Self> {
        let (tasks, mut begins) = mpsc::unbounded_channel::<Begin>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        let run = move || {
            LocalSet::new().block_on(&runtime, async move {
                while let Some(begin) = begins.recv().await {
                    spawn_local(begin());
                }
            });
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("tollgate-upstreams".to_owned()).spawn(run)?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread) })
    }

    pub(super) fn spawn<F: Future<Output = ()> + 'static>(&self, begin: impl FnOnce() -> F + Send + 'static) -> Task {
        let (task, ended) = oneshot::channel::<()>();
        let begin: Begin = Box::new(move || {
            let work = begin();
            Box::pin(async move {
                tokio::select! {
                    // Never sent: it ends when the other side is dropped.
                    _ = ended => {}
                    () = work => {}
                }
            })
        });
        if let Some(tasks) = &self.tasks {
            // A thread that is gone has panicked, which was reported.
            let _ = tasks.send(begin);
        }
        Task(task)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by then.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Says when it is dropped.
    struct Says(std::sync::mpsc::Sender<&'static str>, &'static str);

    impl Drop for Says {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }

    #[test]
    fn tasks_end_when_they_are_dropped_and_with_the_thread() {
        let (says, said) = channel();
        let background = Background::start();
        let task = |name: &'static str| {
            let says = Says(says.clone(), name);
            background.spawn(move || async move {
                let _ = says.0.send("begun");
                std::future::pending::<()>().await;
                drop(says);
            })
        };
        let next = || said.recv_timeout(Duration::from_secs(60)).unwrap();
        let (one, other) = (task("one"), task("other"));
        assert_eq!([next(), next()], ["begun", "begun"]);
        drop(one);
        assert_eq!(next(), "one");
        drop(background);
        assert_eq!(next(), "other");
        drop(other);
    }
}
