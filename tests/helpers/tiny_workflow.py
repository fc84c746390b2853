"""The workflow on a tiny configuration, by real Snakemake, in a folder of its own.

Snakemake and its jobs start preloaded; a run through SLURM starts them as a user does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import preloaded
import yaml
from bench.common.workflow_copy import copy_workflow
from project import ROOT

from bayes_sgd.experiment.config import load_config
from bayes_sgd.figures.registry import captions

# variables of a `make test` that a test may be part of
OF_MAKE = {"RUN", "CONFIG", "PYTHON", "CORES", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
TABLES = ("cells", "linear", "optimum", "scaling", "claims")
GRID = [{"learning_rate": [0.05, 0.1], "batch_size": [5, 10, 20]}]
# networks and the linear model alone
SMALL = {
    "run": "tiny",
    "seeds": 2,
    "data": {"name": "mnist5k"},
    "cell": {"hidden_sizes": [12], "n_train": 100, "updates": 40},
    "experiments": {
        "learning_rate": {"axis": "learning_rate", "grid": GRID},
        "batch_size": {"axis": "learning_rate", "record": 4, "keep_weights": True, "grid": [{"batch_size": [10, 20]}]},
    },
    "linear": {"seeds": 2, "n_train": 100, "n_test": 100, "l2_low": 0.01, "l2_high": 100, "l2_per_decade": 1},
    "statistics": {"replicates": 100},
}
# with the evidence of the networks and the noise of their gradients
TINY = SMALL | {
    "network_evidence": {"experiments": ["batch_size"], "prior_precision": [1.0], "points": ["sgd"], "seeds": 1},
    "noise": {"seeds": 1, "updates": [0], "batch_sizes": [1, 10], "draws": 20},
}
FIGURES = tuple(captions(load_config(TINY)))


# in the place of `timing`, which takes seconds on each machine and after each edit of the trainer: the speed of some machine
TIMING = f"print({(ROOT / 'tests' / 'report' / 'calibration.json').read_text(encoding='utf-8')!r})\n"


def copied(folder: Path, config: dict) -> Path:
    """A workflow of its own in `folder`, with the library that lies in its src/; the machine's speed is not measured."""
    configure(copy_workflow(folder), config)
    (folder / "src" / "bayes_sgd" / "training" / "timing.py").write_text(TIMING, encoding="utf-8")
    return folder


def configure(folder: Path, config: dict) -> None:
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(config))


def command(*arguments: str, cores: int = 2) -> list[str]:
    program = str(preloaded.programs() / "snakemake")
    return [program, "--cores", str(cores), "--configfile", "config/tiny.yaml", "--nocolor", *arguments]


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}


def snakemake(folder: Path, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, cores=cores),
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=3600,
        check=False,
    )


def ran(folder: Path, *arguments: str, cores: int = 2) -> str:
    done = snakemake(folder, *arguments, cores=cores)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def listed(output: str) -> dict[str, int]:
    """Rule -> number of jobs in the table of jobs that Snakemake prints."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE) if name != "total"}


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Rule -> number of jobs that a dry run lists."""
    return listed(ran(folder, "--dry-run", *arguments))


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "results" / "tiny" / "tables" / f"{name}.csv").read_bytes() for name in TABLES}
