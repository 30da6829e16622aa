//! What a guest sees of the key-value stores.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::{Error, Store, Stores};
use crate::bindings::kv as wit;
use crate::capability::Capabilities;
use crate::recording::{Answer, Tape};

/// What a handle of a guest stands for.
pub type StoreHandle = Arc<Store>;

/// The stores that the configuration grants to one plugin, by name. They live as long as one plugin holds them.
#[derive(Debug, Clone)]
pub struct Granted(Arc<[(String, StoreHandle)]>);

impl Granted {
    /// Those of `stores` with these names.
    pub fn new(stores: &Stores, names: &[String]) -> Self {
        Self(names.iter().map(|name| (name.clone(), stores.open(name))).collect())
    }
}

/// The stores of one plugin, and the handles of one instance.
pub(crate) struct Guest<'a> {
    pub(crate) granted: &'a Granted,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) tape: &'a mut Tape,
}

impl HasData for Guest<'static> {
    type Data<'a> = Guest<'a>;
}

pub(crate) fn link<T: Capabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Guest<'static>>(linker, T::kv)
}

impl wit::Host for Guest<'_> {}

impl wit::HostStore for Guest<'_> {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Arc<Store>>, wit::Error>> {
        match self.granted.0.iter().find(|(granted, _)| *granted == name) {
            Some((_, store)) => Ok(Ok(self.table.push(store.clone())?)),
            None => Ok(Err(wit::Error::NotGranted)),
        }
    }

    fn get(
        &mut self,
        store: Resource<Arc<Store>>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, wit::Error>> {
        let store = self.table.get(&store)?;
        let value = self.tape.answer(
            || format!("kv.get {key}"),
            || store.get(&key, Instant::now()).map(|value| value.map(|bytes| bytes.to_vec())),
            Answer::Value,
            |answer| if let Answer::Value(value) = answer { Some(value) } else { None },
        );
        Ok(value.map_err(Into::into))
    }

    fn set(
        &mut self,
        store: Resource<Arc<Store>>,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<(), wit::Error>> {
        let store = self.table.get(&store)?;
        let done = self.tape.answer(
            || format!("kv.set {key}"),
            || store.set(&key, &value, ttl_ms, Instant::now()),
            Answer::Set,
            |answer| if let Answer::Set(done) = answer { Some(done) } else { None },
        );
        Ok(done.map_err(Into::into))
    }

    fn delete(&mut self, store: Resource<Arc<Store>>, key: String) -> wasmtime::Result<Result<bool, wit::Error>> {
        let store = self.table.get(&store)?;
        let deleted = self.tape.answer(
            || format!("kv.delete {key}"),
            || store.delete(&key, Instant::now()),
            Answer::Deleted,
            |answer| if let Answer::Deleted(deleted) = answer { Some(deleted) } else { None },
        );
        Ok(deleted.map_err(Into::into))
    }

    fn list(
        &mut self,
        store: Resource<Arc<Store>>,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, wit::Error>> {
        let store = self.table.get(&store)?;
        let keys = self.tape.answer(
            || format!("kv.list {prefix} {} {limit}", after.as_deref().unwrap_or_default()),
            || {
                let keys = store.list(&prefix, after.as_deref(), limit as usize, Instant::now());
                keys.map(|keys| keys.iter().map(|key| (**key).to_owned()).collect())
            },
            Answer::Keys,
            |answer| if let Answer::Keys(keys) = answer { Some(keys) } else { None },
        );
        Ok(keys.map_err(Into::into))
    }

    fn increment(
        &mut self,
        store: Resource<Arc<Store>>,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<i64, wit::Error>> {
        let store = self.table.get(&store)?;
        let count = self.tape.answer(
            || format!("kv.increment {key} {by}"),
            || store.increment(&key, by, ttl_ms, Instant::now()),
            Answer::Count,
            |answer| if let Answer::Count(count) = answer { Some(count) } else { None },
        );
        Ok(count.map_err(Into::into))
    }

    fn drop(&mut self, store: Resource<Arc<Store>>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::TooLarge => Self::TooLarge,
            Error::Full => Self::Full,
            Error::NotACounter => Self::NotACounter,
        }
    }
}
