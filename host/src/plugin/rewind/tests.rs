//! What code and hosts write is put back, wherever it lies; and what could not be is refused.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, MemArg,
    MemorySection, MemoryType, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
};
use wasmtime::{Caller, Engine, Instance, Linker, Memory, Module, Store};

use super::layout::{CHUNK, Layout};
use super::{PUT_BACK, module};

const PAGES: u64 = 3;
const SIZE: usize = 3 << 16;
/// What is written: nothing in the image is like it.
const NEW: u8 = 0xa5;

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

/// Every instruction that writes a value, with that value, and how many bytes it writes.
fn stores(offset: u64) -> Vec<(Instruction<'static>, Instruction<'static>, usize)> {
    use Instruction as I;
    let (memarg, lane) = (at(offset), 0);
    let number = I::I32Const(i32::from_ne_bytes([NEW; 4]));
    let long = I::I64Const(i64::from_ne_bytes([NEW; 8]));
    let vector = I::V128Const(i128::from_ne_bytes([NEW; 16]));
    vec![
        (number.clone(), I::I32Store8(memarg), 1),
        (number.clone(), I::I32Store16(memarg), 2),
        (number, I::I32Store(memarg), 4),
        (long.clone(), I::I64Store8(memarg), 1),
        (long.clone(), I::I64Store16(memarg), 2),
        (long.clone(), I::I64Store32(memarg), 4),
        (long, I::I64Store(memarg), 8),
        (I::F32Const(f32::from_ne_bytes([NEW; 4]).into()), I::F32Store(memarg), 4),
        (I::F64Const(f64::from_ne_bytes([NEW; 8]).into()), I::F64Store(memarg), 8),
        (vector.clone(), I::V128Store(memarg), 16),
        (vector.clone(), I::V128Store8Lane { memarg, lane }, 1),
        (vector.clone(), I::V128Store16Lane { memarg, lane }, 2),
        (vector.clone(), I::V128Store32Lane { memarg, lane }, 4),
        (vector, I::V128Store64Lane { memarg, lane }, 8),
    ]
}

/// A module with a function for each way to write, which takes an address and, where it needs one, a length.
#[derive(Default)]
struct Guest {
    functions: FunctionSection,
    exports: ExportSection,
    code: CodeSection,
    start: bool,
    shared_table: bool,
}

/// The only imported function, and the types.
const ASK: u32 = 0;
const ONE: u32 = 0;
const TWO: u32 = 1;
const ALLOCATES: u32 = 2;
const NONE: u32 = 3;

impl Guest {
    fn function(&mut self, name: &str, ty: u32, code: &[Instruction<'_>]) {
        let number = 1 + self.functions.len();
        self.functions.function(ty);
        self.exports.export(name, ExportKind::Func, number);
        let mut function = Function::new([]);
        for instruction in code {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        self.code.function(&function);
    }

    fn bytes(mut self) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], []);
        types.ty().function([ValType::I32; 2], []);
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        types.ty().function([], []);
        module.section(&types);
        let mut imports = ImportSection::new();
        imports.import("host", "ask", EntityType::Function(TWO));
        module.section(&imports);
        module.section(&self.functions);
        let mut tables = TableSection::new();
        let table =
            TableType { element_type: RefType::FUNCREF, table64: false, minimum: 2, maximum: None, shared: false };
        tables.table(table);
        module.section(&tables);
        let mut memories = MemorySection::new();
        let page_size_log2 = None;
        memories.memory(MemoryType { minimum: PAGES, maximum: None, memory64: false, shared: false, page_size_log2 });
        module.section(&memories);
        let mut globals = GlobalSection::new();
        for value in [
            (ValType::I32, ConstExpr::i32_const(7)),
            (ValType::I64, ConstExpr::i64_const(-7)),
            (ValType::F64, ConstExpr::f64_const(0.5.into())),
        ] {
            globals.global(GlobalType { val_type: value.0, mutable: true, shared: false }, &value.1);
        }
        module.section(&globals);
        self.exports.export("memory", ExportKind::Memory, 0);
        for number in 0..3 {
            self.exports.export(&format!("global-{number}"), ExportKind::Global, number);
        }
        if self.shared_table {
            self.exports.export("table", ExportKind::Table, 0);
        }
        module.section(&self.exports);
        if self.start {
            module.section(&StartSection { function_index: 1 });
        }
        let mut elements = ElementSection::new();
        elements.active(Some(0), &ConstExpr::i32_const(0), Elements::Functions([ASK].as_slice().into()));
        module.section(&elements);
        module.section(&DataCountSection { count: 3 });
        module.section(&self.code);
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(40), (0..3000).map(|byte| byte as u8 & 0x7f));
        data.active(0, &ConstExpr::i32_const(SIZE as i32 - 100), [1; 100]);
        data.passive([NEW; SIZE]);
        module.section(&data);
        module.finish()
    }
}

