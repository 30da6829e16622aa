//! What wit-bindgen makes of `wit/`. Private but for what the macro needs.

#![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated code")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, clippy::unwrap_used, reason = "generated code")]

/// The interface `chunks` by itself, for plugins that export it beside `hooks`.
pub mod chunks {
    wit_bindgen::generate!({
        path: "../wit",
        world: "body-stream",
        pub_export_macro: true,
        export_macro_name: "export_chunks",
        default_bindings_module: "tollgate_sdk::bindings::chunks",
        with: { "tollgate:plugin/http@0.1.0": crate::bindings::tollgate::plugin::http },
    });
}

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_hooks",
    default_bindings_module: "tollgate_sdk::bindings",
});
