//! Small shared state, kept by the host. Granted with `grant = { kv = ["NAME"] }`.

#[cfg(target_arch = "wasm32")]
use crate::bindings::tollgate::plugin::kv as wit;

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The configuration does not grant a store of this name.
    NotGranted,
    /// A key longer than 1 KiB, or a value longer than 64 KiB.
    TooLarge,
    /// The store is full, and nothing in it has expired.
    Full,
    /// `increment` on a value that is not a counter, or beyond its range.
    NotACounter,
    /// The store did not answer in time.
    Unavailable,
}

/// A named store.
///
/// Natively it is a stand-in in memory, one for each value of this type, in which nothing expires.
#[derive(Debug)]
pub struct Store {
    #[cfg(target_arch = "wasm32")]
    store: wit::Store,
    #[cfg(not(target_arch = "wasm32"))]
    values: std::cell::RefCell<std::collections::HashMap<String, Vec<u8>>>,
}

#[cfg(target_arch = "wasm32")]
impl Store {
    /// Opens a store that the configuration grants.
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { store: wit::Store::open(name)? })
    }

    /// The value of a key. A counter reads as its decimal digits.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.get(key)?)
    }

    /// Sets a value, for ever or for a time to live in milliseconds.
    pub fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), Error> {
        Ok(self.store.set(key, value, ttl_ms)?)
    }

    /// Removes a key, and tells whether it was there.
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        Ok(self.store.delete(key)?)
    }

    /// Keys with a prefix, those behind `after`, in the order of their bytes: the first `limit`, at most 1,000.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Error> {
        Ok(self.store.list(prefix, after, limit)?)
    }

    /// Adds to a counter in one step, and answers its new value.
    pub fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, Error> {
        Ok(self.store.increment(key, by, ttl_ms)?)
    }
}

#[cfg(target_arch = "wasm32")]
impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotGranted => Self::NotGranted,
            wit::Error::TooLarge => Self::TooLarge,
            wit::Error::Full => Self::Full,
            wit::Error::NotACounter => Self::NotACounter,
            wit::Error::Unavailable => Self::Unavailable,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Store {
    /// Opens a store.
    pub fn open(name: &str) -> Result<Self, Error> {
        let _ = name;
        Ok(Self { values: std::cell::RefCell::default() })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        fits(key, &[])?;
        Ok(self.values.borrow().get(key).cloned())
    }

    /// Sets a value.
    pub fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), Error> {
        let _ = ttl_ms;
        fits(key, value)?;
        self.values.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    /// Removes a key, and tells whether it was there.
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        fits(key, &[])?;
        Ok(self.values.borrow_mut().remove(key).is_some())
    }

    /// Keys with a prefix, those behind `after`, in the order of their bytes: the first `limit`, at most 1,000.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Error> {
        fits(prefix, &[])?;
        fits(after.unwrap_or_default(), &[])?;
        let values = self.values.borrow();
        let fits = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        let mut keys: Vec<String> = values.keys().filter(fits).cloned().collect();
        keys.sort();
        keys.truncate(limit.min(1000) as usize);
        Ok(keys)
    }

    /// Adds to a counter in one step, and answers its new value.
    pub fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, Error> {
        let _ = ttl_ms;
        fits(key, &[])?;
        let mut values = self.values.borrow_mut();
        let digits = values.get(key).map_or("0", |value| std::str::from_utf8(value).unwrap_or_default());
        let before: i64 = digits.parse().map_err(|_| Error::NotACounter)?;
        if before.to_string() != digits {
            return Err(Error::NotACounter);
        }
        let after = before.checked_add(by).ok_or(Error::NotACounter)?;
        values.insert(key.to_owned(), after.to_string().into_bytes());
        Ok(after)
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn fits(key: &str, value: &[u8]) -> Result<(), Error> {
    if key.len() > 1 << 10 || value.len() > 64 << 10 { Err(Error::TooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_counts_and_refuses_as_the_host_does() {
        let store = Store::open("any").unwrap();
        assert_eq!(store.increment("n", 7, None), Ok(7));
        assert_eq!(store.increment("n", -9, Some(1)), Ok(-2));
        assert_eq!(store.get("n"), Ok(Some(b"-2".to_vec())));
        store.set("n", b"41", None).unwrap();
        assert_eq!(store.increment("n", 1, None), Ok(42));
        for wrong in ["many", "007", "+1", "-0", ""] {
            store.set("n", wrong.as_bytes(), None).unwrap();
            assert_eq!(store.increment("n", 1, None), Err(Error::NotACounter), "{wrong:?}");
        }
        assert_eq!(store.increment("m", i64::MAX, None), Ok(i64::MAX));
        assert_eq!(store.increment("m", 1, None), Err(Error::NotACounter));
        assert_eq!(store.set(&"k".repeat(1025), b"", None), Err(Error::TooLarge));
        assert_eq!(store.set("k", &[0; 65537], None), Err(Error::TooLarge));
        assert_eq!(store.list("", None, 9), Ok(vec!["m".to_owned(), "n".to_owned()]));
        assert_eq!(store.list("", Some("m"), 9), Ok(vec!["n".to_owned()]));
        assert_eq!(store.list("", None, 1), Ok(vec!["m".to_owned()]));
        assert_eq!(store.delete("m"), Ok(true));
        assert_eq!(store.get("m"), Ok(None));
    }
}
