//! How tables and words of the file are declared.

use super::super::near::nearest;
use super::Wrong;

/// One key of a table of the file, for documentation.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it means, as in the doc comment of its field.
    pub about: &'static str,
    /// What its value is: `a duration`.
    pub noun: &'static str,
    /// A value, as it is written.
    pub example: fn() -> String,
    /// Between this key and those in it: `.NAME` for tables with names.
    pub step: &'static str,
    /// The keys in it.
    pub keys: &'static [Key],
}

/// A table of the file: each key with its type and its doc comment, which is the documentation of the key, too.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $noun:literal $example:literal
        pub(crate) struct $table:ident {
            $( $(#[doc = $doc:literal])+ $key:literal $field:ident: $type:ty, )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(crate) struct $table {
            $( $(#[doc = $doc])+ pub(crate) $field: $crate::config::reader::Entry<$type>, )*
        }

        /// Without any of its keys.
        impl Default for $table {
            fn default() -> Self {
                Self { $( $field: $crate::config::reader::Entry::Absent, )* }
            }
        }

        impl $crate::config::reader::Read for $table {
            const NOUN: &'static str = $noun;
            const EXAMPLE: &'static str = $example;
            const KEYS: &'static [$crate::config::reader::Key] = &[$(
                $crate::config::reader::Key {
                    name: $key,
                    about: concat!($($doc, "\n"),+),
                    noun: <$type as $crate::config::reader::Read>::NOUN,
                    example: <$type as $crate::config::reader::Read>::example,
                    step: <$type as $crate::config::reader::Read>::STEP,
                    keys: <$type as $crate::config::reader::Read>::KEYS,
                },
            )*];

            fn read(
                node: &$crate::config::reader::Node<'_, '_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let table = reader.table(node, Self::NOUN, Self::EXAMPLE, Self::KEYS)?;
                Some(Self { $( $field: reader.entry(table, $key, &node.path), )* })
            }
        }
    };
}
pub(crate) use table;

/// A choice between words.
macro_rules! words {
    ($type:ty, $noun:literal, $($word:literal => $value:expr),+ $(,)?) => {
        impl $crate::config::reader::Read for $type {
            const NOUN: &'static str = $noun;
            const EXAMPLE: &'static str = $crate::config::reader::first!($($word)+);

            fn read(
                node: &$crate::config::reader::Node<'_, '_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                reader.parsed(node, |text| match text {
                    $($word => Ok($value),)+
                    _ => Err($crate::config::reader::no_word(text, &[$($word),+])),
                })
            }
        }
    };
}
pub(crate) use words;

macro_rules! first {
    ($word:literal $($more:literal)*) => {
        concat!("\"", $word, "\"")
    };
}
pub(crate) use first;

/// That a text is none of the words it could be.
pub(crate) fn no_word(text: &str, words: &[&str]) -> Wrong {
    // `warning` is too far from `warn` for a slip, and yet it is clear what it means.
    let begins = |word: &&str| word.len() > 3 && text.starts_with(*word);
    let near = nearest(text, words.iter().copied()).or_else(|| words.iter().copied().find(begins));
    let all: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    Wrong::because(format!("it is one of {}", all.join(", "))).suggest(near)
}
