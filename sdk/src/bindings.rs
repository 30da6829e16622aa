//! What wit-bindgen makes of `wit/`. Private but for what the macro needs.

#![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated code")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, clippy::unwrap_used, reason = "generated code")]

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_hooks",
    default_bindings_module: "tollgate_sdk::bindings",
});
