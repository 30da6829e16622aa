//! Reading XML 1.0 without a document type: quick-xml finds the markup, and everything that it is lenient about is
//! checked here. A document either is well-formed in every detail or is refused.

use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::Event;

use super::encoding::check_declaration;
use super::name::{forbidden, is_character, is_name, is_name_without_colon};
use super::{Attribute, Document, Kind, Node};
use crate::fault::Fault;
use crate::rules::{Namespaces, Rules, Whitespace};
use crate::texts::{Span, Texts};

/// Reads a document within the limits of `rules`.
pub(crate) fn read<'a>(text: &'a str, rules: &Rules) -> Result<Document<'a>, Fault> {
    if let Some(at) = forbidden(text) {
        return Err(Fault::malformed(text, at, "XML has no such character"));
    }
    let nodes = Vec::with_capacity(nodes_in(text).min(rules.limits.elements.saturating_mul(3)));
    let document = Document { texts: Texts::new(text), nodes, attributes: Vec::new() };
    let mut reader =
        Reader { text, rules, document, open: Vec::new(), pending: None, elements: 0, scratch: Vec::new() };
    reader.read()?;
    Ok(reader.document)
}

/// About how many nodes a document has. A list that grows is for a moment in memory twice and a half.
fn nodes_in(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut nodes = 1;
    for (at, _) in text.match_indices('<') {
        nodes += usize::from(!matches!(bytes.get(at + 1), Some(b'/' | b'!' | b'?')));
        nodes += usize::from(at > 0 && bytes[at - 1] != b'>');
    }
    nodes
}

