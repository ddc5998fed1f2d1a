# Sets the project up and runs its jobs. Needs Linux and Python 3.11 or newer; no root, no Docker.
#
#   make demo PYTHON=python3.13            another Python
#   make test VENV=~/.cache/lab-venv       another place for the virtual environment
#   make test TESTS=all                    every test; TESTS=ci for what CI runs
#   make test PYTEST_ADDOPTS="-k bouncer"  pytest's own options

PYTHON ?= python3
VENV ?= .venv
# How many tests run at a time; each worker that needs a lab has one of its own. Three keep two cores busy: tests wait, too.
WORKERS ?= 3
# Which tests: `main` takes minutes; `all` has every mistake of every scenario too, and every solution typed as a candidate
# does; `ci`, which .ci/run takes, is that with a third of the tests that are many alike, another third for each commit.
TESTS ?= main
# Whether kind's main tests are among them, where this machine has Docker or can be given it: `none`, or `main` as in CI.
KIND ?= none
# In which order every test replays the scenarios: another one for each commit. The main ones go by start state.
SEED ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1)
# What the demo replays; `lab scenarios` lists all there are.
DEMO ?= gatekeeper-trusted-images imagepolicy-enable imagepolicy-fail-closed pin-deployment-digest
# Whose verdicts are recorded for the walkthroughs; `make walkthroughs WALK=cache-ttl` keeps those of the others.
WALK ?= --all
# Two reports to compare; each is what `make verdicts` has left, on its own backend.
ONE ?= reports/embedded/night/verdicts.json
OTHER ?= reports/kind/night/verdicts.json
# What `make verdicts` replays, on which backend, and with the Kubernetes that is pinned or the minor version before.
REPLAY ?= --all
BACKEND ?= embedded
KUBERNETES ?= pinned

# Modules and not scripts, whose first line goes wrong when the checkout is moved.
python := $(VENV)/bin/python
installed := $(VENV)/.lab-installed
installed_dev := $(VENV)/.lab-installed-dev
selected_main := -m "not thorough"
selected_all := --lab-shuffle $(SEED)
selected_ci := $(selected_all) --lab-turn $(SEED)
ifeq ($(filter $(TESTS),main ci all),)
$(error TESTS=$(TESTS) is neither main, ci nor all)
endif
ifeq ($(filter $(KIND),none main),)
$(error KIND=$(KIND) is neither none nor main)
endif
# The backend itself, and scenarios: of the API server's files, of Gatekeeper, and the one that only kind can hold.
kind_main := tests/kind/test_backend.py tests/kind/test_replay.py
docker_main := $(python) -m tests.sandbox run --if-possible
# What they do not make themselves, because pytest would keep the progress of a build to itself.
kind_needs := $(python) -m lab components fetch kind >/dev/null && $(python) -m lab node-image build

# A virtual environment is made anew when its Python cannot be run (it is gone, or this user may not look there), and
# the lab installed anew when it was installed from another directory.
ifneq ($(shell $(python) -c 'print("ok")' 2>/dev/null),ok)
.PHONY: $(python)
endif
ifneq ($(shell cat $(installed) 2>/dev/null),$(CURDIR))
.PHONY: $(installed)
endif

.PHONY: help demo test test-here lint setup programs picture walkthroughs clean kind-machine kind test-kind test-kind-here
.PHONY: lint-workflows user-namespaces verdicts verdicts-summary tests-summary night-matrix parity

help:
	@echo "make demo     watch a real API server admit and reject Pods, in four scenarios"
	@echo "make test     lint, types and tests; TESTS=ci KIND=main for what CI runs, TESTS=all for every test"
	@echo "make lint     lint and types only"
	@echo "make setup    the virtual environment and the pinned programs, to work on the lab"
	@echo "make picture  record the README's picture from a real run"
	@echo "make walkthroughs  write docs/walkthroughs and docs/scenarios.md anew, from a real run"
	@echo "make verdicts  replay every scenario and keep what it got; KUBERNETES=before takes the minor version before"
	@echo "make verdicts-summary  the table of it, and what changed since the run before"
	@echo "make parity   compare what two backends got, verdict by verdict: ONE=FILE OTHER=FILE"
	@echo "make lint-workflows  check .github/workflows with actionlint"
	@echo "make kind     a lab on kind from nothing, Docker and images included (root, Debian); make test-kind tests it"
	@echo "make clean    remove what make has made here; the cache of programs stays"

demo: $(installed)
	@$(python) -m lab run --no-mistakes $(DEMO)

test: programs $(installed_dev)
	@$(docker_$(KIND)) $(MAKE) --no-print-directory test-here

# The long tests first, so that no worker is idle at the end; lint beside them, its words last when it failed.
test-here:
	@mkdir -p reports; \
	  $(if $(kind_$(KIND)),if docker info >/dev/null 2>&1; then $(kind_needs) || exit; fi;) \
	  $(MAKE) --no-print-directory lint >reports/lint.txt 2>&1 & lint=$$!; \
	  $(python) -m pytest $(selected_$(TESTS)) -n $(WORKERS) --dist loadgroup --junitxml=reports/junit.xml \
	    $(kind_$(KIND)) tests/e2e tests/integration tests/unit; tests=$$?; \
	  wait $$lint || { cat reports/lint.txt; exit 1; }; exit $$tests

