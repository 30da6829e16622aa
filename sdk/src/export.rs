//! From the exports of a component to the [`Plugin`] trait.

use crate::bindings::exports::tollgate::plugin::hooks as wit;
use crate::bindings::tollgate::plugin::http::{BodyFlow, Flow, Request, ResponseHead};
use crate::{Complaints, Plugin};

/// Makes a type that implements [`Plugin`] the plugin of this component. One for each crate.
///
/// Natively it only checks the type, so that the crate's own tests run without WebAssembly.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        $crate::plugin!(@ $plugin, {}, {});
    };
    ($plugin:ty, streaming) => {
        $crate::plugin!(@ $plugin, {
            ::std::thread_local! {
                static BODY: ::std::cell::RefCell<::std::option::Option<<$plugin as $crate::Streaming>::Body>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::Streams for Component {
                fn body<R>(
                    run: impl FnOnce(&mut ::std::option::Option<<$plugin as $crate::Streaming>::Body>) -> R,
                ) -> R {
                    BODY.with_borrow_mut(run)
                }
            }

            $crate::bindings::chunks::export_chunks!(Component with_types_in $crate::bindings::chunks);
        }, {
            const fn streams<P: $crate::Streaming>() {}
            streams::<$plugin>();
        });
    };
    (@ $plugin:ty, { $($component:tt)* }, { $($native:tt)* }) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static PLUGIN: ::std::cell::OnceCell<$plugin> = const { ::std::cell::OnceCell::new() };
            }

            impl $crate::Hooks for Component {
                type Plugin = $plugin;

                fn cell<R>(run: impl FnOnce(&::std::cell::OnceCell<$plugin>) -> R) -> R {
                    PLUGIN.with(run)
                }
            }

    $crate::bindings::export_hooks!(Component with_types_in $crate::bindings);

            $($component)*
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_plugin<P: $crate::Plugin>() {}
            is_plugin::<$plugin>();
            $($native)*
        };
    };
}

/// Where a component keeps its one plugin. Implemented by [`plugin!`].
pub trait Hooks {
    /// The plugin.
    type Plugin: Plugin;

    /// Runs with the cell that `configure` fills.
    fn cell<R>(run: impl FnOnce(&std::cell::OnceCell<Self::Plugin>) -> R) -> R;
}

impl<H: Hooks> wit::Guest for H {
    fn schema() -> String {
        let schema = schemars::generate::SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<<H::Plugin as Plugin>::Config>();
        schema.as_value().to_string()
    }

    fn configure(config: String) -> Result<wit::Interest, Vec<wit::Complaint>> {
        match read(&config).and_then(H::Plugin::configure) {
            Ok(plugin) => {
                let interest = plugin.interest().0;
                match H::cell(|cell| cell.set(plugin)) {
                    Ok(()) => {
                        crate::allocator::configured();
                        Ok(interest)
                    }
                    Err(_) => Err(list(Complaints::of("", "the instance is configured already"))),
                }
            }
            Err(complaints) => Err(list(complaints)),
        }
    }

    fn on_request(request: Request) -> Flow {
        configured::<H, _>(|plugin| plugin.on_request(&crate::Request(request))).into()
    }

    fn on_request_body(request: Request, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        configured::<H, _>(|plugin| plugin.on_request_body(&crate::Request(request), body, memo)).into()
    }

    fn on_response(response: ResponseHead, memo: Option<Vec<u8>>) -> Flow {
        configured::<H, _>(|plugin| plugin.on_response(&crate::ResponseHead(response), memo)).into()
    }

    fn on_response_body(response: ResponseHead, body: Vec<u8>, memo: Option<Vec<u8>>) -> BodyFlow {
        configured::<H, _>(|plugin| plugin.on_response_body(&crate::ResponseHead(response), body, memo)).into()
    }
}

pub(crate) fn configured<H: Hooks, R>(run: impl FnOnce(&H::Plugin) -> R) -> R {
    // The host configures an instance before any other call; if it ever did not, a trap is the right answer.
    crate::allocator::within(|| H::cell(|cell| run(cell.get().expect("the host calls configure first"))))
}

/// Reads a configuration, and says where it is wrong as a JSON Pointer.
fn read<C: serde::de::DeserializeOwned>(config: &str) -> Result<C, Complaints> {
    let mut reader = serde_json::Deserializer::from_str(config);
    let read = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| Complaints::of(pointer(error.path()), message(&error.into_inner())))?;
    reader.end().map_err(|error| Complaints::of("", message(&error)))?;
    Ok(read)
}

/// serde_json adds " at line 1 column 5" to its messages, which means nothing in a TOML file.
fn message(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").next().unwrap_or_default().to_owned()
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            // The name of an enum's variant is no step in the JSON text for the untagged and tagged forms we read.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn list(complaints: Complaints) -> Vec<wit::Complaint> {
    let complaint = |one: crate::Complaint| wit::Complaint { pointer: one.pointer, message: one.message };
    complaints.0.into_iter().map(complaint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[expect(dead_code, reason = "only read")]
        keys: Vec<Key>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Key {
        #[expect(dead_code, reason = "only read")]
        consumer: String,
    }

    #[test]
    fn a_wrong_value_is_reported_at_its_pointer() {
        let complaints = read::<Config>(r#"{"keys":[{"consumer":"a"},{"consumer":7}]}"#).unwrap_err();
        let all: Vec<_> = complaints.iter().collect();
        assert_eq!(all, [("/keys/1/consumer", "invalid type: integer `7`, expected a string")]);
    }

    #[test]
    fn nothing_may_follow_the_configuration() {
        let complaints = read::<Config>(r#"{"keys":[]} {}"#).unwrap_err();
        assert!(complaints.iter().eq([("", "trailing characters")]));
        assert!(read::<Config>(" {\"keys\":[]}\n").is_ok());
    }

    #[test]
    fn an_unknown_member_is_reported_where_it_stands() {
        let complaints = read::<Config>(r#"{"keys":[{"consumer":"a","x/y":1}]}"#).unwrap_err();
        let (pointer, message) = complaints.iter().next().unwrap();
        assert_eq!(pointer, "/keys/0/x~1y");
        assert!(message.starts_with("unknown field `x/y`"), "{message}");
    }
}
