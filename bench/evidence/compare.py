"""Benchmark of the evidence of one network: time and memory, against the bare factorization and against two libraries.

Writes results/published/bench/evidence.csv. A row is one method on one network 784-H-10 with N real digits at one λ. `seconds`
is the median over repeats (of all methods in turn), `low` and `high` the fastest and the slowest; `time_ratio` is against
the bare, in-place Cholesky factorization of a matrix of N(C − 1) rows, `memory_ratio` against that matrix. Ours is the whole
evidence: kernel, factorization, trace, top eigenvalue, effective parameters, accuracies. The libraries form the P x P matrix;
they are asked for ever wider networks until memory or time would not do (`note`). One thread. Run by

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.evidence.compare
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from bayes_sgd.core.io import write_csv
from bayes_sgd.core.provenance import environment
from bayes_sgd.core.schema_bench import EVIDENCE
from bayes_sgd.data.memory import available_bytes
from bayes_sgd.training.mlp import layer_shapes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results" / "published" / "bench"
PIXELS, CLASSES = 784, 10
SQUARES = {"laplace": 3, "curvlinops": 3}  # P x P matrices that a library holds at once, at least


def parameters(hidden: int) -> int:
    """P of the network 784-H-10."""
    return sum(rows * columns for rows, columns in layer_shapes(PIXELS, (hidden,), CLASSES))


def run(method: str, hidden: int, n_train: int, limit_s: float) -> dict[str, float] | str:
    """One trial in a process of its own; a sentence if it came to nothing."""
    squares = SQUARES.get(method)
    free = available_bytes(torch.device("cpu"))
    if squares and free is not None and 8 * squares * parameters(hidden) ** 2 > free:
        return (
            f"not run: {squares} P x P matrices are {8e-9 * squares * parameters(hidden) ** 2:.3g} GB, {free / 1e9:.3g} GB free"
        )
    environ = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.evidence.job", method, str(hidden), str(n_train)]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return f"longer than {limit_s:g} s"
    if done.returncode:
        return f"failed: {(done.stderr.strip().splitlines() or ['killed'])[-1][:200]}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def trials(cases: Sequence[tuple[str, int, int]], repeats: int, limit_s: float) -> dict[tuple[str, int, int], list]:
    """Trials of all cases in turn, so that a slow spell of the machine falls on all; what fails is not tried again."""
    measured: dict[tuple[str, int, int], list] = {case: [] for case in cases}
    for _ in range(repeats):
        for case, results in measured.items():
            if not any(isinstance(result, str) for result in results):
                results.append(run(*case, limit_s))
                print(*case, results[-1], flush=True)
    return measured


def table(measured: dict[tuple[str, int, int], list]) -> pd.DataFrame:
    """A row for each case."""
    rows = []
    for (method, hidden, n_train), results in measured.items():
        good = [result for result in results if isinstance(result, dict)]
        row: dict[str, object] = {
            "method": method,
            "n_train": n_train,
            "hidden": hidden,
            "parameters": parameters(hidden),
            "rows": n_train * (CLASSES - 1) if method in ("ours", "cholesky") else parameters(hidden),
            "repeats": len(good),
            "note": next((result for result in results if isinstance(result, str)), ""),
        }
        seconds = [result["seconds"] for result in good] or [math.nan]
        row |= {"seconds": median(seconds), "low": min(seconds), "high": max(seconds)}
        for name, of in (("cpu_seconds", median), ("peak_mb", max), ("log_determinant", median)):
            row[name] = of([result[name] for result in good]) if good else math.nan
        bare = [result for result in measured.get(("cholesky", hidden, n_train), []) if isinstance(result, dict)]
        if bare:
            row["time_ratio"] = row["seconds"] / median([result["seconds"] for result in bare])
            row["memory_ratio"] = row["peak_mb"] / (8 * (n_train * (CLASSES - 1)) ** 2 / 2**20)
        rows.append(row)
    machine = environment()
    of_machine = {name: machine[name] for name in ("processor", "cores", "python", "date_utc")}
    return pd.DataFrame(rows).assign(**of_machine, torch=machine["versions"]["torch"]).reindex(columns=list(EVIDENCE.names))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one trial: does it work?")
    parser.add_argument("--repeats", type=int, default=3, help="trials of each case")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which a trial is given up")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        cases = [("cholesky", 20, 60), ("ours", 20, 60), ("ours", 1, 60), ("laplace", 1, 60), ("curvlinops", 1, 60)]
    else:
        cases = [(method, 200, n) for n in (250, 500, 1000) for method in ("cholesky", "ours")]
        cases += [(method, hidden, 1000) for hidden in (2, 5, 10, 20, 200) for method in ("laplace", "curvlinops")]
        cases += [(method, hidden, 1000) for hidden in (2, 5, 10, 20) for method in ("cholesky", "ours")]
    frame = table(trials(cases, 1 if chosen.quick else chosen.repeats, chosen.limit))
    write_csv(chosen.out / "evidence.csv", frame, EVIDENCE)
    print(chosen.out / "evidence.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
