# The front door. Everything runs in .venv, which `make setup` puts up from the locks in containers/.

BUDGET ?= smoke
BENCHMARK ?=
SEEDS ?=
EXPERIMENT ?=
# where runs are trained: host, docker, podman or apptainer
RUNTIME ?=
# how jobs are started: a folder of profiles/, such as gpu or slurm
PROFILE ?=
# cpu, cuda or cuda12; if left out, the one that is there, or that the machine's driver allows
TORCH ?=
# The one in .venv; for a new .venv the first of these that runs
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for each in .venv/bin/python python3.11 python3.12 python3.13; do \
	$$each -c '' 2>/dev/null && echo $$each && exit; done; echo python3)
endif

BIN := .venv/bin
# Tools that are called by name (dvc, snakemake, python) are the locked ones.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
CHOICE = --budget $(BUDGET) $(if $(BENCHMARK),--benchmark $(BENCHMARK)) \
	$(if $(SEEDS),--seeds $(SEEDS)) $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) \
	$(if $(RUNTIME),--runtime $(RUNTIME))
# One thread a process: two test processes share two cores.
PYTEST := $(RUN) OMP_NUM_THREADS=1 python -m pytest
SNAKEFILES := Snakefile $(wildcard workflow/rules/*.smk)

.DEFAULT_GOAL := help
.PHONY: help setup reproduce plan status pull crate figures tables doctor docs test test-browser test- \
	package test-gpu test-docker test-slurm chaos lint verify repeat licences schemas architecture bench \
	benchmark-table learn-check retro-roms lock clean distclean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'
	@echo
	@echo "  Options: BUDGET=smoke|mini|day|paper BENCHMARK=name SEEDS=n EXPERIMENT=name TORCH=cpu|cuda|cuda12"
	@echo "           RUNTIME=host|docker|podman|apptainer PROFILE=gpu|slurm"

setup:  ## put up .venv from the locks; does nothing when it is there
	@command -v $(PYTHON) >/dev/null || { echo "set-up: there is no Python; install 3.11, 3.12 or 3.13 (Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m workflow.setup install $(if $(TORCH),--torch $(TORCH))

reproduce: setup  ## train, evaluate and draw everything of a budget
	@$(RUN) python -m workflow reproduce $(CHOICE) $(if $(PROFILE),--profile $(PROFILE))

plan: setup  ## what a budget would run, how long it takes, what is done already
	@$(RUN) python -m workflow plan $(CHOICE)

status: setup  ## how far each run is, how fast, and how long it still takes
	@$(RUN) python -m workflow status $(CHOICE)

pull: setup  ## fetch a run's checkpoint and check it: FOLDER=results/..., REPLAY=1 for its replay
	@test -n "$(FOLDER)" || { echo 'pull: say which run: make pull FOLDER=results/mini/runs/...' >&2; exit 2; }
	@$(RUN) python -m workflow pull $(FOLDER) $(if $(REPLAY),--replay)

crate: setup  ## describe a budget's results as an RO-Crate (Workflow Run)
	@$(RUN) python -m workflow crate --budget $(BUDGET)

figures: setup  ## the figures alone
	@$(RUN) python -m workflow figures $(CHOICE)

tables: setup  ## the tables alone
	@$(RUN) python -m workflow tables $(CHOICE)

doctor:  ## what this machine has and lacks, with remedies
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m workflow.setup doctor; else $(PYTHON) -m workflow.setup doctor; fi

test: setup  ## linters, types, contracts, unit and end-to-end tests
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(PYTEST) -n 2 --dist loadgroup --durations 10 -rs || status=1; \
	echo "not run here: make learn-check (an hour or two of training), make chaos (all of its trials)," \
		"make test-browser (Chromium)," \
		"make docs and make test-package (an environment of their own)," \
		"make test-gpu (an NVIDIA GPU), make test-docker and make test-slurm (as root, with a" \
		"container engine and Slurm)"; \
	[ $$status = 0 ] || echo "make test: FAILED" >&2; \
	exit $$status

lint: setup  ## the linters, the type checker and the import contracts alone
	@status=0; \
	check() { echo "== $$*"; $(RUN) "$$@" || status=1; }; \
	check ruff check .; \
	check ruff format --check .; \
	check mypy; \
	check lint-imports --no-cache; \
	check snakemake --lint; \
	check snakefmt --check $(SNAKEFILES); \
	exit $$status

verify: setup  ## make a budget's figures, tables and report anew, compare them byte for byte
	@$(RUN) python -m workflow verify --budget $(BUDGET)

repeat: setup  ## train a tenth of a budget's runs again (SHARE=0.1), compare their bits
	@$(RUN) python -m workflow repeat --budget $(BUDGET) $(if $(SHARE),--share $(SHARE))

test-browser: setup  ## the report in a real browser; installs Debian's Chromium if it is missing
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
		|| apt-get install -y --no-install-recommends chromium chromium-driver
	@$(PYTEST) -m browser

test-package: setup  ## wheel and sdist: built, checked, installed in empty environments; some minutes
	@$(PYTHON) -m workflow.setup tools
	@$(PYTEST) -m package tests/package

test-gpu: setup  ## losses, acting and resumed runs on an NVIDIA GPU, as on the CPU
	@CUBLAS_WORKSPACE_CONFIG=:4096:8 $(PYTEST) -m gpu tests/gpu

test-docker: setup  ## training in a real container engine, as root; about 10 minutes (EXPERIMENT=name)
	@$(if $(EXPERIMENT),AMAGO2_TEST_EXPERIMENT=$(EXPERIMENT)) $(PYTEST) -m docker tests/docker

test-slurm: setup  ## training through a real Slurm of this machine alone, as root
	@$(PYTEST) -m slurm tests/slurm

chaos: setup  ## kill, cut, fill, damage and attack: SEED=n ONLY=kind[:trial] WRITE=1; 15 minutes
	@$(RUN) OMP_NUM_THREADS=1 python -m tests.chaos --seed $(or $(SEED),0) $(if $(ONLY),--only $(ONLY)) \
		$(if $(WRITE),--write)

bench: setup  ## measure speed and memory into docs/performance.md (ONLY="learner replay": parts)
	@$(RUN) python -m workflow bench $(ONLY)

benchmark-table: setup  ## measure how fast every benchmark steps into docs/benchmarks.md
	@$(RUN) OMP_NUM_THREADS=1 python -m workflow benchmark-table --out docs/benchmarks.md

learn-check: setup  ## train small agents for an hour or two and see them learn what they should
	@$(PYTEST) -m learn -n 2 -rP

docs: setup  ## the documentation site in build/site/html, every warning an error (LINKS=1: ask for addresses)
	@$(PYTHON) -m workflow.setup tools
	@$(RUN) python -m workflow docs site $(if $(LINKS),--links)

licences: setup  ## docs/licences.md anew, from the locked packages
	@$(RUN) python -m workflow docs licences

schemas: setup  ## params/schemas anew, from the models that read the parameter files
	@$(RUN) python -m workflow docs schemas

architecture: setup  ## the drawing in docs/architecture.md anew, from the code
	@$(RUN) python -m workflow docs architecture

lock: setup  ## make the hash locks anew (UPGRADE=1: with the newest versions)
	@$(PYTHON) -m workflow.setup lock $(if $(UPGRADE),--upgrade)

retro-roms: setup  ## add your own Super Mario ROMs, checked by hash: FROM=folder
	@test -n "$(FROM)" || { echo 'retro-roms: say where your ROMs are: make retro-roms FROM=folder' >&2; exit 2; }
	@$(RUN) python -m workflow roms import "$(FROM)"

clean:  ## remove unfinished runs, job logs and caches; results are never touched
	@$(PYTHON) -m workflow.setup clean

distclean:  ## clean, and remove .venv too
	@$(PYTHON) -m workflow.setup clean --all
