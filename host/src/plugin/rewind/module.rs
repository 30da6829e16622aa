//! The modules of a component: what they may have in them, and how the one that has all state is rewritten.

mod added;
mod code;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, DataSection, ExportKind, ExportSection, FunctionSection, MemorySection, MemoryType, TypeSection,
};
use wasmparser::{
    CompositeInnerType, Data, DataKind, ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload, TypeRef,
    ValType, Validator, WasmFeatures,
};

use super::PUT_BACK;
use super::layout::Layout;

/// What code may be made of: all that writes to memory among it is known here. One memory, of 32 bits, without threads.
const KNOWN: WasmFeatures = WasmFeatures::WASM2.union(WasmFeatures::TAIL_CALL).union(WasmFeatures::EXTENDED_CONST);

/// Whether a module has the component's memory. What has not may only pass calls on, as the modules do that `wit-component` puts
/// between a module and its imports.
pub(super) fn has_state(bytes: &[u8]) -> Result<bool> {
    let module = Module::of(bytes)?;
    if module.memories == 0 {
        module.check_that_it_only_passes_on()?;
    }
    Ok(module.memories > 0)
}

/// What is known of a module.
#[derive(Default)]
pub(super) struct Module<'a> {
    /// Pages of its memory at the beginning.
    pub(super) memory: u64,
    memories: usize,
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imported: u32,
    /// Globals that can be set, and their first values.
    globals: BTreeMap<u32, Operator<'a>>,
    active_segments: u32,
    /// The functions that it exports.
    exports: BTreeMap<&'a str, u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// Whether it imports or exports more than functions and its own memory and constants.
    shares: bool,
}

impl<'a> Module<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self> {
        Validator::new_with_features(KNOWN).validate_all(bytes)?;
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.see(payload?)?;
        }
        Ok(module)
    }

    fn see(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(types) => {
                for ty in
                    types.into_iter().flat_map(|group| group.map(|group| group.into_types()).into_iter().flatten())
                {
                    match ty.composite_type.inner {
                        CompositeInnerType::Func(function) => self.types.push(function),
                        _ => bail!("it has a type that is not of a function"),
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import?.ty {
                        TypeRef::Func(ty) => self.functions.push(ty),
                        TypeRef::Table(_) => self.shares = true,
                        _ => bail!("a module has the state of another one"),
                    }
                }
                self.imported = u32::try_from(self.functions.len())?;
            }
            Payload::FunctionSection(functions) => {
                functions.into_iter().try_for_each(|ty| ty.map(|ty| self.functions.push(ty)))?;
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memory = memory?.initial;
                    self.memories += 1;
                }
            }
            Payload::GlobalSection(globals) => {
                for (number, global) in (0..).zip(globals) {
                    let global = global?;
                    if global.ty.mutable {
                        let mut value = global.init_expr.get_operators_reader();
                        let first = value.read()?;
                        ensure!(matches!(value.read()?, Operator::End), "a global begins with a computed value");
                        let constant = matches!(
                            first,
                            Operator::I32Const { .. }
                                | Operator::I64Const { .. }
                                | Operator::F32Const { .. }
                                | Operator::F64Const { .. }
                                | Operator::V128Const { .. }
                        );
                        ensure!(constant, "a global begins with what is no constant");
                        self.globals.insert(number, first);
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => drop(self.exports.insert(export.name, export.index)),
                        kind => self.shares |= kind == ExternalKind::Table,
                    }
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    self.active_segments += u32::from(is_active(&segment?));
                }
            }
            Payload::StartSection { .. } => bail!("a module has a function that is called at its start"),
            Payload::CodeSectionEntry(body) => {
                check_code(&body)?;
                self.bodies.push(body);
            }
            _ => {}
        }
        Ok(())
    }

    /// Each function calls another one of the same type with its own arguments, from a table that nobody changes.
    fn check_that_it_only_passes_on(&self) -> Result<()> {
        ensure!(self.globals.is_empty(), "a module without a memory has globals");
        for (body, ty) in self.bodies.iter().zip(self.functions.iter().skip(self.imported as usize)) {
            let parameters = self.function_type(*ty)?.params().len();
            let operators: Vec<_> = body.get_operators_reader()?.into_iter().collect::<Result<_, _>>()?;
            let (arguments, rest) = operators.split_at_checked(parameters).context("a function drops arguments")?;
            let own = |(number, operator): (u32, &Operator<'_>)| matches!(operator, Operator::LocalGet { local_index } if *local_index == number);
            let called = match rest {
                [Operator::I32Const { .. }, Operator::CallIndirect { type_index, .. }, Operator::End] => *type_index,
                _ => bail!("a module without a memory does more than pass calls on"),
            };
            let same = self.function_type(called)? == self.function_type(*ty)?;
            ensure!(same && (0..).zip(arguments).all(own), "a module without a memory changes arguments");
        }
        Ok(())
    }

    fn function_type(&self, number: u32) -> Result<&FuncType> {
        self.types.get(number as usize).context("no such type")
    }

    /// The type of a function.
    fn type_of(&self, function: u32) -> Result<(u32, &FuncType)> {
        let ty = *self.functions.get(function as usize).context("no such function")?;
        Ok((ty, self.function_type(ty)?))
    }

    /// Whether the host may write where an imported function was told to: a result that is more than one number goes to where the last
    /// argument says.
    fn writes(&self, import: u32) -> Result<bool> {
        let (_, ty) = self.type_of(import)?;
        Ok(ty.results().is_empty() && ty.params().last() == Some(&ValType::I32))
    }

    /// The module with marks, with the copy of its image, and with the function that puts it back.
    pub(super) fn rewrite(&self, bytes: &[u8], layout: &Layout, reallocs: &BTreeSet<&str>) -> Result<Vec<u8>> {
        ensure!(!self.shares && self.memories == 1, "the module with the memory shares a table");
        let added = Added::new(self, reallocs)?;
        let mut rewriter = Rewriter { module: self, layout, reallocs, added, next: self.imported };
        let mut module = wasm_encoder::Module::new();
        rewriter.parse_core_module(&mut module, Parser::new(0), bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(module.finish())
    }
}

fn is_active(segment: &Data<'_>) -> bool {
    matches!(segment.kind, DataKind::Active { .. })
}

/// Nothing changes a table or gives up a segment: neither could be put back.
fn check_code(body: &FunctionBody<'_>) -> Result<()> {
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => bail!("its code changes a table"),
            Operator::DataDrop { .. } | Operator::ElemDrop { .. } => bail!("its code drops a segment"),
            _ => {}
        }
    }
    Ok(())
}

