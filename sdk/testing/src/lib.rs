//! Runs a plugin on the engine that serves, in `cargo test`: what `tollgate plugin test` does, as a library.
//!
//! ```no_run
//! use tollgate_testing::{Answer, Case, Flow, Plugin};
//!
//! let plugin = Plugin::build(env!("CARGO_MANIFEST_DIR"))
//!     .config("endpoint", "https://idp.example.com/introspect")
//!     .grant_http("https://idp.example.com");
//!
//! // A file of cases, as it also lies beside the component where that is deployed.
//! plugin.passes("sessions.test.toml");
//!
//! // A case written here.
//! plugin.run(
//!     Case::get("/a")
//!         .header("authorization", "Bearer abc")
//!         .answers(Answer::post("https://idp.example.com/introspect").json(serde_json::json!({ "active": true })))
//!         .expect_flow(Flow::Edit)
//!         .expect_attribute("consumer", "alice")
//!         .expect_memory("2MiB"),
//! );
//! ```
//!
//! The component is built by `cargo` for the target `wasm32-wasip2`, and run by the program `tollgate`, in whose version
//! it will serve: the one that the variable `TOLLGATE` names, else the one that is built in the same target directory,
//! else the one on the path. A component in another language is run in the same way: [`Plugin::component`].
//!
//! Everything that a file of cases can say can be said here: what has no method of its own is [`Case::given`] or
//! [`Case::expect`], by the name that it has in the file. What is misspelt is told with what was probably meant.

mod build;
mod case;
mod engine;
mod text;

use std::path::{Path, PathBuf};

pub use case::{Answer, Case, Flow, Want};
pub use engine::{Difference, Failed, Ran};

use serde_json::Value;
use text::Table;

/// A component, with what a configuration would say about it.
#[derive(Debug, Clone)]
pub struct Plugin {
    component: PathBuf,
    /// `[plugin]` of a file of cases.
    setting: Table,
}

impl Plugin {
    /// Builds the crate in this folder, `env!("CARGO_MANIFEST_DIR")`, in its release profile, and takes the component
    /// that comes of it. It is built once, however many tests ask for it.
    ///
    /// # Panics
    /// Where it does not build, with what `cargo` says.
    #[must_use]
    #[track_caller]
    pub fn build(folder: impl AsRef<Path>) -> Self {
        Self::build_with(folder, "release")
    }

    /// The same in another profile.
    ///
    /// # Panics
    /// As [`build`](Self::build).
    #[must_use]
    #[track_caller]
    pub fn build_with(folder: impl AsRef<Path>, profile: &str) -> Self {
        match build::component(folder.as_ref(), profile) {
            Ok(component) => Self::component(component),
            Err(why) => panic!("{why}"),
        }
    }

    /// A component that is there already, in whatever language it was written.
    #[must_use]
    pub fn component(path: impl Into<PathBuf>) -> Self {
        Self { component: path.into(), setting: Table::default() }
    }

    /// One option of its configuration, as in `[plugin.NAME.config]`.
    #[must_use]
    pub fn config(self, option: &str, value: impl Into<Value>) -> Self {
        let mut plugin = self;
        plugin.setting.set(&["config", option], value.into());
        plugin
    }

    /// Allows requests to this origin. Nothing goes out into the network: cases answer them.
    #[must_use]
    pub fn grant_http(self, origin: &str) -> Self {
        let mut plugin = self;
        plugin.setting.push("grant.http", origin.into());
        plugin
    }

    /// Allows this store.
    #[must_use]
    pub fn grant_kv(self, store: &str) -> Self {
        let mut plugin = self;
        plugin.setting.push("grant.kv", store.into());
        plugin
    }

    /// Anything else of `[plugin]` in a file of cases, by its name there: `("limits.memory", "64MiB")`.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<Value>) -> Self {
        let mut plugin = self;
        plugin.setting.set_at(key, value.into());
        plugin
    }

    /// Runs one case.
    ///
    /// # Panics
    /// Where something is not as expected, or it cannot be run: with what, and what was found.
    #[track_caller]
    pub fn run(&self, case: Case) -> Ran {
        match self.try_run(case) {
            Ok(ran) => ran,
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Runs one case.
    ///
    /// # Errors
    /// What is not as expected, or why it cannot be run.
    pub fn try_run(&self, case: Case) -> Result<Ran, Failed> {
        let text = format!("plugin = {}\ncase.it = {}\n", self.setting, case);
        engine::run(&self.component, engine::Cases::Text(&text))
            .and_then(|mut ran| ran.pop().ok_or_else(|| Failed::cannot("nothing was run")))
    }

    /// Runs all cases of a file, with what its own `[plugin]` says.
    ///
    /// # Panics
    /// Where something is not as expected, or it cannot be run.
    #[track_caller]
    pub fn passes(&self, file: impl AsRef<Path>) -> Vec<Ran> {
        match engine::run(&self.component, engine::Cases::File(file.as_ref())) {
            Ok(ran) => ran,
            Err(failed) => panic!("{failed}"),
        }
    }
}
