//! The thread of a version that watches: calls its hooks, and compares.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Runtime;

use super::{Given, Seen, Shadow};
use crate::metrics::{Account, Compared, Costs, Metrics, PluginInstances, Shadowed, Spent};
use crate::plugin::{BodyCall, Failure, FailureKind, Hook, Ledger, Plugin, Pool, outcome, outcome_with_body};
use crate::recording::Outcome;

/// Passes that wait for a watcher.
const WAITING: usize = 256;
/// Bytes of bodies that wait for it.
const BODIES: usize = 16 << 20;

/// A version of a plugin on a thread of its own. The thread ends with the call that it is in when this is dropped.
pub(crate) struct Watcher {
    plugin: Arc<Plugin>,
    passes: SyncSender<Work>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Bytes of bodies that wait.
    bodies: AtomicUsize,
    stop: AtomicBool,
    /// What the last decision that was not the same differed in.
    last: Mutex<Option<String>>,
}

/// A pass.
struct Work {
    seen: Vec<Seen>,
    counts: Arc<Shadowed>,
    costs: Arc<Costs>,
    bodies: usize,
}

impl Watcher {
    /// Begins the thread of a version that was loaded to watch, with instances that are counted under `label`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(plugin: Arc<Plugin>, metrics: &Metrics, label: &str) -> std::io::Result<Arc<Self>> {
        let (passes, work) = sync_channel::<Work>(WAITING);
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (instances, own) = (metrics.plugin(label), shared.clone());
        let run = {
            let plugin = plugin.clone();
            move || {
                let mut judge = Judge::new(plugin, instances, own, runtime);
                while let Ok(pass) = work.recv()
                    && !judge.shared.stop.load(Relaxed)
                {
                    judge.shared.bodies.fetch_sub(pass.bodies, Relaxed);
                    judge.judge(pass);
                }
            }
        };
        std::thread::Builder::new().name("tollgate-shadow".to_owned()).spawn(run)?;
        Ok(Arc::new(Self { plugin, passes, shared }))
    }

    pub(crate) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// In what the last decision differed that was not the same, by hook and name and without any value of a request.
    pub(crate) fn last_difference(&self) -> Option<String> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands over what came to pass; nobody waits.
    pub(super) fn hand_over(&self, seen: Vec<Seen>, shadow: &Shadow) {
        let bodies = seen.iter().map(|seen| seen.given.body()).sum();
        let waiting = self.shared.bodies.fetch_add(bodies, Relaxed);
        let work = Work { seen, counts: shadow.counts.clone(), costs: shadow.costs.clone(), bodies };
        if waiting + bodies > BODIES || self.passes.try_send(work).is_err() {
            self.shared.bodies.fetch_sub(bodies, Relaxed);
            shadow.counts.add(Compared::LeftOut);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
    }
}

/// What lives on the thread.
struct Judge {
    plugin: Arc<Plugin>,
    pool: Pool,
    shared: Arc<Shared>,
    runtime: Runtime,
    /// Of the routes that passes came from.
    accounts: Vec<Account>,
}

impl Judge {
    fn new(plugin: Arc<Plugin>, instances: Arc<PluginInstances>, shared: Arc<Shared>, runtime: Runtime) -> Self {
        Self { pool: Pool::new(plugin.clone(), instances), plugin, shared, runtime, accounts: Vec::new() }
    }

