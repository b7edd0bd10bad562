# `make demo` and `make test` need Python 3.11 or later and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := pyproject.toml setup.py constraints.txt
CODE := visionrel pipelines detectors weights demos tests setup.py

.PHONY: help demo test style quality bench results clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     install, learn a relation from ten pictures, say where the result is"
	@echo "make test     install everything and run the tests"
	@echo "make style    format and mend the code        make quality  check it"
	@echo "make bench    measure the speed               make results  write docs/results.md"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "visionrel needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# Editable: the code that runs is the code in this folder.
$(VENV)/.for-use: $(SETUP) | $(BIN)/python
	@echo "Installing into $(VENV); the first time this downloads PyTorch and takes minutes."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.for-work: $(SETUP) | $(BIN)/python
	@echo "Installing into $(VENV); the first time this downloads PyTorch and takes minutes."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demos,detection,dev]'
	@touch $@ $(VENV)/.for-use

demo: $(VENV)/.for-use
	$(BIN)/visionrel quickstart

# One thread: tests start processes of their own.
test: export OMP_NUM_THREADS ?= 1
test: $(VENV)/.for-work
	$(BIN)/python -m pytest -q

style: $(VENV)/.for-work
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

quality: $(VENV)/.for-work
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

bench: $(VENV)/.for-use
	$(BIN)/visionrel bench

# Many hours from nothing; a second call goes on where the first stopped.
results: $(VENV)/.for-work
	$(BIN)/visionrel evaluate reversion --docs_dir docs
	$(BIN)/visionrel evaluate videorepa --docs_dir docs
	$(BIN)/visionrel evaluate videorepa --probe --docs_dir docs
	$(BIN)/visionrel evaluate aerial --docs_dir docs
	$(BIN)/visionrel bench --docs_dir docs

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
