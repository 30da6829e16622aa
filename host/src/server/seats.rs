//! Which worker takes a connection. The kernel deals them out by a hash, so that with few clients one worker may get
//! most of them; the worker that accepts one passes it on when it has many more than another. A connection is passed on
//! once at most, and then stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::socket::Parked;

/// By so many connections a worker may be ahead of the one with the fewest, at least. Passing one on costs about as
/// much as accepting it, so that small differences are left alone.
const AHEAD: usize = 2;

/// Beyond that, by this part of what it has.
const PART: usize = 16;

/// The workers of one listener, as they stand.
#[derive(Debug)]
struct Table {
    open: Vec<AtomicUsize>,
    doors: Vec<mpsc::UnboundedSender<Passed>>,
}

/// One worker's place at a listener.
#[derive(Debug)]
pub(crate) struct Seat {
    table: Arc<Table>,
    place: usize,
    passed: mpsc::UnboundedReceiver<Passed>,
}

/// A connection on its way from the worker that accepted it to the one that serves it.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) stream: Parked,
    pub(crate) address: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) taken: Taken,
}

/// A connection that counts as its worker's until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    table: Arc<Table>,
    place: usize,
}

impl Seat {
    /// A place for each of so many workers.
    pub(crate) fn all(workers: usize) -> Vec<Self> {
        let (doors, passed): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let table = Arc::new(Table { open: (0..workers).map(|_| AtomicUsize::new(0)).collect(), doors });
        let seat = |(place, passed)| Self { table: table.clone(), place, passed };
        passed.into_iter().enumerate().map(seat).collect()
    }

    /// Counts a connection that was accepted here for the worker that is to serve it.
    pub(crate) fn take(&self) -> Taken {
        let open = |place: usize| self.table.open[place].load(Ordering::Relaxed);
        let own = open(self.place);
        let fewest = (0..self.table.open.len()).min_by_key(|place| open(*place)).unwrap_or(self.place);
        let place = if own > open(fewest) + AHEAD.max(own / PART) { fewest } else { self.place };
        self.table.open[place].fetch_add(1, Ordering::Relaxed);
        Taken { table: self.table.clone(), place }
    }

    /// Whether a connection is this worker's own.
    pub(crate) fn is_own(&self, taken: &Taken) -> bool {
        taken.place == self.place
    }

    /// Gives a connection to the worker that it was counted for.
    ///
    /// # Errors
    /// That worker accepts no more: the connection comes back.
    pub(crate) fn pass(&self, passed: Passed) -> Result<(), Passed> {
        self.table.doors[passed.taken.place].send(passed).map_err(|unsent| unsent.0)
    }

    /// The next connection that another worker passes to this one. None is lost where nobody waits for it any more.
    pub(crate) async fn next(&mut self) -> Option<Passed> {
        self.passed.recv().await
    }

    /// Takes no more: what was passed before, and nothing after.
    pub(crate) fn leave(mut self) -> impl Iterator<Item = Passed> {
        self.passed.close();
        std::iter::from_fn(move || self.passed.try_recv().ok())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.table.open[self.place].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_far_ahead_however_the_kernel_deals() {
        let seats = Seat::all(3);
        // All come to the first one.
        let taken: Vec<Taken> = (0..300).map(|_| seats[0].take()).collect();
        let count = |place: usize| taken.iter().filter(|taken| taken.place == place).count();
        let counts = [count(0), count(1), count(2)];
        assert!(counts.iter().all(|count| count.abs_diff(100) <= 6), "{counts:?}");
        assert_eq!(taken.iter().filter(|taken| seats[0].is_own(taken)).count(), counts[0]);
        drop(taken);
        assert!(seats[0].table.open.iter().all(|open| open.load(Ordering::Relaxed) == 0));
    }

    #[tokio::test]
    async fn who_left_is_passed_nothing() {
        let room = Arc::new(tokio::sync::Semaphore::new(9));
        let mut seats = Seat::all(2);
        let (second, first) = (seats.remove(1), seats.remove(0));
        let _ahead: Vec<Taken> = (0..8).map(|_| first.take()).collect();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = || {
            let taken = Taken { table: first.table.clone(), place: 1 };
            first.table.open[1].fetch_add(1, Ordering::Relaxed);
            let permit = room.clone().try_acquire_owned().unwrap();
            let stream = Parked::Tcp(std::net::TcpStream::connect(address).unwrap());
            Passed { stream, address, permit, taken }
        };
        first.pass(passed()).unwrap();
        assert_eq!(second.leave().count(), 1);
        assert!(first.pass(passed()).is_err());
        assert_eq!(room.available_permits(), 9);
    }

    #[test]
    fn what_is_nearly_even_is_left_alone() {
        let seats = Seat::all(2);
        let taken: Vec<Taken> = [0, 1, 0, 0, 1, 0].into_iter().map(|place: usize| seats[place].take()).collect();
        assert_eq!(taken.iter().map(|taken| taken.place).collect::<Vec<_>>(), [0, 1, 0, 0, 1, 0]);
    }
}