struct Running {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    image: Vec<u8>,
}

impl Running {
    fn start(mut guest: Guest) -> Self {
        // It gives the host the place that the host names.
        guest.function("realloc", ALLOCATES, &[Instruction::LocalGet(0)]);
        let bytes = guest.bytes();
        let plain = module::Module::of(&bytes).expect("it can be put back");
        let layout = Layout::new(PAGES, 1 << 20).expect("it is small");
        let reallocs = ["realloc"].into_iter().collect();
        let rewritten = plain.rewrite(&bytes, &layout, &reallocs).expect("it can be rewritten");
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "ask", answer).expect("a name of its own");
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, rewritten).expect("it is valid");
        let instance = linker.instantiate(&mut store, &module).expect("it starts");
        let memory = instance.get_memory(&mut store, "memory").expect("its own");
        let image = memory.data(&store).to_vec();
        Self { store, instance, memory, image }
    }

    fn call(&mut self, name: &str, address: usize, length: usize) {
        let (address, length) = (address as i32, length as i32);
        let function = self.instance.get_func(&mut self.store, name).expect("a function");
        match function.ty(&self.store).params().len() {
            1 => function.typed::<i32, ()>(&self.store).and_then(|function| function.call(&mut self.store, address)),
            _ => {
                let function = function.typed::<(i32, i32), ()>(&self.store);
                function.and_then(|function| function.call(&mut self.store, (address, length)))
            }
        }
        .expect("it writes within its memory");
    }

    /// That so many bytes were written there and nowhere else, and that all is as it was when they were put back.
    fn check(&mut self, what: &str, address: usize, length: usize) {
        let memory = self.memory.data(&self.store);
        let written = address..address + length;
        assert!(memory[written.clone()].iter().all(|byte| *byte == NEW), "{what} writes at {written:?}");
        self.put_back();
        assert!(self.memory.data(&self.store) == self.image, "{what} at {written:?} is put back");
    }

    fn put_back(&mut self) {
        let put_back = self.instance.get_typed_func::<(), ()>(&mut self.store, PUT_BACK).expect("it was added");
        put_back.call(&mut self.store, ()).expect("it does");
    }
}

/// As the host answers: to where the last argument says.
fn answer(mut caller: Caller<'_, ()>, _: i32, to: i32) {
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory).expect("its own");
    memory.write(&mut caller, to as usize, &[NEW; CHUNK as usize]).expect("it is within");
}

/// Around every kind of border: of memory, of pieces, of pages, of data.
fn addresses(length: usize) -> impl Iterator<Item = usize> {
    let chunk = CHUNK as usize;
    let borders = [0, 40, chunk, 2 * chunk, 3040, 7 * chunk, 8 * chunk, 1 << 16, SIZE - chunk, SIZE];
    borders
        .into_iter()
        .flat_map(|border: usize| border.saturating_sub(20)..border + 20)
        .filter(move |at| at + length <= SIZE)
}

#[test]
fn what_an_instruction_writes_is_put_back() {
    const OFFSETS: [u64; 3] = [0, 3, CHUNK as u64 + 1];
    let mut guest = Guest::default();
    for offset in OFFSETS {
        for (number, (value, store, _)) in stores(offset).into_iter().enumerate() {
            guest.function(&format!("{number}+{offset}"), ONE, &[Instruction::LocalGet(0), value, store]);
        }
    }
    let mut running = Running::start(guest);
    for offset in OFFSETS {
        for (number, (_, store, length)) in stores(offset).into_iter().enumerate() {
            for address in addresses(length).filter(|at| *at >= offset as usize) {
                running.call(&format!("{number}+{offset}"), address - offset as usize, 0);
                running.check(&format!("{store:?}"), address, length);
            }
        }
    }
}

