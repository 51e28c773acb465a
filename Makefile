# Every target works on a fresh machine with Python 3.11 or newer and no root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Tests at once: most of them wait for their neighbours.
TESTERS ?= 3

# A node is many processes: each would compile all its modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench soak up clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED)  ## Install everything into .venv

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Nodus needs Python 3.11 or newer.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --quiet --editable '.[ai,evaluation,monai,onnx,dev]'
	touch $@

demo: install  ## Scanner to PACS with a synthetic chest CT, and what came back
	$(BIN)/python deploy/demo.py

test: install lint  ## Everything that CI runs
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder || { \
		echo 'What failed beside others is tried again by itself, and must pass there:'; \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

lint: install  ## Style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install  ## Ingest compared with Orthanc and storescp, queries of a large catalog, a reading stage by stage
	$(BIN)/python -m tests.bench.ingest
	$(BIN)/python -m tests.bench.catalog
	$(BIN)/python -m tests.bench.reading

soak: install  ## Every test on both databases, 500 kills in each setup, then thousands of studies: takes hours
	NODUS_THOROUGH=1 $(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m tests.endurance kills
	$(BIN)/python -m tests.endurance soak

up: install  ## Run the node on this machine
	$(BIN)/nodus up

clean:  ## Remove what was installed and made here
	rm -rf $(VENV) demo bench build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
