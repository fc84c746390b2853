"""Break real runs of a small workflow, do what the user is told to do, compare the tables with an undisturbed run.

Writes results/published/faults.csv, a row for each fault: what was broken and when, what the user saw, what was lost, how long
it took to recover, whether the tables are equal byte for byte. Run by
`make bench-faults`; faults of the disk need root, to mount.
Signals come after the first second and before the last: there Snakemake itself is loaded or over, and Python speaks for it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from bench.common.workflow_copy import ROOT
from bench.faults import damage, disk, kill, settings
from bench.faults.stage import FULL, PLAIN, Case, Stage, as_record

from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema_bench import FAULTS

TABLE = ROOT / "results" / "published" / "faults.csv"
HERE = "one machine"


def stages(folder: Path, names: set[str], mnist: Path) -> dict[str, Stage]:
    """The undisturbed runs that are asked for."""
    mine = folder / "mine.npz"
    damage.write_images(mine)
    raw = {f"data/raw/MNIST/raw/{path.name}": path for path in sorted((mnist / "MNIST" / "raw").glob("*.gz"))}
    wanted: dict[str, tuple[dict[str, Any], dict[str, Path]]] = {
        "plain": (PLAIN, {}),
        "full": (FULL, {}),
        "file": (PLAIN | {"data": {"name": "file", "path": "data/mine.npz"}}, {"data/mine.npz": mine}),
        "mnist": (PLAIN | {"data": {"name": "mnist"}}, raw),
    }
    return {name: Stage.build(folder / name, *wanted[name]) for name in wanted if name in names}


def tried(case: Case, stage: Stage, folder: Path) -> dict[str, Any]:
    """Try one fault, and print its row."""
    row = as_record(case.run(case, stage, folder), folder)
    word = f"BAD ({', '.join(bad)})" if (bad := shortcomings(row)) else "ok"
    print(f"{word:4} {row['fault']} [{row['moment']}]: {row['seen'][:150]} -> {row['remedy']}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return row


def shortcomings(row: dict[str, Any]) -> list[str]:
    """What must not be in a row."""
    reasons = {
        "tables differ": not row["tables_equal"],
        "traceback": row["traceback"],
        "orphans": row["orphans"] > 0,
        f"lost {row['lost']}": not row["lost"].startswith(("nothing", "what the damaged file held")),
    }
    return [word for word, applies in reasons.items() if applies]


def _kept(rows: pd.DataFrame, some: bool) -> list[pd.DataFrame]:
    """Rows of the table that stay: those of other machines, and where only some faults were tried, those of other faults."""
    if not TABLE.exists():
        return []
    table = read_csv(TABLE, FAULTS)
    stays = table["where"] != HERE
    return [table[stays | ~table["fault"].isin(rows["fault"]) if some else stays]]


def main(arguments: list[str] | None = None) -> int:
    """Try all faults; exit status 1 if one of them lost something or ended in a traceback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="a regular expression: only these; other rows stay")
    parser.add_argument("--mnist", type=Path, default=ROOT / "data" / "raw", help="folder that holds MNIST/raw (else left out)")
    parser.add_argument("--workers", type=int, default=2, help="faults at a time")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    cases = [*kill.cases(), *disk.cases(), *settings.cases(), *damage.cases()]
    cases = [case for case in cases if re.search(given.only, f"{case.fault} [{case.moment}]")]
    if not (given.mnist / "MNIST" / "raw").is_dir():
        cases = [case for case in cases if case.stage != "mnist"]
    os.nice(5)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that Ctrl-C is ignored
    with tempfile.TemporaryDirectory(prefix="faults-") as parent, ThreadPoolExecutor(given.workers) as pool:
        folder = Path(parent).resolve()
        built = stages(folder / "stages", {case.stage for case in cases}, given.mnist)
        jobs = [pool.submit(tried, case, built[case.stage], folder / f"{number:03}") for number, case in enumerate(cases)]
        rows = pd.DataFrame([job.result() for job in jobs])
    rows = rows.assign(where=HERE)
    bad = sum(bool(shortcomings(row)) for row in rows.to_dict("records"))
    write_csv(TABLE, pd.concat([rows, *_kept(rows, bool(given.only))], ignore_index=True), FAULTS)
    print(f"{len(rows)} faults, {bad} bad, {time.monotonic() - started:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
