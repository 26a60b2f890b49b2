# SPDX-License-Identifier: Apache-2.0
# Everything that is done with this tree. `make help` lists it; each target makes what it needs by itself.

VENV := .venv
OPENSTACK := .venv-openstack
FAULTS = $(if $(ALL),KARBOR_TEST_ALL=1) $(if $(POINTS),KARBOR_TEST_POINTS=1)
BIN := $(VENV)/bin
# Interpreters to try for the environment, best first; `make venv PYTHON=/path/to/python` decides it.
PYTHON ?= python3.14 python3.13 python3.12 python3.11 python3
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Without git, or in a clone without history, pbr has nothing to tell the version from.
export PBR_VERSION ?= $(shell sed -n 's/^version = //p' setup.cfg).dev0

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help venv demo run test test-services test-faults lint format bench docs etc clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	    while IFS='|' read -r target what; do printf 'make %-14s %s\n' "$$target" "$$what"; done

venv: $(VENV)/.installed $(OPENSTACK)/.installed ## the environments in .venv and .venv-openstack, from Python 3.11 or newer

demo: $(VENV)/.installed ## protect, restore and compare two shares and a database, on a sandbox cloud
	@$(BIN)/python tools/demo.py

run: $(VENV)/.installed ## Karbor with the sandbox cloud, until Ctrl-C; prints what to type
	@$(BIN)/python tools/run.py

test: $(VENV)/.installed $(OPENSTACK)/.installed ## every test that needs no server
	$(BIN)/python -m pytest -m 'not services and not faults' -n 4 --dist loadfile

test-services: $(VENV)/.installed ## the tests on MariaDB, PostgreSQL, RabbitMQ and Redis
	$(BIN)/python -m pytest -m 'services and not faults' -n 2 --dist loadfile

test-faults: $(VENV)/.installed ## workers killed, stopped and misled at every step; ALL=1 for all points, POINTS=1 to print them
	$(FAULTS) $(BIN)/python -m pytest -m faults -n 8 karbor/tests/faults
	$(FAULTS) $(BIN)/python -m pytest -m faults karbor/tests/infrastructure

lint: $(VENV)/.lint ## ruff, mypy, import-linter, codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy karbor
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

format: $(VENV)/.lint ## let ruff put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed ## the figures, as JSON lines; ONLY=name for one of them
	@$(BIN)/python tools/bench.py $(if $(ONLY),--only $(ONLY))

docs: $(VENV)/.docs ## the documentation in doc/build/html; release notes, too, in a full clone
	$(BIN)/sphinx-build -W --keep-going -q -b html doc/source doc/build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html api-ref/source doc/build/api-ref
	@if git rev-parse -q --verify HEAD >/dev/null 2>&1 && [ "$$(git rev-parse --is-shallow-repository)" = false ]; then \
	    set -x; $(BIN)/sphinx-build -W --keep-going -q -b html releasenotes/source releasenotes/build/html; \
	else echo 'no full git history: release notes are not built'; fi

etc: $(VENV)/.installed ## the samples of configuration and policy in etc/karbor, and the table of the rules, from the code
	$(BIN)/oslo-config-generator --config-file etc/oslo-config-generator/karbor.conf
	$(BIN)/oslopolicy-sample-generator --config-file etc/oslo-policy-generator/karbor.conf
	$(BIN)/python tools/policy_table.py

clean: ## away with the environment and everything that was built
	rm -rf $(VENV) $(OPENSTACK) .tox build dist *.egg-info doc/build releasenotes/build AUTHORS ChangeLog
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that works is kept; one whose interpreter is gone, or whose making was interrupted, is made anew.
$(VENV)/.python:
	@if $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then touch $@; exit; fi; \
	for candidate in $(PYTHON); do \
	    if $$candidate -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "$(VENV): $$($$candidate --version)"; \
	        $$candidate -m venv --clear $(VENV) && touch $@; exit; \
	    fi; \
	done; \
	echo 'Karbor needs Python 3.11 or newer with the modules venv and ensurepip (on Debian and Ubuntu: python3-venv).' >&2; \
	echo 'Tried: $(PYTHON). Another one: make venv PYTHON=/path/to/python3' >&2; \
	exit 1

$(VENV)/.installed: $(VENV)/.python requirements.txt test-requirements.txt constraints.txt setup.cfg pyproject.toml
	@echo '$(VENV): installing (a minute or two the first time)'
	@$(PIP_INSTALL) -r test-requirements.txt -e '.[sandbox,mysql,postgresql,redis]'
	@touch $@

# The `openstack` command, which some tests of the clients call.
$(OPENSTACK)/.installed: $(VENV)/.python openstack-requirements.txt
	@echo '$(OPENSTACK): installing'
	@$(BIN)/python -m venv --clear $(OPENSTACK)
	@$(OPENSTACK)/bin/python -m pip install --quiet --disable-pip-version-check -r openstack-requirements.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.installed lint-requirements.txt
	@$(PIP_INSTALL) -r lint-requirements.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.installed doc/requirements.txt
	@$(PIP_INSTALL) -r doc/requirements.txt
	@touch $@
