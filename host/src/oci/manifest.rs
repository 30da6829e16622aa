//! The manifest of a component (OCI image specification 1.1): which of its layers is the component, and which its signature.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{NotPulled, refuse};
use crate::minisign;
use crate::plugin::LARGEST_COMPONENT;

/// What is asked for. A list of manifests for several machines is none of one component.
pub(super) const TYPES: &str = "application/vnd.oci.image.manifest.v1+json";
/// The component: as the guidance for WebAssembly artefacts has it, and as it was called before.
const COMPONENT: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];
/// The name of the file that a layer was made of.
const TITLE: &str = "org.opencontainers.image.title";

/// What a manifest names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) component: Descriptor,
    pub(super) signature: Option<Descriptor>,
}

/// A blob by its digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// SHA-256, as hexadecimal digits.
    pub(super) digest: String,
    /// In bytes.
    pub(super) size: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    layers: Option<Vec<Layer>>,
    manifests: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NotPulled> {
        let written: Written = match serde_json::from_slice(bytes) {
            Ok(written) => written,
            Err(error) => return refuse(format!("the manifest is none: {error}")),
        };
        let Some(layers) = written.layers else {
            return refuse(match written.manifests {
                Some(_) => "the digest is that of a list of manifests: name the digest of the one with the component",
                None => "the manifest names no layers",
            });
        };
        let components: Vec<_> = layers.iter().filter(|layer| COMPONENT.contains(&&*layer.media_type)).collect();
        let [component] = components[..] else {
            let types: Vec<_> =
                layers.iter().take(5).map(|layer| layer.media_type.escape_debug().to_string()).collect();
            return refuse(format!(
                "the manifest has {} layers of the type {}, and not one (its layers: {})",
                components.len(),
                COMPONENT[0],
                types.join(", ")
            ));
        };
        let is_signature =
            |layer: &&Layer| layer.annotations.get(TITLE).is_some_and(|title| title.ends_with(".minisig"));
        let signature = layers.iter().find(is_signature);
        Ok(Self {
            component: component.checked(LARGEST_COMPONENT)?,
            signature: signature.map(|layer| layer.checked(minisign::LONGEST)).transpose()?,
        })
    }
}

impl Layer {
    /// The digest goes into a path, and the size is how much is read.
    fn checked(&self, largest: usize) -> Result<Descriptor, NotPulled> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits =
            self.digest.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.bytes().all(lower));
        let Some(digits) = digits else {
            return refuse(format!(
                "the manifest names a layer by {}, which is no SHA-256",
                self.digest.escape_debug()
            ));
        };
        match usize::try_from(self.size) {
            Ok(size) if size <= largest => Ok(Descriptor { digest: digits.to_owned(), size }),
            _ => refuse(format!("the manifest names a layer of {} bytes, more than {largest}", self.size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn layer(kind: &str, size: u64, title: &str) -> String {
        format!(
            r#"{{"mediaType":"{kind}","digest":"sha256:{DIGEST}","size":{size},"annotations":{{"{TITLE}":"{title}"}}}}"#
        )
    }

    fn parse(layers: &[String]) -> Result<Manifest, String> {
        let config = r#""config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:00","size":2}"#;
        let text = format!(r#"{{"schemaVersion":2,{config},"layers":[{}]}}"#, layers.join(","));
        Manifest::parse(text.as_bytes()).map_err(|error| error.0)
    }

    #[test]
    fn a_component_and_its_signature_are_found() {
        for kind in COMPONENT {
            let alone = parse(&[layer(kind, 7, "filter.wasm")]).unwrap();
            assert_eq!(alone, Manifest { component: Descriptor { digest: DIGEST.into(), size: 7 }, signature: None });
        }
        let layers = [layer("text/plain", 3, "filter.wasm.minisig"), layer(COMPONENT[0], 7, "filter.wasm")];
        assert_eq!(parse(&layers).unwrap().signature.map(|signature| signature.size), Some(3));
    }

    #[test]
    fn what_names_no_component_says_why() {
        let wasm = || layer(COMPONENT[0], 7, "filter.wasm");
        let other = layer("application/vnd.oci.image.layer.v1.tar", 7, "filter.wasm");
        for (layers, why) in [
            (vec![], "0 layers of the type application/wasm"),
            (vec![other], "(its layers: application/vnd.oci.image.layer.v1.tar)"),
            (vec![wasm(), wasm()], "2 layers"),
            (vec![layer(COMPONENT[0], u64::MAX, "a")], "18446744073709551615 bytes"),
            (vec![layer(COMPONENT[0], (64 << 20) + 1, "a")], "more than 67108864"),
            (vec![wasm(), layer("text/plain", 1 << 20, "a.minisig")], "more than 16384"),
            (vec![wasm().replace("sha256:", "sha512:")], "no SHA-256"),
            (vec![wasm().replace("sha256:01", "sha256:../")], "no SHA-256"),
            (vec![wasm().replace("\"size\":7", "\"size\":-1")], "the manifest is none"),
        ] {
            let found = parse(&layers).unwrap_err();
            assert!(found.contains(why), "{why}: {found}");
        }
        let list = Manifest::parse(br#"{"schemaVersion":2,"manifests":[{}]}"#).unwrap_err();
        assert!(list.0.contains("list of manifests"), "{list}");
        assert!(Manifest::parse(b"{}").is_err() && Manifest::parse(b"nonsense").is_err());
    }
}
