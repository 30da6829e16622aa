//! Answers of name servers: whatever comes is an answer or none, and never a panic.

use tollgate::connect::dns::message::{Kind, Reply, question, read};

/// The answer to one question of each kind, behind its header and the question itself, and as it is.
pub fn check(bytes: &[u8]) {
    for kind in [Kind::A, Kind::Aaaa, Kind::Srv] {
        let Some(question) = question(7, "_http._tcp.origin.test", kind) else { return };
        let _ = read(bytes, &question);
        let (counts, rest) = bytes.split_at_checked(6).unwrap_or((&[0; 6], bytes));
        let mut answer = question.clone();
        answer[2] |= 0x80;
        answer[6..12].copy_from_slice(counts);
        answer.extend_from_slice(rest);
        if let Ok(Reply::Records { records, .. }) = read(&answer, &question) {
            assert!(!records.is_empty() && records.len() <= 1024, "{} records", records.len());
        }
    }
}
