//! Headers of the PROXY protocol: read piece by piece as at once, never a byte too far, and written as they were meant.

use tollgate::config::ProxyVersion;
use tollgate::proxy_protocol::{Source, Step, read, write};

/// The longest header that is taken.
const LONGEST: usize = 4096;

/// Reads the bytes as a connection does, and what was read once more.
///
/// # Panics
/// Where a promise is broken.
pub fn check(bytes: &[u8]) {
    let piece_by_piece = pieces(bytes);
    match (read(bytes), piece_by_piece) {
        (Ok(Step::Whole(length, source)), Some(Ok(same))) => {
            assert_eq!((length, source), same, "how it comes decides what it is");
            assert!(length <= bytes.len().min(LONGEST));
            assert_eq!(read(&bytes[..length]), Ok(Step::Whole(length, source)), "what follows has a part in it");
            again(source);
        }
        (Ok(Step::More(more)), None) => assert!(more > 0 && more <= LONGEST),
        (Err(why), Some(Err(same))) => assert_eq!(why, same, "how it comes decides why it is refused"),
        // What is refused early is refused whatever follows.
        (whole, pieces) => panic!("{whole:?} at once, {pieces:?} piece by piece"),
    }
}

/// As a connection reads: never more than what is asked for. None where more has to come.
fn pieces(bytes: &[u8]) -> Option<Result<(usize, Source), &'static str>> {
    let mut have = 0;
    loop {
        match read(&bytes[..have]) {
            Err(why) => return Some(Err(why)),
            Ok(Step::Whole(length, source)) => {
                assert_eq!(length, have, "a byte of what follows was read");
                return Some(Ok((length, source)));
            }
            Ok(Step::More(more)) => {
                assert!(more > 0, "it waits for nothing");
                have += more;
                if have > bytes.len() {
                    return refused_already(bytes);
                }
            }
        }
    }
}

/// All that there is says that it is wrong, although more was asked for.
fn refused_already(bytes: &[u8]) -> Option<Result<(usize, Source), &'static str>> {
    read(bytes).err().map(Err)
}

/// What was read can be said again, in both versions.
fn again(source: Source) {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let bytes = write(version, source);
        let Ok(Step::Whole(length, told)) = read(&bytes) else { panic!("{source:?} is not said in {version:?}") };
        assert_eq!(length, bytes.len());
        let plain = |source| match source {
            Source::Client(from, to) => {
                let plain = |it: std::net::SocketAddr| (it.ip().to_canonical(), it.port());
                Some((plain(from), plain(to)))
            }
            Source::Unknown => None,
        };
        assert_eq!(plain(told), plain(source), "{version:?} says something else");
    }
}
