use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;

use http::HeaderMap;
use tokio::time::Instant;

use super::*;

/// A body by script. Where it waits, it waits for ever.
struct Script(VecDeque<Option<Result<Frame<Bytes>, BodyError>>>);

impl HttpBody for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(None) = self.0.front() {
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().flatten())
    }
}

fn data(text: &'static str) -> Option<Result<Frame<Bytes>, BodyError>> {
    Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
}

fn script(steps: impl IntoIterator<Item = Option<Result<Frame<Bytes>, BodyError>>>) -> Body {
    Body::stream(Script(steps.into_iter().collect()))
}

async fn frame(body: &mut Body) -> Option<Result<Frame<Bytes>, BodyError>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Observe for Notes {
    fn piece(&self, bytes: usize) {
        self.0.borrow_mut().push(bytes.to_string());
    }

    fn end(&self, end: End<'_>) {
        self.0.borrow_mut().push(format!("{end:?}"));
    }
}

#[tokio::test]
async fn collects_up_to_the_cap_and_not_a_byte_more() {
    let trailers = || Some(Ok(Frame::trailers(HeaderMap::new())));
    for (body, whole) in [
        (Body::Empty, ""),
        (Body::from("hello"), "hello"),
        (script([]), ""),
        (script([data("hello")]), "hello"),
        (script([data(""), data("he"), data(""), data("llo"), trailers()]), "hello"),
    ] {
        assert_eq!(body.collect(5).await.unwrap(), whole);
    }
    for body in [Body::from("hello!"), script([data("hello!")]), script([data("hello"), data("!")])] {
        assert!(matches!(body.collect(5).await, Err(BodyError::TooLarge)));
    }
    let broken = script([data("he"), Some(Err(BodyError::Broken("cut".into())))]);
    assert!(matches!(broken.collect(5).await, Err(BodyError::Broken(_))));
}

#[tokio::test]
async fn a_cap_refuses_a_known_length_at_once_and_counts_an_unknown_one() {
    assert!(matches!(Body::from("hello").limit(4), Err(BodyError::TooLarge)));
    assert_eq!(Body::from("hello").limit(5).unwrap().collect(9).await.unwrap(), "hello");
    assert_eq!(script([data("he"), data("llo")]).limit(5).unwrap().collect(9).await.unwrap(), "hello");
    let mut long = script([data("hell"), data("o")]).limit(4).unwrap();
    assert!(frame(&mut long).await.unwrap().is_ok());
    assert!(matches!(frame(&mut long).await, Some(Err(BodyError::TooLarge))));
    assert!(frame(&mut long).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_ends() {
    let start = Instant::now();
    let mut body = script([data("he"), None]).idle(Duration::from_secs(30));
    tokio::time::advance(Duration::from_secs(99)).await;
    assert!(frame(&mut body).await.unwrap().is_ok());
    assert!(matches!(frame(&mut body).await, Some(Err(BodyError::Idle))));
    assert_eq!(start.elapsed(), Duration::from_secs(99 + 30));
}

#[tokio::test]
async fn an_observer_hears_of_every_piece_and_of_one_end() {
    let observe = |body: Body| {
        let notes = Rc::new(Notes::default());
        (body.observe(notes.clone()), notes)
    };
    for body in [Body::from("hello"), script([data("hello")])] {
        let (body, notes) = observe(body);
        body.collect(9).await.unwrap();
        assert_eq!(*notes.0.borrow(), ["5", "Whole"]);
    }
    let (mut known, notes) = observe(Body::from("hello"));
    frame(&mut known).await.unwrap().unwrap();
    drop(known);
    assert_eq!(*notes.0.borrow(), ["5", "Whole"]);

    let (mut left, notes) = observe(script([data("he"), data("llo")]));
    frame(&mut left).await.unwrap().unwrap();
    drop(left);
    assert_eq!(*notes.0.borrow(), ["2", "Dropped"]);

    let (broken, notes) = observe(script([data("he"), Some(Err(BodyError::Late))]));
    broken.collect(9).await.unwrap_err();
    assert_eq!(*notes.0.borrow(), ["2", "Broken(Late)"]);

    let (empty, notes) = observe(Body::Empty);
    assert!(empty.is_end_stream());
    drop(empty);
    assert_eq!(*notes.0.borrow(), ["Whole"]);
}
