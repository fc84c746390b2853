# `make` alone says what there is. Everything runs in .venv, which the first call makes.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
RUN ?= quick
CONFIG ?= config/config.yaml
BIN = .venv/bin
NUMERICAL = curvature evidence gradient_noise linear network_evidence reparameterization sampling spectra training

.DEFAULT_GOAL := help
.PHONY: help run test portable lint format publish compare restore plots faults calibrate schema first-run bench clean

help: ## Say what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run ## Run CONFIG (default: the quick run), then print its verdicts
	@$(BIN)/python -c 'import sys; from bayes_sgd.config import load_config; from bayes_sgd.errors import one_line; one_line()(load_config)(sys.argv[1])' $(CONFIG)
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)
	@$(BIN)/python -m bayes_sgd.publish show $(RUN)

test: .venv/test lint ## Lint, then all tests
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-fail-under=90

# MKL_ENABLE_INSTRUCTIONS acts on Intel, MKL_CBWR on all makes of processor
portable: .venv/test ## Numerical tests with the instructions of an old processor
	MKL_CBWR=COMPATIBLE MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem ATEN_CPU_CAPABILITY=default \
	  $(BIN)/python -m pytest $(addprefix tests/test_,$(addsuffix .py,$(NUMERICAL)))

lint: .venv/test ## Check style and types of code and rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/pyright
	$(BIN)/snakemake --lint

format: .venv/test ## Format code and rules
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

publish: .venv/run ## Copy what RUN made to results/published/RUN
	@$(BIN)/python -m bayes_sgd.publish publish $(RUN)

compare: .venv/run ## Compare RUN with what is published, claim by claim
	@$(BIN)/python -m bayes_sgd.publish compare $(RUN)

restore: .venv/run ## Get data and results of the committed dvc.lock from the DVC remote, instead of making them
	$(BIN)/dvc pull
	@$(BIN)/dvc status --quiet || { echo "code or configuration differ from dvc.lock: what was fetched is not theirs; run snakemake"; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores 1 --touch --forceall --quiet all

plots: .venv/run ## Draw DVC's plots on dvc_plots/index.html, a page that needs no network
	@$(BIN)/dvc plots show
	@$(BIN)/python -c 'from snakemake.assets import Assets; print(*(Assets.get_content(f"{name}/{name}.js") for name in ("vega", "vega-lite", "vega-embed")), sep="\n;\n")' > dvc_plots/vega.js

faults: .venv/run ## Break runs in many ways, write what was seen and lost to results/published/faults.csv
	$(BIN)/python bench/faults.py

calibrate: .venv/run ## Simulate studies with known truth on the surface of RUN, count how often intervals and verdicts are right
	$(BIN)/python -m bayes_sgd.calibration $(RUN)

schema: .venv/run ## Write config/schema.json from the models in config.py
	$(BIN)/python -m bayes_sgd.config > config/schema.json

first-run: .venv/run ## Time install and quick run from a fresh clone, write the README's table
	$(BIN)/python bench/first_run.py

bench: .venv/bench ## Time training against its rivals, and how time and memory grow
	$(BIN)/python bench/engine.py
	$(BIN)/python bench/growth.py

clean: ## Remove what the workflow made (not the published results, not the downloads)
	rm -rf results/$(RUN) data/prepared logs benchmarks .snakemake

# requirements.lock pins every version; what is already there is left alone
.venv/run: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

.venv/bench: .venv/run pyproject.toml
	$(BIN)/python -m pip install --quiet "jax==0.10.2" "jaxlib==0.10.2"
	@touch $@

.venv/test: .venv/run requirements-test.lock
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-test.lock
	@touch $@
