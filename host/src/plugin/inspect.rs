//! What a component is, without a configuration that uses it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::component::{Component, Hook, LoadError, Origin};
use super::engine::Engine;
use super::instance::Instance;
use super::version::VERSION;
use super::{Plugin, Scene, Stores};
use crate::config::PluginSpec;

/// What `tollgate plugin inspect` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The version of the plugin contract that it speaks.
    pub contract: &'static str,
    /// Of the file, in bytes.
    pub size: usize,
    /// Of the file, as hexadecimal digits.
    pub sha256: String,
    /// The hooks that it exports. Which of them are called, it says for each configuration.
    pub hooks: Vec<&'static str>,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The capabilities among them, by name.
    pub capabilities: Vec<String>,
    /// The line that a configuration needs for it to load; none where all that it imports is always granted.
    pub grant: Option<String>,
    /// Whether it imports something that waits, and so is called on a stack of its own.
    pub waits: bool,
    /// A JSON Schema of its configuration, if it tells one.
    pub schema: Option<Value>,
}

impl Inspection {
    /// Compiles a component, and asks an instance of it for the schema of its configuration.
    ///
    /// # Errors
    ///
    /// As [`Component::compile`]; or that it fails while it is asked.
    pub async fn of(engine: &Arc<Engine>, name: &str, origin: Origin, bytes: Bytes) -> Result<Self, LoadError> {
        let component = Arc::new(Component::compile(engine, name, origin, bytes)?);
        let spec = PluginSpec::of(name);
        let plugin = Plugin::unconfigured(engine, &component, &spec, &Stores::default(), &Scene::default())?;
        let schema = Instance::schema(&plugin).await?;
        let schema = schema.map(|text| {
            serde_json::from_str(&text).map_err(|error| LoadError::Failed(format!("its schema is no JSON: {error}")))
        });
        Ok(Self {
            contract: VERSION,
            size: component.size,
            sha256: component.sha256.clone(),
            hooks: Hook::ALL.into_iter().filter(|hook| component.exports(*hook)).map(Hook::as_str).collect(),
            imports: component.imports.clone(),
            capabilities: component.capabilities().map(str::to_owned).collect(),
            grant: component.grant_line(),
            waits: component.waits,
            schema: schema.transpose()?,
        })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = |list: String| if list.is_empty() { "nothing".to_owned() } else { list };
        writeln!(f, "a plugin for version {} of the contract", self.contract)?;
        writeln!(f, "  size     {} bytes", self.size)?;
        writeln!(f, "  sha256   {}", self.sha256)?;
        writeln!(f, "  hooks    {}", none(self.hooks.join(", ")))?;
        writeln!(f, "  imports  {}", none(self.imports.join("\n           ")))?;
        match &self.grant {
            Some(line) => writeln!(f, "  needs    {line}")?,
            None => writeln!(f, "  needs    no grant")?,
        }
        if self.waits {
            writeln!(f, "  waits    in its calls, which take a stack of their own")?;
        }
        let Some(schema) = &self.schema else { return writeln!(f, "  config   it tells no schema") };
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let key = |key: &String| format!("{key}{}", if required.contains(&&**key) { " (required)" } else { "" });
        let keys: Vec<_> = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| key(name)).collect();
        writeln!(f, "  config   {} (all of it: --schema)", none(keys.join(", ")))
    }
}
