"""What a training job costs before its first update, and its memory against the length of its training and its cells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.common.values import Value

from bayes_sgd.data.datasets import prepare
from bayes_sgd.data.labels import write_labels
from bayes_sgd.experiment.config import DataConfig

ROOT = Path(__file__).parents[2]
TOP = 8  # packages that are listed


def process(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with one thread; it must succeed."""
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=one, text=True, capture_output=True, check=True)


def job(how: str, folder: Path, cells: int, updates: int, seeds: int) -> dict[str, Any]:
    """What bench/workflow/one_job.py says of one job."""
    said = process("-m", "bench.workflow.one_job", how, str(folder), str(cells), str(updates), str(seeds))
    return json.loads(said.stdout.splitlines()[-1])


def job_values(repeats: int, lengths: tuple[int, ...] = (100, 1000, 4000), cells: tuple[int, ...] = (1, 10)) -> Iterator[Value]:
    """Start-up first, then memory."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        prepare(DataConfig(), folder)
        write_labels(folder, "real")
        starts = [job("start", folder, 1, 1, 8) for _ in range(repeats)]
        for moment, what in (
            ("imported", "imports"),
            ("loaded", "imports and data"),
            ("first_update", "until the first update"),
        ):
            yield Value("start of a training job", what, "s", [start[moment] for start in starts])
        yield from import_values(repeats)
        for updates in lengths:
            peaks = [job("whole", folder, 1, updates, 4)["peak_mb"] for _ in range(2)]
            yield Value("peak memory of a job", f"1 cell, 4 seeds, {updates} updates", "MB", peaks, "updates, 1 cell", updates)
        for count in cells:
            peaks = [job("whole", folder, count, lengths[0], 4)["peak_mb"] for _ in range(2)]
            setting = f"{count} cells, 4 seeds, {lengths[0]} updates"
            yield Value("peak memory of a job", setting, "MB", peaks, f"cells, {lengths[0]} updates", count)


def import_values(repeats: int) -> Iterator[Value]:
    """Seconds that packages take to import themselves (what they import in turn is counted there), the longest first."""
    runs = []
    for _ in range(repeats):
        said = process("-X", "importtime", "-c", "import bayes_sgd.training.runner").stderr
        own: Counter[str] = Counter()
        for microseconds, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", said, re.MULTILINE):
            own[name.split(".")[0]] += int(microseconds)
        runs.append(own)
    total = sum(runs, Counter())
    for name, _ in total.most_common(TOP):
        yield Value("import, own time", name, "s", [run[name] / 1e6 for run in runs])
