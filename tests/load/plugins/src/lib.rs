//! Plugins that only the load benchmark uses. Each is an example of this package: a component of its own.
