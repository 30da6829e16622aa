//! What a refused client is told, and what becomes of it: by a clock that only the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate::capability::limiter::Clock;

use crate::harness::{Client, Message, Origin, Proxy};

/// A clock that stands still.
struct Hands {
    begun: Instant,
    millis: Arc<AtomicU64>,
}

impl Hands {
    fn new() -> Self {
        Self { begun: Instant::now(), millis: Arc::default() }
    }

    fn clock(&self) -> Clock {
        let (begun, millis) = (self.begun, self.millis.clone());
        Clock::new(move || begun + Duration::from_millis(millis.load(Ordering::SeqCst)))
    }

    fn advance(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::SeqCst);
    }
}

fn config(origin: &Origin, limits: &str) -> String {
    format!(
        "upstream.o.endpoints = [\"{}\"]\n\
         route.all = {{ path-prefix = \"/\", chain = [\"limit\"], upstream = \"o\" }}\n\
         plugin.limit = {{ component = \"rate-limit\", limits.time = \"5s\", config = {{ key = \"header:x-key\", {limits} }} }}\n",
        origin.url()
    )
}

fn ask(client: &mut Client, key: &str) -> Message {
    client.request("GET", "/", &[("x-key", key)], b"")
}

/// A thousand times: who comes back after exactly the time that it was told is served, and who comes a second earlier is
/// not. Coming too early costs nothing.
#[test]
fn retry_after_is_exact() {
    let mut trials = 0;
    for limits in [
        "limit = 100, window = \"1m\", burst = 3",
        "limit = 7, window = \"10s\", burst = 2",
        "limit = 1, window = \"1h\"",
        "windows = [{ name = \"a\", limit = 2, window = \"3s\", burst = 4 }, { name = \"b\", limit = 5, window = \"1m\" }]",
    ] {
        let (origin, hands) = (Origin::fine(), Hands::new());
        let proxy = Proxy::start_at(&config(&origin, limits), hands.clock());
        let mut client = proxy.client();
        for trial in 0..250_u64 {
            trials += 1;
            let key = format!("client-{trial}");
            let what = format!("{limits}, trial {trial}");
            // Not at the same part of a second each time, nor of a period.
            hands.advance(trial * 37 % 1009);
            let refused = loop {
                let response = ask(&mut client, &key);
                if response.status() != 200 {
                    break response;
                }
                hands.advance(trial % 7);
            };
            assert_eq!((refused.status(), refused.code().as_str()), (429, "quota-exceeded"), "{what}: {refused:?}");
            let told: u64 = refused.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
            assert!((1..=3600).contains(&told), "{what}: {told}");
            hands.advance((told - 1) * 1000);
            assert_eq!(ask(&mut client, &key).status(), 429, "{what}: a second less than {told} s");
            hands.advance(1000);
            assert_eq!(ask(&mut client, &key).status(), 200, "{what}: after {told} s");
        }
    }
    assert_eq!(trials, 1000);
}

#[test]
fn a_hundred_a_minute_is_a_hundred_and_then_one_each_600_ms() {
    let (origin, hands) = (Origin::fine(), Hands::new());
    let proxy = Proxy::start_at(&config(&origin, "limit = 100, window = \"1m\""), hands.clock());
    let mut clients = [proxy.client(), proxy.client(), proxy.client()];
    let mut ask = |count: usize| (0..count).filter(|turn| ask(&mut clients[turn % 3], "k").status() == 200).count();
    assert_eq!(ask(150), 100, "on whatever worker they are");
    hands.advance(599);
    assert_eq!(ask(1), 0);
    hands.advance(1);
    assert_eq!(ask(2), 1);
    hands.advance(60_000);
    assert_eq!(ask(150), 100, "and never more than a burst, however long it was");
    assert_eq!(origin.seen().len(), 201);
}
