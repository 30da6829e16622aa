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

/// A body of which so many bytes come after each of these seconds.
struct Drip(VecDeque<(u64, usize)>, Pin<Box<tokio::time::Sleep>>);

fn drip(pieces: impl IntoIterator<Item = (u64, usize)>) -> Body {
    let pieces: VecDeque<_> = pieces.into_iter().collect();
    let first = Duration::from_secs(pieces[0].0);
    Body::stream(Drip(pieces, Box::pin(tokio::time::sleep(first))))
}

impl HttpBody for Drip {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        std::task::ready!(self.1.as_mut().poll(context));
        let Some((_, bytes)) = self.0.pop_front() else { return Poll::Ready(None) };
        if let Some((pause, _)) = self.0.front() {
            self.1 = Box::pin(tokio::time::sleep(Duration::from_secs(*pause)));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; bytes])))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_its_rate_beyond_its_grace() {
    const RATE: Option<NonZeroU32> = NonZeroU32::new(500);
    let read = async |pieces: Vec<(u64, usize)>, rate| {
        let begun = Instant::now();
        let read = drip(pieces).idle(Duration::from_secs(30)).rate(rate).collect(usize::MAX).await;
        (read.map(|bytes| bytes.len()), begun.elapsed().as_secs())
    };
    let slow =
        |(read, seconds): &(Result<usize, BodyError>, u64)| matches!(read, Err(BodyError::Slow)) && *seconds == 10;
    // One byte a second: nothing of it is idle, and it could go on for a week.
    assert!(slow(&read(vec![(1, 1); 1000], RATE).await), "a drip");
    assert!(slow(&read(vec![(11, 5000)], RATE).await), "silence at the beginning");
    let (dripped, _) = read(vec![(1, 1); 1000], None).await;
    assert_eq!(dripped.unwrap(), 1000, "no rate, no end");
    // Exactly the rate, for as long as it takes.
    let (whole, seconds) = read(vec![(9, 4500); 100], RATE).await;
    assert_eq!((whole.unwrap(), seconds), (450_000, 900));
    // What came fast makes up for a pause, and never for more than the longest that there may be.
    let (whole, seconds) = read(vec![(1, 1 << 20), (29, 1)], RATE).await;
    assert_eq!((whole.unwrap(), seconds), ((1 << 20) + 1, 30));
    let mut pieces = vec![(1, 1 << 20)];
    pieces.extend([(1, 1); 1000]);
    let (dripped, seconds) = read(pieces, RATE).await;
    assert!(matches!(dripped, Err(BodyError::Slow)) && (31..=32).contains(&seconds), "{dripped:?} after {seconds}");
    let (idle, seconds) = read(vec![(1, 1 << 20), (31, 1)], RATE).await;
    assert!(matches!(idle, Err(BodyError::Idle)) && seconds == 31, "{idle:?} after {seconds}");
}

#[tokio::test(start_paused = true)]
async fn time_that_the_reader_takes_is_not_the_senders() {
    let mut body = drip([(0, 1), (0, 1), (9, 1)]).idle(Duration::from_secs(30)).rate(NonZeroU32::new(500));
    for _ in 0..3 {
        assert!(frame(&mut body).await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(frame(&mut body).await.is_none());
}
