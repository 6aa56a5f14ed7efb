# `make` shows what there is. Everything that is built or started lives in the cache.

INSTAR_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/instar
CARGO_TARGET_DIR ?= $(INSTAR_CACHE)/target
export INSTAR_CACHE CARGO_TARGET_DIR

# The management cluster that up, status, shell and down are about.
NAME ?= default
# Set to anything, `make up INSTAR=1` installs Instar on it.
INSTAR ?=
# What `make bench` measures: `make bench BENCH="--rounds 2 --seconds 1"` for a quick look.
BENCH ?=

MGMT := $(CARGO_TARGET_DIR)/debug/mgmt
DEMO := $(CARGO_TARGET_DIR)/debug/demo

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@e2e/prerequisites.sh
	@e2e/checkout.sh begin

# What people wait for is not how `mgmt` is linked.
.PHONY: mgmt
mgmt: prerequisites
	@cargo build -p instar-e2e --bin mgmt
	@$(if $(INSTAR),cargo build -p instar)

# A cluster that runs has one, and stopping it should not wait for a compiler.
$(MGMT): | prerequisites
	@cargo build -p instar-e2e --bin mgmt

.PHONY: build
build: prerequisites ## Build everything, the management cluster's programs too (the first time: minutes)
	cargo build --workspace --all-targets
	$(MGMT) build
	@e2e/checkout.sh built

.PHONY: up
up: mgmt ## Start a management cluster (NAME=default), with Instar if INSTAR=1, on a simulated vCenter if PROVIDER=vsphere
	@$(MGMT) up --name $(NAME) $(if $(INSTAR),--instar) $(if $(filter command environment,$(firstword $(origin PROVIDER))),--provider $(PROVIDER))

.PHONY: status
status: | $(MGMT) ## Show its processes
	@$(MGMT) status --name $(NAME)

.PHONY: shell
shell: | $(MGMT) ## Open a shell beside it, with KUBECONFIG, kubectl and clusterctl
	@$(MGMT) shell --name $(NAME)

.PHONY: down
down: | $(MGMT) ## Stop it and remove all of it
	@$(MGMT) down --name $(NAME)

.PHONY: demo
demo: prerequisites ## Upgrade real clusters before your eyes
	@cargo build -p instar-e2e -p instar-demo --bin mgmt --bin demo
	@cargo build -p instar
	@$(DEMO) $(if $(filter command environment,$(firstword $(origin NAME))),--name $(NAME))

STEP := e2e/times.sh run

.PHONY: test
test: prerequisites ## Run everything: build, unit tests, lint, journeys on a real management cluster
	@e2e/times.sh begin
	@$(STEP) "build: all crates and their tests" cargo build --workspace --all-targets
	@$(STEP) "unit tests" $(MAKE) --no-print-directory units
	@$(STEP) "documentation's examples" cargo test --workspace --doc
	@$(STEP) "lint" $(MAKE) --no-print-directory lint
	@$(STEP) "the management cluster's programs" $(MGMT) build
	@$(STEP) "those for vSphere" $(MGMT) build --provider vsphere
	@$(STEP) "overload: alone, for it is timed as an API server times it" cargo test --workspace --test overload
	@lane() { xargs -P "$$1" -I '{}' e2e/times.sh beside "journeys: {}" cargo test --workspace --test '{}'; }; \
		printf '%s\n' $(WAITING) | lane 1 & waiting=$$!; \
		printf '%s\n' $(JOURNEYS) | lane $(BESIDE); status=$$?; \
		wait $$waiting || status=1; e2e/times.sh end; exit $$status
	@e2e/checkout.sh built
	@echo "==> all passed"

.PHONY: check
check: prerequisites ## Run what takes seconds: lint, unit tests, the cases of each rule
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory units

.PHONY: units
units:
	@cargo test --workspace --lib --bins $(addprefix --test ,$(UNITS))

SEEDS ?= 10000
.PHONY: worlds
worlds: prerequisites ## Run the planner's properties in SEEDS simulated worlds each (10000: some minutes), more than a test run does
	@INSTAR_SEEDS=$(SEEDS) cargo test --workspace --test planner

