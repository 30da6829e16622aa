//! Calls that are recorded, and recorded calls that are made again.

use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};

use super::{Given, Outcome, Pass, Side, Watch, split};
use crate::body::Body;
use crate::metrics::{PluginError, Spent};
use crate::plugin::{Failure, Hook, Ledger, outcome, outcome_with_body};
use crate::recording::{self, Call};

/// A call that somebody wants to know about.
pub(super) struct Heard {
    pub(super) call: Call,
    recorded: bool,
}

impl Pass<'_> {
    /// A call begins; none where nobody records it, or is shown it.
    pub(super) fn listen(&mut self, index: usize, hook: Hook) -> Option<Box<Heard>> {
        let link = self.link(index);
        let begin = |tap| self.recordings.begin(index, tap, self.caller.request_id.as_str(), hook.as_str());
        match link.tap.as_ref().and_then(begin) {
            Some(call) => Some(Box::new(Heard { call: *call, recorded: true })),
            None if link.shadow.is_some() => {
                Some(Box::new(Heard { call: Call::begin(hook.as_str()), recorded: false }))
            }
            None => None,
        }
    }

    /// A call that was listened to has ended.
    pub(super) fn heard<F>(
        &mut self,
        index: usize,
        (hook, given): (Hook, Option<Box<Given>>),
        heard: Option<Box<Heard>>,
        watch: &Watch,
        flow: &Result<F, Failure>,
        outcome: fn(&F) -> recording::Outcome,
    ) {
        let Some(heard) = heard else { return };
        let Heard { mut call, recorded } = *heard;
        call.took_us = u64::try_from(watch.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        call.outcome = match flow {
            Ok(flow) => outcome(flow),
            Err(failure) => failure.into(),
        };
        self.decided(index, hook, given, Some(&call));
        if recorded {
            self.recordings.end(index, call);
        }
    }

    /// Makes a call of the first plugin that was recorded, with what it saw then and with its own memo.
    ///
    /// # Errors
    /// What of the recording can be no head. The file is not to be trusted.
    pub(crate) async fn again(&mut self, call: &Call) -> Result<recording::Outcome, String> {
        let wrong = |error: http::Error| format!("it is no head: {error}");
        let body = call.body.clone().map(Bytes::from);
        match &call.input {
            recording::Input::Request { method, path, query, headers, attributes, .. } => {
                self.attributes = attributes.iter().cloned().collect();
                let target = match query {
                    Some(query) => format!("{path}?{query}"),
                    None => path.clone(),
                };
                let method = if method.is_empty() { "GET" } else { method };
                let target = if target.is_empty() { "/" } else { &target };
                let mut request = Request::builder().method(method).uri(target);
                for (name, value) in headers {
                    request = request.header(name, &value[..]);
                }
                let (mut head, ()) = request.body(()).map_err(wrong)?.into_parts();
                Ok(self.call_again(&mut head, body).await)
            }
            recording::Input::Response { status, headers, attributes } => {
                self.attributes = attributes.iter().cloned().collect();
                let mut response = Response::builder().status(*status);
                for (name, value) in headers {
                    response = response.header(name, &value[..]);
                }
                let (mut head, ()) = response.body(()).map_err(wrong)?.into_parts();
                Ok(self.call_again(&mut head, body).await)
            }
            recording::Input::None => Err("it has no head".to_owned()),
        }
    }

    async fn call_again<S: Side>(&mut self, head: &mut S, body: Option<Bytes>) -> recording::Outcome {
        let Some(link) = self.chain.links.first() else { return recording::Outcome::None };
        let (calls, cap, _) = S::wanted(&link.pool.plugin.sight);
        let mut spent = Spent::default();
        let ledger = Ledger { began: Instant::now(), call: None, spent: &mut spent };
        let flow = match body {
            // A hook that is not called changes nothing.
            None if !calls => return recording::Outcome::Continue,
            None => head.call(self, 0, ledger).await.map(|flow| (outcome(&flow), flow, None)),
            Some(_) if cap.is_none() => return recording::Outcome::Continue,
            Some(body) => head.call_with_body(self, 0, body, ledger).await.map(|flow| {
                let outcome = outcome_with_body(&flow);
                let (flow, body) = split(flow);
                (outcome, flow, body)
            }),
        };
        let obeyed = flow
            .and_then(|(outcome, flow, new)| Ok((outcome, self.obey(link, flow, new, head, &mut Body::default())?)));
        match obeyed {
            Ok((outcome, Outcome::Go(applied))) => {
                self.remember(0, applied);
                outcome
            }
            Ok((outcome, Outcome::Stop(_))) => outcome,
            Err(failure) => (&failure).into(),
        }
    }
}

impl From<&Failure> for recording::Outcome {
    fn from(failure: &Failure) -> Self {
        Self::Fail { kind: PluginError::from(failure.kind).as_str().to_owned(), detail: failure.detail.clone() }
    }
}
