# What one types in a fresh clone. Needs Python 3.11 or newer, git and make; everything else comes from PyPI into .venv
# (the tests against a real control plane also need Go, or fetch it from PyPI, and its module proxy).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made
ARGS   ?=
# The sessions of noxfile.py, inside the one environment that is here already.
NOX    := PATH="$(abspath $(BIN)):$$PATH" $(BIN)/nox --no-venv --no-install --session

.DEFAULT_GOAL := help
.PHONY: help venv demo test quick lint coverage docs bench lab constraints ci clean

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

venv: $(STAMP) ## Make the virtual environment

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V). Another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: $(STAMP) ## Migrate a simulated cluster before your eyes
	$(BIN)/migrate demo $(ARGS)

test: $(STAMP) ## Run all tests
	$(NOX) test -- $(ARGS)

quick: $(STAMP) ## Run the unit tests only
	$(BIN)/python -m pytest tests/unit $(ARGS)

lint: $(STAMP) ## Check style, types and layers
	$(NOX) lint -- $(ARGS)

coverage: $(STAMP) ## Print how much of the core its tests reach; fails when it falls
	$(NOX) coverage -- $(ARGS)

docs: $(STAMP) ## Build the documentation into build/docs, warnings as errors
	$(NOX) docs -- $(ARGS)

bench: $(STAMP) ## Print what things cost
	$(NOX) bench -- $(ARGS)

lab: $(STAMP) ## Start a real cluster on this machine, as root (ARGS="--nodes 4 --workloads")
	@$(BIN)/python -m tests.lab up $(ARGS)
	@echo "export MIGRATE_CONFIG=$(CURDIR)/tests/lab/migrate.yaml"
	@echo "$(BIN)/migrate preflight             # then: $(BIN)/migrate run"
	@echo "$(BIN)/python -m tests.lab status    # what else there is: tests/lab/README.md"
	@echo "$(BIN)/python -m tests.lab down      # when you are done"

constraints: $(STAMP) ## Pin anew what the image has
	$(NOX) constraints

ci: ## Do all that a change has to pass
	.ci/run

clean: ## Remove what was made
	rm -rf $(VENV) .nox build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