# Always of the whole workspace: with the features that one package alone has, all would be built once more.
UNITS := $(basename $(notdir $(filter-out e2e/% %/proptest-regressions,$(wildcard */tests/* crates/*/tests/*))))

# Each program has a management cluster of its own. Two at a time: a journey waits for Cluster API more than it keeps
# a core busy. With three, two cores do no more, and each takes longer. The longest begin. Beside them, one after the
# other, those that only wait.
BESIDE ?= 2
WAITING := installation runtime_hooks vsphere harness lifecycle
FIRST := classic topology faults admission
PROGRAMS := $(filter-out overload $(WAITING),$(basename $(notdir $(wildcard e2e/tests/*))))
JOURNEYS := $(FIRST) $(filter-out $(FIRST),$(PROGRAMS))

# The one to run: `make journey TEST=classic JOURNEY=classic-paused`.
TEST ?=
JOURNEY ?=
.PHONY: journey
journey: prerequisites ## Run one journey, on a management cluster of its own (TEST=classic JOURNEY=classic-paused)
	@cargo build --workspace --bins
	@cargo test --workspace --test $(TEST) -- --exact $(JOURNEY)

# The programs of fuzz/libfuzzer, and how long each runs. `make test` holds the same properties
# against seeds and random changes to them.
FUZZ ?= versions pointers pins json kubeconfig expressions admission_review runtime_hook
FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: prerequisites ## Fuzz each target for FUZZ_SECONDS (600), or those that FUZZ names
	@fuzz/libfuzzer/run.sh $(FUZZ_SECONDS) $(FUZZ)

.PHONY: lint
lint: prerequisites ## Check formatting, lints and dependencies (licences, sources, advisories)
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@cargo build --quiet --workspace --bin xtask
	@$(CARGO_TARGET_DIR)/debug/xtask audit $(INSTAR_CACHE)/advisory-db

# Where `make page` leaves its pictures.
PICTURES ?= $(INSTAR_CACHE)/pictures
.PHONY: page
page: prerequisites ## Render the page of `kubectl instar ui` in Chromium, light, dark and narrow, measure it, and click a form
	@INSTAR_PICTURES=$(PICTURES) cargo test --workspace --test recorded -- --ignored --nocapture
	@cargo test --workspace --lib page::tests::clicked -- --ignored

.PHONY: bench
bench: prerequisites ## Measure the admission server: instructions, CPU time, memory, beside Go (twenty minutes)
	@cargo build --release -p instar-benches --bin bench
	@$(CARGO_TARGET_DIR)/release/bench run $(BENCH)

# The sizes: `make bench-fleet FLEET="--clusters 200"`.
FLEET ?=
.PHONY: bench-fleet
bench-fleet: prerequisites ## Measure both programs on thousands of Clusters, on a real API server (an hour)
	@cargo build --release -p instar-benches -p instar -p kubectl-instar --bin bench-fleet --bin instar --bin kubectl-instar
	@INSTAR_BIN=$(CARGO_TARGET_DIR)/release/instar $(CARGO_TARGET_DIR)/release/bench-fleet $(FLEET)

# A release is what its commit says: where it was built leaves no trace in it, and files have the commit's time.
STATIC ?= x86_64-unknown-linux-gnu
# Functions that are the same byte by byte are kept once, and the places that the start adjusts take a bit each, not 24 bytes.
SMALL := -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-z,pack-relative-relocs
OUT ?= out
# With its registry: clusterctl takes no other name.
IMAGE ?= registry.example.org/instar
PROVIDER ?= instar
# Where the plugin's archive will be: Krew fetches it from there.
URL ?= https://releases.example.org/instar
CARGO_HOME ?= $(HOME)/.cargo
# One after the other: together they would be built with each other's features.
PROGRAMS_SHIPPED := instar kubectl-instar
.PHONY: release
release: prerequisites ## Write what a release ships into OUT (VERSION=v0.1.0 IMAGE=registry.example.org/instar OUT=out)
	@$(if $(VERSION),,echo "error: which version? make release VERSION=v0.1.0" >&2; exit 2)
	@for program in $(PROGRAMS_SHIPPED); do cargo run --quiet -p xtask -- dependencies --target $(STATIC) --program $$program $(CARGO_TARGET_DIR)/dependencies-$$program.s || exit 1; done
	@for program in $(PROGRAMS_SHIPPED); do \
		INSTAR_DEPENDENCIES=$(CARGO_TARGET_DIR)/dependencies-instar.s INSTAR_PLUGIN_DEPENDENCIES=$(CARGO_TARGET_DIR)/dependencies-kubectl-instar.s \
		RUSTFLAGS="-C target-feature=+crt-static $(SMALL) --remap-path-prefix=$(CURDIR)=/instar --remap-path-prefix=$(CARGO_HOME)=/cargo" \
			cargo build --release --locked -p $$program --bin $$program --target $(STATIC) || exit 1; \
	done
	@for program in $(PROGRAMS_SHIPPED); do ! grep -qaF .symtab $(CARGO_TARGET_DIR)/$(STATIC)/release/$$program || { echo "error: $$program still has its symbols, which are a fifth of it: see strip in Cargo.toml" >&2; exit 1; }; done
	@case "$$(uname -sm)" in "Linux $(firstword $(subst -, ,$(STATIC)))") for program in $(PROGRAMS_SHIPPED); do $(CARGO_TARGET_DIR)/$(STATIC)/release/$$program --version >/dev/null || exit 1; done;; esac # Built with a glibc before 2.36, they don't start.
	@cargo run --quiet -p xtask -- release --version $(VERSION) --image $(IMAGE) --provider $(PROVIDER) \
		--program $(CARGO_TARGET_DIR)/$(STATIC)/release/instar --plugin $(CARGO_TARGET_DIR)/$(STATIC)/release/kubectl-instar --url $(URL) --epoch $$(git log -1 --format=%ct) --out $(OUT)

.PHONY: generate
generate: prerequisites ## Write again what is generated from code
	@cargo run --quiet -p xtask -- generate

.PHONY: clean-cache
clean-cache: ## Remove all that was built, and what failed tests left (not a running cluster)
	rm -rf $(INSTAR_CACHE)/bin $(INSTAR_CACHE)/manifests $(INSTAR_CACHE)/build-logs $(INSTAR_CACHE)/dumps $(INSTAR_CACHE)/results $(INSTAR_CACHE)/flaky $(INSTAR_CACHE)/fuzz $(INSTAR_CACHE)/advisory-db $(CARGO_TARGET_DIR)
