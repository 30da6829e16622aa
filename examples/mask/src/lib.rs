//! Hides words in the bodies of responses while they pass: each becomes as many asterisks. However long a body is, what
//! stays in memory is less than one word, so that one which is cut in two is found.

use tollgate_sdk::{
    Chunk, ChunkFlow, Complaints, Direction, Interest, Passing, Plugin, Streaming, Wants, plugin, schemars, serde,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Mask {
    /// What is hidden.
    words: Vec<String>,
}

impl Plugin for Mask {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        if config.words.is_empty() || config.words.iter().any(String::is_empty) {
            return Err(Complaints::of("/words", "it is a list of words, and not empty"));
        }
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new()
    }
}

impl Streaming for Mask {
    /// What may be the beginning of a word.
    type Body = Vec<u8>;

    fn wants(&self) -> Wants {
        Wants::new().response(Passing::Change)
    }

    fn begin(&self, _: Direction, _: Option<Vec<u8>>) -> Vec<u8> {
        Vec::new()
    }

    fn on_chunk(&self, kept: &mut Vec<u8>, chunk: &Chunk) -> ChunkFlow {
        kept.extend_from_slice(&chunk.bytes);
        self.words.iter().for_each(|word| mask(kept, word.as_bytes()));
        let longest = self.words.iter().map(String::len).max().unwrap_or_default();
        let ready = if chunk.last { kept.len() } else { (kept.len() + 1).saturating_sub(longest) };
        let behind = kept.split_off(ready);
        ChunkFlow::Replace(std::mem::replace(kept, behind))
    }
}
plugin!(Mask, streaming);

fn mask(text: &mut [u8], word: &[u8]) {
    let mut from = 0;
    while let Some(at) = text[from..].windows(word.len()).position(|part| part == word) {
        text[from + at..from + at + word.len()].fill(b'*');
        from += at + word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_hidden_however_it_is_cut() {
        let plugin = Mask { words: vec!["secret".into(), "täg".into()] };
        let text = "a secret, a täg, and secrets".as_bytes();
        for size in 1..text.len() {
            let (mut kept, mut out) = (plugin.begin(Direction::Response, None), Vec::new());
            let mut pieces: Vec<_> =
                text.chunks(size).map(|piece| Chunk { bytes: piece.to_vec(), ..Chunk::default() }).collect();
            pieces.push(Chunk { last: true, ..Chunk::default() });
            for piece in pieces {
                let ChunkFlow::Replace(bytes) = plugin.on_chunk(&mut kept, &piece) else { panic!("it replaces") };
                assert!(kept.len() < "secret".len());
                out.extend(bytes);
            }
            assert_eq!(String::from_utf8(out).expect("text"), "a ******, a ****, and ******s", "{size}");
        }
    }
}
