.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?=
FUZZ_SECONDS ?= 60
TARGETS ?=
ROUNDS ?= 50
SEED ?= 1
RATE ?= 5000
OUTAGE_S ?= 60
SOAK ?=
BENCH ?=

.PHONY: help install demo test fuzz soak check bench format dist lock clean

help: ## This list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tickerplant needs Python 3.11 or newer, not %s: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

install: $(READY) ## Virtual environment with everything, from the lock file.

demo: $(READY) ## The whole flow on this machine, reconciled at its end. Options: make demo DEMO="--recording FILE".
	$(BIN)/tickerplant demo $(DEMO)

PYTEST := env PYTHONHASHSEED=$(SEED) $(BIN)/python -m pytest --randomly-seed=$(SEED) --hypothesis-seed=$(SEED)

test: $(READY) ## All tests, on a local stack of their own; order and examples follow from a seed. Options: make test SEED=2.
	@echo "tests in memory run beside those on the stack; what they say comes last"; \
	out=$$(mktemp); nice -n 5 $(PYTEST) -m "not stack" > $$out 2>&1 & memory=$$!; trap 'kill $$memory' INT TERM; \
	$(PYTEST) -m stack; stack=$$?; wait $$memory; memory=$$?; cat $$out; rm -f $$out; \
	[ $$stack -eq 0 ] && [ $$memory -eq 0 ]

fuzz: $(READY) ## Hostile input for all readers, guided by coverage. Options: make fuzz FUZZ_SECONDS=600 TARGETS="avro parse-binance".
	$(BIN)/python -m fuzz $(TARGETS) --seconds $(FUZZ_SECONDS)

soak: $(READY) ## Kill, pause and cut off everything at random, then count. Options: make soak ROUNDS=50 SEED=1 RATE=5000.
	SOAK_LONG=1 OUTAGE_S=$(OUTAGE_S) MODEL_EXAMPLES=2000 SOAK_ROUNDS=$(ROUNDS) SOAK_SEED=$(SEED) SOAK_RATE=$(RATE) $(BIN)/python -m pytest -s tests/model tests/faults $(SOAK)

check: $(READY) ## Lint, format, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY) ## Measure beside peers; figures go to docs/performance.md. Options: make bench BENCH="books venues".
	$(BIN)/python -m benchmarks.run $(BENCH)

format: $(READY) ## Format and mend what the linter can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dist: $(READY) ## Wheel and source distribution, into dist/.
	$(BIN)/python -m hatchling build -t sdist -t wheel -d dist

LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --no-header --quiet

lock: $(READY) ## Resolve dependencies again into requirements.lock, and those of the image out of it.
	$(LOCK) --extra local --group dev --upgrade -o requirements.lock
	$(LOCK) --extra sinks --constraint requirements.lock --upgrade -o requirements.runtime.lock

clean: ## Remove the virtual environment and the local stack's data.
	rm -rf $(VENV) .tickerplant dist
