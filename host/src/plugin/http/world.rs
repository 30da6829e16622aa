//! What a component is made for, by the names of its imports and exports, before anything of it is compiled: that decides
//! by which engine it is.

use std::fmt;

use wasmparser::{Parser, Payload};

/// A world of the standard's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// `wasi:http/proxy` of WASI 0.2.
    Proxy,
    /// `wasi:http/service` of WASI 0.3.
    Service,
    /// `wasi:http/middleware` of WASI 0.3.
    Middleware,
}

impl World {
    /// That of a component; none of one that is anything else, or broken.
    pub(in crate::plugin) fn of(component: &[u8]) -> Option<Self> {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            match payload.ok()? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        imports.push(import.ok()?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        exports.push(export.ok()?.name.name);
                    }
                }
                _ => {}
            }
        }
        let has = |names: &[&str], interface: &str| names.iter().any(|name| name.starts_with(interface));
        if has(&exports, "tollgate:plugin/") {
            None
        } else if has(&exports, HANDLER) {
            Some(if has(&imports, HANDLER) { Self::Middleware } else { Self::Service })
        } else if has(&exports, "wasi:http/incoming-handler@0.2.") {
            Some(Self::Proxy)
        } else {
            None
        }
    }

    /// The name of the world, with its version.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "wasi:http/proxy 0.2",
            Self::Service => "wasi:http/service 0.3",
            Self::Middleware => "wasi:http/middleware 0.3",
        }
    }

    /// Whether it answers by itself, in the place of an upstream.
    pub const fn answers(self) -> bool {
        matches!(self, Self::Proxy | Self::Service)
    }
}

const HANDLER: &str = "wasi:http/handler@0.3.";

/// With an article.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} component", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_has_no_world() {
        assert_eq!(World::of(b""), None);
        assert_eq!(World::of(&[0, b'a', b's', b'm', 0x0d, 0, 1, 0]), None);
        assert_eq!(World::of(&[0, b'a', b's', b'm', 0x0d, 0, 1, 0, 11, 200]), None);
    }
}
