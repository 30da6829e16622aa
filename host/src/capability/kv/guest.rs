//! What a guest sees of the key-value stores.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::{Error, Store, Stores};
use crate::bindings::kv as wit;
use crate::capability::Capabilities;

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
        let value = self.table.get(&store)?.get(&key, Instant::now());
        Ok(value.map(|value| value.map(|bytes| bytes.to_vec())).map_err(Into::into))
    }

    fn set(
        &mut self,
        store: Resource<Arc<Store>>,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<(), wit::Error>> {
        Ok(self.table.get(&store)?.set(&key, &value, ttl_ms, Instant::now()).map_err(Into::into))
    }

    fn delete(&mut self, store: Resource<Arc<Store>>, key: String) -> wasmtime::Result<Result<bool, wit::Error>> {
        Ok(self.table.get(&store)?.delete(&key, Instant::now()).map_err(Into::into))
    }

    fn list(
        &mut self,
        store: Resource<Arc<Store>>,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, wit::Error>> {
        let keys = self.table.get(&store)?.list(&prefix, after.as_deref(), limit as usize, Instant::now());
        Ok(keys.map(|keys| keys.iter().map(|key| (**key).to_owned()).collect()).map_err(Into::into))
    }

    fn increment(
        &mut self,
        store: Resource<Arc<Store>>,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<i64, wit::Error>> {
        Ok(self.table.get(&store)?.increment(&key, by, ttl_ms, Instant::now()).map_err(Into::into))
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
