"""What SLURM costs: the quick run until its networks are trained, through profiles/slurm, against the same without SLURM.

Writes results/published/bench/slurm.csv: a row is one way of running, its trials in turn with the others'; `throughput` is the
median time without SLURM over that with it, `overhead_s` the time of a slot that a training job takes more than without SLURM.
Each trial starts in a fresh copy. `slurm` is the profile as it is, in which short packs share jobs; with `a pack a job` they do
not. Wants
a SLURM that runs (tests/slurm/start.sh) with a slot for each CPU of the machine. Run by

    python -m bench.slurm.overhead
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import yaml
from bench.common.workflow_copy import ROOT
from bench.engine.compare import FOLDER
from bench.workflow.planning import SMALL, timed

from bayes_sgd.core.io import write_csv
from bayes_sgd.core.provenance import environment
from bayes_sgd.core.schema_bench import SLURM
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.packs import packs

CPUS = os.cpu_count() or 1
PROFILE = ("--workflow-profile", "profiles/slurm")
# cores and arguments of Snakemake; on SLURM, cores are those of one job
WAYS = {
    "local": (CPUS, ()),
    "slurm": (1, PROFILE),
    "a pack a job": (1, (*PROFILE, "--group-components", "none=1")),
}


def trial(way: str, config: dict[str, Any]) -> float:
    """Wall-clock seconds until the networks of a configuration are trained, in a fresh copy."""
    cores, arguments = WAYS[way]
    (seconds,) = timed(config, "trained", *arguments, cores=cores)
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run, one trial: does it work?")
    parser.add_argument("--repeats", type=int, default=3, help="trials of each way")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table")
    chosen = parser.parse_args(arguments)
    config = SMALL if chosen.quick else yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(1 if chosen.quick else chosen.repeats):
        for way, trials in seconds.items():
            trials.append(trial(way, config))
            print(way, f"{trials[-1]:.1f} s", flush=True)
    middle = {way: median(trials) for way, trials in seconds.items()}
    jobs = len(packs(load_config(config)))
    rows = [
        {
            "way": way,
            "config": config["run"],
            "packs": jobs,
            "seconds": middle[way],
            "low": min(trials),
            "high": max(trials),
            "throughput": middle["local"] / middle[way],
            "overhead_s": (middle[way] - middle["local"]) * CPUS / jobs,
            "repeats": len(trials),
        }
        for way, trials in seconds.items()
    ]
    machine = environment()
    of_machine = {name: machine[name] for name in ("processor", "cores", "python", "date_utc")}
    frame = pd.DataFrame(rows).assign(**of_machine, torch=machine["versions"]["torch"])
    write_csv(chosen.out / "slurm.csv", frame, SLURM)
    print(frame.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
