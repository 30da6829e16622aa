//! Code that writes to memory leaves marks.

use wasm_encoder::reencode::{self, Reencode as _};
use wasm_encoder::{CodeSection, Function, Instruction, MemArg, ValType};
use wasmparser::{FunctionBody, Operator};

use super::{MARKS, Outcome, Rewriter};
use crate::plugin::rewind::layout::SHIFT;

/// How an instruction writes to memory.
enum Write {
    /// It takes an address and a value of this type from the stack, and adds to the address.
    Store(ValType, u64),
    /// It takes an address, another number and how many bytes it writes.
    Bulk,
}

/// How an instruction writes, if it does. There is no other one in the features that modules are validated with.
fn write(operator: &Operator<'_>) -> Option<Write> {
    use Operator as Op;
    Some(match operator {
        Op::I32Store { memarg } | Op::I32Store8 { memarg } | Op::I32Store16 { memarg } => {
            Write::Store(ValType::I32, memarg.offset)
        }
        Op::I64Store { memarg } | Op::I64Store8 { memarg } | Op::I64Store16 { memarg } | Op::I64Store32 { memarg } => {
            Write::Store(ValType::I64, memarg.offset)
        }
        Op::F32Store { memarg } => Write::Store(ValType::F32, memarg.offset),
        Op::F64Store { memarg } => Write::Store(ValType::F64, memarg.offset),
        Op::V128Store { memarg }
        | Op::V128Store8Lane { memarg, .. }
        | Op::V128Store16Lane { memarg, .. }
        | Op::V128Store32Lane { memarg, .. }
        | Op::V128Store64Lane { memarg, .. } => Write::Store(ValType::V128, memarg.offset),
        Op::MemoryFill { .. } | Op::MemoryCopy { .. } | Op::MemoryInit { .. } => Write::Bulk,
        _ => return None,
    })
}

/// What the code of a function gets in addition, behind its own locals: an address, a number beside it, and a value of each type.
const LOCALS: [ValType; 7] =
    [ValType::I32, ValType::I32, ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128];

/// Where a value of this type is kept among [`LOCALS`].
fn place(ty: ValType) -> u32 {
    LOCALS.iter().rposition(|local| *local == ty).unwrap_or_default() as u32
}

impl Rewriter<'_> {
    /// Copies a function, and after each instruction that has written has it leave a mark. What did not succeed has trapped,
    /// and an instance that has trapped is given up.
    pub(super) fn add_marks(&mut self, code: &mut CodeSection, body: &FunctionBody<'_>) -> Outcome {
        let (_, ty) = self.module.type_of(self.next).map_err(reencode::Error::UserError)?;
        self.next += 1;
        let mut locals = Vec::new();
        let mut address = ty.params().len() as u32;
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            address += count;
            locals.push((count, self.val_type(ty)?));
        }
        locals.extend(LOCALS.map(|ty| (1, ty)));
        let mut function = Function::new(locals);
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            let write = write(&operator);
            let instruction = self.instruction(operator)?;
            match write {
                None => drop(function.instruction(&instruction)),
                Some(Write::Store(ty, offset)) => {
                    store(&mut function, &instruction, address, address + place(ty), offset)
                }
                Some(Write::Bulk) => bulk(&mut function, &instruction, address, self.added.mark),
            }
        }
        code.function(&function);
        Ok(())
    }
}

fn store(function: &mut Function, instruction: &Instruction<'_>, address: u32, value: u32, offset: u64) {
    function.instructions().local_set(value).local_tee(address).local_get(value);
    function.instruction(instruction);
    let mut then = function.instructions();
    then.local_get(address);
    if offset > 0 {
        // It has written there, so that it is an address of 32 bits.
        then.i32_const((offset as u32).cast_signed()).i32_add();
    }
    then.i32_const(SHIFT as i32).i32_shr_u().i32_const(1).i32_store8(MARK);
}

fn bulk(function: &mut Function, instruction: &Instruction<'_>, address: u32, mark: u32) {
    let (value, length) = (address + 1, address + 2);
    function.instructions().local_set(length).local_set(value).local_tee(address).local_get(value).local_get(length);
    function.instruction(instruction);
    function.instructions().local_get(address).local_get(length).call(mark);
}

/// A mark itself.
pub(super) const MARK: MemArg = MemArg { offset: 0, align: 0, memory_index: MARKS };
