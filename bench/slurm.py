"""What SLURM costs: the quick run until its networks are trained, through profiles/slurm, against the same without SLURM.

Writes results/published/bench/slurm.csv: a row is one way of running, its trials in turn with the other's; `throughput` is the
median time without SLURM over that with it. Each trial starts in a fresh copy, at the packing of the configuration. Wants a
SLURM that runs (tests/slurm/start.sh) with a slot for each CPU of the machine. Run by

    python bench/slurm.py
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pandas as pd
import yaml
from engine import FOLDER
from growth_workflow import ROOT, SMALL, workflow

from bayes_sgd.provenance import environment
from bayes_sgd.tables import write_csv

COLUMNS = ("way", "config", "jobs", "seconds", "low", "high", "throughput", "repeats")
WAYS = {"local": ("--cores", str(os.cpu_count() or 1)), "slurm": ("--workflow-profile", "profiles/slurm")}


def trial(way: str, config: dict) -> tuple[float, int]:
    """Wall-clock seconds of the training in a fresh copy, and how many jobs were submitted."""
    with tempfile.TemporaryDirectory() as parent:
        folder = workflow(Path(parent), config)
        command = [str(Path(sys.executable).with_name("snakemake")), "trained", *WAYS[way], "--configfile", "config/bench.yaml"]
        started = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder / "src")},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{way}: the run failed\n{done.stdout[-2000:]}")
    return seconds, len(re.findall(r"has been submitted with SLURM jobid", done.stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run, one trial: does it work?")
    parser.add_argument("--repeats", type=int, default=3, help="trials of each way")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table")
    chosen = parser.parse_args(arguments)
    config = SMALL if chosen.quick else yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    for _ in range(1 if chosen.quick else chosen.repeats):
        for way, trials in found.items():
            trials.append(trial(way, config))
            print(way, f"{trials[-1][0]:.1f} s, {trials[-1][1]} jobs submitted", flush=True)
    middle = {way: median(seconds for seconds, _ in trials) for way, trials in found.items()}
    rows = [
        {
            "way": way,
            "config": config["run"],
            "jobs": trials[-1][1],
            "seconds": middle[way],
            "low": min(trials)[0],
            "high": max(trials)[0],
            "throughput": middle["local"] / middle[way],
            "repeats": len(trials),
        }
        for way, trials in found.items()
    ]
    machine = environment()
    facts = {name: machine[name] for name in ("processor", "cores", "python", "date_utc")}
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).assign(**facts, torch=machine["versions"]["torch"])
    write_csv(chosen.out / "slurm.csv", frame, COLUMNS)
    print(frame.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
