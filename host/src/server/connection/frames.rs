//! What the frames of an HTTP/2 connection cost, counted as their bytes go by.
//!
//! The library below takes each frame for itself: it answers a million pings as it answers one. Here each connection has
//! credit, which frames use up that make work and carry nothing, and which requests, bodies and time give back.

use std::cell::Cell;

use tokio::time::Instant;

/// What a connection begins with, and never has more of. A client may open all of its streams at once, before it has
/// heard how many it may, and then some.
const CREDIT: u32 = 2000;
/// What each second gives back: more than any client needs that is not up to something.
const EACH_SECOND: u32 = 50;
/// Bytes of a head from which on the next one waits until it was looked at: a byte may stand for a field of a hundred.
const LARGE: u32 = 256;
/// What a request gives back when it comes through to us, and when it is answered.
const BEGUN: u32 = 10;
const ANSWERED: u32 = 10;
/// What each write to the client gives back, since clients acknowledge what they read, many of them piece by piece.
const WRITTEN: u32 = 2;
/// And so many bytes of a body, in either direction, as much as that.
const PIECE: usize = 256;

const PREFACE: u32 = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

/// Of `DATA`.
const PADDED: u8 = 8;
/// Of `DATA`; the acknowledgement of `SETTINGS` and `PING`.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What is known of the frames that a client sends.
pub(super) struct Frames {
    /// The head of the next frame, as far as it has come.
    head: [u8; 9],
    filled: usize,
    /// Bytes of the frame, or of the preface, that are still to come.
    left: u32,
    /// A head has begun, and its last frame has not.
    in_head: bool,
    in_data: bool,
    /// Bytes of the head, in all of its frames.
    head_size: u32,
    /// The frame is the last one of a large head.
    ends_large: bool,
}

/// The credit of a connection, and what it has to finish.
pub(super) struct Account {
    credit: Cell<u32>,
    since: Cell<Instant>,
    /// Since when something other than a body has come in part.
    partial: Cell<Option<Instant>>,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { head: [0; 9], filled: 0, left: PREFACE, in_head: false, in_data: false, head_size: 0, ends_large: false }
    }

    /// Takes in bytes that came from the client, up to the end of a large head where there is one: then it answers how
    /// many they were.
    pub(super) fn read(&mut self, bytes: &[u8], account: &Account) -> Option<usize> {
        let mut rest = bytes;
        let mut large = None;
        while !rest.is_empty() && large.is_none() {
            if self.left > 0 {
                let skip = rest.len().min(self.left as usize);
                self.left -= skip as u32;
                rest = &rest[skip..];
            } else {
                let take = rest.len().min(self.head.len() - self.filled);
                self.head[self.filled..self.filled + take].copy_from_slice(&rest[..take]);
                self.filled += take;
                rest = &rest[take..];
                if self.filled == self.head.len() {
                    self.filled = 0;
                    self.frame(account);
                }
            }
            if self.left == 0 && std::mem::take(&mut self.ends_large) {
                large = Some(bytes.len() - rest.len());
            }
        }
        let partial = self.in_head || self.filled > 0 || (self.left > 0 && !self.in_data);
        match (partial, account.partial.get()) {
            (true, None) => account.partial.set(Some(Instant::now())),
            (false, Some(_)) => account.partial.set(None),
            _ => {}
        }
        large
    }

    fn frame(&mut self, account: &Account) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.left = u32::from_be_bytes([0, high, middle, low]);
        self.in_data = kind == DATA;
        // What came before is whole. A head is one thing from its first frame to its last.
        if !self.in_head {
            account.partial.set(None);
        }
        if matches!(kind, HEADERS | CONTINUATION) {
            let before = if kind == HEADERS { 0 } else { self.head_size };
            self.head_size = before.saturating_add(self.left);
            self.in_head = flags & END_HEADERS == 0;
            self.ends_large = !self.in_head && self.head_size >= LARGE;
        }
        let cost = match kind {
            DATA if flags & END_STREAM != 0 => 0,
            // So little of it may be padding alone.
            DATA if self.left == 0 || (flags & PADDED != 0 && self.left <= 256) => 10,
            DATA => return account.earn(self.left / PIECE as u32),
            HEADERS => 10,
            CONTINUATION => 5,
            SETTINGS if flags & ACK == 0 => 5,
            PING if flags & ACK == 0 => 3,
            RST_STREAM | PRIORITY => 2,
            // WINDOW_UPDATE, acknowledgements, and what nobody knows.
            _ => 1,
        };
        account.spend(cost);
    }
}

impl Account {
    pub(super) fn new() -> Self {
        Self { credit: Cell::new(CREDIT), since: Cell::new(Instant::now()), partial: Cell::new(None) }
    }

    /// Whether the client has used up its credit. It has none from then on.
    pub(super) fn is_spent(&self) -> bool {
        self.credit.get() == 0
    }

    /// Since when the client has owed the rest of a head or of another short frame.
    pub(super) fn owes_since(&self) -> Option<Instant> {
        self.partial.get()
    }

    /// A request came through.
    pub(super) fn begun(&self) {
        self.earn(BEGUN);
    }

    /// A request was answered.
    pub(super) fn answered(&self) {
        self.earn(ANSWERED);
    }

    /// So many bytes were taken by the client, or by the kernel on their way there.
    pub(super) fn wrote(&self, bytes: usize) {
        self.earn(WRITTEN.saturating_add(u32::try_from(bytes / PIECE).unwrap_or(u32::MAX)));
    }

