# Two commands do it all on a fresh machine with Rust and Node: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: run
run: cli fence-tools ## Install what is needed, build, and serve on http://127.0.0.1:8000
	@cargo build --release --locked --bin paddock
	@exec scripts/run.sh

.PHONY: test
test: cli fence-tools test-tools fmt-check lint doc ## Install what is needed and run every check and test
	export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)"; \
	cargo test --workspace --locked --doc; \
	cargo test --workspace --locked --all-targets; \
	cargo test --locked --test it instances::rounds -- --ignored --test-threads=1; \
	scripts/fuzz-api.sh 3

.PHONY: soak
soak: cli fence-tools test-tools ## Run the longest tests: a thousand rounds of the plug pulled, of a store and of instances
	export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)" PADDOCK_CRASH_ROUNDS=1000 PADDOCK_ROUNDS=1000; \
	cargo test --locked --test it crash:: -- --nocapture; \
	cargo test --locked --test it instances::rounds -- --ignored --nocapture --test-threads=1

.PHONY: fuzz-api
fuzz-api: ## Fuzz every operation of the API, with a key and without
	@scripts/fuzz-api.sh 100

.PHONY: bench
bench: fence-tools test-tools ## Measure; the figures and how to read them are in benches/README.md
	cargo bench --locked

.PHONY: cli
cli: ## Install the pinned Claude Code CLI into tools/claude-cli
	@scripts/install-cli.sh >/dev/null

.PHONY: fence-tools
fence-tools: ## Install bubblewrap, where that can be done without asking
	@scripts/install-fence-tools.sh

.PHONY: test-tools
test-tools: ## Install what only the tests need
	@scripts/install-test-tools.sh

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: fmt-check
fmt-check:
	cargo fmt --all --check

.PHONY: lint
lint: ## Run clippy, warnings denied
	cargo clippy --workspace --locked --all-targets -- -D warnings

.PHONY: doc
doc: ## Build the code's documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --locked --no-deps --document-private-items

.PHONY: clean
clean: ## Remove what was built; data/ is kept
	cargo clean
