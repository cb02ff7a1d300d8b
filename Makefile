# Two commands do everything on a fresh machine: `make run` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= data
LISTEN ?= 127.0.0.1:8080
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/ntfyish: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# aiontfy is a client that the tests talk with; it asks for a newer Python than it needs.
$(VENV)/.dev: pyproject.toml $(BIN)/ntfyish
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --ignore-requires-python 'aiontfy>=0.8.6,<0.9'
	@touch $@

run: $(BIN)/ntfyish ## Run the server on 127.0.0.1:8080 with its data in ./data
	$(BIN)/ntfyish serve --listen-http $(LISTEN) --data-dir $(DATA)

test: $(VENV)/.dev ## Run all tests (the pages need Chromium: apt-get install chromium)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev ## Check style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what was built
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

-include bench/bench.mk
