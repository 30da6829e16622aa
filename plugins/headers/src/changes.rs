//! The changes of one direction, exactly as written.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// What to change in a message. However it is written, the order is: `remove`, `rename`, `set`, `set-if-absent`,
/// `append`.
///
/// Values are text, or templates: `{client}`, `{host}`, `{scheme}`, `{method}`, `{path}`, `{attribute:NAME}` and
/// `{header:NAME}` stand for parts of the request, `{NAME?text}` gives a default, and `{{` and `}}` stand for braces.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Changes {
    /// Fields to remove. `x-internal-*` removes every field whose name begins with `x-internal-`; the plugin is then
    /// given all fields, which costs about five times as much as a few named ones.
    pub remove: Vec<String>,
    /// Fields to rename, from old to new. All of a name move, in their order, and take the place of those that had the
    /// new name. All renames happen at once, so that two names can be swapped.
    pub rename: BTreeMap<String, String>,
    /// Fields to set, in place of all of their name. A list makes several fields.
    pub set: BTreeMap<String, Values>,
    /// Fields to set where the message has none of the name.
    pub set_if_absent: BTreeMap<String, Values>,
    /// Fields to add after those of their name.
    pub append: BTreeMap<String, Values>,
}

/// One value, or several for several fields of one name.
#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(untagged)]
pub enum Values {
    /// One field.
    One(String),
    /// A field for each.
    Several(Vec<String>),
}

impl Values {
    /// Each value, with its index if it stands in a list.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Option<usize>, &str)> {
        let (values, listed) = match self {
            Self::One(value) => (std::slice::from_ref(value), false),
            Self::Several(values) => (values.as_slice(), true),
        };
        values.iter().enumerate().map(move |(index, value)| (listed.then_some(index), value.as_str()))
    }
}

/// By hand, since serde's own message for an untagged enum names neither of the accepted forms.
impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;

        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Values;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, value: &str) -> Result<Values, E> {
                Ok(Values::One(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                Ok(Values::Several(values))
            }
        }

        deserializer.deserialize_any(OneOrSeveral)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_string_or_a_list_of_them() {
        let values: Changes = serde_json::from_str(r#"{"set":{"a":"1","b":["1","2"]}}"#).unwrap();
        assert_eq!(values.set["a"], Values::One("1".to_owned()));
        assert_eq!(values.set["b"], Values::Several(vec!["1".to_owned(), "2".to_owned()]));
        let error = serde_json::from_str::<Changes>(r#"{"set":{"a":1}}"#).unwrap_err().to_string();
        assert!(error.starts_with("invalid type: integer `1`, expected a string or a list of strings"), "{error}");
    }
}
