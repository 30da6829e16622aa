//! A file of cases exactly as written. The comments of the fields are the documentation of the keys.

use std::time::Duration;

use super::value::{ErrorWord, FlowWord, Given, Json, Moment, SchemeWord, Texts, Wanted, WantedValue};
use crate::config::file::{Grant, PluginLimits};
use crate::config::json::PluginConfig;
use crate::config::reader::{At, Named, table};
use crate::config::value::{Count, MethodName, Path, Size, Text};
use crate::config::{Isolation, OnFailure};

table! {
    /// The whole file.
    "a file of cases" "a table"
    pub(crate) struct File {
        /// The component that is tried: a `.wasm` file, from the file of cases, or the name of a built-in. Default: the
        /// file beside it, `hello.wasm` for `hello.test.toml`.
        "component" component: Text,
        /// What `[plugin.NAME]` of a configuration would say about it, for every case.
        "plugin" plugin: Setting,
        /// The cases, by name. At least one.
        "case" case: Named<Case>,
    }
}

table! {
    /// `[plugin]`: as in a configuration, for every case.
    "a table" "{ config = { limit = 100 } }"
    pub(crate) struct Setting {
        /// The plugin's own configuration.
        "config" config: PluginConfig,
        /// As in a configuration.
        "on-failure" on_failure: OnFailure,
        /// As in a configuration.
        "isolation" isolation: Isolation,
        /// As in a configuration, but for the time of one call, which is 5s here: how fast a machine is says nothing about
        /// a plugin.
        "limits" limits: PluginLimits,
        /// As in a configuration.
        "grant" grant: Grant,
    }
}

table! {
    /// `[case.NAME]`: one pass through a chain of this one plugin.
    "a case" "{ request = { path = \"/a\" }, expect = { flow = \"continue\" } }"
    pub(crate) struct Case {
        /// The plugin's own configuration, in place of the one for every case.
        "config" config: PluginConfig,
        /// What the plugin's clock shows, as a date with a time and an offset. Default: the time of the machine.
        "now" now: Moment,
        /// What is in the stores before, as `{ STORE = { key = "value" } }`. A store has to be granted.
        "kv" kv: Named<Texts>,
        /// What the servers answer that the plugin asks, each to one request: the first in the list that fits. What
        /// nothing fits is a server that cannot be reached. Nothing goes out into the network. An origin has to be
        /// granted.
        "http" http: Vec<At<Answer>>,
        /// What the client sends. Default: `GET /`.
        "request" request: Request,
        /// What the upstream answers. Default: 200 without a body.
        "response" response: Response,
        /// How often the request is sent; what is expected, is expected of the last time. Default 1.
        "times" times: Count,
        /// How far the limiter's clock advances between two times. Default `"0s"`.
        "every" every: Duration,
        /// What has to come of it.
        "expect" expect: Expect,
    }
}

table! {
    /// `request` of a case.
    "a request" "{ method = \"GET\", path = \"/a\" }"
    pub(crate) struct Request {
        /// Default `"GET"`.
        "method" method: MethodName,
        /// `"http"` or `"https"`: how the client reached the listener. Default `"https"`.
        "scheme" scheme: SchemeWord,
        /// Host and port as the client names them. Default `"localhost"`.
        "authority" authority: Text,
        /// The path in canonical form. Default `"/"`.
        "path" path: Path,
        /// What follows `?`. Default: none.
        "query" query: Text,
        /// Header fields: a value, or a list of several.
        "headers" headers: Given,
        /// The address of the client. Default `"192.0.2.1"`.
        "client" client: Text,
        /// What plugins before this one in a chain have said.
        "attributes" attributes: Texts,
        /// The body as text. `content-length` is added.
        "body" body: Text,
        /// The body as JSON, in place of `body`. `content-type` is added, unless it is given.
        "json" json: Json,
        /// The body in these pieces, in place of `body`: a list of texts. Its length is not said then, and hooks that look
        /// at bodies piece by piece get each as it is here, those of more than 64 KiB cut.
        "chunks" chunks: Vec<At<Text>>,
        /// Fields behind the body, where it comes in `chunks`.
        "trailers" trailers: Given,
    }
}

