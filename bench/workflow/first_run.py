"""How long a stranger waits: install, quick run, second call, each from a fresh clone of HEAD; and the size of the install.

Adds rows to results/published/bench/first_run.csv, whose other rows are of other machines or hours, and writes the durations in
README.md. Run by `make bench-install`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.provenance import environment
from bayes_sgd.core.schema_bench import FIRST_RUN
from bayes_sgd.report.first_page import update_readme
from bayes_sgd.report.publish import README_RUN

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "results" / "published" / "bench" / "first_run.csv"


def seconds(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def gigabytes(folder: Path) -> float:
    """Size of the regular files below a folder, in GB."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink()) / 1e9


def main() -> int:
    """Measure, add to the table, write its durations into the README."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as parent:
        clone = Path(parent) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        snakemake = [".venv/bin/snakemake", "--cores", str(cores)]
        rows = [("install", seconds(["make", ".venv/run"], clone), "s")]
        rows += [("quick run", seconds(snakemake, clone), "s"), ("second call", seconds(snakemake, clone), "s")]
        rows += [("size of the install", gigabytes(clone / ".venv"), "GB")]
    machine = environment()
    table = pd.DataFrame(rows, columns=["what", "value", "unit"])
    table = table.assign(processor=machine["processor"], cores=cores, python=machine["python"], date_utc=machine["date_utc"])
    before = [read_csv(TABLE, FIRST_RUN)] if TABLE.exists() else []
    write_csv(TABLE, pd.concat([*before, table], ignore_index=True), FIRST_RUN)
    update_readme(ROOT / "README.md", TABLE.parents[1] / README_RUN)
    print(table.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
