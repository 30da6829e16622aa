//! From XML to JSON, in the form of each convention.

use std::borrow::Cow;

use crate::fault::Fault;
use crate::json::{is_exact, write_string};
use crate::rules::{At, Convention, Empty, Rules};
use crate::xml::{Child, Document, Element, is_name};

/// Writes a document as JSON.
pub(crate) fn write(document: &Document<'_>, rules: &Rules) -> Result<String, Fault> {
    let root = document.root();
    let out = String::with_capacity(document.source().len());
    let mut writer = Writer { document, rules, style: Style::of(rules), out, order: Vec::new(), others: Vec::new() };
    match rules.convention {
        Convention::JsonMl => writer.list(root)?,
        Convention::Problem if root.name() != "problem" => {
            return Err(Fault::unrepresentable(
                document.source(),
                root.offset(),
                "this is not an element of problem details",
            ));
        }
        Convention::Parker { .. } | Convention::Problem => writer.value(root, rules.always.root(root.name()))?,
        Convention::BadgerFish | Convention::AttributePrefix { .. } => {
            writer.out.push('{');
            write_string(&mut writer.out, root.name());
            writer.out.push(':');
            writer.value(root, rules.always.root(root.name()))?;
            writer.out.push('}');
        }
    }
    writer.bounded()?;
    Ok(writer.out)
}

struct Writer<'d> {
    document: &'d Document<'d>,
    rules: &'d Rules,
    style: Style<'d>,
    out: String,
    /// The child elements of those elements that are being written, innermost last.
    order: Vec<u32>,
    others: Vec<u32>,
}

/// What those conventions that make objects of elements differ in.
struct Style<'r> {
    /// How names of attributes begin, as the inside of a JSON string; none where attributes are lost.
    prefix: Option<String>,
    /// The member for text beside attributes and elements; none where such text is lost.
    text: Option<&'r str>,
    /// Whether even an element of nothing but text is an object.
    always_object: bool,
    /// Whether declarations of namespaces go into a member `@xmlns`.
    gather_namespaces: bool,
    empty: Empty,
    /// Whether an attribute, the text and a child element could get the same name.
    may_collide: bool,
}

impl<'r> Style<'r> {
    fn of(rules: &'r Rules) -> Self {
        let escaped = |prefix: &str| {
            let mut quoted = String::new();
            write_string(&mut quoted, prefix);
            quoted[1..quoted.len() - 1].to_owned()
        };
        match &rules.convention {
            Convention::BadgerFish => Self {
                prefix: Some("@".to_owned()),
                text: Some("$"),
                always_object: true,
                gather_namespaces: true,
                empty: Empty::Object,
                may_collide: false,
            },
            Convention::AttributePrefix { empty, prefix, text, .. } => Self {
                prefix: Some(escaped(prefix)),
                text: Some(text),
                always_object: false,
                gather_namespaces: false,
                empty: *empty,
                may_collide: is_name(text) || text.starts_with(prefix.as_str()) || is_name(&format!("{prefix}a")),
            },
            Convention::Parker { empty, .. } => Self { empty: *empty, ..Self::without_attributes() },
            Convention::Problem => Self { empty: Empty::String, ..Self::without_attributes() },
            Convention::JsonMl => Self::without_attributes(),
        }
    }

    fn without_attributes() -> Self {
        Self {
            prefix: None,
            text: None,
            always_object: false,
            gather_namespaces: false,
            empty: Empty::Null,
            may_collide: false,
        }
    }
}

