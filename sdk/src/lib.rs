//! Write a Tollgate plugin: one trait, one macro, ordinary `http` types.
//!
//! ```
//! use tollgate_sdk::{plugin, Complaints, Edits, Flow, Interest, Plugin, Request};
//!
//! struct Greeting { words: String }
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config { words: String }
//!
//! impl Plugin for Greeting {
//!     type Config = Config;
//!
//!     fn configure(config: Config) -> Result<Self, Complaints> {
//!         Ok(Greeting { words: config.words })
//!     }
//!
//!     fn interest(&self) -> Interest {
//!         Interest::new().request(|see| see.path())
//!     }
//!
//!     fn on_request(&self, request: &Request) -> Flow {
//!         match request.path() {
//!             "/teapot" => Flow::Respond(http::Response::builder().status(418).body(vec![]).expect("a valid status")),
//!             _ => Edits::new().set("x-greeting", &self.words).into(),
//!         }
//!     }
//! }
//!
//! plugin!(Greeting);
//! ```
//!
//! Built with `cargo build --release --target wasm32-wasip2` and `crate-type = ["cdylib"]`, that is a component to drop
//! into the plugins directory. The same crate compiles natively, where `cargo test` runs its logic without WebAssembly:
//! [`limiter`], [`kv`] and [`log`] are then small stand-ins in memory, and so are the others as far as they say.
//! The component itself runs on the engine that serves by `tollgate plugin test`, and in `cargo test` by `tollgate-testing`.
//!
//! A panic is a trap: the instance is dropped with all that is in it, and the plugin's `on-failure` decides about the
//! request, as it does where a hook runs longer than its limit or answers what no plugin may. So say what is wrong with a
//! configuration in [`Plugin::configure`], and refuse requests with [`Flow::Refuse`].
//!
//! A plugin that works on bodies piece by piece implements [`Streaming`] beside [`Plugin`], and says `plugin!(Name, streaming)`.
//!
//! The contract itself, with every rule, is `wit/`.

#[cfg_attr(
    not(all(feature = "allocator", target_arch = "wasm32", not(target_feature = "atomics"))),
    path = "no_allocator.rs"
)]
mod allocator;
mod edits;
mod export;
mod interest;
mod message;
mod stream;

/// Generated from the contract. Used by [`plugin!`]; not meant for plugins.
#[doc(hidden)]
pub mod bindings;
pub mod crypto;
pub mod http_client;
pub mod kv;
pub mod limiter;
pub mod log;
pub mod metrics;
pub mod units;

pub use edits::{BodyFlow, Edits, Flow, Problem};
#[doc(hidden)]
pub use export::Hooks;
pub use interest::{Interest, RequestInterest, ResponseInterest};
pub use message::{Request, ResponseHead};
#[doc(hidden)]
pub use stream::Streams;
pub use stream::{Chunk, ChunkFlow, Direction, Passing, Streaming, Wants};

pub use http;
pub use schemars;
pub use serde;

/// A plugin: its configuration, what it wants to see, and its hooks.
///
/// A hook is called only if [`interest`](Plugin::interest) asks for it. No instance belongs to a pass: what one hook
/// wants to tell a later one goes into the memo ([`Edits::memo`]), never into `self`.
pub trait Plugin: Sized + 'static {
    /// The configuration, as serde reads it. Unknown members should be denied (`#[serde(deny_unknown_fields)]`).
    type Config: serde::de::DeserializeOwned + schemars::JsonSchema;

    /// Makes the plugin of its configuration, or says what is wrong with it. Called once for each instance.
    fn configure(config: Self::Config) -> Result<Self, Complaints>;

    /// What the plugin wants to see. The same for the same configuration.
    fn interest(&self) -> Interest;

    /// The head of a request has arrived.
    fn on_request(&self, request: &Request) -> Flow {
        let _ = request;
        Flow::Continue
    }

    /// The whole body of a request has arrived.
    fn on_request_body(&self, request: &Request, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        let _ = (request, body, memo);
        BodyFlow::Continue
    }

    /// The head of a response is on its way to the client.
    fn on_response(&self, response: &ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        let _ = (response, memo);
        Flow::Continue
    }

    /// The whole body of a response is on its way to the client.
    fn on_response_body(&self, response: &ResponseHead, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        let _ = (response, body, memo);
        BodyFlow::Continue
    }
}

/// What is wrong with a configuration: each complaint with its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Complaints(pub(crate) Vec<Complaint>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) pointer: String,
    pub(crate) message: String,
}

impl Complaints {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// One complaint about the value at `pointer` (RFC 6901; empty for the whole).
    pub fn of(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let mut complaints = Self::new();
        complaints.add(pointer, message);
        complaints
    }

    /// Adds one.
    pub fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Complaint { pointer: pointer.into(), message: message.into() });
    }

    /// `Ok` of what `value` makes if there is no complaint.
    pub fn or<T>(self, value: impl FnOnce() -> T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value()) } else { Err(self) }
    }

    /// Each complaint as its pointer and its message.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|complaint| (complaint.pointer.as_str(), complaint.message.as_str()))
    }
}
