"""How the workflow grows: wall time on one and two cores, planning against cells, jobs a second against Snakemake's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from bench.common.values import Value
from bench.common.workflow_copy import ROOT, copy_workflow

SMALL: dict[str, Any] = {
    "run": "small",
    "seeds": 4,
    "cell": {"hidden_sizes": [100], "n_train": 1000, "updates": 500},
    "experiments": {
        "learning_rate": {
            "axis": "learning_rate",
            "grid": [{"learning_rate": [0.05, 0.1, 0.2], "batch_size": [8, 16, 32, 64, 128, 256]}],
        }
    },
    "linear": {"seeds": 2, "n_train": 200, "n_test": 200, "l2_low": 0.01, "l2_high": 100, "l2_per_decade": 1},
    "statistics": {"replicates": 200},
}
EMPTY = """
rule all:
    input: [f"{i}.txt" for i in range(%d)]
rule touch:
    output: "{i}.txt"
    shell: "touch {output}"
"""


def many(cells: int, updates: int = 2000, seeds: int = 2) -> dict[str, Any]:
    """A configuration with so many cells and a job for each: batch sizes 1 to at most 20, learning rates the rest."""
    sizes = min(cells, 20)
    rates = [round(0.001 * (i + 1), 6) for i in range(-(-cells // sizes))]
    grid = [{"learning_rate": rates, "batch_size": list(range(1, sizes + 1))}]
    experiments = {"learning_rate": {"axis": "learning_rate", "grid": grid}}
    cell = {"hidden_sizes": [20], "updates": updates}
    return {"run": "many", "pack": [], "seeds": seeds, "cell": cell, "experiments": experiments, "linear": {"seeds": 0}}


def workflow(folder: Path, config: dict[str, Any]) -> Path:
    """A copy of the workflow with this configuration."""
    copy_workflow(folder)
    (folder / "config" / "bench.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def snakemake(folder: Path, *arguments: str, cores: int = 1) -> float:
    """Wall-clock seconds of a call that must succeed."""
    return called([str(Path(sys.executable).with_name("snakemake"))], folder, arguments, cores)[0]


def planned(config: dict[str, Any]) -> tuple[float, float]:
    """Wall-clock seconds of a dry run in a fresh copy, and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as parent:
        command = [sys.executable, "-m", "bench.workflow.one_plan"]
        seconds, said = called(command, workflow(Path(parent), config), ("--dry-run",), 1)
        return seconds, json.loads(said.splitlines()[-1])["peak_mb"]


def called(command: list[str], folder: Path, arguments: Sequence[str], cores: int) -> tuple[float, str]:
    """Wall-clock seconds of a call of Snakemake that must succeed, and what it printed."""
    command = [*command, "--quiet", "all", "--cores", str(cores), *arguments]
    if (folder / "config").exists():
        command += ["--configfile", "config/bench.yaml"]
    environment = os.environ | {"PYTHONPATH": f"{folder / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, done.stdout


def timed(config: dict[str, Any], *arguments: str, cores: int = 1, twice: bool = False) -> list[float]:
    """Seconds of a call in a fresh copy, and of a second one."""
    with tempfile.TemporaryDirectory() as parent:
        folder = workflow(Path(parent), config)
        return [snakemake(folder, *arguments, cores=cores) for _ in range(2 if twice else 1)]


def workflow_values(repeats: int, plans: tuple[int, ...] = (1, 100, 2000, 10_000), jobs: int = 12) -> Iterator[Value]:
    """Whole runs, planning, jobs."""
    for cores in (1, 2):
        first, second = timed(SMALL, cores=cores, twice=True)
        setting = f"18 cells x 4 seeds, H 100, 500 updates, {cores} cores"
        yield Value("whole workflow", setting, "s", [first], "cores", cores)
        yield Value("whole workflow, second call", setting, "s", [second])
    for cells in plans:
        times, peaks = zip(*(planned(many(cells)) for _ in range(repeats)), strict=True)
        yield Value("planning (snakemake -n)", f"{cells} cells, pack: []", "s", times, "planning", cells)
        yield Value("peak memory of planning", f"{cells} cells, pack: []", "MB", peaks)
    target = "results/many/tables/cells.csv"
    few, more = ([timed(many(n, 1, 1), target)[0] for _ in range(repeats)] for n in (2, 2 + jobs))
    costs = [(b - a) / jobs for a, b in zip(few, more, strict=True)]
    yield Value("train job of one update", "one core, time of a job more", "s", costs)
    yield Value("jobs a second", "train, one update a job, one core", "1/s", [1 / cost for cost in costs])
    with tempfile.TemporaryDirectory() as parent:
        empty = []
        for number in range(repeats):
            folder = Path(parent) / str(number)
            folder.mkdir()
            (folder / "Snakefile").write_text(EMPTY % jobs, encoding="utf-8")
            least = snakemake(folder, "0.txt")
            empty.append((snakemake(folder) - least) / (jobs - 1))
    yield Value("jobs a second", "touch a file, one core", "1/s", [1 / cost for cost in empty])
