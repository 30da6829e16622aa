//! Sets, appends, removes and renames header fields of requests and responses, with presets of security headers.
//!
//! What the message cannot change is made once, in `configure`; a hook copies that and adds what depends on the message.
//! Each hook sees only the fields that are renamed, referred to by a template, or set if absent.

mod changes;
mod name;
mod preset;
mod recall;
mod rules;
mod template;

use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, ResponseHead, plugin};

pub use changes::{Changes, Values};
pub use preset::Preset;
pub use template::Missing;

use recall::{Recall, Recalled};
use rules::Rules;
use template::Variable;

/// What to change on the way to the upstream and on the way back.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Changes of requests, before they go to the next plugin or the upstream.
    pub request: Changes,
    /// Changes of responses, before they go to the previous plugin or the client.
    pub response: Changes,
    /// Security headers for responses: `none`, `api` or `browser`. What `response` names is left to it.
    pub preset: Preset,
    /// What becomes of a value whose template names something that the request does not have, and gives no default:
    /// `skip` leaves the field out (a `set` then also removes the fields of that name that came with the message);
    /// `empty` puts nothing in its place.
    pub missing: Missing,
}

/// The plugin, with its configuration read.
#[derive(Debug)]
pub struct Headers {
    request: Rules,
    response: Rules,
    recall: Recall,
}

impl Plugin for Headers {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let mut complaints = Complaints::new();
        let request = Rules::new(&config.request, config.missing, "/request", &mut complaints);
        let mut response = Rules::new(&config.response, config.missing, "/response", &mut complaints);
        response.add(config.preset);
        let recall = Recall::new(&response);
        complaints.or(|| Self { request, response, recall })
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::new();
        if !self.request.is_empty() || !self.recall.is_empty() {
            interest = interest.request(|mut see| {
                if self.request.sees_all() {
                    see = see.all_headers();
                }
                see = see.headers(self.request.fields());
                if self.recall.needs_scheme() {
                    see = see.scheme();
                }
                for variable in self.request.variables().chain(self.recall.variables()) {
                    see = match variable {
                        Variable::Client => see.client(),
                        Variable::Host => see.authority(),
                        Variable::Scheme => see.scheme(),
                        Variable::Method => see.method(),
                        Variable::Path => see.path(),
                        Variable::Attribute(name) => see.attributes([name]),
                        Variable::Header(name) => see.headers([name]),
                    };
                }
                see
            });
        }
        if !self.response.is_empty() {
            interest = interest.response(|mut see| {
                if self.response.sees_all() {
                    see = see.all_headers();
                }
                see.headers(self.response.fields()).attributes(self.response.attributes())
            });
        }
        interest
    }

    fn on_request(&self, request: &Request) -> Flow {
        let mut edits = self.request.apply(request, request);
        if let Some(memo) = self.recall.remember(request) {
            edits = edits.memo(memo);
        }
        edits.into()
    }

    fn on_response(&self, response: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        let memo = memo.unwrap_or_default();
        let edits: Edits = self.response.apply(response, &Recalled::new(&self.recall, &memo, response));
        edits.into()
    }
}

plugin!(Headers);
