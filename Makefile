# make train    the main job: makes the sounds, trains HeuriNet in four phases, writes a run folder
# make test     all tests
# make api      pages of the public interface, of its docstrings: docs/api/index.html
# The first use makes .venv and installs into it; later uses install again only when setup.py or pyproject.toml changed.
#
# ARGS    further options:         make train ARGS="--net piczaknet"      make test ARGS="tests/layers -q"
# PYTHON  the Python to build on:  make train PYTHON=/opt/python3.12/bin/python3      where .venv is there: make clean before
# EXTRAS  further extras for the tests, each left out with a word where it cannot be installed:
#                                  make test EXTRAS="oracles cuda"

VENV := .venv
BIN := $(VENV)/bin
PYTHON :=
EXTRAS ?=
ARGS ?=
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
DECLARED := $(BIN)/python setup.py pyproject.toml

.NOTPARALLEL:
.PHONY: help train test api lint format clean

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

train: $(VENV)/installed
	$(BIN)/python -m scratchnet.train $(ARGS)

test: $(VENV)/installed-test $(addprefix $(VENV)/extra-,$(EXTRAS))
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

api: $(VENV)/installed-docs
	$(BIN)/pdoc scratchnet --output-directory docs/api

lint: $(VENV)/installed-lint
	@status=0; \
	for check in "ruff check ." "ruff format --check ." mypy; do \
	  echo $$check; $(BIN)/$$check || status=1; \
	done; \
	exit $$status

format: $(VENV)/installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) docs/api build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version): once, a minute or two."; \
	    "$$python" -m venv --clear $(VENV) && exit 0; \
	    rm -rf $(VENV); exit 1; \
	  fi; \
	done; \
	echo "scratchnet needs Python 3.11 or newer, and none of these is: $(CANDIDATES). Name yours: make PYTHON=/path/to/python3 ..." >&2; \
	exit 1

$(VENV)/installed: $(DECLARED)
	@$(INSTALL) .
	@touch $@

$(VENV)/installed-test: $(DECLARED)
	@$(INSTALL) ".[test]"
	@touch $(VENV)/installed $@

$(VENV)/extra-%: $(VENV)/installed-test
	@$(INSTALL) ".[$*]" && touch $@ || \
	  echo "The extra '$*' could not be installed: the tests that need it will be skipped."

$(VENV)/installed-docs: $(DECLARED)
	@$(INSTALL) ".[docs]"
	@touch $@

$(VENV)/installed-lint: $(DECLARED)
	@$(INSTALL) ".[lint]"
	@touch $@
