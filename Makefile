# make demo: see it work. make test: prove it. make check: style and types. make run: the Discord bot.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check run console bench clean

demo: $(VENV)/installed
	$(BIN)/python -m bot demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	$(BIN)/ruff format --diff .
	$(BIN)/ruff check .
	$(BIN)/mypy

run: $(VENV)/installed
	$(BIN)/python -m bot run

console: $(VENV)/installed
	$(BIN)/python -m bot console

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.thread
	$(BIN)/python -m benchmarks.cleaning
	$(BIN)/python -m benchmarks.archive
	$(BIN)/python -m benchmarks.sources
	$(BIN)/python -m benchmarks.huggingtweets
	$(BIN)/python -m benchmarks.fuzz
	$(BIN)/python -m benchmarks.discord_load
	$(BIN)/python -m benchmarks.discord_soak

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
