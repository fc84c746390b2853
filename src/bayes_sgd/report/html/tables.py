"""The tables of a run as the page shows them: columns with unit and meaning, and their values, packed for the browser."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any, cast

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import Floats, mean_interval
from bayes_sgd.core.columns import CELL, SEEDS, TEST_ACCURACY, TEST_LOSS, TRAIN_ACCURACY
from bayes_sgd.core.schema import CELLS, RUN
from bayes_sgd.core.table import TEXT, Column, Table
from bayes_sgd.report.html.run import Run

DIGITS = 6  # significant; the CSV files have all
SETTINGS = Table(
    "settings",
    "A row for each cell and phase: means over seeds at its last update, with the 95 % t-interval of the test accuracy.",
    (
        CELLS.columns[0],
        *CELL,
        *(column for column in CELLS.columns if column.name in ("noise_scale", "update", "phase")),
        SEEDS,
        TEST_ACCURACY,
        Column("ci_low", "fraction", "Lower end of the 95 % interval of the test accuracy."),
        Column("ci_high", "fraction", "Upper end of the 95 % interval of the test accuracy."),
        TRAIN_ACCURACY,
        TEST_LOSS,
    ),
)
_MEASURED = ("test_accuracy", "ci_low", "ci_high", "train_accuracy", "test_loss", "seeds")


def settings(cells: pd.DataFrame) -> pd.DataFrame:
    """The table `SETTINGS` from the table of cells: a row for each setting in place of one for each seed and update."""
    keys = [name for name in SETTINGS.names if name in cells and name not in ("update", *_MEASURED)]
    last = cells.loc[cells["update"] == cells.groupby(keys, dropna=False)["update"].transform("max")]
    rows = []
    for key, group in last.groupby([*keys, "update"], sort=False, dropna=False):
        accuracy = mean_interval(group["test_accuracy"].to_numpy(np.float64))
        means = {name: group[name].mean() for name in ("train_accuracy", "test_loss")}
        measured = {"test_accuracy": accuracy.value, "ci_low": accuracy.low, "ci_high": accuracy.high, "seeds": accuracy.n}
        rows.append(dict(zip([*keys, "update"], cast(tuple, key), strict=True)) | measured | means)
    frame = pd.DataFrame(rows)
    return frame.loc[:, [name for name in SETTINGS.names if name in frame]]


def shown_tables(run: Run) -> dict[str, tuple[Table, pd.DataFrame]]:
    """The tables of a run by name, each with its description: first the cells by setting, then all of the schema."""
    shown = {name: (RUN[name], frame) for name, frame in run.tables.items()}
    if "cells" in run.tables and len(run.tables["cells"]):
        return {SETTINGS.name: (SETTINGS, settings(run.tables["cells"]))} | shown
    return shown


def constants(frame: pd.DataFrame) -> dict[str, Any]:
    """The columns that have one value in all of several rows."""
    if len(frame) < 2:
        return {}
    alike = [name for name, values in frame.items() if _alike(values.iloc[:2]) and _alike(values)]
    return {str(name): _plain(frame[name].iloc[:1])[0] for name in alike}


def _alike(values: Any) -> bool:
    return values.nunique(dropna=False) == 1


def plain_table(table: Table, frame: pd.DataFrame, left_out: Collection[str]) -> dict[str, Any]:
    """A table as plain data, column by column, which packs far better than row by row, without the columns `left_out`."""
    described = {column.name: column for column in table.columns}
    columns = [described[str(name)] for name in frame if str(name) not in left_out]
    return {
        "columns": [{"name": c.name, "unit": c.unit, "meaning": c.meaning, "text": c.unit == TEXT} for c in columns],
        "values": [_plain(frame[column.name]) for column in columns],
    }


def _plain(values: Any) -> list[Hashable]:
    """A column's values for JSON: floats with `DIGITS` digits, infinities as text, nothing as None."""
    if values.dtype.kind != "f":
        return values.astype(object).where(values.notna(), None).tolist()
    numbers = values.to_numpy(np.float64)
    rounded: list[Hashable] = _rounded(numbers).tolist()
    for place in np.flatnonzero(~np.isfinite(numbers)):
        rounded[place] = None if np.isnan(numbers[place]) else "∞" if numbers[place] > 0 else "−∞"
    return rounded


def _rounded(numbers: Floats) -> Floats:
    """Numbers with `DIGITS` significant digits, each the double nearest to its decimal, so that it is written short."""
    size = np.abs(np.where(np.isfinite(numbers) & (numbers != 0), numbers, 1.0))
    places = np.clip(DIGITS - 1 - np.floor(np.log10(size)), -22, 22)  # powers of ten up to 22 are exact
    scale = 10.0 ** np.abs(places)
    large = np.where(places >= 0, np.round(numbers * scale) / scale, np.round(numbers / scale) * scale)
    return np.where(places == 22, numbers, large)
