"""What all figures are made of: refusals, means over seeds, bands, legends, panels, and how a figure is written to disk.

Takes tables and axes; a figure comes with its data, a row for each point: `panel`, the columns that name the point, `quantity`,
`value`, `ci_low`, `ci_high`, and `interval`, which says what the bar is. How it looks is in `style`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bayes_sgd.analysis.intervals import mean_interval
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import write_atomically, write_csv
from bayes_sgd.figures import style
from bayes_sgd.figures.style import BLACK, BLUE, VERMILION, Look, number

Drawn = tuple[Figure, pd.DataFrame]
SEEDS_95 = "95 % t-interval over seeds"
PAIRED_95 = "95 % t-interval over paired seeds"
OPTIMUM_95 = "95 % t-interval of ln B over seeds"
EXPONENT_95 = "95 % t-interval over seeds and points"
EDGES = {"above": ("^", "censored: this B or above"), "below": ("v", "censored: this B or below")}
TRAIN, TEST, ONLY = Look(BLUE, "s", "--"), Look(VERMILION, "o", "-"), Look(BLACK, "^", "-")


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a table that lacks a column, in one line that begins with `what`."""
    for name in columns:
        if name not in frame.columns:
            raise UserError(f"{what}: the table has no column {name}")


def over_seeds(rows: pd.DataFrame, keys: list[str], quantities: list[str]) -> pd.DataFrame:
    """Means over seeds, a row for each combination of `keys` and each of `quantities`; NaN is left out.

    Returns:
        The keys, `quantity`, `value` (the mean), `ci_low`, `ci_high` (95 % t-interval, NaN with a single seed), `seeds`
        (how many values are not NaN), `interval`.
    """
    long = rows.melt(id_vars=keys, value_vars=quantities, var_name="quantity", value_name="value")
    groups = long.groupby([*keys, "quantity"], sort=True)["value"]
    means = [(*cast(tuple, key), *mean_interval(values.to_numpy(float))) for key, values in groups]
    table = pd.DataFrame(means, columns=[*keys, "quantity", "value", "ci_low", "ci_high", "seeds"])
    return table.assign(interval=SEEDS_95)