#[test]
fn what_is_filled_and_copied_is_put_back() {
    use Instruction as I;
    let mut guest = Guest::default();
    let (to, length) = (I::LocalGet(0), I::LocalGet(1));
    guest.function("fill", TWO, &[to.clone(), I::I32Const(NEW.into()), length.clone(), I::MemoryFill(0)]);
    let init = I::MemoryInit { mem: 0, data_index: 2 };
    guest.function("init", TWO, &[to.clone(), I::I32Const(0), length.clone(), init]);
    let copy = I::MemoryCopy { src_mem: 0, dst_mem: 0 };
    let fill = [I::I32Const(4096), I::I32Const(NEW.into()), length.clone(), I::MemoryFill(0)];
    guest.function("copy", TWO, &[&fill[..], &[to, I::I32Const(4096), length, copy]].concat());
    let mut running = Running::start(guest);
    for name in ["fill", "init", "copy"] {
        for length in [0, 1, 17, CHUNK as usize - 1, CHUNK as usize, 5000, 80_000] {
            for address in addresses(length) {
                running.call(name, address, length);
                running.check(name, address, length);
            }
        }
    }
}

#[test]
fn what_the_host_writes_is_put_back() {
    use Instruction as I;
    let mut guest = Guest::default();
    let ask = [I::I32Const(0), I::LocalGet(0)];
    guest.function("ask", ONE, &[&ask[..], &[I::Call(ASK)]].concat());
    let indirect = I::CallIndirect { type_index: TWO, table_index: 0 };
    guest.function("ask-by-table", ONE, &[&ask[..], &[I::I32Const(0), indirect]].concat());
    guest.function("ask-and-return", ONE, &[&ask[..], &[I::ReturnCall(ASK)]].concat());
    let mut running = Running::start(guest);
    let result = CHUNK as usize;
    for name in ["ask", "ask-by-table", "ask-and-return"] {
        for address in addresses(result) {
            running.call(name, address, 0);
            running.check(name, address, result);
        }
    }
    let realloc = running.instance.get_typed_func::<(i32, i32, i32, i32), i32>(&mut running.store, "realloc");
    let realloc = realloc.expect("it is exported");
    for length in [1, 17, 1000, 5000, 100_000] {
        for address in addresses(length) {
            let arguments = (address as i32, 0, 1, length as i32);
            let place = realloc.call(&mut running.store, arguments).expect("it answers");
            running.memory.write(&mut running.store, place as usize, &vec![NEW; length]).expect("it is within");
            running.check("the host", address, length);
        }
    }
    // What no host would write to is no harm.
    for place in [SIZE as i32, -1, i32::MIN] {
        let answer = realloc.call(&mut running.store, (place, 0, 1, i32::MAX)).expect("it answers");
        assert_eq!(answer, place);
    }
    running.put_back();
    assert!(running.memory.data(&running.store) == running.image);
}

#[test]
fn several_pieces_are_put_back_at_once() {
    use Instruction as I;
    let mut guest = Guest::default();
    let (value, store, length) = stores(0).remove(3);
    guest.function("write", ONE, &[I::LocalGet(0), value, store]);
    let mut running = Running::start(guest);
    let chunk = CHUNK as usize;
    // Every pattern of marks among eight neighbours, and in all of memory.
    for pattern in 0..256_usize {
        for piece in (0..8).filter(|piece| pattern >> piece & 1 == 1) {
            running.call("write", (piece + 60) * chunk + pattern, 0);
        }
        running.put_back();
        assert!(running.memory.data(&running.store) == running.image, "{pattern:08b}");
    }
    for address in (0..SIZE).step_by(chunk / 2) {
        running.call("write", address, 0);
    }
    running.check("write", SIZE - chunk, length);
}

