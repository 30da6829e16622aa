//! Which kinds of fields a head has, so that what is there seldom is looked for seldom.

use http::header::{self, HeaderMap, HeaderName};

use super::{is_forwarding, is_hop_by_hop, is_spoofable};

/// A set of kinds. One too many costs time; one too few would let a field pass: whoever takes fields in notes each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

const HOP_BY_HOP: u8 = 1;
const SPOOFABLE: u8 = 1 << 1;
const UNDERSCORE: u8 = 1 << 2;
const ABOUT_THE_BODY: u8 = 1 << 3;
const REPEATED: u8 = 1 << 4;
const UPGRADE: u8 = 1 << 5;

impl Kinds {
    /// Those of all fields of a head.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut kinds = Self::default();
        for name in headers.keys() {
            kinds.note(name);
        }
        if headers.len() > headers.keys_len() {
            kinds.note_repeated();
        }
        kinds
    }

    /// Takes in the name of one field.
    pub fn note(&mut self, name: &HeaderName) {
        let text = name.as_str();
        if is_hop_by_hop(name) || *name == header::EXPECT {
            self.0 |= HOP_BY_HOP;
        }
        if is_forwarding(text) || is_spoofable(text) {
            self.0 |= SPOOFABLE;
        }
        if text.contains('_') {
            self.0 |= UNDERSCORE;
        }
        if matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT | header::UPGRADE) {
            self.0 |= ABOUT_THE_BODY;
        }
        if *name == header::UPGRADE {
            self.0 |= UPGRADE;
        }
    }

    /// Takes in that a name came twice.
    pub fn note_repeated(&mut self) {
        self.0 |= REPEATED;
    }

    /// Whether a name may be there twice.
    #[must_use]
    pub fn repeated(self) -> bool {
        self.0 & REPEATED != 0
    }

    /// Whether there may be fields for the next hop alone, or `Expect`.
    #[must_use]
    pub fn hop_by_hop(self) -> bool {
        self.0 & HOP_BY_HOP != 0
    }

    /// Whether the sender may offer to go on with another protocol.
    #[must_use]
    pub fn upgrade(self) -> bool {
        self.0 & UPGRADE != 0
    }

    /// Whether there may be fields that a client may not set, or that say who forwarded the request.
    pub(super) fn spoofable(self) -> bool {
        self.0 & SPOOFABLE != 0
    }

    /// Whether there may be a name with an underscore.
    pub(super) fn underscore(self) -> bool {
        self.0 & UNDERSCORE != 0
    }

    /// Whether there may be fields that say whether and when a body follows.
    pub(super) fn about_the_body(self) -> bool {
        self.0 & ABOUT_THE_BODY != 0
    }
}
