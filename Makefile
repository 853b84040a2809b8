# Everything a fresh machine needs is a Python from 3.11 on, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml README.md LICENSE $(shell find src -name '*.py' -o -name '*.css')

.PHONY: train test lint docs clean

train: $(VENV)/.run  ## the main job: MovieLens-100K, what suits it, HLR among it
	$(BIN)/python experiments/quickstart.py --workdir=runs/auto

test: $(VENV)/.dev  ## the tests, against the installed package
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs  ## the documentation site, in docs/_build; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -n -q docs docs/_build/html
	@echo docs/_build/html/index.html

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[dev]'
	touch $@ $(VENV)/.run

$(VENV)/.docs: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[docs]'
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) runs docs/_build docs/_generated docs/notebooks
