//! How documents are converted: the meaning of a configuration. A value that exists is valid.

/// The rules of a conversion, in both directions.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What the JSON form looks like.
    pub convention: Convention,
    /// Element paths that are lists even with one element.
    pub always: Paths,
    /// Whether text that a number or a boolean would be written as exactly becomes one.
    pub infer_types: bool,
    /// What happens to prefixes and declarations of namespaces when XML is read.
    pub namespaces: Namespaces,
    /// What happens to white space between elements when XML is read.
    pub whitespace: Whitespace,
    /// The name of an element for each item of an array that has no name of its own.
    pub item: String,
    /// Bounds for what is read and written.
    pub limits: Limits,
}

/// The convention: what the JSON form of an XML document looks like.
#[derive(Debug, Clone)]
pub enum Convention {
    /// Every element an object, text as `$`, attributes with `@`, namespaces in `@xmlns`.
    BadgerFish,
    /// Values only: attributes and the name of the root are lost.
    Parker {
        /// The name of the root element of XML that is written.
        root: String,
        /// What an empty element becomes.
        empty: Empty,
    },
    /// Objects for elements with children or attributes, plain values for the rest.
    AttributePrefix {
        /// The root element that wraps what is written as XML; without one, the JSON names it.
        root: Option<String>,
        /// What an empty element becomes.
        empty: Empty,
        /// How names of attributes begin.
        prefix: String,
        /// The member for text beside attributes or elements.
        text: String,
    },
    /// Arrays that keep the order of everything.
    JsonMl,
    /// Problem details in both of their forms: RFC 9457, appendix B.
    Problem,
}

/// What an element without attributes and content becomes in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// `null`.
    Null,
    /// `""`.
    String,
    /// `{}`.
    Object,
}

/// What happens to prefixes and declarations of namespaces when XML is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// Names keep their prefixes, and declarations are attributes.
    Keep,
    /// Prefixes and declarations are dropped.
    Strip,
}

/// What happens to text of nothing but white space when XML is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whitespace {
    /// It is dropped, but in mixed content.
    Drop,
    /// It is text like any other.
    Keep,
}

/// Bounds for what is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest document that is read, in bytes; at most 64 MiB.
    pub body: usize,
    /// The longest document that is written, in bytes.
    pub output: usize,
    /// How deep elements, or arrays and objects, may be nested; at most [`Limits::DEEPEST`].
    pub depth: usize,
    /// How many attributes one element may have.
    pub attributes: usize,
    /// How many elements, or JSON values, a document may have.
    pub elements: usize,
}

impl Rules {
    /// The rules for problem details, within the same limits.
    pub fn for_problems(limits: Limits) -> Self {
        Self {
            convention: Convention::Problem,
            always: Paths::default(),
            infer_types: false,
            namespaces: Namespaces::Strip,
            whitespace: Whitespace::Drop,
            item: "i".to_owned(),
            limits,
        }
    }
}

impl Limits {
    /// What is written is written recursively: at this depth in less than 256 KiB of stack.
    pub const DEEPEST: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1 << 20, output: 4 << 20, depth: 100, attributes: 256, elements: 100_000 }
    }
}

/// A set of element paths such as `/catalog/item`, as a tree, so that a conversion follows it a step for each element.
#[derive(Debug, Clone)]
pub struct Paths(Vec<Step>);

#[derive(Debug, Clone, Default)]
struct Step {
    children: Vec<(Box<str>, u32)>,
    contained: bool,
}

/// How far an element's path goes into [`Paths`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(u32);

impl Default for Paths {
    fn default() -> Self {
        Self(vec![Step::default()])
    }
}

impl Paths {
    /// Adds `/root/…/element`; says what is wrong with a path that is none.
    pub fn add(&mut self, path: &str) -> Result<(), &'static str> {
        const FORM: &str =
            "an element path has the form \"/catalog/item\": names of elements from the root on, at least two";
        let names = path.strip_prefix('/').ok_or(FORM)?;
        if !names.contains('/') || !names.split('/').all(crate::xml::is_name) {
            return Err(FORM);
        }
        let mut at = 0;
        for name in names.split('/') {
            at = self.child(at, name).unwrap_or_else(|| {
                let new = self.0.len() as u32;
                self.0.push(Step::default());
                self.0[at as usize].children.push((name.into(), new));
                new
            });
        }
        self.0[at as usize].contained = true;
        Ok(())
    }

    pub(crate) fn root(&self, name: &str) -> Option<At> {
        self.child(0, name).map(At)
    }

    pub(crate) fn step(&self, at: Option<At>, name: &str) -> Option<At> {
        self.child(at?.0, name).map(At)
    }

    pub(crate) fn contains(&self, at: Option<At>) -> bool {
        at.is_some_and(|At(at)| self.0[at as usize].contained)
    }

    fn child(&self, at: u32, name: &str) -> Option<u32> {
        self.0[at as usize].children.iter().find(|(child, _)| **child == *name).map(|&(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed_step_by_step() {
        let mut paths = Paths::default();
        paths.add("/catalog/item").unwrap();
        paths.add("/catalog/item/tag").unwrap();
        paths.add("/p:catalog/x").unwrap();
        let catalog = paths.root("catalog");
        let item = paths.step(catalog, "item");
        assert!(!paths.contains(catalog));
        assert!(paths.contains(item));
        assert!(paths.contains(paths.step(item, "tag")));
        assert!(!paths.contains(paths.step(item, "item")));
        assert!(!paths.contains(paths.root("item")));
        for wrong in ["catalog/item", "/catalog", "/", "", "/a//b", "/a/b/", "/a/1"] {
            assert!(paths.add(wrong).is_err(), "{wrong}");
        }
    }
}
