//! What capabilities answer: heard while a call is recorded, said again while it is replayed.
//!
//! Answers that follow from the arguments alone (`crypto`) and those that tell nothing (`log`, `metrics`) are not kept.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Fields;
use crate::capability::{http_client, kv, limiter};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What was asked, such as `kv.get alice` or `GET https://idp.example.com/keys`.
    pub asked: String,
    /// What came of it.
    pub answer: Answer,
}

/// How each window of a bucket stands: how much could be taken, and the milliseconds until all of it could be.
pub type Windows = Vec<(u64, u64)>;

/// What a capability answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing before the call ended.
    Never,
    /// `get` of a store.
    Value(Result<Option<Vec<u8>>, kv::Error>),
    /// `set` of a store.
    Set(Result<(), kv::Error>),
    /// `delete` of a store.
    Deleted(Result<bool, kv::Error>),
    /// `list` of a store.
    Keys(Result<Vec<String>, kv::Error>),
    /// `increment` of a store.
    Count(Result<i64, kv::Error>),
    /// `take` of a bucket: allowed, the milliseconds until it is, and how each window stands.
    Taken(Result<(bool, u64, Windows), limiter::Error>),
    /// Of a server: status, fields and body.
    Http(Result<(u16, Fields, Vec<u8>), http_client::Error>),
}

/// What an instance hears of capabilities in one call.
#[derive(Debug, Default)]
pub enum Tape {
    /// As they answer.
    #[default]
    Off,
    /// As they answer, and it is kept.
    Records(Vec<Said>),
    /// What was kept.
    Plays(Played),
}

/// Answers to be said again, each once: the first that fits. What was asked beside them is noted.
#[derive(Debug, Clone, Default)]
pub struct Played(Arc<Mutex<Rest>>);

#[derive(Debug, Default)]
struct Rest {
    said: Vec<Said>,
    unknown: Vec<String>,
}

impl Tape {
    /// The answer to a question: `real`'s, or the recorded one. A recorded one that is of another kind is none.
    pub(crate) fn answer<A: Clone>(
        &mut self,
        asked: impl FnOnce() -> String,
        real: impl FnOnce() -> A,
        keep: impl FnOnce(A) -> Answer,
        tell: impl FnOnce(Answer) -> Option<A>,
    ) -> A {
        match self {
            Self::Off => real(),
            Self::Records(said) => {
                let answer = real();
                said.push(Said { asked: asked(), answer: keep(answer.clone()) });
                answer
            }
            Self::Plays(played) => played.take(&asked()).and_then(tell).unwrap_or_else(real),
        }
    }

    /// What was kept since the last time.
    pub(crate) fn take(&mut self) -> Vec<Said> {
        match std::mem::take(self) {
            Self::Records(said) => said,
            Self::Off | Self::Plays(_) => Vec::new(),
        }
    }
}

impl Played {
    /// Lays down what is to be said in the next call, in place of what is left.
    pub fn load(&self, said: Vec<Said>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Rest { said, unknown: Vec::new() };
    }

    /// What was asked and not known, and what is left unasked.
    #[must_use]
    pub fn finish(&self) -> (Vec<String>, Vec<String>) {
        let rest = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (rest.unknown, rest.said.into_iter().map(|said| said.asked).collect())
    }

    pub(crate) fn take(&self, asked: &str) -> Option<Answer> {
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match rest.said.iter().position(|said| said.asked == asked) {
            Some(at) => Some(rest.said.remove(at).answer),
            None => {
                // A guest may ask for ever.
                if rest.unknown.len() < MOST_NOTED {
                    rest.unknown.push(asked.to_owned());
                }
                None
            }
        }
    }
}

const MOST_NOTED: usize = 100;