    /// Compares hook by hook, up to the first that is not the same: from there on, the two are in different passes.
    fn judge(&mut self, pass: Work) {
        let account = match self.accounts.iter().find(|account| account.is_of(&pass.costs)) {
            Some(account) => account.clone(),
            None => {
                let account = pass.costs.account();
                self.accounts.push(account.clone());
                account
            }
        };
        let mut memo = None;
        for Seen { hook, given, said, outcome: expected } in pass.seen {
            if let Some(played) = self.plugin.played() {
                played.load(said);
            }
            let called = !matches!(given, Given::Nothing);
            let (began, mut spent) = (Instant::now(), Spent::default());
            let ledger = Ledger { began, call: None, spent: &mut spent };
            let decided = self.runtime.block_on(call(&self.pool, given, memo.clone(), ledger));
            if called {
                account.called(hook, began.elapsed(), &spent);
            }
            let (result, different) = match &decided {
                Ok(outcome) => {
                    if let Outcome::Edit(changes) = outcome
                        && let Some(new) = &changes.memo
                    {
                        memo = Some(Bytes::from(new.clone()));
                    }
                    match difference(&expected, outcome) {
                        None => (Compared::Same, None),
                        Some(different) => (Compared::Different, Some(different)),
                    }
                }
                Err(Failure { kind: FailureKind::Overload, .. }) => (Compared::LeftOut, Some("no instance".to_owned())),
                Err(failure) => {
                    account.failed(failure.kind);
                    (Compared::Failed, Some(format!("it fails: {:?}", failure.kind)))
                }
            };
            pass.counts.add(result);
            if let Some(different) = different {
                self.note(hook, &different);
                return;
            }
        }
    }

    fn note(&self, hook: Hook, different: &str) {
        let text = format!("{}: {different}", hook.as_str());
        let (name, version) = (&*self.plugin.name, self.plugin.component().version());
        tracing::debug!(plugin = name, version, "a version that watches decides otherwise: {text}");
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

async fn call(pool: &Pool, given: Given, memo: Option<Bytes>, ledger: Ledger<'_>) -> Result<Outcome, Failure> {
    match given {
        Given::Nothing => Ok(Outcome::Continue),
        Given::Request(head) => pool.on_request((&head,), ledger).await.map(|flow| outcome(&flow)),
        Given::Response(head) => pool.on_response((&head, memo), ledger).await.map(|flow| outcome(&flow)),
        Given::RequestBody(head, body) => {
            let call = BodyCall::Request((&head, body, memo));
            pool.on_body(call, ledger).await.map(|flow| outcome_with_body(&flow))
        }
        Given::ResponseBody(head, body) => {
            let call = BodyCall::Response((&head, body, memo));
            pool.on_body(call, ledger).await.map(|flow| outcome_with_body(&flow))
        }
    }
}

/// In what two decisions differ; none where they mean the same.
fn difference(expected: &Outcome, decided: &Outcome) -> Option<String> {
    let (expected, decided) = (facts(expected), facts(decided));
    let names: BTreeSet<_> = expected.symmetric_difference(&decided).map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let value = |facts: &BTreeSet<(String, String)>, name: &str| {
        facts.iter().find(|(fact, _)| fact == name).map_or("none", |(_, value)| value).to_owned()
    };
    let words = names.into_iter().map(|name| match name {
        // Nothing of a request is in these.
        "flow" | "status" | "kind" => {
            format!("{name} is {} and not {}", value(&decided, name), value(&expected, name))
        }
        _ => name.to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(", "))
}

/// What a decision means to others than the plugin itself.
fn facts(outcome: &Outcome) -> BTreeSet<(String, String)> {
    let own = |(name, _): &(String, String)| name == "memo" || name == "skip-body";
    let mut facts: BTreeSet<_> = outcome.facts().into_iter().filter(|fact| !own(fact)).collect();
    // An edit of nothing.
    if matches!(outcome, Outcome::Edit(_)) && facts.len() == 1 {
        facts = BTreeSet::from([("flow".to_owned(), "continue".to_owned())]);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Changes;

    fn sets(value: &str) -> Outcome {
        Outcome::Edit(Changes { set: vec![("x-a".to_owned(), value.into())], ..Changes::default() })
    }

    #[test]
    fn what_only_the_plugin_itself_sees_is_no_difference() {
        let remembers = Outcome::Edit(Changes { memo: Some(b"m".to_vec()), skip_body: true, ..Changes::default() });
        assert_eq!(difference(&Outcome::Continue, &remembers), None);
        assert_eq!(difference(&sets("1"), &sets("1")), None);
    }

    #[test]
    fn differences_name_fields_and_no_values() {
        assert_eq!(difference(&sets("secret"), &sets("other")).as_deref(), Some("set.x-a"));
        let differs = difference(&sets("secret"), &Outcome::Continue);
        assert_eq!(differs.as_deref(), Some("flow is continue and not edit, set.x-a"));
    }
}
