//! Whether a body passes: its fields first, then what it holds.

use std::borrow::Cow;

use crate::coding::{Coding, Undecodable, codings, decode};
use crate::config::{Settings, Side};
use crate::media::Media;
use crate::refusal::Refusal;
use crate::schema::{Fault, Verdict};

/// What the fields of a body say is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fields {
    /// Undo these codings, the last one first, and look at it.
    Look(Vec<Coding>),
    /// Its media type passes unseen.
    Pass,
}

impl Settings {
    /// Looks at `Content-Type` and `Content-Encoding`.
    pub(crate) fn fields<'a>(
        &self,
        mut types: impl Iterator<Item = &'a [u8]>,
        encodings: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Fields, Refusal> {
        let first = types.next().ok_or(Refusal::MediaType)?;
        if types.next().is_some() {
            return Err(Refusal::ContentTypes);
        }
        // What nearly everybody sends needs no parser.
        if first != b"application/json" || !self.content_types.iter().any(|one| one.takes("application/json")) {
            let media = Media::parse(first).ok_or(Refusal::MediaType)?;
            if !self.content_types.iter().any(|one| one.takes(&media.essence)) {
                let passes = self.pass_unvalidated.iter().any(|one| one.takes(&media.essence));
                return if passes { Ok(Fields::Pass) } else { Err(Refusal::MediaType) };
            }
            if !media.is_utf8() {
                return Err(Refusal::Charset);
            }
        }
        codings(encodings, &self.content_encodings).map(Fields::Look).ok_or(Refusal::Coding)
    }

    /// Looks at a body.
    pub(crate) fn body(&self, side: &Side, codings: &[Coding], body: &[u8]) -> Result<(), Refusal> {
        let mut plain = Cow::Borrowed(body);
        for coding in codings.iter().rev() {
            let decoded =
                decode(*coding, &plain, self.max_body, self.max_ratio).map_err(|undecodable| match undecodable {
                    Undecodable::TooLarge => Refusal::TooLarge,
                    Undecodable::Broken => Refusal::Undecodable,
                    Undecodable::Window => Refusal::Window,
                })?;
            plain = Cow::Owned(decoded);
        }
        match side.schema.judge(&plain, &self.limits, self.max_steps) {
            Ok(Verdict::Valid) => Ok(()),
            Ok(Verdict::Invalid(faults)) => Err(Refusal::Invalid(faults)),
            Ok(Verdict::TooComplex) => Err(Refusal::TooComplex),
            Err(malformed) => {
                let detail = malformed.wrong.to_string();
                Err(Refusal::Invalid(vec![Fault { pointer: malformed.pointer, detail }]))
            }
        }
    }
}
