# Everything a fresh machine needs is a Python from 3.11 on, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml README.md LICENSE $(shell find src -name '*.py' -o -name '*.css')

.PHONY: train test lint clean

train: $(VENV)/.run  ## the main job: MovieLens-100K, what suits it, HLR among it
	$(BIN)/python experiments/quickstart.py --workdir=runs/auto

test: $(VENV)/.dev  ## the tests, against the installed package
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[dev]'
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) runs
