# make demo: simulate an event and map it.   make test: the tests.   Both make their own environment first.
# make servers: PostgreSQL, nginx and a STAC API for the tests, where that is possible; it says so where it is not.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test slow servers lint clean

demo: $(READY)
	$(BIN)/sarcube demo demo-output

test: $(READY) servers
	$(BIN)/pytest -n 2

slow: $(READY) servers
	$(BIN)/pytest -m slow

servers: $(READY)
	@tests/servers/install.sh $(BIN)/python

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch goes first and alone, so that a CPU build is taken where there is one.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "sarcube needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) .servers demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
