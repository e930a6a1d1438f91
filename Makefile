# Two commands matter: `make run` (talk to it) and `make test` (prove it).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= configs/local.yaml
SOURCES := serve_app deployments cluster loadtest tests
SYSTEM  := tests/browser tests/cluster tests/live
# Bytecode is made once here rather than by a dozen processes at the first start.
UV     := $(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode

.PHONY: help run demo install install-dev web-client test lint types unit system bytecode lock clean

help:           ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

run: install    ## install what is missing, then talk: prints the address to open
	@$(BIN)/antiphon up $(CONFIG)

demo: install   ## the same without models: synthetic engines, ready in seconds
	@$(BIN)/antiphon up configs/demo.yaml

install: $(VENV)/.run web-client
install-dev: install $(VENV)/.dev

# pip brings uv, uv brings the rest: both check every file against the hashes in requirements/.
$(BIN)/uv: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Antiphon needs Python 3.11 or later: make run PYTHON=python3.12")'
	@echo "Preparing $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(VENV)/.run: $(BIN)/uv requirements/run.txt pyproject.toml
	@echo "Installing the packages …"
	@$(UV) --require-hashes -r requirements/run.txt
	@$(UV) --no-deps --no-build-isolation --editable .
	@touch $@

# The page joins rooms with it; without it the page goes on by its WebSocket, so nothing here may fail.
web-client: $(VENV)/.run
	@$(BIN)/python -m serve_app.web_client

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "Installing what the tests need …"
	@$(UV) --require-hashes -r requirements/dev.txt
	@touch $@

test: lint types unit system  ## every check: style, imports, types, tests

lint: install-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: install-dev
	@$(BIN)/mypy

# Most of them wait most of the time: two at once take half as long. A file's tests follow each other.
unit: bytecode
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(SYSTEM:%=--ignore=%) $(PYTEST_ARGS)

# Whole systems, one after another and beside nothing else: they speak and listen in real time.
system: bytecode
	@$(BIN)/python -m pytest $(SYSTEM) $(PYTEST_ARGS)

# Each process of a system imports our own modules, too, and may be forbidden to write beside them.
bytecode: install-dev
	@$(BIN)/python -m compileall -q $(SOURCES)

lock: $(BIN)/uv ## write requirements/ anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra cpu --extra talk pyproject.toml -o requirements/run.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@printf 'pip\nsetuptools\nuv\n' | $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 - -o requirements/bootstrap.txt

clean:          ## remove the virtual environment, and what was fetched for the page
	rm -rf $(VENV) serve_app/web/vendor
