# Two commands do it all on a fresh machine with Rust and Node: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE "^[a-z-]+:.*## " $(MAKEFILE_LIST) | sed -E "s/:.*## /\t/" | awk -F"\t" '{printf "  make %-17s %s\n", $$1, $$2}'

.PHONY: run
run: cli fence-tools web ## Install what is needed, build, and serve on http://127.0.0.1:8000
	@cargo build --release --locked --bin paddock
	@exec scripts/run.sh

.PHONY: test
test: cli fence-tools test-tools web check-web fmt-check lint lint-files deny machete doc ## Install what is needed and run every check and test
	export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)"; \
	cargo test --workspace --locked --doc; \
	cargo test --workspace --locked --all-targets; \
	cargo test --locked --test it instances::rounds -- --ignored --test-threads=1; \
	scripts/fuzz-api.sh 3
	@$(MAKE) --no-print-directory check-console check-packages check-docs

.PHONY: soak
soak: cli fence-tools test-tools ## Run the longest tests: a thousand rounds of the plug pulled, of a store and of instances
	export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)" PADDOCK_CRASH_ROUNDS=1000 PADDOCK_ROUNDS=1000; \
	cargo test --locked --test it crash:: -- --nocapture; \
	cargo test --locked --test it instances::rounds -- --ignored --nocapture --test-threads=1

.PHONY: web
web: ## Build the web console into web/dist, from where the binary takes it; does nothing when nothing has changed
	@scripts/build-web.sh

.PHONY: check-web
check-web: web ## Check the web console's types, and run its unit tests
	@cd web && npm run --silent test

.PHONY: check-console
check-console: cli test-tools web ## Use the web console in Chromium, against a real server; pictures go to target/console-screens
	@cargo build --locked --bin paddock
	@export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)" PADDOCK_BIN=target/debug/paddock; \
	scripts/check-console.mjs

.PHONY: check-packages
check-packages: cli test-tools web ## Check what Paddock is shipped in: installer, units, Docker and compose files, Helm chart, alerts
	@cargo build --locked --bin paddock
	@export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)" PADDOCK_BIN=target/debug/paddock; \
	scripts/install-check.sh; \
	scripts/check-compose.py; \
	scripts/compose-topology-check.py target/debug/paddock; \
	scripts/check-helm.py; \
	scripts/check-alerts.sh

.PHONY: check-docs
check-docs: cli test-tools web ## Run what the documentation says is to be run
	@cargo build --locked --bin paddock
	@export PADDOCK_CLI_PATH="$$(scripts/install-cli.sh)" PADDOCK_BIN=target/debug/paddock; \
	scripts/check-docs.py; \
	scripts/api-examples.mjs --check

.PHONY: api-examples
api-examples: cli test-tools web ## Write docs/API_EXAMPLES.md and the Postman collection's saved answers anew
	@cargo build --locked --bin paddock
	@PADDOCK_BIN=target/debug/paddock scripts/api-examples.mjs

.PHONY: image-check
image-check: ## Build the image as docker/Dockerfile says, without an engine, and take turns in it (long)
	@scripts/image-check.sh

.PHONY: dist
dist: cli web ## Build a release into dist/: archive, checksums, bill of materials
	@scripts/dist.sh

.PHONY: unit-check
unit-check: cli ## Hold the systemd unit against the jail, as root; needs target/release/paddock
	@/usr/bin/python3 scripts/unit-check.py

.PHONY: bare-root-check
bare-root-check: ## Follow the README in a bare Debian root, from nothing to an answered turn (long)
	@scripts/bare-root-check.sh

.PHONY: lint-files
lint-files: ## Lint what is not Rust: shell, Dockerfile, YAML, JSON, Python, JavaScript, spelling
	@scripts/lint.sh

.PHONY: deny
deny: ## Check licences, bans and sources of dependencies
	@scripts/lint.sh deny

.PHONY: machete
machete: ## Find dependencies that nothing uses
	@scripts/lint.sh machete

.PHONY: coverage
coverage: cli test-tools ## Tell how much of the code the unit tests run (long)
	@scripts/lint.sh coverage

.PHONY: fuzz-api
fuzz-api: ## Fuzz every operation of the API, with a key and without
	@scripts/fuzz-api.sh 100

.PHONY: bench
bench: fence-tools test-tools web ## Measure; the figures and how to read them are in benches/README.md
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