def paired(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Means over seeds at each batch size, with intervals for their differences.

    Left out are batch sizes that fewer than half of the seeds have, then seeds that lack one of the others.

    Returns:
        batch_size, quantity, value, ci_low, ci_high, seeds, interval.
    """
    if rows.duplicated(["batch_size", "seed"]).any():
        raise UserError(
            f"{column}: two networks of one kind with equal batch_size and seed; list only one of their experiments"
        )
    grid = rows.pivot(index="batch_size", columns="seed", values=column)
    grid = grid.loc[2 * grid.notna().sum(axis=1) >= grid.shape[1]].dropna(axis=1)
    values = grid.to_numpy(float)
    sizes, seeds = values.shape
    columns = values - values.mean(axis=0) + values.mean() if seeds else values
    intervals = [mean_interval(row) for row in columns]
    wider = np.sqrt(sizes / (sizes - 1)) if sizes > 1 else 1.0
    half = [wider * (interval.high - interval.value) for interval in intervals]
    mean = np.array([interval.value for interval in intervals])
    table = pd.DataFrame(
        {"batch_size": grid.index, "quantity": column, "value": mean, "ci_low": mean - half, "ci_high": mean + half}
    )
    return table.assign(seeds=seeds, interval=PAIRED_95)


def below_best(rows: pd.DataFrame, axis: str, trains: NDArray[np.bool_]) -> pd.DataFrame:
    """Test accuracy less the mean at the best batch size of the same axis value, so that curves of several N share a scale.

    Args:
        rows: of cells; one for each axis value, batch size and seed.
        axis: the column along which curves differ.
        trains: of these rows, whether every seed of the batch size trains. The seeds of such are paired; others have no bar.

    Returns:
        axis, batch_size, quantity, value, ci_low, ci_high, seeds, interval.
    """
    tables = []
    for value, part in rows.assign(trains=trains).groupby(axis):
        means = over_seeds(part, ["batch_size"], ["test_accuracy"]).assign(ci_low=np.nan, ci_high=np.nan)
        good = part.loc[part["trains"]]
        among = paired(good, "test_accuracy") if len(good) else means.iloc[:0]
        rest = means.loc[~means["batch_size"].isin(list(among["batch_size"]))]
        table = pd.concat([t for t in (rest, among) if len(t)]).sort_values("batch_size")
        best = float(np.nanmax(table["value"].to_numpy(float)))
        shifted = {end: table[end] - best for end in ("value", "ci_low", "ci_high")}
        tables.append(table.assign(**shifted, **{axis: value}, quantity="accuracy_below_best", interval=PAIRED_95))
    return pd.concat(tables)


def span(values: Any, noun: str) -> str:
    """How many, in words: "6 seeds", "2000 to 4000 updates"."""
    low, high = int(values.min()), int(values.max())
    return f"{number(low)} to {number(high)} {noun}s" if low != high else f"{number(high)} {noun}{'s' * (high != 1)}"


def band(
    ax: Axes, table: pd.DataFrame, quantity: str, look: Look, label: str, scale: float = 1.0, x: str = "l2"
) -> pd.DataFrame:
    """Draw a quantity against the column `x`, its interval as a band: bars would hide one another on a dense grid."""
    rows = table.loc[table["quantity"] == quantity]
    color, marker, line = look
    ax.plot(rows[x], scale * rows["value"], color=color, ls=line, marker=marker, ms=3, label=label)
    ax.fill_between(rows[x], scale * rows["ci_low"], scale * rows["ci_high"], color=color, alpha=0.2, lw=0)
    return rows


def legend(part: FigureBase, ax: Axes, columns: int, more: Iterable[Any] = ()) -> None:
    """One legend below a part of the figure, of what is drawn in `ax` and `more`, each label once."""
    handles = sorted([*ax.get_legend_handles_labels()[0], *more], key=lambda handle: isinstance(handle, Line2D))
    unique = {str(handle.get_label()): handle for handle in handles}
    part.legend(handles=list(unique.values()), loc="outside lower left", ncols=columns, columnspacing=1.2)


def two_parts(title: str, means: str, ratios: tuple[float, float], height: float = 5.6) -> tuple[Figure, SubFigure, SubFigure]:
    """A figure with a title and a line on its means and bars, in two parts side by side; `height` in inches."""
    figure = Figure(figsize=(10.4, height), layout="constrained")
    figure.suptitle(f"{title}\n{means}", x=0.01, ha="left")
    grid = figure.add_gridspec(1, 2, width_ratios=ratios)
    return figure, figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])


def edges(ax: Axes, rows: pd.DataFrame, beside: float, color: str) -> None:
    """Draw censored optima, whose column `edge` is not empty, as open triangles at the best batch size sampled."""
    for edge, (marker, _) in EDGES.items():
        at = rows.loc[rows["edge"] == edge]
        ax.plot(at["x"] * beside, at["value"], marker, mfc="none", mec=color, ms=8, label=f"_{edge}")


@contextmanager
def named(figure: str) -> Iterator[None]:
    """Inside, an error says which figure was drawn."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{figure}: {error}") from None
    except Exception as error:
        error.add_note(f"while {figure} was drawn")
        raise


def save(figure: Figure, data: pd.DataFrame, stem: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `stem`.png, .svg and .csv, each whole or not at all; the same drawing gives the same bytes.

    Beside the .csv goes a .json that says what made it (`metadata`), and when.
    """
    with rc_context(style.RC):
        for kind, header in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            write_atomically(
                stem.with_name(f"{stem.name}.{kind}"),
                lambda file, kind=kind, header=header: figure.savefig(file, format=kind, metadata=header),
            )
    write_csv(stem.with_name(f"{stem.name}.csv"), data.loc[:, ["panel", *data.columns.drop("panel")]], metadata=metadata)