/// Numbers of the functions that are added behind the module's own.
struct Added {
    /// Marks what lies from an address on, so many bytes.
    mark: u32,
    put_back: u32,
    /// Around imported functions that write.
    imports: BTreeMap<u32, u32>,
    /// Around functions by which the host allocates, behind those.
    reallocs: BTreeMap<u32, u32>,
}

impl Added {
    fn new(module: &Module<'_>, reallocs: &BTreeSet<&str>) -> Result<Self> {
        let mark = u32::try_from(module.functions.len())?;
        let mut next = mark + 2..;
        let mut added = Self { mark, put_back: mark + 1, imports: BTreeMap::new(), reallocs: BTreeMap::new() };
        for import in 0..module.imported {
            if module.writes(import)? {
                added.imports.extend(Some(import).zip(next.next()));
            }
        }
        for name in reallocs {
            let function = *module.exports.get(name).context("its `realloc` is not exported")?;
            let (_, ty) = module.type_of(function)?;
            let right = ty.params() == [ValType::I32; 4] && ty.results() == [ValType::I32];
            ensure!(right, "its `realloc` has another type");
            added.reallocs.insert(function, 0);
        }
        for number in added.reallocs.values_mut() {
            *number = next.next().context("too many functions")?;
        }
        Ok(added)
    }

    /// The types of all, in the order of their numbers. Those of the first two are behind the module's own.
    fn types(&self, module: &Module<'_>) -> Result<Vec<u32>> {
        let own = u32::try_from(module.types.len())?;
        let around = self.imports.keys().chain(self.reallocs.keys());
        let around = around.map(|function| Ok(module.type_of(*function)?.0));
        [Ok(own), Ok(own + 1)].into_iter().chain(around).collect()
    }
}

/// Copies a module, and adds to each section what there is to add.
struct Rewriter<'a> {
    module: &'a Module<'a>,
    layout: &'a Layout,
    reallocs: &'a BTreeSet<&'a str>,
    added: Added,
    /// The function whose code comes next.
    next: u32,
}

type Outcome<T = ()> = Result<T, reencode::Error<anyhow::Error>>;

impl Reencode for Rewriter<'_> {
    type Error = anyhow::Error;

    /// Nobody but the function around it calls a function of the host that writes.
    fn function_index(&mut self, function: u32) -> Outcome<u32> {
        Ok(self.added.imports.get(&function).copied().unwrap_or(function))
    }

    fn parse_type_section(&mut self, types: &mut TypeSection, section: wasmparser::TypeSectionReader<'_>) -> Outcome {
        reencode::utils::parse_type_section(self, types, section)?;
        types.ty().function([wasm_encoder::ValType::I32; 2], []);
        types.ty().function([], []);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Outcome {
        reencode::utils::parse_function_section(self, functions, section)?;
        for ty in self.added.types(self.module).map_err(reencode::Error::UserError)? {
            functions.function(ty);
        }
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Outcome {
        reencode::utils::parse_memory_section(self, memories, section)?;
        let pages = self.layout.pages();
        let ty =
            MemoryType { minimum: pages, maximum: Some(pages), memory64: false, shared: false, page_size_log2: None };
        memories.memory(ty);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Outcome {
        for export in section {
            let export = export?;
            let around = self.added.reallocs.get(&export.index);
            match around.filter(|_| self.reallocs.contains(export.name)) {
                Some(around) => drop(exports.export(export.name, ExportKind::Func, *around)),
                None => reencode::utils::parse_export(self, exports, export)?,
            }
        }
        exports.export(PUT_BACK, ExportKind::Func, self.added.put_back);
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: wasmparser::CodeSectionReader<'_>) -> Outcome {
        reencode::utils::parse_code_section(self, code, section)?;
        self.add_functions(code)
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Outcome {
        self.add_marks(code, &body)
    }

    fn data_count(&mut self, count: u32) -> Outcome<u32> {
        Ok(count + self.module.active_segments)
    }

    /// What is in memory at the beginning is in the copy, too.
    fn parse_data_section(&mut self, data: &mut DataSection, section: wasmparser::DataSectionReader<'_>) -> Outcome {
        reencode::utils::parse_data_section(self, data, section.clone())?;
        for segment in section {
            let segment = segment?;
            if let DataKind::Active { offset_expr, .. } = segment.kind {
                let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                    return Err(reencode::Error::UserError(anyhow::anyhow!("its image has no fixed place")));
                };
                let offset = wasm_encoder::ConstExpr::i32_const(value.wrapping_add(self.layout.copy()));
                data.active(MARKS, &offset, segment.data.iter().copied());
            }
        }
        Ok(())
    }

    /// Names of functions are those of before: none of them has another number now.
    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Outcome {
        let (name, data) = (section.name().into(), section.data().into());
        module.section(&wasm_encoder::CustomSection { name, data });
        Ok(())
    }
}

/// The second memory.
const MARKS: u32 = 1;
