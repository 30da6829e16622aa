//! Values with parts of the request in them.

use tollgate_sdk::Request;

use crate::name::{self, LONGEST_VALUE};

/// What becomes of a value whose template names something that the request does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The field is left out.
    #[default]
    Skip,
    /// Nothing stands in its place.
    Empty,
}

/// A value: text with variables between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable { variable: Variable, default: Option<String> },
}

/// A part of the request, or an attribute of the pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    Client,
    Host,
    Scheme,
    Method,
    Path,
    Attribute(String),
    Header(String),
}

/// Where the values of variables come from.
pub(crate) trait Source {
    /// Writes the value of a variable, and tells whether there is one.
    fn write(&self, variable: &Variable, out: &mut Vec<u8>) -> bool;

    /// Whether the client came by TLS.
    fn is_tls(&self) -> bool;

    /// Whether an earlier plugin found out who the client is.
    fn is_authenticated(&self) -> bool;
}

impl Template {
    /// Reads a value, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_VALUE {
            return Err(format!("a value cannot be longer than {LONGEST_VALUE} bytes"));
        }
        if text.bytes().any(|byte| !name::is_value(byte)) {
            return Err("control characters cannot stand in a header value".to_owned());
        }
        if text.trim_matches([' ', '\t']).len() != text.len() {
            return Err("white space cannot stand at the beginning or the end of a header value".to_owned());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                literal.push_str(&from[..1]);
                rest = after;
            } else if let Some(inside) = from.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').ok_or("`{` without `}`; write `{{` for a brace")?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(variable(inside)?);
                rest = after;
            } else {
                return Err("`}` without `{`; write `}}` for a brace".to_owned());
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// Text that is known to be right.
    pub(crate) fn text(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// The value, where no variable is in it.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable { variable, .. } => Some(variable),
        })
    }

    /// The value for this request; none where the field is to be left out: something is missing, or what a client sent
    /// would make a field that the host refuses.
    pub(crate) fn render(&self, source: &impl Source, missing: Missing) -> Option<Vec<u8>> {
        let mut value = Vec::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Variable { variable, default } => {
                    if !source.write(variable, &mut value) {
                        match default {
                            Some(default) => value.extend_from_slice(default.as_bytes()),
                            None if missing == Missing::Skip => return None,
                            None => {}
                        }
                    }
                }
            }
        }
        if value.len() > LONGEST_VALUE || !value.iter().all(|&byte| name::is_value(byte)) {
            return None;
        }
        let kept = value.trim_ascii(); // a variable at an end may be empty
        if kept.len() == value.len() { Some(value) } else { Some(kept.to_vec()) }
    }
}

/// What stands between braces: a variable, and perhaps `?` and a default.
fn variable(inside: &str) -> Result<Part, String> {
    let (what, default) = match inside.split_once('?') {
        Some((what, default)) => (what, Some(default)),
        None => (inside, None),
    };
    if default.is_some_and(|default| default.contains('{')) {
        return Err("a default is plain text, without braces".to_owned());
    }
    let variable = match what.split_once(':') {
        None => match what {
            "client" => Variable::Client,
            "host" => Variable::Host,
            "scheme" => Variable::Scheme,
            "method" => Variable::Method,
            "path" => Variable::Path,
            _ => return Err(unknown(what)),
        },
        Some(("attribute", "")) => return Err("`{attribute:}` lacks the name of the attribute".to_owned()),
        Some(("attribute", name)) => Variable::Attribute(name.to_owned()),
        Some(("header", name)) => Variable::Header(name::token(name)?),
        Some(_) => return Err(unknown(what)),
    };
    Ok(Part::Variable { variable, default: default.map(str::to_owned) })
}

fn unknown(what: &str) -> String {
    format!(
        "no variable is called `{what}`; there are `client`, `host`, `scheme`, `method`, `path`, `attribute:NAME` and \
         `header:NAME` (for a brace write `{{{{` or `}}}}`)"
    )
}

impl Source for Request {
    fn write(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let mut some = |value: &[u8]| {
            out.extend_from_slice(value);
            true
        };
        match variable {
            Variable::Client => self.client().is_some_and(|client| some(client.to_string().as_bytes())),
            Variable::Host => !self.authority().is_empty() && some(self.authority().as_bytes()),
            Variable::Scheme => !self.scheme().is_empty() && some(self.scheme().as_bytes()),
            Variable::Method => some(self.method().as_str().as_bytes()),
            Variable::Path => !self.path().is_empty() && some(self.path().as_bytes()),
            Variable::Attribute(name) => self.attribute(name).is_some_and(|value| some(value.as_bytes())),
            Variable::Header(name) => {
                // One value of several fields, as RFC 9110, section 5.3, and RFC 9113, section 8.2.3, combine them.
                let between: &[u8] = if name == "cookie" { b"; " } else { b", " };
                let mut found = false;
                for value in self.headers_named(name) {
                    if found {
                        some(between);
                    }
                    found = some(value);
                }
                found
            }
        }
    }

