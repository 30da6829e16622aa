//! The answer to a request: perhaps something before it, and then the response.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::Response;

/// A request's stream as long as it has no response, shared by whoever may say something before that.
#[derive(Debug, Clone)]
pub struct Answering(Rc<RefCell<Option<SendResponse<Bytes>>>>);

impl Answering {
    /// Of a request that just came.
    #[must_use]
    pub fn new(respond: SendResponse<Bytes>) -> Self {
        Self(Rc::new(RefCell::new(Some(respond))))
    }

    /// Sends an interim response (RFC 9110, section 15.2). Behind the response there is none any more, and whether the
    /// client is still there shows elsewhere.
    pub fn interim(&self, response: Response<()>) {
        if let Some(respond) = &mut *self.0.borrow_mut() {
            let _ = respond.send_informational(response);
        }
    }

    /// Sends the head of the response; `whole`: there is no more to it.
    ///
    /// # Errors
    /// The client took the request back, the connection has ended, or there is a response already.
    pub fn respond(&self, response: Response<()>, whole: bool) -> Result<SendStream<Bytes>, h2::Error> {
        let respond = self.0.borrow_mut().take();
        let mut respond = respond.ok_or(h2::Reason::INTERNAL_ERROR)?;
        let sent = respond.send_response(response, whole);
        if sent.is_err() {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        sent
    }

    /// Ready when the client has taken the request back, or is gone.
    pub fn poll_reset(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.0.borrow_mut() {
            Some(respond) => respond.poll_reset(context).map(drop),
            None => Poll::Pending,
        }
    }
}
