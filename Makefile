# `make` alone says what there is. Everything runs in .venv, which the first call makes.

BIN = .venv/bin
PYTHON ?= $(firstword $(wildcard $(BIN)/python) python3)
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
CONFIG ?= config/config.yaml
export CONFIG
# RUN, where it is not given, is the run that CONFIG names; the shell reads both, so that names may hold spaces and quotes
NAMED = $(BIN)/python -m bayes_sgd.experiment.config "$$CONFIG"
RUN_NAME = run=$${RUN-$$($(NAMED))}
PIP = $(BIN)/python -m pip install --constraint
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock"
# settings of pip for another place than .venv
export PIP_USER = 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT
# where it is set, as in some containers, each process would compile again all that it imports: longer than it then computes
unexport PYTHONDONTWRITEBYTECODE
# where HOME cannot be written to, as in some containers, Snakemake's cache lies here
ifneq ($(shell [ -w "$$HOME" ] || echo no),)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
endif

.DEFAULT_GOAL := help
.PHONY: help run advise estimate test test-fast portable lint format report report-picture publish compare accept restore plots coverage-study replicate schema bench bench-faults bench-install lock clean

help: ## Say what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run ## Run CONFIG (default: the quick run), then print its verdicts
	@run=$$($(NAMED)) && \
	$(BIN)/snakemake --cores $(CORES) --configfile "$$CONFIG" && \
	$(BIN)/python -m bayes_sgd.report.publish show "$$run"
	@echo "next:    . .venv/bin/activate    (then snakemake and dvc are found, as the README calls them)"

# what is given on the command line is in the environment of the recipe
advise: .venv/run ## Say which batch size to take for DATA=mine.npz LR=0.04 M=0.9 N=500 (and UPDATES, HIDDEN, SEEDS, LABEL)
	@[ -n "$$DATA" ] && [ -n "$$LR" ] || { echo "error: name data and learning rate, as in make advise DATA=mine.npz LR=0.04 M=0.9 N=500" >&2; exit 1; }
	@$(BIN)/python -m bayes_sgd.api.advice "$$DATA" --learning-rate "$$LR" $${M:+--momentum "$$M"} $${N:+--n-train "$$N"} --jobs $(CORES) \
	  $${UPDATES:+--updates "$$UPDATES"} $${SEEDS:+--seeds "$$SEEDS"} $${LABEL:+--label "$$LABEL"} $${RAW:+--raw "$$RAW"} $${HIDDEN:+--hidden $$HIDDEN}

estimate: .venv/run ## Say what CONFIG's run will take: jobs, CPU time, memory, disk
	@$(BIN)/python -m bayes_sgd.report.estimate "$$CONFIG"

test: .venv/test lint ## Lint, then all tests, on all cores
	$(BIN)/python -m pytest -n $(CORES) --cov --cov-report=term:skip-covered --cov-fail-under=90

test-fast: .venv/test ## Tests of the library alone: no Snakemake, DVC or SLURM
	$(BIN)/python -m pytest -n $(CORES) -m "not workflow"

# MKL_ENABLE_INSTRUCTIONS acts on Intel, MKL_CBWR on all makes of processor
portable: .venv/test ## Numerical tests with the instructions of an old processor
	MKL_CBWR=COMPATIBLE MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem ATEN_CPU_CAPABILITY=default NUMBA_CPU_NAME=generic \
	  $(BIN)/python -m pytest -n $(CORES) tests/training tests/curvature tests/evidence

lint: .venv/test ## Check style and types of code and rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell $(shell git ls-files '*.md' '*.py' '*.smk' '*.rst' '*.toml' 'config/*.yaml' 'profiles/*')
	$(BIN)/pyright
	$(BIN)/snakemake --lint

format: .venv/test ## Format code and rules
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

report: .venv/run ## Write CONFIG's run as one page, results/<run>/report.html: verdicts, curves, figures, tables, provenance, cost
	@run=$$($(NAMED)) && \
	$(BIN)/snakemake "results/$$run/report.html" --cores $(CORES) --configfile "$$CONFIG" && \
	echo "the page: results/$$run/report.html"

report-picture: .venv/run ## Take the README's picture of the published page, docs/report.png, in Chromium
	@$(BIN)/python -m bench.report.picture

publish: .venv/run ## Copy what RUN made to results/published/RUN
	@$(RUN_NAME) && $(BIN)/python -m bayes_sgd.report.publish publish "$$run"

compare: .venv/run ## Compare RUN with what is published, claim by claim
	@$(RUN_NAME) && $(BIN)/python -m bayes_sgd.report.publish compare "$$run"

accept: .venv/run ## Take the results of CONFIG's run as made by the present code: after an edit that changes no number
	@run=$$($(NAMED)) && \
	{ [ "$${RUN-$$run}" = "$$run" ] || { echo "error: RUN is $$RUN, but $$CONFIG is of run $$run; give that run's CONFIG" >&2; exit 1; }; } && \
	$(BIN)/python -m bayes_sgd.report.accept "$$run" && \
	$(BIN)/snakemake --cores 1 --touch --quiet all --configfile "$$CONFIG"

