//! A body that stays on its thread, and a ticket for it that may go anywhere.
//!
//! The engine lets guests have only what could be sent to another thread, and a [`Body`] cannot: it is part of a
//! connection of its worker. Nothing ever leaves the worker, though. So the body is put by, under a number, and whoever
//! has the number reads it there, with nothing in between.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError};

thread_local! {
    static LEFT: RefCell<HashMap<u64, Body>> = RefCell::default();
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// What a body can be read by, on the thread that it was left on. Elsewhere it is broken.
#[derive(Debug)]
pub struct Ticket(u64);

impl Ticket {
    /// Leaves a body here.
    #[must_use]
    pub fn new(body: Body) -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        LEFT.with_borrow_mut(|left| left.insert(number, body));
        Self(number)
    }

    fn take(&self) -> Option<Body> {
        // The thread may be ending, and its bodies with it.
        LEFT.try_with(|left| left.borrow_mut().remove(&self.0)).ok().flatten()
    }

    fn see<T>(&self, of: impl FnOnce(&Body) -> T) -> Option<T> {
        LEFT.try_with(|left| left.borrow().get(&self.0).map(of)).ok().flatten()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Dropping a body may drop other tickets, so it is taken out first.
        drop(self.take());
    }
}

impl HttpBody for Ticket {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Reading one body may read others, so it is taken out meanwhile.
        let Some(mut body) = self.take() else {
            return Poll::Ready(Some(Err(BodyError::Broken("it is on another thread".into()))));
        };
        let frame = Pin::new(&mut body).poll_frame(context);
        LEFT.with_borrow_mut(|left| left.insert(self.0, body));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.see(HttpBody::is_end_stream).unwrap_or(false)
    }

    fn size_hint(&self) -> SizeHint {
        self.see(HttpBody::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn is_sent<T: Send>(value: T) -> T {
        value
    }

    #[tokio::test]
    async fn a_body_is_read_by_its_ticket_and_goes_with_it() {
        let ticket = is_sent(Ticket::new(Body::from("whole")));
        assert_eq!(ticket.size_hint().exact(), Some(5));
        assert_eq!(ticket.collect().await.expect("it is here").to_bytes(), "whole");
        assert!(LEFT.with_borrow(HashMap::is_empty));
    }

    #[tokio::test]
    async fn a_body_may_be_read_through_another_one() {
        let inner = Ticket::new(Body::from("inner"));
        let outer = Ticket::new(Body::stream(inner));
        assert_eq!(outer.collect().await.expect("both are here").to_bytes(), "inner");
        drop(Ticket::new(Body::stream(Ticket::new(Body::from("never read")))));
        assert!(LEFT.with_borrow(HashMap::is_empty));
    }

    #[test]
    fn on_another_thread_a_body_is_broken() {
        let mut ticket = Ticket::new(Body::from("here"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut context = Context::from_waker(std::task::Waker::noop());
                let frame = Pin::new(&mut ticket).poll_frame(&mut context);
                assert!(matches!(frame, Poll::Ready(Some(Err(BodyError::Broken(_))))));
            });
        });
    }
}
