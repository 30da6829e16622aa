//! Reading JSON: RFC 8259 to the letter, numbers kept as written, no name twice in one object.

use super::{Document, Kind, Node};
use crate::fault::Fault;
use crate::rules::Limits;
use crate::texts::{Span, Texts};

/// Reads a document within `limits`.
pub(crate) fn read<'a>(body: &'a [u8], limits: &Limits) -> Result<Document<'a>, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default();
        Fault::malformed(before, before.len(), "this is not UTF-8")
    })?;
    let document = Document { texts: Texts::new(text), nodes: Vec::new() };
    let mut reader =
        Reader { bytes: text.as_bytes(), at: 0, limits, document, open: Vec::new(), values: 0, scratch: Vec::new() };
    reader.document()?;
    Ok(reader.document)
}

struct Reader<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    limits: &'l Limits,
    document: Document<'a>,
    /// The arrays and objects that have begun and not ended.
    open: Vec<u32>,
    /// How many values have begun; names of members are none.
    values: usize,
    scratch: Vec<u32>,
}

impl Reader<'_, '_> {
    fn document(&mut self) -> Result<(), Fault> {
        if self.bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
            return Err(self.fault(0, "a byte order mark is not JSON"));
        }
        // A loop instead of recursion: each turn reads one value, then closes whatever ends after it.
        'value: loop {
            self.space();
            let opened = self.value()?;
            if opened {
                self.space();
                match (self.peek(), self.open_kind()) {
                    (Some(b']'), Kind::Array) | (Some(b'}'), Kind::Object) => {
                        self.at += 1;
                        self.close()?;
                    }
                    (_, Kind::Object) => {
                        self.name()?;
                        continue 'value;
                    }
                    _ => continue 'value,
                }
            }
            while !self.open.is_empty() {
                self.space();
                match (self.peek(), self.open_kind()) {
                    (Some(b','), Kind::Array) => {
                        self.at += 1;
                        continue 'value;
                    }
                    (Some(b','), _) => {
                        self.at += 1;
                        self.space();
                        self.name()?;
                        continue 'value;
                    }
                    (Some(b']'), Kind::Array) | (Some(b'}'), Kind::Object) => {
                        self.at += 1;
                        self.close()?;
                    }
                    (Some(_), Kind::Array) => return Err(self.fault(self.at, "`,` or `]` is missing here")),
                    (Some(_), _) => return Err(self.fault(self.at, "`,` or `}` is missing here")),
                    (None, _) => return Err(self.fault(self.at, "the document ends too early")),
                }
            }
            self.space();
            return match self.peek() {
                None => Ok(()),
                Some(_) => Err(self.fault(self.at, "there is something after the document")),
            };
        }
    }

    /// Reads a scalar, or the beginning of an array or object, and says which.
    fn value(&mut self) -> Result<bool, Fault> {
        let start = self.at;
        if self.values >= self.limits.elements {
            return Err(self.fault(start, format!("there are more than {} values", self.limits.elements)));
        }
        self.values += 1;
        match self.peek() {
            Some(kind @ (b'[' | b'{')) => {
                if self.open.len() >= self.limits.depth {
                    let message = format!("arrays and objects are nested deeper than {}", self.limits.depth);
                    return Err(self.fault(start, message));
                }
                self.at += 1;
                let kind = if kind == b'[' { Kind::Array } else { Kind::Object };
                let index = self.push(kind, Span::source(start, start), start);
                self.open.push(index);
                return Ok(true);
            }
            Some(b'"') => {
                let span = self.string()?;
                self.push(Kind::String, span, start);
            }
            Some(b'-' | b'0'..=b'9') => {
                let span = self.number()?;
                self.push(Kind::Number, span, start);
            }
            _ => {
                let words = [("null", Kind::Null), ("true", Kind::True), ("false", Kind::False)];
                let rest = &self.bytes[start..];
                let Some((word, kind)) = words.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes())) else {
                    let message =
                        if rest.is_empty() { "the document ends too early" } else { "a value is missing here" };
                    return Err(self.fault(start, message));
                };
                self.at += word.len();
                self.push(kind, Span::source(start, start), start);
            }
        }
        Ok(false)
    }

    /// Reads the name of a member, and the colon.
    fn name(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.fault(start, "the name of a member is missing here"));
        }
        let span = self.string()?;
        self.push(Kind::String, span, start);
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.fault(self.at, "`:` is missing here"));
        }
        self.at += 1;
        Ok(())
    }

    fn number(&mut self) -> Result<Span, Fault> {
        let start = self.at;
        self.take(b"-");
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.take(b".") {
            self.digits()?;
        }
        if self.take(b"eE") {
            self.take(b"+-");
            self.digits()?;
        }
        // `01` would otherwise be a number and then something after it.
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.fault(start, "a number begins with a needless zero"));
        }
        Ok(Span::source(start, self.at))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.fault(self.at, "a digit is missing here"));
        }
        self.at += length;
        Ok(())
    }

    fn string(&mut self) -> Result<Span, Fault> {
        self.at += 1;
        let start = self.at;
        self.plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Span::source(start, self.at - 1));
        }
        let mark = self.document.texts.mark();
        let mut from = start;
        loop {
            let piece = &self.document.texts.source()[from..self.at];
            self.document.texts.decoded().push_str(piece);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.document.texts.since(mark));
                }
                Some(b'\\') => {
                    let c = self.escape()?;
                    self.document.texts.decoded().push(c);
                }
                Some(_) => return Err(self.fault(self.at, "a control character stands in a string")),
                None => return Err(self.fault(self.at, "a string does not end")),
            }
            from = self.at;
            self.plain();
        }
    }

    /// Skips what stands for itself in a string.
    fn plain(&mut self) {
        let rest = &self.bytes[self.at..];
        let special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        self.at += rest.iter().position(special).unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let c = match self.bytes.get(start + 1) {
            Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let (c, length) = self.unicode(start)?;
                self.at += length;
                return Ok(c);
            }
            _ => return Err(self.fault(start, "`\\` begins no escape")),
        };
        self.at += 2;
        Ok(c)
    }

    /// The character of a `\uXXXX`, or of a surrogate pair of them, and its length.
    fn unicode(&self, start: usize) -> Result<(char, usize), Fault> {
        let unit = |at: usize| -> Option<u32> {
            let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
        };
        let first = unit(start).ok_or_else(|| self.fault(start, "`\\u` needs four hexadecimal digits"))?;
        if let Some(c) = char::from_u32(first) {
            return Ok((c, 6));
        }
        let pair = unit(start + 6).filter(|second| first < 0xDC00 && (0xDC00..0xE000).contains(second));
        let c = pair.and_then(|second| char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)));
        c.map(|c| (c, 12)).ok_or_else(|| self.fault(start, "a surrogate stands alone"))
    }

    fn close(&mut self) -> Result<(), Fault> {
        let end = self.document.nodes.len() as u32;
        let Some(index) = self.open.pop() else { return Ok(()) };
        self.document.nodes[index as usize].end = end;
        if self.document.nodes[index as usize].kind == Kind::Object { self.no_duplicates(index, end) } else { Ok(()) }
    }

    /// RFC 8259 leaves the meaning of a repeated name to the reader: two readers would see two documents.
    fn no_duplicates(&mut self, object: u32, end: u32) -> Result<(), Fault> {
        let Document { texts, nodes } = &self.document;
        self.scratch.clear();
        let mut name = object + 1;
        while name < end {
            self.scratch.push(name);
            name = nodes[name as usize + 1].end;
        }
        if self.scratch.len() < 2 {
            return Ok(());
        }
        let text = |index: u32| texts.get(nodes[index as usize].span);
        self.scratch.sort_unstable_by(|&a, &b| text(a).cmp(text(b)).then(a.cmp(&b)));
        match self.scratch.windows(2).find(|pair| text(pair[0]) == text(pair[1])) {
            Some(pair) => {
                Err(self.fault(nodes[pair[1] as usize].offset as usize, "an object has two members of the same name"))
            }
            None => Ok(()),
        }
    }

    fn push(&mut self, kind: Kind, span: Span, offset: usize) -> u32 {
        let index = self.document.nodes.len() as u32;
        self.document.nodes.push(Node { kind, span, offset: offset as u32, end: index + 1 });
        index
    }

    fn open_kind(&self) -> Kind {
        self.open.last().map_or(Kind::Null, |&index| self.document.nodes[index as usize].kind)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, any: &[u8]) -> bool {
        let taken = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(taken);
        taken
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fault(&self, offset: usize, message: impl Into<String>) -> Fault {
        Fault::malformed(self.document.texts.source(), offset, message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Shape, Value, write_string};

    fn wrong(body: &[u8]) -> String {
        read(body, &Limits::default()).unwrap_err().to_string()
    }

    /// The document again, as compact text.
    fn written(value: Value<'_>) -> String {
        let quoted = |text: &str| {
            let mut out = String::new();
            write_string(&mut out, text);
            out
        };
        let object =
            || value.members().map(|(name, value)| format!("{}:{}", quoted(name.string().unwrap()), written(value)));
        match value.shape() {
            Shape::Null => "null".to_owned(),
            Shape::Scalar(text) => value.string().map_or(text.to_owned(), quoted),
            Shape::Array => format!("[{}]", value.items().map(written).collect::<Vec<_>>().join(",")),
            Shape::Object => format!("{{{}}}", object().collect::<Vec<_>>().join(",")),
        }
    }

    fn same(text: &str) {
        assert_eq!(written(read(text.as_bytes(), &Limits::default()).unwrap().root()), text);
    }

    #[test]
    fn numbers_and_order_survive() {
        same(r#"{"z":9007199254740993,"a":1e400,"m":[-0.0,1E+5,0,-1.50],"":{"x":[],"y":{}},"t":[true,false,null]}"#);
        same(&format!("[{}]", "7".repeat(400)));
        same(r#""""#);
        same("-0");
    }

    #[test]
    fn escapes_are_decoded() {
        let document = read(br#" [ "a\"\\\/\b\f\n\r\t\u00e9\uD834\udd1ez\u0000" ] "#, &Limits::default()).unwrap();
        let text = document.root().items().next().unwrap().string().unwrap();
        assert_eq!(text, "a\"\\/\u{8}\u{c}\n\r\té𝄞z\0");
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let cases: [(&str, &str); 32] = [
            ("", "line 1, column 1: the document ends too early"),
            ("[1,\n2", "line 2, column 2: the document ends too early"),
            ("[1,]", "column 4: a value is missing"),
            ("[,1]", "column 2: a value is missing"),
            ("[1 2]", "column 4: `,` or `]` is missing"),
            ("{\"a\":1 \"b\":2}", "column 8: `,` or `}` is missing"),
            ("{\"a\":1,}", "column 8: the name of a member"),
            ("{a:1}", "column 2: the name of a member"),
            ("{\"a\" 1}", "column 6: `:` is missing"),
            ("{\"a\":}", "column 6: a value is missing"),
            ("[1}", "`,` or `]`"),
            ("{\"a\":1]", "`,` or `}`"),
            ("01", "needless zero"),
            ("-", "a digit is missing"),
            ("-01", "needless zero"),
            ("1.", "a digit is missing"),
            (".5", "a value is missing"),
            ("+1", "a value is missing"),
            ("1e", "a digit is missing"),
            ("1e+", "a digit is missing"),
            ("NaN", "a value is missing"),
            ("-Infinity", "a digit is missing"),
            ("tru", "a value is missing"),
            ("truex", "after the document"),
            ("1 2", "column 3: there is something after"),
            ("'a'", "a value is missing"),
            ("\"a", "does not end"),
            ("\"a\nb\"", "column 3: a control character"),
            ("\"\\x\"", "begins no escape"),
            ("\"\\u12g4\"", "four hexadecimal digits"),
            ("/* */1", "a value is missing"),
            ("\u{feff}1", "byte order mark"),
        ];
        for (text, message) in cases {
            assert!(wrong(text.as_bytes()).contains(message), "{text:?}: {}", wrong(text.as_bytes()));
        }
        for lone in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800\ud800""#, r#""\ud800x""#] {
            assert!(wrong(lone.as_bytes()).contains("surrogate"), "{lone}");
        }
        assert!(wrong(b"\"\xff\"").contains("column 2: this is not UTF-8"));
        assert!(wrong(b"[\x001]").contains("a value is missing"));
        assert!(wrong(&[0xFF, 0xFE, b'1', 0]).contains("UTF-8"));
    }

    #[test]
    fn a_name_twice_in_one_object_is_refused() {
        assert!(wrong(br#"{"a":1,"b":2,"\u0061":3}"#).contains("column 14: an object has two members"));
        assert!(wrong(br#"[{"x":{"a":1,"a":2}}]"#).contains("two members"));
        same(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#);
    }

    #[test]
    fn nesting_and_number_of_values_are_bounded() {
        for open in ["[", "{\"a\":"] {
            assert!(wrong(open.repeat(100_000).as_bytes()).contains("deeper than 100"));
        }
        same(&format!("{}{}", "[".repeat(100), "]".repeat(100)));
        let limits = Limits { elements: 4, ..Limits::default() };
        assert!(read(br#"{"a":1,"b":2,"c":3}"#, &limits).is_ok());
        assert!(read(b"[1,2,3,4]", &limits).unwrap_err().message.contains("more than 4 values"));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"a1\\u0 .e\-]{0,12}|(\[|\{"a":|1|"b"|,|\]|\}|:|null){0,10}"#) {
            let ours = read(text.as_bytes(), &Limits::default());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match (ours, theirs) {
                (Ok(document), Ok(value)) => {
                    prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written(document.root())).unwrap(), value);
                }
                (Err(fault), Ok(_)) => prop_assert!(fault.message.contains("two members"), "{}", fault),
                // serde_json has no number for `1e999`.
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{}", error),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
