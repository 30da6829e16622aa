//! Adds to a component the means to put an instance of it back to how it began, at the cost of what a call has changed.
//!
//! A fresh instance costs what making and giving up an instance costs, 43,000 instructions, and what its memory is large.
//! Nearly all of it is the same after a call as before. So where each request takes a fresh instance, code of the guest
//! that writes to its memory is made to leave a mark for the piece of it that it writes to, in a second memory that the guest has no
//! instruction for; and a function beside the guest's own puts the marked pieces back, from a copy of the image that
//! lies in that second memory too, and then the globals.
//!
//! What an instance is made of, and how each part is again as it was:
//!
//! | part | |
//! |---|---|
//! | linear memory | one, of the module that has all state. It is written by its own code, which leaves marks; and by the host, which writes where `realloc` told it, and where the guest has results put: both are marked in functions around them |
//! | its size | never goes back: an instance that grew is given up |
//! | globals that can be set | set to their initial values |
//! | tables | no code may change one |
//! | segments of data and elements | no code may drop one |
//! | handles of the host's resources | an instance is given up after a call that had two of them at once or left one open, see [`State::renew`](super::state::State::renew); resources of its own are refused |
//! | the host's side | made anew |
//!
//! A component that has more than this in it is refused here, and each request then takes a new instance of it. So is one whose
//! code has instructions beyond WebAssembly 2.0, since there might be one among them that writes. A trap, as ever, ends the
//! instance.

mod layout;
mod module;
mod survey;

use anyhow::{Context as _, Result, ensure};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentExportKind, ComponentExportSection,
    ComponentSectionId, ComponentTypeSection, ExportKind, RawSection,
};

pub(super) use layout::largest_result;
use layout::{CHUNK, Layout};
use survey::{Section, Survey};

/// What the added function is called, in the module and in the component.
pub(super) const PUT_BACK: &str = "tollgate-put-back";

/// A component whose instances can be put back.
pub(super) struct Rewindable {
    pub(super) bytes: Vec<u8>,
    /// Bytes of memory that its instances have beside their own.
    pub(super) beside: usize,
}

/// Adds the function to an image. `memory` is the most that an instance may have, in bytes, and `result` the most that a
/// function of the host writes at once.
///
/// # Errors
/// What it is about the component that cannot be put back.
pub(super) fn add(image: &[u8], memory: usize, result: usize) -> Result<Rewindable> {
    ensure!(result <= CHUNK as usize, "a function of the host gives {result} bytes");
    let survey = Survey::of(image)?;
    let mut component = Component::new();
    let (mut modules, mut beside) = (0, 0);
    for section in &survey.sections {
        match section {
            Section::Raw(id, data) => component.section(&RawSection { id: *id, data }),
            Section::Module(bytes) if modules == survey.main => {
                modules += 1;
                let module = module::Module::of(bytes)?;
                let layout = Layout::new(module.memory, memory)?;
                beside = layout.size();
                let rewritten = module.rewrite(bytes, &layout, &survey.reallocs)?;
                component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: &rewritten })
            }
            Section::Module(bytes) => {
                modules += 1;
                component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: bytes })
            }
        };
    }
    export(&mut component, &survey);
    Ok(Rewindable { bytes: component.finish(), beside: usize::try_from(beside).context("too large")? })
}

/// Exports the module's function from the component.
fn export(component: &mut Component, survey: &Survey<'_>) {
    let mut aliases = ComponentAliasSection::new();
    let (instance, kind) = (survey.main_instance, ExportKind::Func);
    aliases.alias(Alias::CoreInstanceExport { instance, kind, name: PUT_BACK });
    component.section(&aliases);
    let mut types = ComponentTypeSection::new();
    types.function().params::<_, wasm_encoder::ComponentValType>([]).result(None);
    component.section(&types);
    let mut functions = CanonicalFunctionSection::new();
    functions.lift(survey.core_functions, survey.types, []);
    component.section(&functions);
    let mut exports = ComponentExportSection::new();
    exports.export(PUT_BACK, ComponentExportKind::Func, survey.functions, None);
    component.section(&exports);
}

#[cfg(test)]
mod tests;
