# FaceWarrant: two commands for a newcomer are `make demo` and `make test`; see `make help`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# CPU wheels of torch: on a machine without a GPU set PIP_EXTRA_INDEX_URL to PyTorch's CPU index.
TORCH  := torch==2.13.0
# npm writes this file last: what it installed.
NODE_SET := tests/interop/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test interop check format coverage docs clean

help:  ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

setup: $(STAMP)  ## create .venv and install the pinned set (demo and test do it by themselves)

$(STAMP): pyproject.toml constraints.txt
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> installing $(TORCH) (1 of 2; the largest download)"
	@$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH) -c constraints.txt
	@echo "==> installing FaceWarrant and its pinned dependencies (2 of 2; about a minute)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@$(BIN)/facewarrant doctor
	@touch $@

demo: $(STAMP)  ## one consented face swap, released, verified, tampered with, withdrawn
	@$(BIN)/facewarrant demo

test: $(STAMP)  ## run the tests, with branch coverage of policies and provenance
	@echo "==> tests (pictures of ../shared are used where present)"
	@$(BIN)/pytest -n auto --dist loadfile --cov --cov-report=term

interop: $(NODE_SET)  ## install another C2PA engine (needs Node), so that no test of it is skipped

$(NODE_SET): tests/interop/package.json tests/interop/package-lock.json
	@echo "==> installing @trustnxt/c2pa-ts for the tests of other engines"
	@npm ci --loglevel=error --prefix tests/interop
	@touch $@

check: $(STAMP)  ## format, lint, types and import contracts
	@echo "==> ruff format"; $(BIN)/ruff format --check --quiet .
	@echo "==> ruff check";  $(BIN)/ruff check --quiet .
	@echo "==> mypy --strict"; $(BIN)/mypy
	@echo "==> import contracts"; $(BIN)/lint-imports --no-cache
	@echo "==> check passed"

format: $(STAMP)  ## write the format and the lint fixes that are safe
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(STAMP)  ## rewrite the generated parts of README and docs
	@$(BIN)/python -m pipelines.docs
	@$(BIN)/python -m pipelines.law_page
	@$(BIN)/python -m generator.convert --page > docs/models.md

clean:  ## remove .venv, caches and the demo's output
	rm -rf $(VENV) tests/interop/node_modules demo-output .pytest_cache .mypy_cache .ruff_cache .coverage
