"""The networks whose evidence is judged: from the table `network_evidence` to arrays over batch sizes and seeds.

Claims across batch sizes are on networks that interpolate: those of batch sizes at which every seed fits all of its training
set. Networks that do not are bad without any evidence, and one of them at the end of the grid decides a rank correlation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import Floats, Interval, Places, chosen_by_others, held_out, jackknife_interval
from bayes_sgd.claims.measures.base import Labels, NotMeasuredError, Tables, select
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import NETWORK_FIELDS
from bayes_sgd.experiment.evidence_plan import commonest_kind, of_kind, with_main_series

INTERPOLATES = 1 - 1e-9  # training accuracy from which a network interpolates: all of the training set
RANKED = 5  # batch sizes that a rank correlation or an optimum over them needs (our choice)
Point = Literal["sgd", "linearized", "minimum"]


def judged(tables: Tables, point: Point, labels: Labels, n_train: int | None) -> pd.DataFrame:
    """Rows of one point and labelling, prior at 0, all λ, of interpolating networks of the kind that the figures show.

    `n_train`: which N, and of it the commonest kind; that of the figures if not given. `evidence` is −E and `sharpness` minus
    the largest eigenvalue: each predicts better where it is larger.
    """
    rows = with_main_series(tables.frame("network_evidence"))
    if n_train is not None:
        of_size = select(rows, np.asarray(rows["n_train"] == n_train))
        rows = rows.assign(main_series=of_kind(rows, commonest_kind(of_size)))
    rows = at_point(rows, point, labels)
    rows = select(rows, np.asarray(rows["main_series"]))
    if rows.empty:
        n = "" if n_train is None else f" with N = {n_train}"
        raise NotMeasuredError(f"no evidence of networks on {labels} labels at the {point} point{n}")
    rows = where_all_fit(rows, "batch_size", ["sgd_train_accuracy"])
    return rows.assign(evidence=-rows["log_evidence_ratio"], sharpness=-rows["top_eigenvalue"], fit=-rows["sgd_test_loss"])


def at_best(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at the λ that each network's evidence prefers."""
    return select(rows, np.asarray(rows["best_prior_precision"].astype(bool)))


def stationary(rows: pd.DataFrame) -> str:
    """How many searches for the point ended, in words; nothing where the point needs no search, or the table does not say."""
    if "converged" not in rows or set(rows["point"]) != {"minimum"}:
        return ""
    return f"; the search for it ended for {np.count_nonzero(rows['converged'].astype(bool))} of {len(rows)} networks"


def where_all_fit(rows: pd.DataFrame, size: str, accuracies: list[str]) -> pd.DataFrame:
    """The rows of those values of `size` at which every seed has these training accuracies, and they are 1.

    Raises:
        NotMeasuredError: there is no such value.
    """
    fits = rows[accuracies].min(axis=1, skipna=False) >= INTERPOLATES
    fitting = select(rows, np.asarray(fits.groupby(rows[size]).transform("min"), dtype=bool))
    if fitting.empty:
        raise NotMeasuredError(f"at no {size.replace('_', ' ')} does every network fit all of its training set")
    return fitting


def complete(rows: pd.DataFrame, columns: list[str], at_least: int) -> tuple[Floats, list[Floats]]:
    """Batch sizes (K,) and each column (K, S), over the seeds that have a finite value at every batch size.

    Raises:
        NotMeasuredError: there are fewer batch sizes than `at_least`, or no such seed.
        UserError: two networks have the same batch size and seed.
    """
    rows = select(rows, np.asarray(np.isfinite(rows[columns].to_numpy(np.float64)).all(axis=1)))
    if rows.duplicated(["batch_size", "seed"]).any():
        raise UserError("claims: two networks of one kind have the same batch_size and seed; keep one of them")
    sizes = len(set(rows["batch_size"]))
    rows = select(rows, np.asarray(rows.groupby("seed")["batch_size"].transform("size")) == sizes)
    if sizes < at_least or rows.empty:
        raise NotMeasuredError(
            f"needs {at_least} batch sizes at which every seed fits its training set; the run has {sizes if len(rows) else 0}"
        )
    grids = [rows.pivot(index="batch_size", columns="seed", values=name) for name in columns]
    return np.asarray(grids[0].index, dtype=np.float64), [grid.to_numpy(np.float64) for grid in grids]


def at_point(table: pd.DataFrame, point: Point, labels: Labels) -> pd.DataFrame:
    """The rows of one point and labelling, prior at 0, with the accuracies and the test loss of the network as SGD left it."""
    names = {name: f"sgd_{name}" for name in ("train_accuracy", "test_accuracy", "test_loss")}
    network = [name for name in (*NETWORK_FIELDS, "seed") if name in table]
    of_sgd = table.loc[table["point"] == "sgd", [*network, *names]].drop_duplicates(network)
    if of_sgd.empty:
        raise NotMeasuredError("the table has no rows at the sgd point, where the networks' accuracies are")
    rows = table.merge(of_sgd.rename(columns=names), on=network, validate="many_to_one")
    mask = (rows["point"] == point) & (rows["prior_centre"] == "zero") & (rows["labels"] == labels)
    return select(rows, np.asarray(mask))


def at_worst(values: Floats, sizes: Floats) -> tuple[Interval, float]:
    """Mean over seeds of `values` (K, S) at the batch size that the other seeds find largest, and its median."""
    if values.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose a batch size for another")

    def worst(seeds: Places) -> float:
        return float(held_out(values[:, seeds], values[:, seeds]).mean())

    return jackknife_interval(worst, values.shape[1], least=2), float(np.median(sizes[chosen_by_others(values)]))
