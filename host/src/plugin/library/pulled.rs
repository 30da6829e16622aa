//! Components of registries. What is named by its digest never changes: it is taken once, and serves until nobody wants it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::super::component::{Component, LoadError, Origin, hex};
use super::super::trust::Evidence;
use super::{Library, Report};
use crate::oci::{NotPulled, Pulled};

impl Library {
    /// Whether a component of a registry has to be pulled: it never was, or what came was of no use.
    pub fn lacks(&self, name: &str) -> bool {
        !matches!(self.pulled.get(name), Some(Ok(_)))
    }

    /// Takes what was pulled, or why nothing was. Compiling takes as long as it takes.
    pub fn take_pulled(&mut self, name: &str, pulled: Result<Pulled, NotPulled>) {
        let taken = pulled.map_err(|error| LoadError::NotPulled(error.to_string()));
        let taken = taken.and_then(|pulled| self.compile_pulled(name, pulled));
        self.pulled.insert(name.to_owned(), taken);
    }

    fn compile_pulled(&self, name: &str, Pulled { bytes, signature }: Pulled) -> Result<Arc<Component>, LoadError> {
        // What nobody vouches for does not even meet the compiler.
        let evidence = Evidence::new(bytes.clone(), signature.clone());
        self.check(name, &hex(&Sha256::digest(&bytes)), &evidence)?;
        Component::compile(&self.engine, name, Origin::Registry, bytes)
            .map(|component| Arc::new(component.signed(signature)))
    }

    /// Forgets the components of registries that are not among these.
    pub fn keep_pulled<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let names: Vec<_> = names.collect();
        self.pulled.retain(|name, _| names.contains(&&**name));
    }

    pub(super) fn reports_of_pulled(&self) -> impl Iterator<Item = Report> {
        self.pulled.iter().map(|(name, taken)| {
            let component = taken.as_ref().ok();
            Report {
                name: name.clone(),
                origin: "registry",
                sha256: component.map(|component| component.sha256.clone()),
                size: component.map(|component| component.size),
                candidate: None,
                previous: None,
                problem: taken.as_ref().err().map(ToString::to_string),
            }
        })
    }
}