#[test]
fn globals_begin_anew() {
    use Instruction as I;
    let mut guest = Guest::default();
    let values = [I::I32Const(1), I::I64Const(1), I::F64Const(1.0.into())];
    let code: Vec<_> = (0..).zip(values).flat_map(|(number, value)| [value, I::GlobalSet(number)]).collect();
    guest.function("set", ONE, &code);
    let mut running = Running::start(guest);
    let globals = |running: &mut Running| {
        [0, 1, 2].map(|number| {
            let global = running.instance.get_global(&mut running.store, &format!("global-{number}"));
            format!("{:?}", global.expect("it is exported").get(&mut running.store))
        })
    };
    let before = globals(&mut running);
    running.call("set", 0, 0);
    assert_ne!(globals(&mut running), before);
    running.put_back();
    assert_eq!(globals(&mut running), before);
}

/// Why a module cannot be put back.
fn refusal(guest: Guest) -> String {
    let bytes = guest.bytes();
    let layout = Layout::new(PAGES, 1 << 20).expect("it is small");
    let nothing = std::iter::empty::<&str>().collect();
    let refused = module::Module::of(&bytes).and_then(|module| module.rewrite(&bytes, &layout, &nothing));
    format!("{:#}", refused.expect_err("it cannot be put back"))
}

#[test]
fn what_cannot_be_put_back_is_refused() {
    use Instruction as I;
    let with = |code: &[I<'_>]| {
        let mut guest = Guest::default();
        guest.function("f", NONE, code);
        guest
    };
    let change = [I::I32Const(0), I::RefNull(wasm_encoder::HeapType::FUNC), I::TableSet(0)];
    let grow = [I::RefNull(wasm_encoder::HeapType::FUNC), I::I32Const(1), I::TableGrow(0), I::Drop];
    for code in [&change[..], &grow] {
        assert!(refusal(with(code)).contains("changes a table"));
    }
    assert!(refusal(with(&[I::DataDrop(2)])).contains("drops a segment"));
    assert!(refusal(with(&[I::ElemDrop(0)])).contains("drops a segment"));
    assert!(refusal(Guest { start: true, ..with(&[]) }).contains("at its start"));
    assert!(refusal(Guest { shared_table: true, ..with(&[]) }).contains("shares a table"));
    // Beyond what is known: it might write.
    let atomic = [I::I32Const(0), I::I32Const(0), I::I32AtomicStore(MemArg { align: 2, ..at(0) })];
    assert!(refusal(with(&atomic)).contains("threads"));
    let block = [I::Block(BlockType::Empty), I::End];
    let fine = with(&block).bytes();
    assert!(module::has_state(&fine).expect("nothing is wrong with it"));
}

/// A module without a memory that does so with its two arguments, and has a table as `wit-component` has one.
fn between(code: &[Instruction<'_>]) -> Vec<u8> {
    let mut module = wasm_encoder::Module::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 2], []);
    module.section(&types);
    let mut functions = FunctionSection::new();
    functions.function(0);
    module.section(&functions);
    let mut tables = TableSection::new();
    let element_type = RefType::FUNCREF;
    tables.table(TableType { element_type, table64: false, minimum: 1, maximum: None, shared: false });
    module.section(&tables);
    let mut bodies = CodeSection::new();
    let mut function = Function::new([]);
    for instruction in code {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    bodies.function(&function);
    module.section(&bodies);
    module.finish()
}

#[test]
fn modules_between_pass_calls_on_as_they_are() {
    use Instruction as I;
    let call = I::CallIndirect { type_index: 0, table_index: 0 };
    let on = [I::LocalGet(0), I::LocalGet(1), I::I32Const(0), call.clone()];
    assert!(!module::has_state(&between(&on)).expect("it passes calls on"));
    // The host would write where the module with the memory has left no mark.
    let elsewhere = [I::LocalGet(0), I::I32Const(4096), I::I32Const(0), call.clone()];
    let swapped = [I::LocalGet(1), I::LocalGet(0), I::I32Const(0), call];
    for code in [&elsewhere[..], &swapped, &[]] {
        assert!(module::has_state(&between(code)).is_err());
    }
}