table! {
    /// `response` of a case.
    "a response" "{ status = 200, body = \"…\" }"
    pub(crate) struct Response {
        /// 200 to 599. Default 200.
        "status" status: Count,
        /// Header fields: a value, or a list of several.
        "headers" headers: Given,
        /// The body as text.
        "body" body: Text,
        /// The body as JSON, in place of `body`.
        "json" json: Json,
        /// As in a request.
        "chunks" chunks: Vec<At<Text>>,
        /// As in a request.
        "trailers" trailers: Given,
    }
}

table! {
    /// One of `http` of a case.
    "an answer" "{ url = \"https://idp.example.com/\", status = 200 }"
    pub(crate) struct Answer {
        /// The method that is answered. Default `"GET"`.
        "method" method: MethodName,
        /// The URL that is answered, as the plugin writes it. Required.
        "url" url: Text,
        /// Header fields that the request has to have.
        "with" with: Given,
        /// Default 200.
        "status" status: Count,
        /// Header fields: a value, or a list of several.
        "headers" headers: Given,
        /// The body as text.
        "body" body: Text,
        /// The body as JSON, in place of `body`.
        "json" json: Json,
        /// In place of an answer, why there is none: `"connect"`, `"resolve"`, `"tls"`, `"timeout"`, `"protocol"`,
        /// `"too-large"` or `"address-not-allowed"`.
        "error" error: ErrorWord,
    }
}

table! {
    /// `expect` of a case. At least one of the keys.
    "what is expected" "{ flow = \"refuse\", code = \"missing-credential\" }"
    pub(crate) struct Expect {
        /// What the pass comes to: `"continue"` (on both ways nothing was changed), `"edit"`, `"respond"`, `"refuse"` or
        /// `"fail"`.
        "flow" flow: FlowWord,
        /// The word of a refusal, or the reason of a failure.
        "code" code: Text,
        /// What the upstream gets. It is an error where it gets nothing.
        "request" request: ExpectRequest,
        /// What the client gets.
        "response" response: ExpectResponse,
        /// Attributes afterwards: a value, `{ regex = "…" }`, `{ present = true }` or `{ present = false }`.
        "attributes" attributes: Wanted,
        /// What is in the stores afterwards, as `{ STORE = { key = "value" } }`; values as in `attributes`.
        "kv" kv: Named<Wanted>,
        /// Parts of lines that the plugin logs, in this order, each line as `warn: what it says`. `[]` for no line at all.
        "log" log: Vec<At<Text>>,
        /// The most time that all calls of hooks in the pass may take together, in an instance that is there already.
        "time" time: Duration,
        /// The most memory that the instance may have afterwards.
        "memory" memory: Size,
        /// Parts of what the plugin complains about its configuration, each as `POINTER: message`. Nothing else can be
        /// expected then.
        "complaints" complaints: Vec<At<Text>>,
    }
}

table! {
    /// `expect.request` of a case: what the upstream gets.
    "what the upstream gets" "{ headers = { x-consumer = \"alice\" } }"
    pub(crate) struct ExpectRequest {
        /// The whole path.
        "path" path: WantedValue,
        /// The whole query.
        "query" query: WantedValue,
        /// Header fields: a value, a list of several, `{ regex = "…" }`, `{ present = true }` or `{ present = false }`.
        "headers" headers: Wanted,
        /// The body as text.
        "body" body: WantedValue,
        /// The body as JSON: equal as a value.
        "json" json: Json,
        /// The body in its pieces, as they leave the plugin.
        "chunks" chunks: Vec<At<Text>>,
        /// Fields behind the body, as `headers`.
        "trailers" trailers: Wanted,
    }
}

table! {
    /// `expect.response` of a case: what the client gets.
    "what the client gets" "{ status = 401 }"
    pub(crate) struct ExpectResponse {
        /// The status.
        "status" status: Count,
        /// As in a request.
        "headers" headers: Wanted,
        /// The body as text.
        "body" body: WantedValue,
        /// The body as JSON: equal as a value.
        "json" json: Json,
        /// As in a request.
        "chunks" chunks: Vec<At<Text>>,
        /// As in a request.
        "trailers" trailers: Wanted,
    }
}

impl Expect {
    /// Whether one of its values is none that can be.
    pub(super) fn is_wrong_somewhere(&self) -> bool {
        self.flow.is_wrong()
            || self.code.is_wrong()
            || self.request.is_wrong()
            || self.response.is_wrong()
            || self.attributes.is_wrong()
            || self.kv.is_wrong()
            || self.log.is_wrong()
            || self.time.is_wrong()
            || self.memory.is_wrong()
            || self.complaints.is_wrong()
    }
}
