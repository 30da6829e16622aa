//! The files of one plugin: `NAME.tollrec`, and older ones as `NAME.1.tollrec` and so on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::{Frame, Frames, LONGEST_FRAME, MAGIC, encode};

/// Where recordings go.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    name: String,
    /// The size at which another one is begun, in bytes.
    size: u64,
    /// How many are kept.
    files: usize,
    /// What each begins with.
    about: Vec<u8>,
    open: Option<(File, u64)>,
}

impl Files {
    pub(super) fn new(directory: PathBuf, name: &str, size: u64, files: usize, about: &Frame) -> Self {
        let about = encode(about).unwrap_or_default();
        Self { directory, name: name.to_owned(), size, files, about, open: None }
    }

    /// Writes a frame whole, or fails.
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let (mut file, mut length) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        if length + frame.len() as u64 > self.size && length > (MAGIC.len() + self.about.len()) as u64 {
            self.rotate()?;
            (file, length) = self.begin()?;
        }
        // In one call: another writer of the file, as there may be during a reload, writes before it or behind it.
        file.write_all(frame)?;
        self.open = Some((file, length + frame.len() as u64));
        Ok(())
    }

    /// Opens the current file behind its last whole frame.
    fn begin(&mut self) -> io::Result<(File, u64)> {
        std::fs::create_dir_all(&self.directory)?;
        let path = self.path(0);
        match std::fs::metadata(&path) {
            Ok(known) if known.len() > self.size.saturating_add(LONGEST_FRAME as u64) => self.rotate()?,
            Ok(known) if known.len() > 0 => {
                let bytes = std::fs::read(&path)?;
                match Frames::new(&bytes) {
                    Ok(mut frames) => {
                        // What was cut off by the end of a process would hide everything behind it.
                        if frames.by_ref().any(|frame| frame.is_err()) {
                            OpenOptions::new().write(true).open(&path)?.set_len(frames.at() as u64)?;
                        }
                    }
                    Err(_) => self.rotate()?,
                }
            }
            _ => {}
        }
        // What plugins saw is for nobody else.
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let known = file.metadata()?.len();
        let mut head = if known == 0 { MAGIC.to_vec() } else { Vec::new() };
        head.extend_from_slice(&self.about);
        file.write_all(&head)?;
        Ok((file, known + head.len() as u64))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        for older in (0..self.files.saturating_sub(1)).rev() {
            match std::fs::rename(self.path(older), self.path(older + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match std::fs::remove_file(self.path(0)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, age: usize) -> PathBuf {
        let name = if age == 0 { format!("{}.tollrec", self.name) } else { format!("{}.{age}.tollrec", self.name) };
        self.directory.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{About, Recorded};
    use super::*;

    fn frame(id: usize) -> Vec<u8> {
        let pass = Recorded { route: "r".repeat(400), request_id: id.to_string(), at_ms: 0, calls: Vec::new() };
        encode(&Frame::Pass(pass)).unwrap()
    }

    fn ids(path: PathBuf) -> Vec<String> {
        let bytes = std::fs::read(path).unwrap();
        let passes = Frames::new(&bytes).unwrap().map(Result::unwrap);
        passes.filter_map(|frame| if let Frame::Pass(pass) = frame { Some(pass.request_id) } else { None }).collect()
    }

    #[test]
    fn files_are_rotated_and_few() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::new(directory.path().into(), "p", 1000, 3, &Frame::About(About::default()));
        (0..9).for_each(|id| files.write(&frame(id)).unwrap());
        assert_eq!(ids(files.path(0)), ["8"]);
        assert_eq!(ids(files.path(1)), ["6", "7"]);
        assert_eq!(ids(files.path(2)), ["4", "5"]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_a_crash_cut_off_hides_nothing_that_comes_after() {
        let directory = tempfile::tempdir().unwrap();
        let new = || Files::new(directory.path().into(), "p", 1 << 20, 3, &Frame::About(About::default()));
        new().write(&frame(1)).unwrap();
        let path = new().path(0);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&frame(2)[..100]).unwrap();
        new().write(&frame(3)).unwrap();
        assert_eq!(ids(path.clone()), ["1", "3"]);
        std::fs::write(&path, "something else").unwrap();
        new().write(&frame(4)).unwrap();
        assert_eq!(ids(path), ["4"]);
        assert_eq!(std::fs::read(new().path(1)).unwrap(), b"something else");
    }
}
