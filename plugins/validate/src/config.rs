//! The configuration as written, and what is wrong with it.

use std::collections::BTreeMap;

use tollgate_sdk::{Complaints, schemars, serde, units};

use crate::coding::Coding;
use crate::json::Limits;
use crate::media::Accepted;
use crate::schema::{Schema, Source, compile};

/// What bodies must be. Without `body` and `response`, request bodies must be JSON within the limits.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(crate = "tollgate_sdk::schemars")]
pub struct Config {
    /// What happens to a body that does not fit.
    mode: Mode,
    /// The body of a request. Checked unless only `response` is given.
    body: Option<SchemaConfig>,
    /// The body of a successful response of the upstream.
    response: Option<SchemaConfig>,
    /// Schemas that `$ref` may name, by their URI. Nothing is ever fetched.
    schemas: BTreeMap<String, SchemaConfig>,
    /// Whether `format` is asserted. By the standard it is an annotation.
    formats: bool,
    /// Media types that are JSON and validated: `type/subtype`, or `type/*+suffix`.
    content_types: Vec<String>,
    /// Media types that pass without being looked at.
    pass_unvalidated: Vec<String>,
    /// Content codings that are undone to look at a body: `gzip`, `deflate`, `br`, `zstd`.
    content_encodings: Vec<Coding>,
    /// Whether POST, PUT and PATCH need a body.
    required: bool,
    /// Whether a name may come twice in one object, of which two recipients may take different ones.
    duplicate_names: Choice,
    /// Whether a string may hold U+0000, which many recipients take for its end.
    nul_characters: Choice,
    /// The longest body, as it is sent and when it is decoded: up to `64MiB`.
    max_body: String,
    /// Bytes that may come out of each byte of a coded body.
    max_ratio: u32,
    /// Levels of objects and arrays within each other: 1 to 256.
    max_depth: u32,
    /// Members of one object.
    max_members: u32,
    /// Items of one array.
    max_items: u32,
    /// The longest string, in bytes of UTF-8.
    max_string: String,
    /// The longest name of a member, in bytes of UTF-8.
    max_name: String,
    /// Digits of one number, those of its fraction and exponent included.
    max_number_digits: u32,
    /// Values in one body, in all.
    max_values: u32,
    /// Steps that one check may take: pairs of a value and a subschema that is applied to it.
    max_steps: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
pub(crate) enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It passes, is logged, and the attribute `validate.report` has the code of the refusal.
    Report,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
enum Choice {
    /// The body does not pass.
    #[default]
    Refuse,
    /// It may. Where a name comes twice, each of its values must fit.
    Allow,
}

/// A JSON Schema, draft 2020-12. Without one, any JSON within the limits fits.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(crate = "tollgate_sdk::schemars")]
pub(crate) struct SchemaConfig {
    /// The schema as a table.
    schema: Option<serde_json::Value>,
    /// The schema as JSON text, for example `${file:order.schema.json}`.
    schema_json: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            body: None,
            response: None,
            schemas: BTreeMap::new(),
            formats: false,
            content_types: vec!["application/json".to_owned()],
            pass_unvalidated: Vec::new(),
            content_encodings: vec![Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd],
            required: true,
            duplicate_names: Choice::Refuse,
            nul_characters: Choice::Refuse,
            max_body: "1MiB".to_owned(),
            max_ratio: 100,
            max_depth: 64,
            max_members: 1_000,
            max_items: 10_000,
            max_string: "256KiB".to_owned(),
            max_name: "256B".to_owned(),
            max_number_digits: 1_000,
            max_values: 100_000,
            max_steps: 200_000,
        }
    }
}

/// The configuration as meant.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// None where requests are not looked at.
    pub(crate) request: Option<Side>,
    /// None where responses are not looked at.
    pub(crate) response: Option<Side>,
    pub(crate) content_types: Vec<Accepted>,
    pub(crate) pass_unvalidated: Vec<Accepted>,
    pub(crate) content_encodings: Vec<Coding>,
    pub(crate) required: bool,
    pub(crate) limits: Limits,
    pub(crate) max_body: u32,
    pub(crate) max_ratio: u32,
    pub(crate) max_steps: u32,
}

/// What bodies of one direction must be.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) schema: Schema,
}

/// More than this does not fit into a guest with what is made of it.
const LARGEST_BODY: u32 = 64 << 20;

/// The deepest that a document may be: each level takes stack while it is checked.
const DEEPEST: u32 = 256;

