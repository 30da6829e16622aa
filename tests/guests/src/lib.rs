//! Plugins that misbehave in one hook and do nothing else. Each is an example of this package: a component of its own.

use std::marker::PhantomData;

use tollgate_sdk::{
    BodyFlow, Complaints, Flow, Interest, Plugin, Request, ResponseHead, schemars::JsonSchema, serde::Deserialize,
};

/// The longest body that a body hook here takes, in bytes.
const CAP: u64 = 64 << 10;

/// What is wrong with a plugin.
pub trait Misbehaviour: 'static {
    /// Does it.
    fn misbehave();
}

/// A plugin that misbehaves in the hook of its configuration.
pub struct In<M>(Hook, PhantomData<M>);

/// `config.at = "request"`
#[derive(Deserialize, JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
pub struct Config {
    at: Hook,
}

/// Where a plugin misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "tollgate_sdk::schemars")]
pub enum Hook {
    /// While it is configured.
    Configure,
    /// `on-request`
    Request,
    /// `on-request-body`
    RequestBody,
    /// `on-response`
    Response,
    /// `on-response-body`
    ResponseBody,
}

impl<M: Misbehaviour> In<M> {
    fn reach(&self, here: Hook) {
        if self.0 == here {
            M::misbehave();
        }
    }
}

impl<M: Misbehaviour> Plugin for In<M> {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Complaints> {
        let plugin = Self(config.at, PhantomData);
        plugin.reach(Hook::Configure);
        Ok(plugin)
    }

    fn interest(&self) -> Interest {
        match self.0 {
            Hook::Configure | Hook::Request => Interest::new().request(|see| see),
            Hook::RequestBody => Interest::new().request(|see| see).request_body(CAP),
            Hook::Response => Interest::new().response(|see| see),
            Hook::ResponseBody => Interest::new().response(|see| see).response_body(CAP),
        }
    }

    fn on_request(&self, _: &Request) -> Flow {
        self.reach(Hook::Request);
        Flow::Continue
    }

    fn on_request_body(&self, _: &Request, _: Vec<u8>, _: Option<Vec<u8>>) -> BodyFlow {
        self.reach(Hook::RequestBody);
        BodyFlow::Continue
    }

    fn on_response(&self, _: &ResponseHead, _: Option<Vec<u8>>) -> Flow {
        self.reach(Hook::Response);
        Flow::Continue
    }

    fn on_response_body(&self, _: &ResponseHead, _: Vec<u8>, _: Option<Vec<u8>>) -> BodyFlow {
        self.reach(Hook::ResponseBody);
        BodyFlow::Continue
    }
}
