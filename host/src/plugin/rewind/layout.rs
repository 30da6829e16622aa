//! Where marks and the copy of the image lie, and what the host may write between them.

use anyhow::{Result, ensure};
use wasmtime::component::Type;
use wasmtime::component::types::ComponentItem;

/// Bytes of memory that have one mark.
pub(super) const CHUNK: u32 = 1 << SHIFT;
/// From an address to the place of its mark.
pub(super) const SHIFT: u32 = 10;
/// An instruction writes up to 16 bytes, of which all but one may lie in the next piece, which it does not mark: so many bytes of that
/// are put back with a marked one.
pub(super) const BEYOND: u32 = 16;

const PAGE: u64 = 64 << 10;

/// The second memory: a byte for each piece that memory can ever have, then the copy of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Pages of the guest's own memory at the beginning.
    pub(super) image: u64,
    /// Pages of marks, before the copy.
    pub(super) marks: u64,
}

impl Layout {
    /// For a memory that has `pages` in the image, and may have `most` bytes.
    pub(super) fn new(pages: u64, most: usize) -> Result<Self> {
        let image = pages * PAGE;
        let most = u64::try_from(most)?.max(image);
        let layout = Self { image: pages, marks: most.div_ceil(u64::from(CHUNK)).div_ceil(PAGE) };
        // Addresses are signed in instructions, and half of what there is is enough.
        ensure!(most + layout.size() <= 1 << 31, "its memory is too large");
        Ok(layout)
    }

    /// Pages of the second memory.
    pub(super) fn pages(&self) -> u64 {
        self.marks + self.image
    }

    /// Bytes of it.
    pub(super) fn size(&self) -> u64 {
        self.pages() * PAGE
    }

    /// Where the copy begins.
    pub(super) fn copy(&self) -> i32 {
        (self.marks * PAGE) as i32
    }

    /// Bytes of the image.
    pub(super) fn image_bytes(&self) -> i32 {
        (self.image * PAGE) as i32
    }

    /// Marks of the image.
    pub(super) fn image_marks(&self) -> i32 {
        self.image_bytes() >> SHIFT
    }
}

/// At least as many bytes as any function that the component imports or exports has the host write for a result, beside what it has
/// allocated; none where it cannot be told.
pub(in crate::plugin) fn largest_result(component: &wasmtime::component::Component) -> Option<usize> {
    let engine = component.engine();
    let ty = component.component_type();
    let items = ty.imports(engine).chain(ty.exports(engine)).map(|(_, item)| item.ty);
    items.map(|item| of_item(&item, engine)).try_fold(0, |most, size| Some(most.max(size?)))
}

fn of_item(item: &ComponentItem, engine: &wasmtime::Engine) -> Option<usize> {
    match item {
        ComponentItem::ComponentFunc(function) => function.results().map(|ty| size(&ty)).sum(),
        ComponentItem::ComponentInstance(instance) => {
            let items = instance.exports(engine).map(|(_, item)| of_item(&item.ty, engine));
            items.collect::<Option<Vec<_>>>().map(|sizes| sizes.into_iter().max().unwrap_or(0))
        }
        ComponentItem::Type(_) | ComponentItem::Resource(_) => Some(0),
        _ => None,
    }
}

/// At least as many bytes as a value takes in memory: each part rounded up to the largest alignment.
fn size(ty: &Type) -> Option<usize> {
    const WORD: usize = 8;
    let largest = |cases: &mut dyn Iterator<Item = Option<Type>>| {
        let sizes = cases.map(|case| case.as_ref().map_or(Some(0), size));
        sizes.collect::<Option<Vec<_>>>().map(|sizes| WORD + sizes.into_iter().max().unwrap_or(0))
    };
    match ty {
        Type::Bool | Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 => Some(WORD),
        Type::S64 | Type::U64 | Type::Float32 | Type::Float64 | Type::Char => Some(WORD),
        // An address and a length.
        Type::String | Type::List(_) => Some(WORD),
        Type::Own(_) | Type::Borrow(_) | Type::Enum(_) => Some(WORD),
        Type::Record(record) => record.fields().map(|field| size(&field.ty)).sum(),
        Type::Tuple(tuple) => tuple.types().map(|ty| size(&ty)).sum(),
        Type::Variant(variant) => largest(&mut variant.cases().map(|case| case.ty)),
        Type::Option(option) => largest(&mut std::iter::once(Some(option.ty()))),
        Type::Result(result) => largest(&mut [result.ok(), result.err()].into_iter()),
        Type::Flags(flags) => Some(WORD * flags.names().len().div_ceil(32)),
        _ => None,
    }
}
