# Thin names for commands that also work by hand.

WASM_TARGET := wasm32-wasip2

.PHONY: run test lint fuzz fuzz-build setup

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

# Each target looks for FUZZ_SECONDS for an input that breaks a promise, and keeps in the target directory what it learned
# and what it found. What is mended becomes a seed: host/fuzz/seeds/TARGET/.
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?= $(notdir $(basename $(wildcard host/fuzz/targets/*.rs)))
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

fuzz: fuzz-build
	@for target in $(FUZZ_TARGETS); do \
	    out=$(TARGET_DIR)/fuzz/$$target; mkdir -p $$out/corpus $$out/found; \
	    echo "fuzz: $$target, $(FUZZ_SECONDS) s"; \
	    $(TARGET_DIR)/debug/fuzz-$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
	        -dict=host/fuzz/dictionaries/$$target -artifact_prefix=$$out/found/ \
	        $$out/corpus host/fuzz/seeds/$$target >$$out/log 2>&1 \
	    || { grep -vE 'NEW|REDUCE|DE:' $$out/log | tail -n 40; exit 1; }; \
	    grep DONE $$out/log; \
	done

fuzz-build: setup
	@command -v c++ >/dev/null || { echo 'c++ is not on PATH: fuzzing needs a C++ compiler, such as g++' >&2; exit 1; }
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/host/fuzz/instrument cargo build -p tollgate-fuzz --features libfuzzer --bins

# The built-in plugins are compiled to WebAssembly components: the one thing that a fresh Rust lacks.
setup:
	@command -v rustup >/dev/null || { echo 'rustup is not on PATH: install Rust by rustup first' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'cc is not on PATH: install a C compiler first' >&2; exit 1; }
	@rustup target list --installed | grep -qx $(WASM_TARGET) || rustup target add $(WASM_TARGET)