lint: $(installed_dev)
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy lab tests docs ci

setup: $(installed_dev) programs

# Apart from the tests, because pytest would keep the progress of a build to itself.
programs: $(installed)
	@$(python) -m lab components fetch >/dev/null

picture: $(installed)
	@$(python) docs/images/record.py

walkthroughs: $(installed)
	@mkdir -p reports
	@$(python) -m lab run --no-mistakes --json reports/walkthroughs.json $(WALK)
	@$(python) -m docs.walkthroughs reports/walkthroughs.json

# From nothing to a lab on kind, Docker and the node image included. Only root can set a test machine up; where Docker
# answers and no machine needs to be worked round, `lab node-image build` and `lab up --backend kind` are enough.
kind-machine: $(installed_dev)
	@mkdir -p reports; $(python) -m tests.sandbox up
	@$(python) -m tests.sandbox kind-config reports/kind-machine >reports/kind-machine.yaml
	@$(kind_needs)

kind: kind-machine
	@LAB_KIND_OVERLAY=reports/kind-machine.yaml $(python) -m lab up --backend kind --name kind

# Docker is stopped afterwards, unless it ran before.
test-kind: $(installed_dev)
	@$(python) -m tests.sandbox run $(MAKE) --no-print-directory test-kind-here

test-kind-here: kind-machine
	@LAB_KIND_OVERLAY=$(CURDIR)/reports/kind-machine.yaml $(python) -m pytest --lab-backend kind \
	  --junitxml=reports/junit-kind.xml --lab-shuffle $(SEED) -m "not thorough" tests/kind tests/e2e

# The rest is what .github/workflows calls; a person may as well.
lint-workflows: $(installed)
	@$(python) -m ci lint

# Until the next boot. Ubuntu from 23.10 on keeps programs without an AppArmor profile from using their own namespaces.
restriction := /proc/sys/kernel/apparmor_restrict_unprivileged_userns
user-namespaces:
	@if [ "$$(cat $(restriction) 2>/dev/null || echo 0)" = 0 ]; then echo "user namespaces are not restricted here"; \
	  else sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; fi

own_before := --bin-dir reports/kubernetes
own = $(own_$(or $(filter pinned before,$(KUBERNETES)),$(error KUBERNETES=$(KUBERNETES) must be pinned or before)))
# The last run that came to its end is kept beside this one, to see what changed.
verdicts: $(installed)
	@mkdir -p reports; rm -rf reports/bundles; \
	  if [ -e reports/night/verdicts.json ]; then rm -rf reports/last-night; mv reports/night reports/last-night; fi; \
	  rm -rf reports/night; mkdir reports/night
	@$(if $(own),$(python) -m ci kubernetes reports/kubernetes)
	@git rev-parse HEAD >reports/night/commit
	@$(python) -m lab components list --json $(own) >reports/night/programs.json
	@$(python) -m lab run $(REPLAY) --backend $(BACKEND) $(own) --json reports/night/verdicts.json \
	  --junit reports/night/scenarios.xml --bundles reports/bundles

verdicts-summary: $(installed)
	@$(python) -m ci night reports/night --since reports/last-night --issue reports/changes.md

parity: $(installed)
	@$(python) -m lab parity --from $(ONE) $(OTHER) --json reports/parity.json

tests-summary: $(installed)
	@$(python) -m ci tests reports/junit.xml

night-matrix: $(installed)
	@$(python) -m ci matrix

clean:
	@if [ -e $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi
	@rm -rf reports build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	@find lab tests docs ci -name __pycache__ -type d -prune -exec rm -rf {} +

$(python):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) cannot be run, or is older than Python 3.11"; \
	  echo "  what to do: name one that will do, for example: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 2; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make virtual environments: it has no venv or no ensurepip"; \
	  echo "  what to do: sudo apt-get install python3-venv, or name another one: make PYTHON=..."; exit 2; } >&2
	@if [ -e $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi && $(PYTHON) -m venv $(VENV) || { \
	  echo "error: the virtual environment $(VENV) could not be made"; \
	  echo "  what to do: see above; another place will do: make VENV=~/.cache/lab-venv $(MAKECMDGOALS)"; exit 2; } >&2

# Compiled here, as pip does unless the install is an editable one: the bouncer's Pod sees its source read-only, and
# would compile it at every start. What setuptools leaves beside it goes: through it pytest takes every module of the lab
# for one of a plugin's whose assertions it has to rewrite, which Python before 3.11.8 cannot do in two threads at a time
# (cpython issue 106905).
forget := rm -rf k8s_supply_chain_lab.egg-info
$(installed): $(python) pyproject.toml constraints.txt
	@echo "installing the lab into $(VENV)" >&2
	@$(python) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(forget)
	@$(python) -m compileall -q lab
	@echo "$(CURDIR)" > $@

$(installed_dev): $(installed)
	@echo "installing linters and test tools into $(VENV)" >&2
	@$(python) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(forget)
	@touch $@
