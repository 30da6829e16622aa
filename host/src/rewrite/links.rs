//! Paths in those fields of a response that hold links.

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, REFRESH, SET_COOKIE};

/// Gives each path that a link leads to another form, where `public` has one. Links to other hosts than `own` stay.
pub(super) fn restore(headers: &mut HeaderMap, public: impl Fn(&str) -> Option<String>, own: impl Fn(&str) -> bool) {
    let link = |text: &str| reference(text, &public, &own);
    for (name, value) in headers.iter_mut() {
        let Ok(text) = value.to_str() else { continue };
        let Some(restored) = field(name, text, &public, &link) else { continue };
        let Ok(mut new) = HeaderValue::try_from(restored) else { continue };
        new.set_sensitive(value.is_sensitive());
        *value = new;
    }
}

fn field(
    name: &HeaderName,
    text: &str,
    public: &impl Fn(&str) -> Option<String>,
    link: &impl Fn(&str) -> Option<String>,
) -> Option<String> {
    if *name == LOCATION || *name == CONTENT_LOCATION {
        return link(text.trim());
    }
    if *name == REFRESH {
        // `5; url=/path`, perhaps in quotes.
        let at = text.to_ascii_lowercase().find("url=")? + 4;
        let (before, target) = text.split_at(at);
        let quote = target.chars().next().filter(|first| matches!(first, '"' | '\''));
        let inner = target.trim_start_matches(['"', '\'']);
        let (inner, after) = match quote.and_then(|quote| inner.find(quote)) {
            Some(end) => inner.split_at(end),
            None => (inner, ""),
        };
        let quote = quote.map(String::from).unwrap_or_default();
        return Some(format!("{before}{quote}{}{after}", link(inner)?));
    }
    if *name == LINK {
        // Targets stand in angle brackets (RFC 8288, section 3), which have no escapes.
        let mut out = String::new();
        let mut changed = false;
        let mut rest = text;
        while let Some((before, (target, after))) =
            rest.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?)))
        {
            let restored = link(target);
            changed |= restored.is_some();
            out.extend([before, "<", restored.as_deref().unwrap_or(target), ">"]);
            rest = after;
        }
        return changed.then(|| out + rest);
    }
    if *name == SET_COOKIE {
        let mut changed = false;
        let attributes: Vec<String> = text
            .split(';')
            .enumerate()
            .map(|(place, attribute)| {
                let path = attribute.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("path"));
                let restored = path.filter(|_| place > 0).and_then(|(name, path)| {
                    let path = path.trim();
                    let public = if path.starts_with('/') { public(path)? } else { return None };
                    Some(format!("{name}={public}"))
                });
                changed |= restored.is_some();
                restored.unwrap_or_else(|| attribute.to_owned())
            })
            .collect();
        return changed.then(|| attributes.join(";"));
    }
    None
}

/// A path alone, or one behind an authority of the upstream.
fn reference(text: &str, public: &impl Fn(&str) -> Option<String>, own: &impl Fn(&str) -> bool) -> Option<String> {
    if text.starts_with('/') && !text.starts_with("//") {
        return public(text);
    }
    let slashes = text.find("//")?;
    let scheme = &text[..slashes];
    if !matches!(scheme.to_ascii_lowercase().as_str(), "" | "http:" | "https:") {
        return None;
    }
    let rest = &text[slashes + 2..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !own(authority) {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(format!("{scheme}//{authority}{}", public(&path)?))
}
