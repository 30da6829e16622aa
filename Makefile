# Thin names for commands that also work by hand.

WASM_TARGET := wasm32-wasip2

.PHONY: run test lint setup

# Starts Tollgate: on tollgate.toml where there is one, else on the embedded demo. Another file: make run CONFIG=file.toml
run: setup
	cargo run -p tollgate -- $(if $(CONFIG),run $(CONFIG))

test: setup
	cargo test --workspace

# cargo-deny checks here what needs no network; CI checks advisories too.
lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo 'lint: dependencies not checked; to check them: cargo install cargo-deny --locked' >&2; fi

# The built-in plugins are compiled to WebAssembly components: the one thing that a fresh Rust lacks.
setup:
	@command -v rustup >/dev/null || { echo 'rustup is not on PATH: install Rust by rustup first' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'cc is not on PATH: install a C compiler first' >&2; exit 1; }
	@rustup target list --installed | grep -qx $(WASM_TARGET) || rustup target add $(WASM_TARGET)
