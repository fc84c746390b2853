"""To how many digits a run can be expected the same elsewhere: takes a run and its roundings, compares their tables.

A rounding is the same run with other instructions of the processor or other threads: what differs then differs between machines
too. `python -m bayes_sgd.report.digits RUN ROUNDING ...` writes results/published/digits.csv and the table of docs/method.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import RUN
from bayes_sgd.core.schema_replication import DIGITS
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.report.publish import folder_of
from bayes_sgd.report.text import markdown, replace_between

TABLE, PAGE = Path("results/published/digits.csv"), Path("docs/method.md")
MOST = 16  # a double has no more
# what a configuration says, and what follows from it alone
SETTINGS = (
    *(field.name for field in fields(Cell)),
    *("noise_scale", "prior_precision", "factor"),
    *("axis_value", "scaling_variable", "budget_fraction", "grid_low", "grid_high"),
)
NOTHING = 1e-12  # of the largest value of a column: what is smaller is 0 but for rounding


def relative_differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|a − b| over the larger of both and of `NOTHING` times the largest finite value; 0 for equal ones, inf if one is missing.

    Args:
        one: (n,) floats.
        other: (n,) floats.
    """
    finite = np.abs(np.concatenate([one, other]))
    largest = finite[np.isfinite(finite)].max(initial=0.0)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(one - other) / np.maximum(np.maximum(np.abs(one), np.abs(other)), NOTHING * largest)
    relative = np.where(np.isfinite(one) & np.isfinite(other), relative, np.inf)
    return np.where(equal, 0.0, relative)


def shared_digits(difference: float) -> int:
    """Decimal digits that values with this relative difference share, 0 to `MOST`."""
    return MOST if difference == 0 else int(np.clip(np.floor(-np.log10(difference)), 0, MOST))


def digits_of_table(name: str, here: pd.DataFrame, others: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of one table in `digits`, a row for each column of floating-point numbers.

    Args:
        name: of the table.
        here: as the run has it.
        others: as its roundings have it, row by row.

    Raises:
        UserError: a rounding has another number of rows: it is of another configuration.
    """
    for other in others:
        if len(other) != len(here):
            raise UserError(
                f"{name}.csv: {len(here)} rows in one run, {len(other)} in the other; compare runs of equal settings"
            )
    rows: list[dict[str, Any]] = []
    for column in here.select_dtypes("floating").columns.difference(SETTINGS, sort=False):
        ours = here[column].to_numpy(float)
        differences = [relative_differences(ours, other[column].to_numpy(float)) for other in others]
        largest = max((float(difference.max(initial=0.0)) for difference in differences), default=0.0)
        rows.append(
            {
                "table": name,
                "column": column,
                "runs": len(others),
                "values": int(np.isfinite(ours).sum()),
                "equal": float(np.mean([difference == 0 for difference in differences])) if ours.size else 1.0,
                "median_difference": max((float(np.median(d)) for d in differences if d.size), default=0.0),
                "largest_difference": largest,
                "digits": shared_digits(largest),
            }
        )
    return pd.DataFrame(rows, columns=list(DIGITS.names))


def digits_table(run: Path, roundings: Sequence[Path]) -> pd.DataFrame:
    """The table `digits` of the folder of a run and those of its roundings, over all tables that each of them has."""
    compared = []
    for name, schema in RUN.items():
        paths = [folder / "tables" / f"{name}.csv" for folder in (run, *roundings)]
        if name != "costs" and all(path.exists() for path in paths):
            here, *others = (read_csv(path, schema) for path in paths)
            compared.append(digits_of_table(name, here, others))
    if not compared:
        raise UserError(f"{run}: no table that {', '.join(map(str, roundings))} have too; finish the runs first")
    return pd.concat(compared, ignore_index=True)


def digits_page(table: pd.DataFrame) -> str:
    """The table as Markdown, a line for each table and number of digits; columns of one table with equal digits together."""
    rows = [
        [f"{name}.csv", str(digits), f"{1 - group['equal'].mean():.0%}", ", ".join(group["column"])]
        for name, columns in table.groupby("table", sort=False)
        for digits, group in sorted(columns.groupby("digits"), key=lambda item: -int(str(item[0])))
    ]
    return markdown(rows, ["table", "digits", "values that differ", "columns"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, write the table and the page, print the latter."""
    parser = argparse.ArgumentParser(prog="python -m bayes_sgd.report.digits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="name of a run: a folder under results/")
    parser.add_argument("roundings", nargs="+", help="names of the runs of the same settings that rounded otherwise")
    parser.add_argument("--print-only", action="store_true", help=f"leave {TABLE} and {PAGE} as they are")
    options = parser.parse_args(arguments)
    with one_line():
        table = digits_table(folder_of(options.run), [folder_of(name) for name in options.roundings])
        page = digits_page(table)
        print(page)
        if not options.print_only:
            write_csv(TABLE, table, DIGITS, {"run": options.run})
            replace_between(PAGE, "digits", f"\n{page}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
