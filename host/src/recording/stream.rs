//! The file: eight bytes that say what it is, then frames, each behind its length. Whoever reads one trusts nothing.

use std::fmt;

use super::{About, Recorded};

/// What a file begins with. The last digit is the version of the format.
pub const MAGIC: [u8; 8] = *b"tollrec1";
/// The longest frame, in bytes.
pub const LONGEST_FRAME: usize = 4 << 20;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Frame {
    /// Which plugin the passes behind it are of.
    About(About),
    /// A pass.
    Pass(Recorded),
}

/// What is wrong with a file, and from which byte on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Everything before this one can be read.
    pub at: usize,
    /// Why nothing behind it can.
    pub why: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.why)
    }
}

impl std::error::Error for Broken {}

/// The frames of a file, in order, up to the first that is not whole.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// Of the bytes of a whole file.
    ///
    /// # Errors
    /// Where it is no recording.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Broken> {
        if bytes.starts_with(&MAGIC) {
            Ok(Self { bytes, at: MAGIC.len() })
        } else {
            Err(Broken { at: 0, why: "it is no recording of this version of Tollgate" })
        }
    }

    /// How many bytes were whole frames so far.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    fn frame(&self) -> Result<(Frame, usize), Broken> {
        let broken = |why| Broken { at: self.at, why };
        let rest = &self.bytes[self.at..];
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(broken("it is cut off"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST_FRAME {
            return Err(broken("a frame is longer than any that is written"));
        }
        let frame = rest.get(..length).ok_or(broken("it is cut off"))?;
        match postcard::take_from_bytes(frame) {
            Ok((frame, [])) => Ok((frame, self.at + 4 + length)),
            _ => Err(broken("a frame is damaged")),
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let frame = self.frame();
        match frame {
            Ok((frame, end)) => {
                self.at = end;
                Some(Ok(frame))
            }
            Err(broken) => {
                self.bytes = &self.bytes[..self.at];
                Some(Err(broken))
            }
        }
    }
}

/// A frame as it stands in a file; none where it is too long for one.
#[must_use]
pub fn encode(frame: &Frame) -> Option<Vec<u8>> {
    let body = postcard::to_allocvec(frame).ok().filter(|body| body.len() <= LONGEST_FRAME)?;
    let length = u32::try_from(body.len()).ok()?;
    Some([&length.to_le_bytes()[..], &body].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Answer, Call, Changes, Input, Outcome, Said};
    use super::*;

    fn pass(text: &str, bytes: &[u8]) -> Frame {
        let fields = vec![(text.to_owned(), bytes.to_vec())];
        Frame::Pass(Recorded {
            route: "r".into(),
            request_id: text.into(),
            at_ms: 1,
            calls: vec![Call {
                hook: "on-response".into(),
                input: Input::Response { status: 200, headers: fields.clone(), attributes: Vec::new() },
                body: Some(bytes.to_vec()),
                said: vec![Said {
                    asked: text.into(),
                    answer: Answer::Http(Ok((200, fields.clone(), bytes.to_vec()))),
                }],
                outcome: Outcome::Edit(Changes { set: fields, ..Changes::default() }),
                took_us: 7,
            }],
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in ".{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let frames = [Frame::About(About { plugin: text.clone(), ..About::default() }), pass(&text, &bytes)];
            let mut file = MAGIC.to_vec();
            frames.iter().for_each(|frame| file.extend(encode(frame).unwrap()));
            let read: Result<Vec<_>, _> = Frames::new(&file).unwrap().collect();
            prop_assert_eq!(read.unwrap(), frames);
        }

        #[test]
        fn a_file_that_was_cut_gives_what_was_whole(cut in 8usize..400) {
            let (one, two) = (encode(&pass("a", b"one")).unwrap(), encode(&pass("b", b"two")).unwrap());
            let file = [&MAGIC[..], &one, &two].concat();
            let cut = cut.min(file.len());
            let mut frames = Frames::new(&file[..cut]).unwrap();
            let whole = frames.by_ref().filter(Result::is_ok).count();
            let expected = [8 + one.len(), file.len()].iter().filter(|end| **end <= cut).count();
            prop_assert_eq!(whole, expected);
            prop_assert!(frames.at() <= cut);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let file = [&MAGIC[..], &bytes].concat();
            let read: Vec<_> = Frames::new(&file).unwrap().collect();
            // A frame has its length before it: there are never more than that allows, and one mistake ends it.
            prop_assert!(read.len() <= bytes.len() / 4 + 1);
            prop_assert!(read.iter().filter(|one| one.is_err()).count() <= 1);
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        assert_eq!(Frames::new(b"").unwrap_err().at, 0);
        assert_eq!(Frames::new(b"tollrec2....").unwrap_err().at, 0);
        let long = [&MAGIC[..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(
            Frames::new(&long).unwrap().next(),
            Some(Err(Broken { at: 8, why: "a frame is longer than any that is written" }))
        );
    }
}
