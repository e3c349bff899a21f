# make demo     everything from nothing, then a small dataset built offline
# make demo-train    the same, then a talker trained on it and measured on held-out speakers
# make test     everything from nothing, then the tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo demo-train test tests test-quick test-all chaos lint docs lock sbom audit system-libraries clean

setup: $(READY)

$(READY): pyproject.toml setup.py requirements.lock requirements-models.lock | system-libraries
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; give one with: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	# All that is asked for is in the lock: nothing else is looked for, and no file without its hash is taken.
	$(BIN)/pip install --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	# Packages that come without what they ask for: each line says why.
	$(BIN)/pip install --disable-pip-version-check --require-hashes --no-deps -r requirements-models.lock
	# torch's build for NVIDIA's cards asks for their libraries; the one for processors for nothing more.
	$(BIN)/pip install --disable-pip-version-check torch
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
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

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

# Tools that look at what is installed, or write the locks; apart, since they bring packages of their own
TOOLS := .tools
$(TOOLS)/.ready:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --disable-pip-version-check uv cyclonedx-bom pip-audit
	touch $@

# Hashes of what the lock files pin, after a version was changed there
lock: $(TOOLS)/.ready
	PATH="$(abspath $(TOOLS))/bin:$$PATH" $(PYTHON) .ci/lock_hashes.py

# What there is in an installation, as CycloneDX JSON: sbom.json
sbom: $(TOOLS)/.ready
	cat requirements.lock requirements-models.lock > $(TOOLS)/all.lock
	$(TOOLS)/bin/cyclonedx-py requirements $(TOOLS)/all.lock --output-format JSON --output-file sbom.json

# Known weaknesses of what the lock pins; asks PyPI, once a package
audit: $(TOOLS)/.ready
	$(TOOLS)/bin/pip-audit --disable-pip --require-hashes -r requirements.lock

clean:
	rm -rf $(VENV) $(TOOLS) sbom.json demo-dataset demo-dataset-source demo-dataset-models