    fn is_tls(&self) -> bool {
        self.scheme() == "https"
    }

    fn is_authenticated(&self) -> bool {
        self.attribute("consumer").is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request {
        let request = http::Request::get("https://Shop.example:8443/a/b?q=1")
            .header("x-plan", "gold")
            .header("x-list", "1")
            .header("x-list", "2")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .unwrap();
        Request::from(&request)
            .with_client("2001:db8::1".parse().unwrap())
            .with_attribute("consumer", "alice")
            .with_attribute("evil", "a\r\nset-cookie: b")
    }

    fn render(template: &str, missing: Missing) -> Option<String> {
        let value = Template::parse(template).unwrap().render(&request(), missing)?;
        Some(String::from_utf8(value).unwrap())
    }

    #[test]
    fn variables_stand_for_parts_of_the_request() {
        for (template, value) in [
            ("plain", "plain"),
            ("", ""),
            ("{client}", "2001:db8::1"),
            ("{scheme}://{host}{path}", "https://shop.example:8443/a/b"),
            ("{method}", "GET"),
            ("for {attribute:consumer}!", "for alice!"),
            ("{header:X-Plan}", "gold"),
            ("{header:x-list}", "1, 2"),
            ("{header:cookie}", "a=1; b=2"),
            ("{header:x-none?free}", "free"),
            ("{header:x-plan?free}", "gold"),
            ("{attribute:none?}", ""),
            ("{{client}} {{", "{client} {"),
            ("}}{client}{{", "}2001:db8::1{"),
        ] {
            assert_eq!(render(template, Missing::Skip).as_deref(), Some(value), "{template}");
        }
    }

    #[test]
    fn what_is_missing_is_skipped_or_empty() {
        assert_eq!(render("Bearer {attribute:token}", Missing::Skip), None);
        assert_eq!(render("Bearer {attribute:token}", Missing::Empty).as_deref(), Some("Bearer"));
        assert_eq!(render("{header:x-none}", Missing::Empty).as_deref(), Some(""));
    }

    #[test]
    fn a_value_that_would_inject_a_field_is_left_out() {
        assert_eq!(render("{attribute:evil}", Missing::Skip), None);
        assert_eq!(render("{attribute:evil}", Missing::Empty), None);
    }

    #[test]
    fn a_value_that_grew_too_long_is_left_out() {
        let request = request().with_attribute("long", &"x".repeat(LONGEST_VALUE / 2 + 1));
        let value = |template| Template::parse(template).unwrap().render(&request, Missing::Skip);
        assert!(value("{attribute:long}").is_some());
        assert!(value("{attribute:long}{attribute:long}").is_none());
    }

    #[test]
    fn mistakes_say_what_is_accepted() {
        for (template, message) in [
            ("{client", "`{` without `}`; write `{{` for a brace"),
            ("client}", "`}` without `{`; write `}}` for a brace"),
            ("{}", "no variable is called ``"),
            ("{query}", "no variable is called `query`; there are `client`"),
            ("{cookie:a}", "no variable is called `cookie:a`"),
            ("{ client }", "no variable is called ` client `"),
            ("{header:}", "a header name cannot be empty"),
            ("{header:a b}", "' ' cannot stand in a header name"),
            ("{attribute:}", "`{attribute:}` lacks"),
            ("{header:x?{client}", "a default is plain text"),
            ("a\r\nb", "control characters"),
            ("a\0", "control characters"),
            ("a\u{7f}", "control characters"),
            (" a", "white space"),
            ("a ", "white space"),
            ("a\t", "white space"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.starts_with(message), "{template:?}: {error}");
        }
        assert!(Template::parse(&"x".repeat(LONGEST_VALUE)).is_ok());
        assert!(Template::parse(&"x".repeat(LONGEST_VALUE + 1)).unwrap_err().contains("8192"));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,40}") {
            if let Ok(template) = Template::parse(&text)
                && let Some(value) = template.render(&request(), Missing::Empty)
            {
                prop_assert!(value.iter().all(|&byte| name::is_value(byte)));
            }
        }

        #[test]
        fn escaped_text_stands_for_itself(text in "([!-~]([ -~]{0,30}[!-~])?)?") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            let template = Template::parse(&escaped).unwrap();
            prop_assert_eq!(template.fixed(), Some(text.as_str()));
        }

        #[test]
        fn no_attribute_makes_a_field_that_the_host_refuses(attribute in any::<String>()) {
            let request = request().with_attribute("any", &attribute);
            let value = Template::parse("{attribute:any}").unwrap().render(&request, Missing::Skip);
            let clean = attribute.bytes().all(name::is_value) && attribute.len() <= LONGEST_VALUE;
            prop_assert_eq!(value.is_some(), clean);
            if let Some(value) = value {
                prop_assert!(http::HeaderValue::from_bytes(&value).is_ok());
            }
        }
    }
}
