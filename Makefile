# Every target sets itself up: the first one run builds .venv from the pinned constraints.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that really starts: some machines carry launchers for versions they lack.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
  $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,13))' 2>/dev/null && echo $$p && break; done)
STAMP := $(VENV)/.complete
export FLWR_TELEMETRY_ENABLED := 0
export OMP_WAIT_POLICY ?= passive
# The tests start many processes, each of which would compile the package and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test check slow bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; name one with make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip==26.3" "setuptools>=80,<85"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,dev]"
	@touch $(STAMP)

venv: $(STAMP) ## the virtual environment alone

demo: $(STAMP) ## two real answers, each as a report
	$(BIN)/python -m testbed.cli.demo

test: $(STAMP) ## the tests, within ten minutes on two cores
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(STAMP) ## format, lint, types, containers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/python docker/lint.py

slow: $(STAMP) ## calibration over many seeds, Ray, containers
	$(BIN)/python -m pytest -m slow

bench: $(STAMP) ## each benchmark prints what it compared with
	@for b in $$(grep -l __main__ benchmarks/*.py | grep -v _side.py); do echo "== $$b"; $(BIN)/python $$b || exit 1; done

clean: ## remove the environment
	rm -rf $(VENV)
