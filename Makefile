# Every target works as the first command in a fresh clone: .venv is made and filled once, and is quick from then on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers

.PHONY: demo test test-slow test-peers golden lint docs bench bench-ci wheel clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	touch $@

# The other libraries that schedule learning rates, in an environment of their own: they are heavy, and quarrel.
# torch comes first, or one of them would bring its CUDA build. Those in `alone` ask for torchvision or for another
# torch, or change what the rest does by being found: they lie beside the environment, and tests/peers loads single
# modules from there.
$(PEERS)/.ready: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --constraint constraints.txt --constraint constraints-peers.txt torch setuptools wheel
	$(PEERS)/bin/pip install --quiet --constraint constraints.txt --constraint constraints-peers.txt \
		--editable '.[peers]'
	$(PEERS)/bin/pip install --quiet --no-deps --constraint constraints-peers.txt \
		fastai fastcore fastdownload fastprogress fasttransform plum-dispatch
	DS_BUILD_OPS=0 $(PEERS)/bin/pip install --quiet --no-deps --no-build-isolation --upgrade \
		--constraint constraints-peers.txt --target $(PEERS)/alone deepspeed megatron-core mosaicml timm
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

# What the peers warn of is their own affair.
test-peers: $(PEERS)/.ready
	$(PEERS)/bin/python -m pytest tests/peers --override-ini filterwarnings=default

golden: $(PEERS)/.ready
	PYTHONPATH=tests $(PEERS)/bin/python -m peers.make_golden

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
	$(BIN)/python bench/search.py digits diabetes mnist1d
	$(BIN)/python bench/population.py

# Two tasks, few repeats: that every way still answers, and what lrkit's answers cost.
bench-ci: compiled
	$(BIN)/python bench/search.py digits diabetes --repeats 1 --searches 4 --jobs 2

wheel: compiled
	$(BIN)/python -m build --no-isolation --wheel --outdir dist

clean:
	rm -rf $(VENV) $(PEERS) dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
