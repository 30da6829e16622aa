//! WebSocket (RFC 6455), as far as an echo needs it: a handshake that is always the same, and messages of one frame.

use anyhow::{Result, ensure};

/// The example of RFC 6455, section 1.3, and what a server has to answer to it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a server agrees with.
pub(crate) const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A frame that is a whole message of bytes.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
/// Lengths from here on take two bytes more. Those of this benchmark are below the next step.
const EXTENDED: u8 = 126;
/// What a client masks with. The mask of a real one is another for each message.
const MASK: [u8; 4] = [0x1f, 0xa2, 0x5c, 0x33];

/// Whether a response agrees to the handshake.
pub(crate) fn is_agreed(response: &httparse::Response<'_, '_>) -> bool {
    let mut fields = response.headers.iter();
    response.code == Some(101)
        && fields.any(|it| it.name.eq_ignore_ascii_case("sec-websocket-accept") && it.value == ACCEPT.as_bytes())
}

/// A message of so many bytes, as a client sends it or as a server does.
pub(crate) fn message(size: u16, client: bool) -> Vec<u8> {
    let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    let mut frame = head(size, if client { MASKED } else { 0 });
    if client {
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend_from_slice(&payload);
    }
    frame
}

fn head(size: u16, masked: u8) -> Vec<u8> {
    match size.to_be_bytes() {
        [0, short] if short < EXTENDED => vec![BINARY, masked | short],
        [high, low] => vec![BINARY, masked | EXTENDED, high, low],
    }
}

/// Takes the whole messages of a client out of `input`, and writes what a server says back behind `output`.
pub(crate) fn echo(input: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<()> {
    let mut at = 0;
    while let [kind, length, rest @ ..] = &input[at..] {
        ensure!(*kind == BINARY && length & MASKED != 0, "no message of a client: {kind:#x} {length:#x}");
        let (length, rest) = match (length & !MASKED, rest) {
            (EXTENDED, [high, low, rest @ ..]) => (u16::from_be_bytes([*high, *low]), rest),
            (EXTENDED, _) => break,
            (short, rest) => (u16::from(short), rest),
        };
        let size = usize::from(length);
        let Some((mask, payload)) = rest.split_first_chunk::<4>().filter(|(_, rest)| rest.len() >= size) else { break };
        output.extend_from_slice(&head(length, 0));
        output.extend(payload[..size].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        at = input.len() - payload.len() + size;
    }
    input.drain(..at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_however_they_come() {
        for size in [0, 1, 125, 126, 128, 5000] {
            let (sent, expected) = (message(size, true).repeat(2), message(size, false).repeat(2));
            for piece in [1, 3, sent.len()] {
                let (mut input, mut output) = (Vec::new(), Vec::new());
                for bytes in sent.chunks(piece) {
                    input.extend_from_slice(bytes);
                    echo(&mut input, &mut output).unwrap();
                }
                assert!(input.is_empty() && output == expected, "{size} in pieces of {piece}");
            }
        }
        assert!(echo(&mut message(5, false), &mut Vec::new()).is_err(), "not masked");
    }

    #[test]
    fn an_agreement_has_the_answer_to_the_key() {
        let mut fields = [httparse::EMPTY_HEADER; 4];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(AGREED).unwrap();
        assert!(is_agreed(&response));
        response.code = Some(200);
        assert!(!is_agreed(&response));
    }
}
