"""How time and memory grow: with stack, N, cells, cores, jobs, updates. Run by `make bench` (about five minutes).

Writes results/published/bench/growth.csv, .png and .svg. A row is one quantity (`what`) in one `setting`: `value` is the median
of `repeats` trials, `low` and `high` the smallest and the largest; `series` and `x` are where the figure draws it. One thread.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd
from bench.common.drawing import growth_figure, save
from bench.common.values import Value
from bench.engine.compare import FOLDER
from bench.engine.growth import engine_values
from bench.workflow.jobs import job_values
from bench.workflow.planning import workflow_values

from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.provenance import environment
from bayes_sgd.core.schema_bench import GROWTH


def table(values: Sequence[Value]) -> pd.DataFrame:
    """The rows, and the machine."""
    machine = environment()
    of_machine = {name: machine[name] for name in ("processor", "cores", "python", "date_utc")}
    return pd.DataFrame([value.row() for value in values]).assign(**of_machine, torch=machine["versions"]["torch"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and few trials: does it work?")
    parser.add_argument("--parts", default="engine,job,workflow", help="a subset, with commas; the rows of others stay")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table and the figure")
    chosen = parser.parse_args(arguments)
    quick = chosen.quick
    parts: dict[str, Callable[[], object]] = {
        "engine": lambda: engine_values(2, 0.01, (1, 2), (20,)) if quick else engine_values(5, 0.2),
        "job": lambda: job_values(1, (2, 4), (1, 2)) if quick else job_values(5),
        "workflow": lambda: workflow_values(1, (1, 20), 2) if quick else workflow_values(3),
    }
    values = []
    for value in chain.from_iterable(parts[name]() for name in chosen.parts.split(",")):
        row = value.row()
        print(
            f"{row['what']}, {row['setting']}: {row['value']:.4g} {row['unit']} [{row['low']:.4g}, {row['high']:.4g}]",
            flush=True,
        )
        values.append(value)
    frame, before = table(values), chosen.out / "growth.csv"
    if before.exists():  # what was measured earlier, with its own date
        old = read_csv(before, GROWTH)
        frame = pd.concat([old[~old["what"].isin(frame["what"])], frame], ignore_index=True)
    frame["series"] = frame["series"].fillna("")
    write_csv(chosen.out / "growth.csv", frame, GROWTH)
    save(growth_figure(frame), chosen.out / "growth")
    print(chosen.out / "growth.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
