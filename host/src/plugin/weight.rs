//! How many bytes a call copies into a guest and out of it: texts, fields and bodies, without what they are packed in.

use bytes::Bytes;

use crate::bindings::{
    BodyFlow, ChunkFlow, ChunkIn, Edits, Flow, Header, HeaderIn, OnChunk, OnRequest, OnRequestBody, OnResponse,
    OnResponseBody, Problem, RequestIn, Response, ResponseHeadIn,
};

/// What can be weighed.
pub(super) trait Weight {
    /// Bytes.
    fn weight(&self) -> usize;
}

impl Weight for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weight for Vec<u8> {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weight for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl<T: Weight> Weight for Option<T> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, Weight::weight)
    }
}

impl Weight for [HeaderIn] {
    fn weight(&self) -> usize {
        self.iter().map(|field| field.name.len() + field.value.len()).sum()
    }
}

impl Weight for [Header] {
    fn weight(&self) -> usize {
        self.iter().map(|field| field.name.len() + field.value.len()).sum()
    }
}

impl<T: AsRef<str>> Weight for [(T, T)] {
    fn weight(&self) -> usize {
        self.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len()).sum()
    }
}

impl Weight for RequestIn {
    fn weight(&self) -> usize {
        let Self { method, scheme, authority, path, query, headers, client, attributes } = self;
        let texts = [method, authority, path, query, client].map(Weight::weight);
        let scheme = scheme.map_or(0, str::len);
        texts.iter().sum::<usize>() + scheme + headers.weight() + attributes.weight()
    }
}

impl Weight for ResponseHeadIn {
    fn weight(&self) -> usize {
        let Self { status: _, headers, attributes } = self;
        headers.weight() + attributes.weight()
    }
}

impl Weight for OnRequest<'_> {
    fn weight(&self) -> usize {
        self.0.weight()
    }
}

impl Weight for OnRequestBody<'_> {
    fn weight(&self) -> usize {
        self.0.weight() + self.1.weight() + self.2.weight()
    }
}

impl Weight for OnResponse<'_> {
    fn weight(&self) -> usize {
        self.0.weight() + self.1.weight()
    }
}

impl Weight for OnResponseBody<'_> {
    fn weight(&self) -> usize {
        self.0.weight() + self.1.weight() + self.2.weight()
    }
}

impl Weight for OnChunk {
    fn weight(&self) -> usize {
        let (ChunkIn { bytes, first: _, last: _, memo, trailers },) = self;
        bytes.weight() + memo.weight() + trailers.weight()
    }
}

impl Weight for Edits {
    fn weight(&self) -> usize {
        let Self { remove, set, append, path, query, status: _, attributes, memo, skip_body: _ } = self;
        let names: usize = remove.iter().map(String::len).sum();
        let texts = path.weight() + query.weight() + memo.weight();
        names + set.weight() + append.weight() + attributes.weight() + texts
    }
}

impl Weight for Response {
    fn weight(&self) -> usize {
        self.headers.weight() + self.body.len()
    }
}

impl Weight for Problem {
    fn weight(&self) -> usize {
        let Self { status: _, code, title, detail, headers, faults } = self;
        let faults: usize = faults.iter().map(|fault| fault.pointer.len() + fault.detail.len()).sum();
        code.len() + title.len() + detail.weight() + headers.weight() + faults
    }
}

impl Weight for Flow {
    fn weight(&self) -> usize {
        match self {
            Self::Continue => 0,
            Self::Edit(edits) => edits.weight(),
            Self::Respond(response) => response.weight(),
            Self::Refuse(problem) => problem.weight(),
        }
    }
}

impl Weight for BodyFlow {
    fn weight(&self) -> usize {
        match self {
            Self::Continue => 0,
            Self::Edit(edits) => edits.weight(),
            Self::Replace((edits, body)) => edits.weight() + body.len(),
            Self::Respond(response) => response.weight(),
            Self::Refuse(problem) => problem.weight(),
        }
    }
}

impl Weight for ChunkFlow {
    fn weight(&self) -> usize {
        match self {
            Self::Continue => 0,
            Self::Replace(bytes) | Self::More(bytes) => bytes.len(),
            Self::End(end) => end.bytes.len() + end.trailers.weight(),
            Self::Refuse(problem) => problem.weight(),
        }
    }
}
