//! What the response hook needs to know of the request, and how the memo carries it.

use tollgate_sdk::{Request, ResponseHead};

use crate::preset::When;
use crate::rules::Rules;
use crate::template::{Source, Variable};

/// A length that stands for no value.
const NONE: u32 = u32::MAX;

/// What of a request is remembered for its response. In the memo: a byte that is 1 for TLS, then for each variable the
/// length of its value in four bytes, little end first, and the value.
#[derive(Debug)]
pub(crate) struct Recall {
    tls: bool,
    variables: Vec<Variable>,
}

impl Recall {
    /// What these rules for responses use of the request. Attributes are not among it: the response hook sees those.
    pub(crate) fn new(response: &Rules) -> Self {
        let mut variables: Vec<Variable> = Vec::new();
        for variable in response.variables() {
            if !matches!(variable, Variable::Attribute(_)) && !variables.contains(variable) {
                variables.push(variable.clone());
            }
        }
        Self { tls: response.depends_on(When::Tls), variables }
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        !self.tls && self.variables.is_empty()
    }

    /// Whether the scheme decides about something.
    pub(crate) fn needs_scheme(&self) -> bool {
        self.tls
    }

    /// The variables to remember.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.variables.iter()
    }

    /// The memo for a request; none where no memo says as much.
    pub(crate) fn remember(&self, request: &Request) -> Option<Vec<u8>> {
        let tls = self.tls && request.is_tls();
        if self.variables.is_empty() {
            return tls.then(|| vec![1]);
        }
        let mut memo = vec![u8::from(tls)];
        for variable in &self.variables {
            let at = memo.len();
            memo.extend_from_slice(&NONE.to_le_bytes());
            if request.write(variable, &mut memo) {
                // The host's heads are far shorter than 4 GiB; a longer value would be remembered as none.
                let length = u32::try_from(memo.len() - at - 4).unwrap_or(NONE);
                memo[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
        Some(memo)
    }
}

/// What was remembered, and what the response knows by itself.
pub(crate) struct Recalled<'a> {
    recall: &'a Recall,
    memo: &'a [u8],
    response: &'a ResponseHead,
}

impl<'a> Recalled<'a> {
    /// An empty memo is that of a request whose hook remembered nothing, or never ran.
    pub(crate) fn new(recall: &'a Recall, memo: &'a [u8], response: &'a ResponseHead) -> Self {
        Self { recall, memo, response }
    }

    fn value(&self, variable: &Variable) -> Option<&'a [u8]> {
        let index = self.recall.variables.iter().position(|other| other == variable)?;
        let mut rest = self.memo.get(1..)?;
        for before in 0..=index {
            let (length, after) = rest.split_first_chunk()?;
            let length = u32::from_le_bytes(*length);
            if length == NONE {
                if before == index {
                    return None;
                }
                rest = after;
            } else {
                let (value, after) = after.split_at_checked(length as usize)?;
                if before == index {
                    return Some(value);
                }
                rest = after;
            }
        }
        None
    }
}

impl Source for Recalled<'_> {
    fn write(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let value = match variable {
            Variable::Attribute(name) => self.response.attribute(name).map(str::as_bytes),
            _ => self.value(variable),
        };
        value.is_some_and(|value| {
            out.extend_from_slice(value);
            true
        })
    }

    fn is_tls(&self) -> bool {
        self.memo.first() == Some(&1)
    }

    fn is_authenticated(&self) -> bool {
        self.response.attribute("consumer").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_that_is_none_of_ours_is_as_good_as_none() {
        let header = |name: &str| Variable::Header(name.to_owned());
        let recall = Recall { tls: true, variables: vec![header("a"), header("b")] };
        let response = ResponseHead::from(&http::Response::new(()));
        for memo in
            [&[][..], &[0], &[0, 1], &[0, 9, 0, 0, 0, b'x'], &[0, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff]]
        {
            let recalled = Recalled::new(&recall, memo, &response);
            assert_eq!((recalled.value(&header("a")), recalled.value(&header("b"))), (None, None), "{memo:?}");
            assert!(!recalled.is_tls());
        }
    }

    #[test]
    fn what_is_remembered_is_recalled() {
        let header = |name: &str| Variable::Header(name.to_owned());
        let recall = Recall { tls: true, variables: vec![header("a"), header("b"), Variable::Path, header("c")] };
        let request = http::Request::get("https://x/p").header("a", "").header("c", "3").body(()).unwrap();
        let memo = recall.remember(&Request::from(&request)).unwrap();
        let response = ResponseHead::from(&http::Response::new(()));
        let recalled = Recalled::new(&recall, &memo, &response);
        assert!(recalled.is_tls());
        assert_eq!(recalled.value(&header("a")), Some(&b""[..]));
        assert_eq!(recalled.value(&header("b")), None);
        assert_eq!(recalled.value(&Variable::Path), Some(&b"/p"[..]));
        assert_eq!(recalled.value(&header("c")), Some(&b"3"[..]));
    }
}
