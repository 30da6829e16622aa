//! Which members or items of a value some subschema has looked at: what `unevaluatedProperties` and `unevaluatedItems`
//! go by.

/// A set of indices below a length.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    bits: Vec<u64>,
}

impl Marks {
    /// None of this many.
    pub(super) fn new(len: u32) -> Self {
        Self { bits: vec![0; (len as usize).div_ceil(64)] }
    }

    /// None, of the same length.
    pub(super) fn like(other: &Self) -> Self {
        Self { bits: vec![0; other.bits.len()] }
    }

    pub(super) fn set(&mut self, index: usize) {
        if let Some(bits) = self.bits.get_mut(index / 64) {
            *bits |= 1 << (index % 64);
        }
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.bits.get(index / 64).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bits, more) in self.bits.iter_mut().zip(&other.bits) {
            *bits |= more;
        }
    }
}