struct Reader<'a, 'r> {
    text: &'a str,
    rules: &'r Rules,
    document: Document<'a>,
    /// The elements that have begun and not ended.
    open: Vec<u32>,
    /// Text that may go on, after a comment or a reference.
    pending: Option<(Span, usize)>,
    elements: usize,
    scratch: Vec<usize>,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self) -> Result<(), Fault> {
        let text = self.text;
        let mut events = quick_xml::Reader::from_str(text);
        loop {
            let start = events.buffer_position() as usize;
            // Before quick-xml looks for the end of a document type, which need not be near.
            let here = &text.as_bytes()[start..];
            if here.starts_with(b"<!") && !here.starts_with(b"<!--") && !here.starts_with(b"<![CDATA[") {
                return Err(self.fault(start, "a document type, entities and other declarations are not taken"));
            }
            let event = events.read_event().map_err(|error| self.syntax(&error, events.error_position()))?;
            let end = events.buffer_position() as usize;
            match event {
                Event::Start(_) => self.start(start, start + 1..end - 1)?,
                Event::Empty(_) => {
                    self.start(start, start + 1..end - 2)?;
                    self.end();
                }
                // quick-xml has compared the name.
                Event::End(_) => self.end(),
                Event::Text(_) => self.characters(start, end)?,
                Event::GeneralRef(_) => self.reference(start, end)?,
                Event::CData(_) => self.cdata(start, start + "<![CDATA[".len()..end - "]]>".len())?,
                Event::Comment(_) => {
                    let inside = &text[start + "<!--".len()..end - "-->".len()];
                    if inside.contains("--") || inside.ends_with('-') {
                        return Err(self.fault(start, "a comment contains two hyphens in a row"));
                    }
                }
                Event::Decl(_) if start == 0 => check_declaration(&text[start + "<?xml".len()..end - "?>".len()])
                    .map_err(|message| self.fault(start, message))?,
                Event::Decl(_) => return Err(self.fault(start, "an XML declaration stands only at the beginning")),
                Event::PI(instruction) => {
                    let target = instruction.target();
                    if !is_name_without_colon(target) || target.eq_ignore_ascii_case("xml") {
                        return Err(self.fault(start, "a processing instruction has no proper name"));
                    }
                }
                Event::DocType(_) => return Err(self.fault(start, "a document type is not taken")),
                Event::Eof => break,
            }
        }
        if !self.open.is_empty() {
            return Err(self.fault(text.len(), "the document ends before its elements do"));
        }
        if self.elements == 0 {
            return Err(self.fault(text.len(), "there is no element"));
        }
        self.push(Kind::Text, Span::source(0, 0), 0);
        Ok(())
    }

    fn start(&mut self, offset: usize, tag: std::ops::Range<usize>) -> Result<(), Fault> {
        self.flush();
        let limits = &self.rules.limits;
        if self.open.is_empty() && self.elements > 0 {
            return Err(self.fault(offset, "there is a second root element"));
        }
        if self.open.len() >= limits.depth {
            return Err(self.fault(offset, format!("elements are nested deeper than {}", limits.depth)));
        }
        if self.elements >= limits.elements {
            return Err(self.fault(offset, format!("there are more than {} elements", limits.elements)));
        }
        self.elements += 1;
        let inside = &self.text[tag.clone()];
        let length = inside.bytes().position(is_space).unwrap_or(inside.len());
        let name = &inside[..length];
        if !is_name(name) {
            return Err(self.fault(offset, "the name of an element is not well-formed"));
        }
        let local = self.local(name);
        let start = tag.start + name.len() - local.len();
        let kind = match self.rules.whitespace {
            Whitespace::Drop => Kind::Element,
            Whitespace::Keep => Kind::Mixed,
        };
        let index = self.push(kind, Span::source(start, start + local.len()), offset);
        self.open.push(index);
        if length < inside.len() { self.attributes(tag.start + length, tag.end) } else { Ok(()) }
    }

    fn end(&mut self) {
        self.flush();
        let end = self.document.nodes.len() as u32;
        if let Some(index) = self.open.pop() {
            self.document.nodes[index as usize].end = end;
        }
    }

    /// Reads the attributes of a tag. The newest node is their element.
    fn attributes(&mut self, mut at: usize, end: usize) -> Result<(), Fault> {
        let bytes = &self.text.as_bytes()[..end];
        let skip = |mut at: usize| {
            while bytes.get(at).is_some_and(|&byte| is_space(byte)) {
                at += 1;
            }
            at
        };
        let first = self.document.attributes.len();
        let mut count = 0;
        let mut stripped = false;
        self.scratch.clear();
        loop {
            let start = skip(at);
            if start == end {
                break;
            }
            if start == at {
                return Err(self.fault(start, "attributes need white space between them"));
            }
            if count == self.rules.limits.attributes {
                let message = format!("an element has more than {} attributes", self.rules.limits.attributes);
                return Err(self.fault(start, message));
            }
            count += 1;
            let name_end = bytes[start..].iter().position(|&byte| is_space(byte) || byte == b'=');
            let name_end = name_end.map_or(end, |length| start + length);
            let name = &self.text[start..name_end];
            if !is_name(name) {
                return Err(self.fault(start, "the name of an attribute is not well-formed"));
            }
            let equals = skip(name_end);
            let quote = skip(equals + 1);
            if bytes.get(equals) != Some(&b'=') || !matches!(bytes.get(quote), Some(b'"' | b'\'')) {
                return Err(self.fault(start, "an attribute has no quoted value"));
            }
            let Some(length) = bytes[quote + 1..].iter().position(|&byte| byte == bytes[quote]) else {
                return Err(self.fault(quote, "the value of an attribute does not end"));
            };
            at = quote + 1 + length + 1;
            self.scratch.push(start);
            let strip = self.rules.namespaces == Namespaces::Strip;
            if strip && (name == "xmlns" || name.starts_with("xmlns:")) {
                self.value(quote + 1, quote + 1 + length)?;
                continue;
            }
            let local = self.local(name);
            stripped |= local.len() < name.len();
            let name = Span::source(name_end - local.len(), name_end);
            let value = self.value(quote + 1, quote + 1 + length)?;
            self.document.attributes.push(Attribute { name, value });
        }
        self.no_duplicates(first, stripped)
    }

    /// Compares the names of the attributes that `scratch` tells the places of; and, where prefixes were stripped, what
    /// is left of them. Sorted, since comparing each with each is what RUSTSEC-2026-0194 was about.
    fn no_duplicates(&mut self, first: usize, stripped: bool) -> Result<(), Fault> {
        if self.scratch.len() < 2 {
            return Ok(());
        }
        let text = self.text;
        let name = |start: usize| {
            let length = text.as_bytes()[start..].iter().position(|&byte| is_space(byte) || byte == b'=');
            &text[start..start + length.unwrap_or_default()]
        };
        self.scratch.sort_unstable_by(|&a, &b| name(a).cmp(name(b)).then(a.cmp(&b)));
        if let Some(pair) = self.scratch.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
            return Err(self.fault(pair[1], "an element has two attributes of the same name"));
        }
        if stripped {
            let texts = &self.document.texts;
            let mut names: Vec<&str> =
                self.document.attributes[first..].iter().map(|one| texts.get(one.name)).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                let message = "without their prefixes, two attributes of an element have the same name";
                let start = self.scratch.iter().copied().min().unwrap_or_default();
                return Err(Fault::unrepresentable(text, start, message));
            }
        }
        Ok(())
    }

    /// The value of an attribute: references resolved, white space normalised (section 3.3.3).
    fn value(&mut self, start: usize, end: usize) -> Result<Span, Fault> {
        let raw = &self.text[start..end];
        let Some(first) = raw.bytes().position(|byte| matches!(byte, b'&' | b'<' | b'\t' | b'\n' | b'\r')) else {
            return Ok(Span::source(start, end));
        };
        let mark = self.document.texts.mark();
        self.document.texts.decoded().push_str(&raw[..first]);
        let mut at = first;
        while let Some(byte) = raw.as_bytes().get(at) {
            let length = match byte {
                b'<' => return Err(self.fault(start + at, "the value of an attribute contains `<`")),
                b'&' => {
                    let Some(length) = raw[at..].find(';') else {
                        return Err(self.fault(start + at, "`&` begins no reference"));
                    };
                    let c = self.resolve(start + at, &raw[at + 1..at + length])?;
                    self.document.texts.decoded().push(c);
                    length + 1
                }
                b'\t' | b'\n' | b'\r' => {
                    self.document.texts.decoded().push(' ');
                    if raw[at..].starts_with("\r\n") { 2 } else { 1 }
                }
                _ => {
                    let rest = &raw[at..];
                    let special = |byte| matches!(byte, b'&' | b'<' | b'\t' | b'\n' | b'\r');
                    let length = rest.bytes().position(special).unwrap_or(rest.len());
                    self.document.texts.decoded().push_str(&rest[..length]);
                    length
                }
            };
            at += length;
        }
        Ok(self.document.texts.since(mark))
    }

    /// What a name is called in the tree: all of it, or what follows its prefix.
    fn local<'n>(&self, name: &'n str) -> &'n str {
        match self.rules.namespaces {
            Namespaces::Keep => name,
            Namespaces::Strip => name.split_once(':').map_or(name, |(_, local)| local),
        }
    }

    fn characters(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        let raw = &self.text[start..end];
        if self.open.is_empty() {
            let wrong = raw.bytes().position(|byte| !is_space(byte));
            return wrong.map_or(Ok(()), |at| Err(self.fault(start + at, "there is text outside of the root element")));
        }
        if let Some(at) = raw.find("]]>") {
            return Err(self.fault(start + at, "`]]>` stands in text"));
        }
        self.append(start, start, end);
        Ok(())
    }

    fn cdata(&mut self, offset: usize, inside: std::ops::Range<usize>) -> Result<(), Fault> {
        if self.open.is_empty() {
            return Err(self.fault(offset, "there is text outside of the root element"));
        }
        self.append(offset, inside.start, inside.end);
        Ok(())
    }

    fn reference(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        if self.open.is_empty() {
            return Err(self.fault(start, "there is text outside of the root element"));
        }
        let c = self.resolve(start, &self.text[start + 1..end - 1])?;
        let (so_far, offset) = self.pending.take().unwrap_or_else(|| (self.nothing_decoded(), start));
        self.pending = Some((self.document.texts.join(so_far, |decoded| decoded.push(c)), offset));
        Ok(())
    }

    /// Adds a piece of the source to the pending text, its line ends made `\n` (section 2.11).
    fn append(&mut self, offset: usize, start: usize, end: usize) {
        let raw = &self.text[start..end];
        let plain = !raw.contains('\r');
        if self.pending.is_none() && plain {
            self.pending = Some((Span::source(start, end), offset));
            return;
        }
        let (so_far, offset) = self.pending.take().unwrap_or_else(|| (self.nothing_decoded(), offset));
        let joined = self.document.texts.join(so_far, |decoded| {
            if plain {
                decoded.push_str(raw);
            } else {
                let mut lines = raw.split('\r');
                decoded.push_str(lines.next().unwrap_or_default());
                for line in lines {
                    decoded.push('\n');
                    decoded.push_str(line.strip_prefix('\n').unwrap_or(line));
                }
            }
        });
        self.pending = Some((joined, offset));
    }

    fn nothing_decoded(&self) -> Span {
        self.document.texts.since(self.document.texts.mark())
    }

    /// Makes the pending text a node.
    fn flush(&mut self) {
        let Some((span, offset)) = self.pending.take() else {
            return;
        };
        let text = self.document.texts.get(span);
        if text.is_empty() {
            return;
        }
        let kind = if text.bytes().all(is_space) { Kind::Blank } else { Kind::Text };
        if let (Kind::Text, Some(&parent)) = (kind, self.open.last()) {
            self.document.nodes[parent as usize].kind = Kind::Mixed;
        }
        self.push(kind, span, offset);
    }

    fn push(&mut self, kind: Kind, span: Span, offset: usize) -> u32 {
        let index = self.document.nodes.len() as u32;
        let attributes = self.document.attributes.len() as u32;
        self.document.nodes.push(Node { kind, span, offset: offset as u32, end: index + 1, attributes });
        index
    }

    /// What stands between `&` and `;`: one of the five predefined entities, or a character (section 4.1, 4.6).
    fn resolve(&self, offset: usize, name: &str) -> Result<char, Fault> {
        let number = match name {
            "lt" => return Ok('<'),
            "gt" => return Ok('>'),
            "amp" => return Ok('&'),
            "quot" => return Ok('"'),
            "apos" => return Ok('\''),
            _ => name.strip_prefix('#'),
        };
        let Some(number) = number else {
            return Err(self.fault(offset, "a reference to an entity that is not predefined is not taken"));
        };
        let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
        // `from_str_radix` would take a sign.
        let all_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        let code = all_digits.then(|| u32::from_str_radix(digits, radix).ok()).flatten();
        let c = code.and_then(char::from_u32).filter(|&c| is_character(c));
        c.ok_or_else(|| self.fault(offset, "a character reference names no character of XML"))
    }

    fn fault(&self, offset: usize, message: impl Into<String>) -> Fault {
        Fault::malformed(self.text, offset, message)
    }

    /// quick-xml's message would repeat names of the document.
    fn syntax(&self, error: &Error, offset: u64) -> Fault {
        let message = match error {
            Error::Syntax(SyntaxError::UnclosedComment) => "a comment does not end",
            Error::Syntax(SyntaxError::UnclosedCData) => "a CDATA section does not end",
            Error::Syntax(SyntaxError::UnclosedPI | SyntaxError::UnclosedXmlDecl) => {
                "a processing instruction does not end"
            }
            Error::IllFormed(IllFormedError::MismatchedEndTag { .. }) => "an end tag ends another element than began",
            Error::IllFormed(IllFormedError::UnmatchedEndTag(_)) => "an end tag ends nothing",
            Error::IllFormed(IllFormedError::UnclosedReference) => "`&` begins no reference",
            _ => "a tag is not well-formed",
        };
        self.fault(offset as usize, message)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
