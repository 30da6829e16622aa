//! Looks through a component: whether it has parts that cannot be put back, and where its state is.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, Encoding,
    ExternalKind, Instance, Parser, Payload,
};

use super::module;

/// A section of a component.
pub(super) enum Section<'a> {
    /// Its number, and what is in it.
    Raw(u8, &'a [u8]),
    Module(&'a [u8]),
}

/// What is known of a component.
#[derive(Default)]
pub(super) struct Survey<'a> {
    pub(super) sections: Vec<Section<'a>>,
    /// The module that has all state.
    pub(super) main: usize,
    pub(super) main_instance: u32,
    /// The functions by which the host allocates, as that module exports them.
    pub(super) reallocs: BTreeSet<&'a str>,
    // How many there are of each.
    pub(super) core_functions: u32,
    pub(super) functions: u32,
    pub(super) types: u32,
    core_instances: u32,
    /// The instance of each module.
    instantiated: BTreeMap<u32, u32>,
    /// Where functions of modules come from that the component has numbers for.
    aliases: BTreeMap<u32, (u32, &'a str)>,
    /// Numbers of the functions by which the host allocates.
    allocating: BTreeSet<u32>,
}

impl<'a> Survey<'a> {
    /// Looks through one, which is valid.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self> {
        let mut survey = Self::default();
        // What is inside of what: of modules, the inside is looked at elsewhere.
        let mut within = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match within.last() {
                None => survey.see(&payload, bytes)?,
                Some(Encoding::Component) => Self::see_nested(&payload)?,
                Some(Encoding::Module) => {}
            }
            match payload {
                Payload::ModuleSection { .. } => within.push(Encoding::Module),
                Payload::ComponentSection { .. } => within.push(Encoding::Component),
                Payload::End(_) => drop(within.pop()),
                _ => {}
            }
        }
        survey.find_state()?;
        Ok(survey)
    }

    /// A component within the component gives types and names, and nothing that runs.
    fn see_nested(payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::ModuleSection { .. }
            | Payload::InstanceSection(_)
            | Payload::ComponentSection { .. }
            | Payload::ComponentCanonicalSection(_)
            | Payload::ComponentStartSection { .. } => bail!("a component within it has code"),
            _ => Ok(()),
        }
    }

    fn see(&mut self, payload: &Payload<'a>, bytes: &'a [u8]) -> Result<()> {
        if let Payload::ModuleSection { unchecked_range, .. } = payload {
            let module = bytes.get(unchecked_range.clone()).context("cut off")?;
            self.sections.push(Section::Module(module));
            return Ok(());
        }
        if let Some((id, range)) = payload.as_section() {
            self.sections.push(Section::Raw(id, bytes.get(range).context("cut off")?));
        }
        match payload {
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let before = self.instantiated.insert(module_index, self.core_instances);
                        ensure!(before.is_none(), "a module has two instances");
                    }
                    self.core_instances += 1;
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                aliases.clone().into_iter().try_for_each(|alias| self.see_alias(&alias?))?;
            }
            Payload::ComponentCanonicalSection(functions) => {
                functions.clone().into_iter().try_for_each(|function| self.see_function(&function?))?;
            }
            Payload::ComponentImportSection(imports) => {
                imports.clone().into_iter().try_for_each(|import| self.count(import?.ty.kind()))?;
            }
            Payload::ComponentExportSection(exports) => {
                exports.clone().into_iter().try_for_each(|export| self.count(export?.kind))?;
            }
            Payload::ComponentTypeSection(types) => self.types += types.count(),
            Payload::ComponentStartSection { .. } => bail!("it has a function that is called at its start"),
            _ => {}
        }
        Ok(())
    }

    fn see_alias(&mut self, alias: &ComponentAlias<'a>) -> Result<()> {
        match *alias {
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                if matches!(kind, ExternalKind::Func | ExternalKind::FuncExact) {
                    self.aliases.insert(self.core_functions, (instance_index, name));
                    self.core_functions += 1;
                }
                Ok(())
            }
            ComponentAlias::InstanceExport { kind, .. } => self.count(kind),
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreType, .. } => Ok(()),
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => {
                self.types += 1;
                Ok(())
            }
            ComponentAlias::Outer { .. } => bail!("it names a module or component outside of it"),
        }
    }

    fn see_function(&mut self, function: &CanonicalFunction) -> Result<()> {
        match function {
            CanonicalFunction::Lift { options, .. } => {
                self.functions += 1;
                self.see_options(options)
            }
            CanonicalFunction::Lower { options, .. } => {
                self.core_functions += 1;
                self.see_options(options)
            }
            CanonicalFunction::ResourceDrop { .. } => {
                self.core_functions += 1;
                Ok(())
            }
            other => bail!("it has resources or tasks of its own: {other:?}"),
        }
    }

    fn see_options(&mut self, options: &[CanonicalOption]) -> Result<()> {
        for option in options {
            match option {
                // There is one memory, see `find_state`; and what is called after a return is code like any other.
                CanonicalOption::UTF8 | CanonicalOption::Memory(_) | CanonicalOption::PostReturn(_) => {}
                CanonicalOption::Realloc(function) => drop(self.allocating.insert(*function)),
                other => bail!("it has the option {other:?}"),
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: ComponentExternalKind) -> Result<()> {
        match kind {
            ComponentExternalKind::Func => self.functions += 1,
            ComponentExternalKind::Type => self.types += 1,
            ComponentExternalKind::Instance => {}
            other => bail!("it passes on a {other:?}"),
        }
        Ok(())
    }

    /// One module has all state, and the host allocates by its functions.
    fn find_state(&mut self) -> Result<()> {
        let mut main = None;
        let modules = self.sections.iter().filter_map(|section| match section {
            Section::Module(bytes) => Some(*bytes),
            Section::Raw(..) => None,
        });
        for (number, bytes) in modules.enumerate() {
            if module::has_state(bytes)? {
                ensure!(main.replace(number).is_none(), "two modules have state");
            }
        }
        self.main = main.context("it has no memory")?;
        let number = u32::try_from(self.main)?;
        self.main_instance = *self.instantiated.get(&number).context("its memory is not there")?;
        for function in &self.allocating {
            let (instance, name) = self.aliases.get(function).context("it allocates elsewhere")?;
            ensure!(*instance == self.main_instance, "it allocates by another module");
            self.reallocs.insert(name);
        }
        Ok(())
    }
}