impl Writer<'_> {
    /// Writes what an element is under a name: an object, a plain value, or what stands for nothing.
    fn value(&mut self, element: Element<'_>, at: Option<At>) -> Result<(), Fault> {
        self.bounded()?;
        let base = self.order.len();
        let mut text = Cow::Borrowed("");
        for child in element.children() {
            match child {
                Child::Element(child) => self.order.push(child.index()),
                Child::Text(piece) if text.is_empty() => text = Cow::Borrowed(piece),
                Child::Text(piece) => text.to_mut().push_str(piece),
            }
        }
        let with_attributes = self.style.prefix.is_some() && element.attributes().next().is_some();
        if !self.style.always_object && !with_attributes && self.order.len() == base {
            match self.style.empty {
                _ if self.is_problem() && element.name() == "status" && is_exact(&text) => self.out.push_str(&text),
                _ if !text.is_empty() => self.scalar(&text),
                Empty::Null => self.out.push_str("null"),
                Empty::String => self.out.push_str("\"\""),
                Empty::Object => self.out.push_str("{}"),
            }
            return Ok(());
        }
        if self.is_problem() && self.order[base..].iter().all(|&index| self.document.element(index).name() == "i") {
            return self.items(base);
        }
        self.group(base);
        if self.style.may_collide {
            self.no_collision(element, base, !text.is_empty())?;
        }
        let mut members = Members { first: true };
        members.begin(&mut self.out);
        if with_attributes {
            self.attributes(element, &mut members);
        }
        if let (Some(name), false) = (self.style.text, text.is_empty()) {
            members.name(&mut self.out, name);
            self.scalar(&text);
        }
        self.children(base, at, &mut members)?;
        self.out.push('}');
        Ok(())
    }

    /// Writes the elements from `base` of `order` on as an array; and forgets them.
    fn items(&mut self, base: usize) -> Result<(), Fault> {
        let document = self.document;
        for place in base..self.order.len() {
            self.out.push(if place == base { '[' } else { ',' });
            self.value(document.element(self.order[place]), None)?;
        }
        self.order.truncate(base);
        self.out.push(']');
        Ok(())
    }

    fn attributes(&mut self, element: Element<'_>, members: &mut Members) {
        let declared = |name: &str| name == "xmlns" || name.starts_with("xmlns:");
        let gather = self.style.gather_namespaces;
        if gather && element.attributes().any(|(name, _)| declared(name)) {
            members.name(&mut self.out, "@xmlns");
            let mut namespaces = Members { first: true };
            namespaces.begin(&mut self.out);
            for (name, uri) in element.attributes().filter(|(name, _)| declared(name)) {
                namespaces.name(&mut self.out, name.strip_prefix("xmlns:").unwrap_or("$"));
                write_string(&mut self.out, uri);
            }
            self.out.push('}');
        }
        for (name, value) in element.attributes().filter(|(name, _)| !gather || !declared(name)) {
            members.separate(&mut self.out);
            self.out.push('"');
            self.out.push_str(self.style.prefix.as_deref().unwrap_or_default());
            self.out.push_str(name);
            self.out.push_str("\":");
            self.scalar(value);
        }
    }

    /// Writes the elements from `base` of `order` on, which are grouped, as members; and forgets them.
    fn children(&mut self, base: usize, at: Option<At>, members: &mut Members) -> Result<(), Fault> {
        let document = self.document;
        let end = self.order.len();
        let mut next = base;
        while next < end {
            let name = document.element(self.order[next]).name();
            let same = |&&index: &&u32| document.element(index).name() == name;
            let count = self.order[next..end].iter().take_while(same).count();
            let at = self.rules.always.step(at, name);
            members.name(&mut self.out, name);
            let list = count > 1 || self.rules.always.contains(at);
            if list {
                self.out.push('[');
            }
            for nth in 0..count {
                if nth > 0 {
                    self.out.push(',');
                }
                self.value(document.element(self.order[next + nth]), at)?;
            }
            if list {
                self.out.push(']');
            }
            next += count;
        }
        self.order.truncate(base);
        Ok(())
    }

    /// Brings elements of the same name together, in the order in which each name appears first.
    fn group(&mut self, base: usize) {
        // A pass for each name is quickest for the few names that records have; many names are sorted.
        const PASSES: usize = 16;
        let document = self.document;
        let name = |index: u32| document.element(index).name();
        let mut from = base;
        for _ in 0..PASSES {
            let Some(&first) = self.order.get(from) else { return };
            let mut grouped = from;
            self.others.clear();
            for at in from..self.order.len() {
                let index = self.order[at];
                if name(index) == name(first) {
                    self.order[grouped] = index;
                    grouped += 1;
                } else {
                    self.others.push(index);
                }
            }
            self.order.truncate(grouped);
            self.order.extend_from_slice(&self.others);
            from = grouped;
        }
        let rest = &mut self.order[from..];
        rest.sort_unstable_by(|&a, &b| name(a).cmp(name(b)).then(a.cmp(&b)));
        let mut by_first: Vec<(u32, u32)> = Vec::with_capacity(rest.len());
        for same in rest.chunk_by(|&a, &b| name(a) == name(b)) {
            by_first.extend(same.iter().map(|&index| (same[0], index)));
        }
        by_first.sort_unstable();
        for (place, (_, index)) in rest.iter_mut().zip(by_first) {
            *place = index;
        }
    }

    /// Refuses an element of which two parts would be members of the same name: one of them would be lost.
    fn no_collision(&self, element: Element<'_>, base: usize, with_text: bool) -> Result<(), Fault> {
        let Convention::AttributePrefix { prefix, text, .. } = &self.rules.convention else {
            return Ok(());
        };
        let mut children: Vec<&str> =
            self.order[base..].iter().map(|&index| self.document.element(index).name()).collect();
        children.dedup();
        let mut names: Vec<Cow<'_, str>> = children.into_iter().map(Cow::Borrowed).collect();
        names.extend(element.attributes().map(|(name, _)| Cow::Owned(format!("{prefix}{name}"))));
        names.extend(with_text.then_some(Cow::Borrowed(text.as_str())));
        names.sort_unstable();
        if names.windows(2).all(|pair| pair[0] != pair[1]) {
            return Ok(());
        }
        let message = "an attribute, the text or a child of this element would have the same name in JSON";
        Err(Fault::unrepresentable(self.document.source(), element.offset(), message))
    }

    /// Writes an element as `["name", {attributes}, children…]`.
    fn list(&mut self, element: Element<'_>) -> Result<(), Fault> {
        self.bounded()?;
        self.out.push('[');
        write_string(&mut self.out, element.name());
        let mut attributes = element.attributes().peekable();
        if attributes.peek().is_some() {
            self.out.push(',');
            let mut members = Members { first: true };
            members.begin(&mut self.out);
            for (name, value) in attributes {
                members.name(&mut self.out, name);
                self.scalar(value);
            }
            self.out.push('}');
        }
        for child in element.children() {
            self.out.push(',');
            match child {
                Child::Element(child) => self.list(child)?,
                Child::Text(text) => self.scalar(text),
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn scalar(&mut self, text: &str) {
        if self.rules.infer_types && is_exact(text) {
            self.out.push_str(text);
        } else {
            write_string(&mut self.out, text);
        }
    }

    fn is_problem(&self) -> bool {
        matches!(self.rules.convention, Convention::Problem)
    }

    fn bounded(&self) -> Result<(), Fault> {
        let cap = self.rules.limits.output;
        if self.out.len() > cap { Err(Fault::too_long(cap)) } else { Ok(()) }
    }
}

/// The commas of an object.
struct Members {
    first: bool,
}

impl Members {
    fn begin(&mut self, out: &mut String) {
        out.push('{');
        self.first = true;
    }

    fn separate(&mut self, out: &mut String) {
        if !std::mem::take(&mut self.first) {
            out.push(',');
        }
    }

    fn name(&mut self, out: &mut String, name: &str) {
        self.separate(out);
        write_string(out, name);
        out.push(':');
    }
}
