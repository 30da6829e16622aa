//! What the tool of the standard makes of a world.
#![allow(missing_docs, unsafe_code, unused_qualifications, reason = "generated code")]
#![allow(clippy::allow_attributes_without_reason, clippy::unwrap_used, reason = "generated code")]

wit_bindgen::generate!({ path: "wit", world: "service", generate_all });

use super::Component;

export!(Component with_types_in self);