restore: .venv/run ## Get the data and results that dvc.lock names from your DVC remote, instead of making them
	@[ -n "$$($(BIN)/dvc config core.remote)" ] || { echo "error: no DVC remote is set, so there is nothing to restore from; set one with .venv/bin/dvc remote add -d NAME URL" >&2; exit 1; }
	@[ -f dvc.lock ] || { echo "error: there is no dvc.lock, so there is nothing to restore; dvc repro writes it where the results are made, commit it there" >&2; exit 1; }
	$(BIN)/dvc pull
	@$(BIN)/dvc status --quiet || { echo "code or configuration differ from dvc.lock: what was fetched is not theirs; run snakemake"; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores 1 --touch --forceall --quiet all

plots: .venv/run ## Draw DVC's plots on dvc_plots/index.html, a page that needs no network
	@$(BIN)/dvc plots show
	@$(BIN)/python -c 'from snakemake.assets import Assets; print(*(Assets.get_content(f"{name}/{name}.js") for name in ("vega", "vega-lite", "vega-embed")), sep="\n;\n")' > dvc_plots/vega.js

bench-faults: .venv/run ## Break runs in many ways, write what was seen and lost to results/published/faults.csv
	$(BIN)/python -m bench.faults.run

coverage-study: .venv/run ## Simulate studies with known truth on the surface of RUN, count how often intervals and verdicts are right
	@$(RUN_NAME) && $(BIN)/python -m bayes_sgd.claims.coverage_study "$$run"

# the quick run has few seeds; CONFIG from the command line or the environment wins
replicate: CONFIG := $(if $(filter file,$(origin CONFIG)),config/standard.yaml,$(CONFIG))
replicate: .venv/run ## Run config/standard.yaml, or CONFIG, again with other seeds and roundings, and say how far claims and digits agree
	$(BIN)/python -m bench.replication.run --configuration "$$CONFIG" --cores $(CORES) $(REPLICATE)

schema: .venv/run ## Write config/schema.json, the tables of config/README.md and docs/tables.md from their models
	PYTHONIOENCODING=utf-8 $(BIN)/python -m bayes_sgd.experiment.config > config/schema.json
	$(BIN)/python -m bayes_sgd.experiment.keys config/README.md
	PYTHONIOENCODING=utf-8 $(BIN)/python -m bayes_sgd.core.schema > docs/tables.md

bench-install: .venv/run ## Time install and quick run from a fresh clone, write the README's table
	$(BIN)/python -m bench.workflow.first_run

bench: .venv/bench ## Time training against its rivals, and how time and memory grow
	$(BIN)/python -m bench.engine.compare
	$(BIN)/python -m bench.workflow.growth

lock: .venv/run ## Solve the locks for Linux and macOS, keeping the versions that they have
	$(PIP) requirements-test.lock --quiet --editable '.[lock]'
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --output-file requirements-test.lock --all-extras --constraint requirements.lock pyproject.toml

clean: ## Remove results, logs and times of RUN (not the prepared data, which runs share, nor what is published)
	@[ -n "$${RUN+given}" ] || [ -x $(BIN)/python ] || { echo "error: no $(BIN)/python to read CONFIG with; name the run, as in make clean RUN=quick" >&2; exit 1; }
	@$(RUN_NAME) && case "$$run" in \
	    "" | published | [!a-z0-9]* | *[!a-z0-9_-]*) echo "error: RUN is '$$run'; the name of a run is wanted, as in make clean RUN=quick" >&2; exit 1;; \
	esac && rm -rf "results/$$run" "logs/$$run" "benchmarks/$$run"

# Another PYTHON than that of .venv makes it anew. requirements.lock pins every version, and what torch's own build asks for is
# installed: the GPU libraries, or none with the CPU build. What is there already, and fits, is left alone.
ifneq ($(shell $(PYTHON) -V 2>&1 || :),$(shell $(BIN)/python -V 2>&1 || :))
.PHONY: .venv/run
endif
.venv/run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v[:2] < (3, 15) or sys.exit("error: Python 3.11 to 3.14 is wanted, $(PYTHON) is %d.%d; name another: make run PYTHON=python3.12" % v[:2])'
	@echo "installing into .venv: on Linux 3 GB to download and 6.5 GB on disk, 5 GB of which are for GPUs (README, 'Run it')"
	@[ "$$($(PYTHON) -V)" = "$$($(BIN)/python -V 2>&1)" ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PIP) requirements.lock --editable .
	@touch $@

.venv/bench: .venv/run requirements-test.lock
	$(PIP) requirements-test.lock --editable '.[bench]'
	@touch $@

.venv/test: .venv/run requirements-test.lock
	$(PIP) requirements-test.lock --editable '.[test]'
	@touch $@
