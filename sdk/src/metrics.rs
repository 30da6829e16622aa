//! Numbers of the plugin's own, in `/metrics` of the admin listener. Always granted.
//!
//! Open them in the first call that counts, or keep them in a [`OnceCell`](std::cell::OnceCell): an instance that holds a
//! handle after `configure` cannot be copied, and fresh ones are then configured anew. Natively nothing is kept.

#[cfg(target_arch = "wasm32")]
use crate::bindings::tollgate::plugin::metrics as wit;

/// Why there is no such metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A name or a label that is none.
    InvalidName(String),
    /// More than 64 metrics of a plugin, or more than 8 labels of one.
    TooMany,
    /// The plugin has another metric of this name.
    Conflict,
    /// Bounds that cannot be.
    InvalidBuckets,
}

/// A number that only grows: `tollgate_plugin_counter_NAME_total`.
#[derive(Debug)]
pub struct Counter(#[cfg(target_arch = "wasm32")] wit::Counter);

/// A number that goes up and down: `tollgate_plugin_gauge_NAME`.
#[derive(Debug)]
pub struct Gauge(#[cfg(target_arch = "wasm32")] wit::Gauge);

/// How values are spread: `tollgate_plugin_histogram_NAME`.
#[derive(Debug)]
pub struct Histogram(#[cfg(target_arch = "wasm32")] wit::Histogram);

impl Counter {
    /// The counter of this name.
    pub fn open(name: &str, help: &str, labels: &[&str]) -> Result<Self, Error> {
        #[cfg(target_arch = "wasm32")]
        return Ok(Self(wit::Counter::open(name, help, &owned(labels))?));
        #[cfg(not(target_arch = "wasm32"))]
        nothing(name, help, labels).map(|()| Self())
    }

    /// Adds to the series with these values, one for each label.
    pub fn add(&self, values: &[&str], by: u64) {
        #[cfg(target_arch = "wasm32")]
        self.0.add(&owned(values), by);
        #[cfg(not(target_arch = "wasm32"))]
        let _ = (values, by);
    }
}

impl Gauge {
    /// The gauge of this name.
    pub fn open(name: &str, help: &str, labels: &[&str]) -> Result<Self, Error> {
        #[cfg(target_arch = "wasm32")]
        return Ok(Self(wit::Gauge::open(name, help, &owned(labels))?));
        #[cfg(not(target_arch = "wasm32"))]
        nothing(name, help, labels).map(|()| Self())
    }

    /// Sets the series with these values.
    pub fn set(&self, values: &[&str], value: i64) {
        #[cfg(target_arch = "wasm32")]
        self.0.set(&owned(values), value);
        #[cfg(not(target_arch = "wasm32"))]
        let _ = (values, value);
    }

    /// Moves the series with these values.
    pub fn add(&self, values: &[&str], by: i64) {
        #[cfg(target_arch = "wasm32")]
        self.0.add(&owned(values), by);
        #[cfg(not(target_arch = "wasm32"))]
        let _ = (values, by);
    }
}

impl Histogram {
    /// The histogram of this name, with these upper bounds.
    pub fn open(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<Self, Error> {
        #[cfg(target_arch = "wasm32")]
        return Ok(Self(wit::Histogram::open(name, help, &owned(labels), buckets)?));
        #[cfg(not(target_arch = "wasm32"))]
        {
            let _ = buckets;
            nothing(name, help, labels).map(|()| Self())
        }
    }

    /// Adds a value to the series with these values of its labels.
    pub fn observe(&self, values: &[&str], value: f64) {
        #[cfg(target_arch = "wasm32")]
        self.0.observe(&owned(values), value);
        #[cfg(not(target_arch = "wasm32"))]
        let _ = (values, value);
    }
}

#[cfg(target_arch = "wasm32")]
fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(not(target_arch = "wasm32"))]
fn nothing(name: &str, help: &str, labels: &[&str]) -> Result<(), Error> {
    let _ = help;
    let right = |name: &&str| {
        let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        letters && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= 64
    };
    match std::iter::once(&name).chain(labels).find(|name| !right(name)) {
        Some(name) => Err(Error::InvalidName((*name).to_owned())),
        None => Ok(()),
    }
}

#[cfg(target_arch = "wasm32")]
impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::InvalidName(name) => Self::InvalidName(name),
            wit::Error::TooMany => Self::TooMany,
            wit::Error::Conflict => Self::Conflict,
            wit::Error::InvalidBuckets => Self::InvalidBuckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_knows_what_a_name_is() {
        Counter::open("seen", "", &["route"]).unwrap().add(&["a"], 1);
        assert_eq!(Gauge::open("Open", "", &[]).unwrap_err(), Error::InvalidName("Open".to_owned()));
        assert_eq!(Counter::open("seen", "", &["a-b"]).unwrap_err(), Error::InvalidName("a-b".to_owned()));
    }
}
