# `make lab` and `make test` do their own set-up from a bare clone; `make help` lists the rest.
# the first that runs and has a version the course is tested with (a pyenv shim may exist and not run)
SUITS  := import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.12 python3.13 python3.11 python; do \
	$$p -c "$(SUITS)" 2>/dev/null && echo $$p && break; done)
VENV   := .venv/bin
RUN    := $(VENV)/python -m course_utils
ONLY   ?=
PROFILE ?= laptop
JOBS   ?= 2
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)

# One thread for each of two processes: 1.4 times the throughput of one process with two threads.
# Sockets are refused in every Python process, kernels too (tests/offline/sitecustomize.py).
QUIET  := COURSE_NO_PROGRESS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TOKENIZERS_PARALLELISM=false MPLBACKEND=Agg
SINGLE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
TESTENV := $(if $(ALL),ALL=1) $(QUIET) $(SINGLE) PYTHONPATH=$(CURDIR)/tests/offline
PYTEST := $(TESTENV) $(VENV)/python -m pytest -q
NBVAL  := COURSE_STRICT=1 $(PYTEST) --nbval-lax --nbval-current-env --nbval-cell-timeout=600

.DEFAULT_GOAL := help
.PHONY: help setup lab test test-fast test-unit test-smoke test-notebooks test-browser run notebooks assets vectors bench timings lock clean

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: ## environment, models and texts (quick when they are there; repairs what is half done)
	@$(if $(PYTHON),,$(error no suitable Python found: install Python 3.11 to 3.13 with venv and name it: make PYTHON=/path/to/python))$(PYTHON) tools/setup.py

lab: setup ## set up, then open JupyterLab on the first notebook (prints the address if there is no browser)
	$(VENV)/jupyter lab $(ROOT_FLAG) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_ARGS)

test: setup ## set up, then run every test; one lesson: make test ONLY=04_llms/01
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-smoke
	@$(MAKE) --no-print-directory test-notebooks

test-fast: setup ## unit, exercise and structure tests (three minutes)
	@$(MAKE) --no-print-directory test-unit

# exercises without coverage: the alarms that cut endless loops off strike coverage's tracer while it
# holds a lock, and the lock stays shut for ever
test-unit:
	$(PYTEST) -n $(JOBS) --dist loadscope $(if $(ONLY),--lesson "$(ONLY)",--cov --cov-report=term) -m "not browser" tests --ignore=tests/notebooks --ignore=tests/exercises
	$(PYTEST) -n $(JOBS) --dist loadscope $(if $(ONLY),--lesson "$(ONLY)") tests/exercises

test-smoke:
	$(PYTEST) -n $(JOBS) $(if $(ONLY),--lesson "$(ONLY)") tests/notebooks

test-notebooks:
	$(NBVAL) -n $(JOBS) --dist loadscope $(if $(ONLY),$(wildcard notebooks/$(ONLY)*.ipynb notebooks/$(ONLY)*/*.ipynb),notebooks)

test-browser: setup ## open JupyterLab in headless Chromium and work through the first notebook
	$(QUIET) $(VENV)/python -m pytest -q -m browser tests/browser

run: setup ## run notebooks with papermill: make run ONLY=01_foundations PROFILE=smoke JOBS=2
	$(RUN) run $(ONLY) --profile $(PROFILE) --jobs $(JOBS)

notebooks: setup ## build notebooks/ from lessons/ (only those whose lesson, modules or data changed)
	$(RUN) build $(ONLY)

timings: setup ## measure minutes and memory of each notebook; writes cost cards and the README table
	$(RUN) timings $(ONLY)

assets: setup ## show the models and texts: where they come from, size, licence, present or not
	$(RUN) assets

vectors: setup ## embed the articles' paragraphs anew (data/vectors; after a change of texts or chunker)
	$(RUN) vectors

bench: setup ## speed against the libraries and the machine's limits, as ratios of one run
	$(VENV)/python -m bench $(ONLY)

lock: ## pin again what requirements.txt brings along (constraints.txt)
	PATH="$(CURDIR)/$(VENV):$$PATH" $(VENV)/python tools/lock.py

clean: ## remove the environment and all that runs have left (models and progress stay)
	rm -rf .venv runs build .pytest_cache .ruff_cache .coverage* *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
