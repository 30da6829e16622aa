//! `${env:NAME}` and `${file:PATH}` in strings, and what they stood for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::reader::Wrong;

/// The values that configured secrets have. They are never shown: compare with them, or replace them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[String]>);

impl Secrets {
    /// Shorter values are not looked for: they would be found everywhere.
    pub const SHORTEST: usize = 4;

    /// Without repetitions, the longest first, so that no secret is cut apart by a shorter one in it.
    pub(crate) fn new(mut values: Vec<String>) -> Self {
        values.retain(|value| value.len() >= Self::SHORTEST);
        values.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self(values.into())
    }

    /// Each value that is long enough to be looked for.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with each secret in it replaced by `[secret]`.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret) { Cow::Owned(text.replace(secret, "[secret]")) } else { text }
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// What a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference<'t> {
    Env(&'t str),
    File(&'t str),
}

/// A reference that stands for nothing: as written, and why.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) reference: String,
    pub(crate) wrong: Wrong,
}

/// The text with its references replaced, and the values that replaced them: each is a secret by itself, also where the
/// text holds more. They are not looked at again. `$${` is a literal `${`.
///
/// # Errors
/// Every reference that is malformed or that `resolve` refuses.
pub(crate) fn expand(
    text: &str,
    mut resolve: impl FnMut(Reference<'_>) -> Result<String, Wrong>,
) -> Result<(Cow<'_, str>, Vec<String>), Vec<Unresolved>> {
    if !text.contains("${") {
        return Ok((Cow::Borrowed(text), Vec::new()));
    }
    let mut out = String::with_capacity(text.len());
    let mut unresolved = Vec::new();
    let mut resolved = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(end) = inner.find('}') else {
            unresolved
                .push(Unresolved { reference: rest[at..].to_owned(), wrong: Wrong::because("its \"}\" is missing") });
            rest = "";
            break;
        };
        match reference(&inner[..end]).and_then(&mut resolve) {
            Ok(value) => {
                out.push_str(&value);
                resolved.push(value);
            }
            Err(wrong) => unresolved.push(Unresolved { reference: rest[at..at + end + 3].to_owned(), wrong }),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    if unresolved.is_empty() { Ok((Cow::Owned(out), resolved)) } else { Err(unresolved) }
}

fn reference(inner: &str) -> Result<Reference<'_>, Wrong> {
    const FORMS: &str = "write ${env:NAME} or ${file:PATH}, and $${ for the two characters themselves";
    match inner.split_once(':') {
        Some(("env", "")) => Err(Wrong::because("the name of the variable is missing")),
        Some(("env", name)) if name.contains(['=', '\0']) => Err(Wrong::because("no variable can have this name")),
        Some(("env", name)) => Ok(Reference::Env(name)),
        Some(("file", "")) => Err(Wrong::because("the path of the file is missing")),
        Some(("file", path)) => Ok(Reference::File(path)),
        _ => Err(Wrong::because("it is neither a variable nor a file").help(FORMS)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(reference: Reference<'_>) -> Result<String, Wrong> {
        match reference {
            Reference::Env("KEY") => Ok("s3cret".into()),
            Reference::Env("ODD") => Ok("${env:KEY}".into()),
            Reference::File("/run/key") => Ok("from file".into()),
            _ => Err(Wrong::because("unknown")),
        }
    }

    fn text(text: &str) -> Option<String> {
        expand(text, known).ok().map(|(text, _)| text.into_owned())
    }

    #[test]
    fn references_are_replaced_once() {
        assert_eq!(text("a ${env:KEY} b ${file:/run/key}").as_deref(), Some("a s3cret b from file"));
        assert_eq!(text("${env:ODD}").as_deref(), Some("${env:KEY}"));
        assert_eq!(text("$${env:KEY} $ {} $5").as_deref(), Some("${env:KEY} $ {} $5"));
        assert_eq!(text("^a$").as_deref(), Some("^a$"));
        assert!(expand("$${env:KEY}", known).unwrap().1.is_empty(), "an escape is no secret");
    }

    #[test]
    fn each_value_is_known_without_the_text_around_it() {
        let (text, values) = expand("Bearer ${env:KEY}, ${file:/run/key}", known).unwrap();
        assert_eq!(text, "Bearer s3cret, from file");
        assert_eq!(values, ["s3cret", "from file"]);
    }

    #[test]
    fn what_stands_for_nothing_is_never_a_literal() {
        for wrong in ["${env:NO}", "${KEY}", "${}", "${env:}", "${file:}", "x ${env:KEY", "${vault:x}", "${ENV:KEY}"] {
            assert!(text(wrong).is_none(), "{wrong}");
        }
        let all = expand("${env:A} ${env:KEY} ${env:B}", known).unwrap_err();
        assert_eq!(all.iter().map(|one| &*one.reference).collect::<Vec<_>>(), ["${env:A}", "${env:B}"]);
    }

    #[test]
    fn secrets_are_replaced_and_never_shown() {
        let secrets = Secrets::new(vec!["hunter2".into(), "hunter2-long".into(), "no".into(), "hunter2".into()]);
        assert_eq!(secrets.redact("a hunter2-long, hunter2, no"), "a [secret], [secret], no");
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
    }

    proptest! {
        #[test]
        fn any_text_is_expanded_or_refused(text in "([$]|[{]|[}]|env:|file:|KEY|.)*") {
            let _ = expand(&text, known);
        }
    }
}
