# Two commands matter: `make run` (talk to it) and `make test` (prove it).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= configs/local.yaml
# Bytecode is made once here rather than by a dozen processes at the first start.
UV     := $(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode

.PHONY: help run demo install install-dev web-client test lint types unit lock clean

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

test: lint types unit  ## every check: style, imports, types, tests

lint: install-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: install-dev
	@$(BIN)/mypy

unit: install-dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lock: $(BIN)/uv ## write requirements/ anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra cpu --extra talk pyproject.toml -o requirements/run.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@printf 'pip\nsetuptools\nuv\n' | $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 - -o requirements/bootstrap.txt

clean:          ## remove the virtual environment, and what was fetched for the page
	rm -rf $(VENV) serve_app/web/vendor