impl Settings {
    pub(crate) fn new(config: Config) -> Result<Self, Complaints> {
        let mut complaints = Complaints::new();
        let mut others = Vec::new();
        for (uri, schema) in &config.schemas {
            let pointer = format!("/schemas/{}", uri.replace('~', "~0").replace('/', "~1"));
            match schema.source(&pointer, &mut complaints) {
                Some(source) => others.push((uri.trim_end_matches('#').to_owned(), source)),
                None => complaints.add(pointer, "a schema is missing: give `schema` or `schema-json`"),
            }
        }
        let mut side = |schema: &SchemaConfig, pointer: &str| {
            let source = schema.source(pointer, &mut complaints);
            let schema = source.and_then(|source| compile(&source, &others, config.formats, &mut complaints));
            Side { schema: schema.unwrap_or_default() }
        };
        let response = config.response.as_ref().map(|schema| side(schema, "/response"));
        let request = match &config.body {
            Some(schema) => Some(side(schema, "/body")),
            None if response.is_none() => Some(Side { schema: Schema::default() }),
            None => None,
        };
        let content_types = media_types(&config.content_types, "/content-types", &mut complaints);
        if content_types.is_empty() && config.content_types.is_empty() {
            complaints.add("/content-types", "at least one media type is needed");
        }
        let pass_unvalidated = media_types(&config.pass_unvalidated, "/pass-unvalidated", &mut complaints);
        for (index, both) in pass_unvalidated.iter().enumerate().filter(|(_, one)| content_types.contains(one)) {
            let message = format!("{:?} is validated already, by `content-types`", both.written());
            complaints.add(format!("/pass-unvalidated/{index}"), message);
        }
        let mut size = |text: &str, pointer: &str| match units::size(text).and_then(|bytes| u32::try_from(bytes).ok()) {
            Some(bytes) if (1..=LARGEST_BODY).contains(&bytes) => bytes,
            _ => {
                let message = "must be a size from 1B to 64MiB: a whole number and B, KiB or MiB, such as \"256KiB\"";
                complaints.add(pointer, message);
                1
            }
        };
        let max_body = size(&config.max_body, "/max-body");
        let string = size(&config.max_string, "/max-string");
        let name = size(&config.max_name, "/max-name");
        for (value, pointer) in [
            (config.max_ratio, "/max-ratio"),
            (config.max_depth, "/max-depth"),
            (config.max_members, "/max-members"),
            (config.max_items, "/max-items"),
            (config.max_number_digits, "/max-number-digits"),
            (config.max_values, "/max-values"),
            (config.max_steps, "/max-steps"),
        ] {
            if value == 0 {
                complaints.add(pointer, "must be 1 or more");
            }
        }
        if config.max_depth > DEEPEST {
            complaints.add("/max-depth", format!("must be at most {DEEPEST}: each level takes stack"));
        }
        let limits = Limits {
            depth: config.max_depth,
            members: config.max_members,
            items: config.max_items,
            string,
            name,
            digits: config.max_number_digits,
            values: config.max_values,
            duplicates: config.duplicate_names == Choice::Allow,
            nul: config.nul_characters == Choice::Allow,
        };
        once_each(complaints).or(|| Self {
            mode: config.mode,
            request,
            response,
            content_types,
            pass_unvalidated,
            content_encodings: config.content_encodings,
            required: config.required,
            limits,
            max_body,
            max_ratio: config.max_ratio,
            max_steps: config.max_steps,
        })
    }
}

impl SchemaConfig {
    /// The schema as text, and where it stands. None where there is none.
    fn source(&self, pointer: &str, complaints: &mut Complaints) -> Option<Source> {
        match (&self.schema, &self.schema_json) {
            (Some(_), Some(_)) => {
                complaints.add(format!("{pointer}/schema-json"), "beside `schema`: only one of them can be");
                None
            }
            (Some(schema), None) => {
                Some(Source { pointer: format!("{pointer}/schema"), text: schema.to_string(), as_text: false })
            }
            (None, Some(text)) => {
                Some(Source { pointer: format!("{pointer}/schema-json"), text: text.clone(), as_text: true })
            }
            (None, None) => None,
        }
    }
}

fn media_types(texts: &[String], pointer: &str, complaints: &mut Complaints) -> Vec<Accepted> {
    let mut all = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Accepted::parse(text) {
            Some(accepted) => all.push(accepted),
            None => complaints.add(
                format!("{pointer}/{index}"),
                "must be a media type without parameters, such as \"application/json\" or \"application/*+json\"",
            ),
        }
    }
    all
}

/// A schema that both directions refer to is compiled for each, and complained of once.
fn once_each(complaints: Complaints) -> Complaints {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut once = Complaints::new();
    for complaint in complaints.iter() {
        if !seen.contains(&complaint) {
            seen.push(complaint);
            once.add(complaint.0, complaint.1);
        }
    }
    once
}
