//! The functions that a module gets in addition.

use wasm_encoder::reencode;
use wasm_encoder::{BlockType, CodeSection, Function, MemArg, ValType};
use wasmparser::Operator;

use super::code::MARK;
use super::{MARKS, Outcome, Rewriter};
use crate::plugin::rewind::layout::{BEYOND, CHUNK, SHIFT};

/// The guest's memory.
const OWN: u32 = 0;

/// Eight marks at once.
const EIGHT: MemArg = MemArg { offset: 0, align: 3, memory_index: MARKS };

impl Rewriter<'_> {
    /// In the order of their numbers.
    pub(super) fn add_functions(&self, code: &mut CodeSection) -> Outcome {
        code.function(&mark());
        code.function(&self.put_back()?);
        for import in self.added.imports.keys() {
            let (_, ty) = self.module.type_of(*import).map_err(reencode::Error::UserError)?;
            code.function(&self.around_import(*import, ty.params().len() as u32));
        }
        for realloc in self.added.reallocs.keys() {
            code.function(&self.around_realloc(*realloc));
        }
        Ok(())
    }

    /// Calls a function of the host that writes where its last argument says, at most [`CHUNK`] bytes.
    fn around_import(&self, import: u32, parameters: u32) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.local_get(parameters.saturating_sub(1)).i32_const(CHUNK as i32).call(self.added.mark);
        for parameter in 0..parameters {
            code.local_get(parameter);
        }
        code.call(import).end();
        function
    }

    /// Allocates for the host, which writes all that it has asked for.
    fn around_realloc(&self, realloc: u32) -> Function {
        let mut function = Function::new([(1, ValType::I32)]);
        let mut code = function.instructions();
        for parameter in 0..4 {
            code.local_get(parameter);
        }
        code.call(realloc).local_tee(4).local_get(3).call(self.added.mark).local_get(4).end();
        function
    }

    /// Puts back each run of marked pieces and the marks, then the globals.
    fn put_back(&self) -> Outcome<Function> {
        const MARK_AT: u32 = 0;
        const BEGIN: u32 = 1;
        const LENGTH: u32 = 2;
        let (marks, image) = (self.layout.image_marks(), self.layout.image_bytes());
        let mut function = Function::new([(3, ValType::I32)]);
        let mut code = function.instructions();
        code.block(BlockType::Empty).loop_(BlockType::Empty);
        code.local_get(MARK_AT).i32_const(marks).i32_ge_u().br_if(1);
        // Eight pieces without a mark are passed at once. There are 64 for each page of memory.
        code.local_get(MARK_AT).i32_const(7).i32_and().i32_eqz();
        code.if_(BlockType::Empty);
        code.local_get(MARK_AT).i64_load(EIGHT).i64_eqz();
        code.if_(BlockType::Empty);
        code.local_get(MARK_AT).i32_const(8).i32_add().local_set(MARK_AT).br(2);
        code.end().end();
        code.local_get(MARK_AT).i32_load8_u(MARK).i32_eqz();
        code.if_(BlockType::Empty);
        code.local_get(MARK_AT).i32_const(1).i32_add().local_set(MARK_AT).br(1);
        code.end();
        // A run begins. It ends before the first piece that has no mark, or with the image.
        code.local_get(MARK_AT).i32_const(SHIFT as i32).i32_shl().local_set(BEGIN);
        code.loop_(BlockType::Empty);
        code.local_get(MARK_AT).i32_const(0).i32_store8(MARK);
        code.local_get(MARK_AT).i32_const(1).i32_add().local_tee(MARK_AT).i32_const(marks).i32_lt_u();
        code.if_(BlockType::Empty);
        code.local_get(MARK_AT).i32_load8_u(MARK).br_if(1);
        code.end().end();
        // With what the last write to it may have written beyond it, unless the image ends there.
        code.local_get(MARK_AT).i32_const(SHIFT as i32).i32_shl().i32_const(BEYOND as i32).i32_add().local_tee(LENGTH);
        code.i32_const(image).local_get(LENGTH).i32_const(image).i32_lt_u().select();
        code.local_get(BEGIN).i32_sub().local_set(LENGTH);
        code.local_get(BEGIN);
        code.local_get(BEGIN).i32_const(self.layout.copy()).i32_add();
        code.local_get(LENGTH).memory_copy(OWN, MARKS);
        code.br(0).end().end();
        for (number, value) in &self.module.globals {
            match *value {
                Operator::I32Const { value } => code.i32_const(value),
                Operator::I64Const { value } => code.i64_const(value),
                Operator::F32Const { value } => code.f32_const(value.into()),
                Operator::F64Const { value } => code.f64_const(value.into()),
                Operator::V128Const { value } => code.v128_const(value.i128()),
                ref other => {
                    let error = anyhow::anyhow!("a global begins with {other:?}");
                    return Err(reencode::Error::UserError(error));
                }
            };
            code.global_set(*number);
        }
        code.end();
        Ok(function)
    }
}

/// Marks all pieces that so many bytes from an address on lie in. What is not in memory is written by nobody.
fn mark() -> Function {
    const ADDRESS: u32 = 0;
    const LENGTH: u32 = 1;
    const MEMORY: u32 = 2;
    const FIRST: u32 = 3;
    const LAST: u32 = 4;
    let mut function = Function::new([(3, ValType::I32)]);
    let mut code = function.instructions();
    code.local_get(LENGTH).i32_eqz();
    code.if_(BlockType::Empty).return_().end();
    code.memory_size(OWN).i32_const(16).i32_shl().local_tee(MEMORY);
    code.local_get(ADDRESS).i32_le_u();
    code.if_(BlockType::Empty).return_().end();
    // What reaches beyond memory is marked to its end.
    code.local_get(MEMORY).local_get(ADDRESS).i32_sub().local_tee(FIRST).local_get(LENGTH).i32_lt_u();
    code.if_(BlockType::Empty).local_get(FIRST).local_set(LENGTH).end();
    code.local_get(ADDRESS).i32_const(SHIFT as i32).i32_shr_u().local_tee(FIRST).i32_const(1).i32_store8(MARK);
    code.local_get(ADDRESS).local_get(LENGTH).i32_add().i32_const(1).i32_sub().i32_const(SHIFT as i32).i32_shr_u();
    code.local_tee(LAST).i32_const(1).i32_store8(MARK);
    // Nearly always that is all.
    code.local_get(LAST).local_get(FIRST).i32_sub().local_tee(LAST).i32_const(1).i32_gt_u();
    code.if_(BlockType::Empty);
    code.local_get(FIRST).i32_const(1).i32_add().i32_const(1).local_get(LAST).i32_const(1).i32_sub().memory_fill(MARKS);
    code.end().end();
    function
}
