//! The path that an upstream sees in place of the client's, and the client's in place of what an upstream says.

mod links;
#[cfg(test)]
mod tests;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use regex::Regex;

use crate::config::{self, Member, PathMatch, TemplatePart};
use crate::error::{Error, Reason};
use crate::path;

/// Tells the upstream what clients have before the paths that it sees.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// How a route rewrites paths, made at load.
#[derive(Debug)]
pub struct Rewrite {
    how: How,
    encoded_slash: bool,
}

#[derive(Debug)]
enum How {
    Prefix {
        /// Without a final slash; empty: nothing is taken away.
        strip: String,
        add: String,
        header: Option<HeaderValue>,
    },
    Template {
        regex: Regex,
        parts: Vec<TemplatePart>,
    },
}

impl Rewrite {
    /// None where the route leaves paths as they are.
    #[must_use]
    pub fn new(route: &config::Route) -> Option<Self> {
        let how = match (route.rewrite.as_ref()?, &route.matches.path) {
            (config::Rewrite::Prefix { strip, add }, _) => How::Prefix {
                header: HeaderValue::from_str(strip).ok().filter(|_| !strip.is_empty()),
                strip: strip.clone(),
                add: add.clone(),
            },
            (config::Rewrite::Template(parts), PathMatch::Regex(regex)) => {
                How::Template { regex: regex.clone(), parts: parts.clone() }
            }
            // The configuration has templates only beside a regular expression.
            (config::Rewrite::Template(_), _) => return None,
        };
        Some(Self { how, encoded_slash: route.matches.encoded_slash })
    }

    /// Rewrites the target of a request; its query stays byte for byte.
    ///
    /// # Errors
    /// What comes out is not canonical: an upstream could read it as another path than the one that was let pass.
    pub fn request(&self, target: &mut Uri, headers: &mut HeaderMap) -> Result<(), Error> {
        let rewritten = match &self.how {
            How::Prefix { strip, add, header } => {
                // The client's word for it counts for nothing.
                headers.remove(PREFIX);
                // A plugin may have set a path of its own, which is left as it is.
                let Some(rest) = below(target.path(), strip) else { return Ok(()) };
                if let Some(header) = header {
                    headers.insert(PREFIX, header.clone());
                }
                let rest = if rest.is_empty() { "/" } else { rest };
                if add.is_empty() { rest.to_owned() } else { format!("{add}{rest}") }
            }
            How::Template { regex, parts } => {
                let Some(groups) = regex.captures(target.path()) else { return Ok(()) };
                parts.iter().fold(String::new(), |path, part| match part {
                    TemplatePart::Text(text) => path + text,
                    TemplatePart::Group(name) => path + groups.name(name).map_or("", |group| group.as_str()),
                })
            }
        };
        match path::canonical(&rewritten, self.encoded_slash) {
            Ok(canonical) if canonical == rewritten => {}
            _ => return Err(Error::because(Reason::BadPath, "it is not canonical any more when it is rewritten")),
        }
        let whole = match target.query() {
            Some(query) => format!("{rewritten}?{query}"),
            None => rewritten,
        };
        let whole = PathAndQuery::try_from(whole).map_err(|_| Error::new(Reason::BadPath))?;
        *target = Uri::from(whole);
        Ok(())
    }

    /// Gives paths in the head of a response their public form: in `Location`, `Content-Location`, `Refresh`, `Link`
    /// and the `Path` of cookies. `own` are the endpoints of the upstream. What a template did cannot be undone.
    pub fn response(&self, headers: &mut HeaderMap, own: &[Member]) {
        if let How::Prefix { strip, add, .. } = &self.how {
            links::restore(
                headers,
                |path| public(path, strip, add),
                |authority| {
                    own.iter().any(|own| own.endpoint.authority.as_bytes().eq_ignore_ascii_case(authority.as_bytes()))
                },
            );
        }
    }
}

/// What comes behind a prefix, on the border of a segment.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

/// The public form of an upstream's path. None for one that has it already, or that clients cannot reach.
fn public(path: &str, strip: &str, add: &str) -> Option<String> {
    if !strip.is_empty() && below(path, strip).is_some() {
        return None;
    }
    let rest = below(path, add)?;
    let public = format!("{strip}{rest}");
    Some(if public.starts_with('/') { public } else { format!("/{public}") })
}
