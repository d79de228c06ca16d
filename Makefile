# Every target works as the first command in a fresh clone: .venv is made and filled once, and is quick from then on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint docs bench wheel clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	touch $@

# Byte code is written here because some machines forbid Python to (PYTHONDONTWRITEBYTECODE), and start-up halves with it.
.PHONY: compiled
compiled: $(READY)
	@$(BIN)/python -m compileall -q src

demo: compiled
	$(BIN)/lrkit tune digits --out runs/demo

test: compiled
	$(BIN)/python -m pytest

test-slow: compiled
	$(BIN)/python -m pytest -m slow

lint: compiled
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: compiled
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: compiled
	$(BIN)/python bench/tune.py digits --seeds 5
	$(BIN)/python bench/find.py --seeds 5
	$(BIN)/python bench/search_interval.py --repeats 20
	$(BIN)/python bench/population.py

wheel: compiled
	$(BIN)/python -m build --no-isolation --wheel --outdir dist

clean:
	rm -rf $(VENV) dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
