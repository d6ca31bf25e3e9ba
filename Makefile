# Everything a newcomer needs: make demo, make test. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SEED ?= 1
SEEDS ?=
WORKERS ?= 6
BENCHES ?= planning explaining market auction order_book packing queueing estimates end_to_end api startup \
  authentication spawn transfer two_databases usage_and_charge daily_close vouchers trading
.DEFAULT_GOAL := help

.PHONY: help demo demo-exchange demo-stop test test-heavy check format bench focus sim components clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.demo: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

demo: $(VENV)/.demo  ## Three sites, thirty real jobs, the bill; ARGS=--exit stops at the end
	@$(BIN)/python -m suanwang.demo $(ARGS)

demo-exchange: $(VENV)/.demo  ## A day of the exchange: five ways to trade, delivery, settlement; ARGS=--exit
	@$(BIN)/python -m suanwang.demo.exchange $(ARGS)

demo-stop:  ## End a demo that was left up
	@$(BIN)/python -m suanwang.demo --stop $(ARGS)

components:  ## What the tests need beside Python (apt, as root on Debian)
	@sh scripts/components.sh

# Compiled once: the tests start hundreds of processes, which may be told not to keep what each
# of them would compile anew. More workers than cores: a third of the tests wait.
test: $(VENV)/.test components  ## The whole suite
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not heavy" $(ARGS)

test-heavy: $(VENV)/.test components  ## What takes minutes
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m heavy $(ARGS)

check: $(VENV)/.test  ## Format, lint, types, import contracts, tidy tests
	@$(BIN)/ruff format --check --quiet . || (echo "run make format"; exit 1)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config .importlinter > /dev/null || $(BIN)/lint-imports --config .importlinter
	@$(BIN)/python -m pytest -q tests/tidy

format: $(VENV)/.test  ## Put the code into the house format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: $(VENV)/.bench components  ## Every bench on a quiet machine: BENCHES="planning api" for some
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python bench/$$name.py $(ARGS) || exit 1; done

focus: $(VENV)/.test  ## The real focus-validator over our exports, and docs/focus-conformance.md
	@$(BIN)/python scripts/focus_conformance.py --write docs/focus-conformance.md

sim: $(VENV)/.test  ## The platform under faults in virtual time: SEED=n for one, SEEDS=n for many
	@$(BIN)/python -m suanwang.sim --seed $(SEED) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

clean:  ## Remove what was built
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .demo