    fn earn(&self, credit: u32) {
        if !self.is_spent() {
            self.credit.set(self.credit.get().saturating_add(credit).min(CREDIT));
        }
    }

    fn spend(&self, cost: u32) {
        if self.is_spent() {
            return;
        }
        // The clock is read only where it matters.
        if self.credit.get() <= cost {
            let seconds = self.since.get().elapsed().as_secs();
            self.since.set(Instant::now());
            self.earn(u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(EACH_SECOND));
        }
        self.credit.set(self.credit.get().saturating_sub(cost));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn begun() -> (Frames, Account) {
        let (mut frames, account) = (Frames::new(), Account::new());
        frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &account);
        (frames, account)
    }

    /// How many of a frame a client may send in one second without anything else.
    fn most(kind: u8, flags: u8, payload: &[u8]) -> usize {
        let (mut frames, account) = begun();
        let bytes = frame(kind, flags, payload);
        (1..)
            .find(|_| {
                frames.read(&bytes, &account);
                account.is_spent()
            })
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_use_up_the_credit() {
        assert_eq!(most(PING, 0, &[0; 8]), 667);
        assert_eq!(most(SETTINGS, 0, &[0; 6]), 400);
        assert_eq!(most(SETTINGS, ACK, &[]), 2000);
        assert_eq!(most(DATA, 0, &[]), 200);
        assert_eq!(most(DATA, PADDED, &[255; 256]), 200);
        assert_eq!(most(HEADERS, END_HEADERS, &[0x82]), 200);
        assert_eq!(most(CONTINUATION, 0, &[]), 400);
        assert_eq!(most(PRIORITY, 0, &[0; 5]), 1000);
        assert_eq!(most(RST_STREAM, 0, &[0; 4]), 1000);
        assert_eq!(most(8, 0, &[0; 4]), 2000);
        assert_eq!(most(0xbe, 0, b"grease"), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_head_is_the_last_that_is_read_at_once() {
        let small = frame(HEADERS, END_HEADERS, &[0x82; 255]);
        let large = [frame(HEADERS, 0, &[0x82; 200]), frame(CONTINUATION, END_HEADERS, &[0xbe; 56])].concat();
        let empty = [frame(HEADERS, 0, &[0x82; 256]), frame(CONTINUATION, END_HEADERS, &[])].concat();
        let all = [&small[..], &large, &small, &empty, &small].concat();
        let first = small.len() + large.len();
        for size in 1..=all.len() {
            let (mut frames, account) = begun();
            let (mut at, mut ends) = (0, Vec::new());
            while at < all.len() {
                let piece = &all[at..all.len().min(at + size)];
                let large = frames.read(piece, &account);
                at += large.unwrap_or(piece.len());
                ends.extend(large.map(|_| at));
            }
            assert_eq!(ends, [first, first + small.len() + empty.len()], "in pieces of {size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_requests_answers_and_time_give_credit_back() {
        let (mut frames, account) = begun();
        let data = frame(DATA, 0, &[0; 1024]);
        let update = frame(8, 0, &[0; 4]);
        for _ in 0..10_000 {
            frames.read(&data, &account);
            frames.read(&update, &account);
            // As many as those that read each piece of a download acknowledge: the connection and the stream.
            frames.read(&update, &account);
            frames.read(&update, &account);
            account.wrote(30);
        }
        for _ in 0..10_000 {
            frames.read(&frame(HEADERS, END_HEADERS, &[0x82]), &account);
            account.begun();
            account.answered();
        }
        let ping = frame(PING, 0, &[0; 8]);
        for _ in 0..10_000 {
            frames.read(&ping, &account);
            advance(Duration::from_secs(1)).await;
        }
        assert!(!account.is_spent());
        while !account.is_spent() {
            frames.read(&ping, &account);
        }
        account.answered();
        advance(Duration::from_secs(100)).await;
        frames.read(&ping, &account);
        assert!(account.is_spent(), "who has none left gets none");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_begun_and_is_no_body_is_owed() {
        let (mut frames, account) = begun();
        assert_eq!(account.owes_since(), None);
        let head = frame(HEADERS, 0, &[0x82, 0x84]);
        let begin = Instant::now();
        frames.read(&head[..5], &account);
        assert_eq!(account.owes_since(), Some(begin));
        advance(Duration::from_secs(1)).await;
        frames.read(&head[5..], &account);
        assert!(account.owes_since().is_some(), "the head is not whole without the flag that says so");
        frames.read(&frame(CONTINUATION, END_HEADERS, &[0x86])[..9], &account);
        assert!(account.owes_since().is_some(), "its last byte is missing");
        frames.read(&[0x86], &account);
        assert_eq!(account.owes_since(), None);
        frames.read(&frame(DATA, 0, &[0; 100])[..50], &account);
        assert_eq!(account.owes_since(), None, "bodies have limits of their own");
    }

    proptest! {
        #[test]
        fn pieces_count_as_the_whole(frames in proptest::collection::vec((0..12_u8, any::<u8>(), 0..40_usize), 0..30), cut in 1..50_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, &vec![0; *length])).collect();
                let ((mut whole, one), (mut pieces, other)) = (begun(), begun());
                whole.read(&bytes, &one);
                for piece in bytes.chunks(cut) {
                    pieces.read(piece, &other);
                }
                assert_eq!(one.credit.get(), other.credit.get());
                assert_eq!(one.owes_since().is_some(), other.owes_since().is_some());
            });
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (mut frames, account) = begun();
                frames.read(&bytes, &account);
                assert!(account.credit.get() <= CREDIT);
            });
        }
    }
}
