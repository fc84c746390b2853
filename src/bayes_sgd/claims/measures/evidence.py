"""Measures of the evidence of trained networks, and of competing predictors of their test accuracy.

Takes the tables `network_evidence` and `invariance`, or cells; gives the value behind each claim on them. The paper argues that
small batches find minima of larger evidence (section 4), and computes none. The competing predictors are the norm of the
weights, sharpness alone, the evidence of new data given old, and the speed of training. E and cross-entropies in nats,
accuracies in [0, 1].

Method: docs/evidence.md, Evidence of networks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Places,
    Variance,
    chosen_by_others,
    correlation,
    held_out,
    jackknife_interval,
    mean_rank_interval,
    rank_correlation,
    ranks,
    rounding_variance,
    student_interval,
)
from bayes_sgd.claims.measures.base import Labels, Measured, NotMeasuredError, Tables, in_units, measure, select
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import NETWORK_FIELDS
from bayes_sgd.experiment.evidence_plan import KIND, commonest_kind, of_kind, with_main_series

RANKED = 5  # batch sizes that a rank correlation or an optimum over them needs (our choice)
EARLY = 0.02  # share of the budget before which a sum over the training must begin (our choice)
Point = Literal["sgd", "linearized", "minimum"]


def _evidence(
    tables: Tables, point: Point, labels: Labels, columns: list[str], trained: bool, n_train: int | None, at_least: int = 3
) -> tuple[Floats, list[Floats], int]:
    """Batch sizes (K,), each column (K, S) and N: best λ, prior at 0, the kind of network that the figures show.

    `n_train`: which N, and of it the commonest kind; that of the figures if not given.
    """
    rows = with_main_series(tables.frame("network_evidence"))
    if n_train is not None:
        of_size = select(rows, np.asarray(rows["n_train"] == n_train))
        rows = rows.assign(main_series=of_kind(rows, commonest_kind(of_size)))
    rows = _at_point(rows, point, labels)
    rows = select(rows, np.asarray(rows["best_prior_precision"].astype(bool) & rows["main_series"]))
    if rows.empty:
        n = "" if n_train is None else f" with N = {n_train}"
        raise NotMeasuredError(f"no evidence of networks on {labels} labels at the {point} point{n}")
    if trained:
        rows = _where_all_train(rows, "batch_size", ["sgd_train_accuracy"], tables.failed_below)
    rows = rows.assign(evidence=-rows["log_evidence_ratio"], sharpness=-rows["top_eigenvalue"])
    sizes, values = _complete(rows, columns, at_least)
    return sizes, values, int(rows["n_train"].iloc[0])


def _where_all_train(rows: pd.DataFrame, size: str, accuracies: list[str], failed_below: float) -> pd.DataFrame:
    """The rows of those values of `size` at which no seed has a training accuracy below the threshold, or none at all."""
    trains = rows[accuracies].min(axis=1, skipna=False) >= failed_below
    return select(rows, np.asarray(trains.groupby(rows[size]).transform("min"), dtype=bool))


def _complete(rows: pd.DataFrame, columns: list[str], at_least: int) -> tuple[Floats, list[Floats]]:
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
            f"needs {at_least} batch sizes at which every seed trains; the run has {sizes if len(rows) else 0}"
        )
    grids = [rows.pivot(index="batch_size", columns="seed", values=name) for name in columns]
    return np.asarray(grids[0].index, dtype=np.float64), [grid.to_numpy(np.float64) for grid in grids]


def _at_point(table: pd.DataFrame, point: Point, labels: Labels) -> pd.DataFrame:
    """The rows of one point and labelling, prior at 0, with the accuracies of the network as SGD left it."""
    names = {"train_accuracy": "sgd_train_accuracy", "test_accuracy": "sgd_test_accuracy"}
    network = [name for name in (*NETWORK_FIELDS, "seed") if name in table]
    of_sgd = table.loc[table["point"] == "sgd", [*network, *names]].drop_duplicates(network)
    if of_sgd.empty:
        raise NotMeasuredError("the table has no rows at the sgd point, where the networks' accuracies are")
    rows = table.merge(of_sgd.rename(columns=names), on=network, validate="many_to_one")
    mask = (rows["point"] == point) & (rows["prior_centre"] == "zero") & (rows["labels"] == labels)
    return select(rows, np.asarray(mask))


def _residual(values: Floats, given: Floats) -> Floats:
    """What is left of `values` (K, S) after a straight line in `given` (K, S), within each seed."""
    x, y = given - given.mean(0), values - values.mean(0)
    return y - x * np.divide((x * y).sum(0), (x**2).sum(0), out=np.zeros(x.shape[1]), where=(x**2).sum(0) > 0)


def _at_worst(values: Floats, sizes: Floats) -> tuple[Interval, float]:
    """Mean over seeds of `values` (K, S) at the batch size that the other seeds find largest, and its median."""
    if values.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose a batch size for another")

    def worst(seeds: Places) -> float:
        return float(held_out(values[:, seeds], values[:, seeds]).mean())

    return jackknife_interval(worst, values.shape[1], least=2), float(np.median(sizes[chosen_by_others(values)]))


@measure
@in_units("rank correlation")
def evidence_rank(
    tables: Tables,
    point: Point,
    n_train: int | None = None,
    predictor: Literal["evidence", "sharpness", "weight_norm"] = "evidence",
    given: Literal["nothing", "weight_norm"] = "nothing",
    trained: bool = True,
) -> Measured:
    """Rank correlation over batch sizes of a predictor with the SGD network's test accuracy, within seeds, mean over seeds.

    The batch sizes are few, and a sample as much as the seeds are: see `mean_rank_interval`.
    `evidence` is −E at the empirical-Bayes λ, `sharpness` minus the largest eigenvalue: each predicts better where it is
    larger. `given`: partial rank correlation, so that the evidence gets no credit for the norm of the weights. `trained`: only
    batch sizes at which every seed trains, since networks that do not train are bad without any evidence.
    """
    columns = [predictor, "sgd_test_accuracy", "weight_norm"]
    sizes, (x, accuracy, norm), n = _evidence(tables, point, "real", columns, trained, n_train, RANKED)

    def within_seeds(kept: Places) -> Floats:
        a, b, c = (ranks(values[kept]) for values in (x, accuracy, norm))
        return correlation(_residual(a, c), _residual(b, c)) if given == "weight_norm" else correlation(a, b)

    detail = (
        f"rank correlation with test accuracy of {predictor} at the {point} point over {len(sizes)} batch sizes, "
        f"{sizes[0]:g} to {sizes[-1]:g}, N = {n}{', given the norm of the weights' if given == 'weight_norm' else ''}"
    )
    return Measured.of(mean_rank_interval(within_seeds, len(sizes)), detail)


@measure
@in_units("factors of 2")
def evidence_optimum_distance(tables: Tables, point: Point, n_train: int | None = None) -> Measured:
    """log2 of the batch size with the lowest E over the one with the best test accuracy, within seeds, mean over seeds.

    Student's t over seeds. Both are rounded to the grid of batch sizes, alike in all seeds; as errors evenly spread over a step
    they add to the variance.
    """
    columns = ["evidence", "sgd_test_accuracy"]
    sizes, (evidence, accuracy), size = _evidence(tables, point, "real", columns, False, n_train, RANKED)
    best, right = (np.log2(sizes)[values.argmax(axis=0)] for values in (evidence, accuracy))
    distance, n = best - right, evidence.shape[1]
    rounding = rounding_variance(float(np.median(np.diff(np.log2(sizes)))))
    by_seed = Variance(float(distance.var(ddof=1)) / n if n > 1 else np.nan, n - 1)
    ends = student_interval(float(distance.mean()), by_seed, rounding, rounding)
    detail = (
        f"log2 of B with the lowest E ({2 ** np.median(best):g} in the median) over B with the best test accuracy "
        f"({2 ** np.median(right):g}), {point} point, N = {size}"
    )
    return Measured.of(Interval(float(distance.mean()), *ends, n), detail)


@measure
@in_units("nats per example")
def evidence_sign(tables: Tables, point: Point, labels: Labels, n_train: int | None = None) -> Measured:
    """E per example at the batch size that most contradicts the paper: highest for real, lowest for random labels.

    Each seed is judged at the batch size that the other seeds find the worst.
    """
    sizes, (evidence,), n = _evidence(tables, point, labels, ["evidence"], trained=True, n_train=n_train, at_least=1)
    sign = 1 if labels == "real" else -1
    worst, at = _at_worst(-sign * evidence / n, sizes)
    low, high = sorted((sign * worst.low, sign * worst.high))
    detail = (
        f"E / N in nats at the {point} point on {labels} labels, B = {at:g} in the median, the worst of {len(sizes)} "
        f"batch sizes by the other seeds, N = {n}"
    )
    return Measured.of(Interval(sign * worst.value, low, high, worst.n), detail)


def _conditional(tables: Tables, point: Point, at_least: int) -> tuple[Floats, Floats, Floats, int, int]:
    """Evidence of the examples from N₁ to N given those before, for networks trained at the same ε, B and updates on N₁ and N.

    A seed's subsets are nested, so that ln P(D₂ | D₁) = ln P(D₁, D₂) − ln P(D₁) at one prior (Lotfi et al. 2022 call it the
    conditional evidence). That prior must not know D₂: λ is the best for N₁; it is centred at 0. N is the largest with a
    partner N₁, and N₁ its largest. Full batches are matched with full batches. Only real labels, and batch sizes at which
    every seed trains on both.

    Returns:
        Batch sizes (K,), at N; (E_N − E_N₁)/(N − N₁) (K, S); the test accuracy of the network trained on N (K, S); N₁; N.
    """
    rows = _at_point(tables.frame("network_evidence"), point, "real")
    rows = rows.assign(size=np.where(rows["batch_size"] == rows["n_train"], np.inf, rows["batch_size"]))
    kind = [name for name in KIND if name in rows and name != "n_train"]
    first = select(rows, np.asarray(rows["best_prior_precision"].astype(bool)))
    pairs = rows.merge(first, on=[*kind, "size", "seed", "prior_precision"], suffixes=("", "_first"))
    pairs = select(pairs, np.asarray(pairs["n_train_first"] < pairs["n_train"]))
    if pairs.empty:
        raise NotMeasuredError("no networks were trained alike on two sizes of training set")
    for name in ("n_train", "n_train_first"):
        pairs = select(pairs, np.asarray(pairs[name] == pairs[name].max()))
    pairs = select(pairs, of_kind(pairs, commonest_kind(pairs, kind)))
    before, n = int(pairs["n_train_first"].iloc[0]), int(pairs["n_train"].iloc[0])
    change = pairs["log_evidence_ratio"] - pairs["log_evidence_ratio_first"]
    pairs = pairs.assign(conditional=change / (n - before))
    trained = ["sgd_train_accuracy", "sgd_train_accuracy_first"]
    pairs = _where_all_train(pairs, "size", trained, tables.failed_below)
    sizes, (conditional, accuracy) = _complete(pairs, ["conditional", "sgd_test_accuracy"], at_least)
    return sizes, conditional, accuracy, before, n


@measure
@in_units("nats per example")
def conditional_evidence(tables: Tables, point: Point) -> Measured:
    """E per example of new data given old, at the batch size where it is highest; below 0 the network beats the null model."""
    sizes, values, _, first, n = _conditional(tables, point, at_least=1)
    worst, at = _at_worst(values, sizes)
    detail = (
        f"E per example in nats of examples {first} to {n} given those before, at the {point} point, B = {at:g} in the median, "
        f"the worst of {len(sizes)} batch sizes by the other seeds"
    )
    return Measured.of(worst, detail)


@measure
@in_units("rank correlation")
def conditional_evidence_rank(tables: Tables, point: Point) -> Measured:
    """Rank correlation over batch sizes of minus the conditional E with test accuracy, within seeds, mean over seeds."""
    sizes, values, accuracy, first, n = _conditional(tables, point, at_least=RANKED)
    interval = mean_rank_interval(lambda kept: rank_correlation(-values[kept], accuracy[kept]), len(sizes))
    detail = (
        f"rank correlation with test accuracy of the evidence of examples {first} to {n} given those before, at the {point} "
        f"point over {len(sizes)} batch sizes, {sizes[0]:g} to {sizes[-1]:g}"
    )
    return Measured.of(interval, detail)


@measure
@in_units("rank correlation")
def training_speed_rank(tables: Tables, experiment: str) -> Measured:
    """Rank correlation over batch sizes of training speed with the final test accuracy, within seeds, mean over seeds.

    Training speed is minus the sum over updates of the training loss, at equal numbers of updates, by the trapezoidal rule over
    the recorded ones, the first of which must come before `EARLY` of them: most of the sum is there. After Lyle et al. 2020,
    whose sum is over examples, each scored before it is learned. Only batch sizes at which every seed trains.
    """
    source = tables.experiment(experiment)
    rows = source["rows"]
    if len(set(rows[source["axis"]])) > 1:
        raise NotMeasuredError(f"the experiment {experiment} has more than one {source['axis']}")
    if rows.duplicated(["batch_size", "seed", "update"]).any():
        raise UserError(f"claims: two runs of the experiment {experiment} have the same batch size and seed")
    losses = rows.pivot(index="update", columns=["batch_size", "seed"], values="train_loss")
    updates = losses.index.to_numpy(np.float64)
    if len(updates) < RANKED or updates[0] > EARLY * updates[-1]:
        raise NotMeasuredError(
            f"the sum of the training loss needs {RANKED} recorded updates, the first within {EARLY:.0%} of the budget; "
            f"the run has {len(updates)}, from {updates[0]:g} to {updates[-1]:g}"
        )
    last = select(rows, np.asarray(rows["update"] == updates[-1])).set_index(["batch_size", "seed"])
    last["speed"] = -pd.Series(np.trapezoid(losses.to_numpy(np.float64), updates, axis=0), index=losses.columns)
    last["train_accuracy"] = last["train_accuracy"].where(~last["diverged"].astype(bool))
    trained = _where_all_train(last.reset_index(), "batch_size", ["train_accuracy"], tables.failed_below)
    sizes, (speed, accuracy) = _complete(trained, ["speed", "test_accuracy"], RANKED)
    detail = (
        f"rank correlation with test accuracy of minus the sum of the training loss from update {updates[0]:g} to "
        f"{updates[-1]:g}, over {len(sizes)} batch sizes, {sizes[0]:g} to {sizes[-1]:g}"
    )
    return Measured.of(mean_rank_interval(lambda kept: rank_correlation(speed[kept], accuracy[kept]), len(sizes)), detail)


@measure
@in_units("nats")
def invariance(tables: Tables, column: Literal["prior_transformed", "prior_fixed"]) -> Measured:
    """Largest change of E in nats under rescalings of the layers and the inputs, for a transformed or a fixed prior."""
    rows = tables.frame("invariance")
    prior = {"prior_transformed": "transformed accordingly", "prior_fixed": "kept fixed"}[column]
    worst = float(np.abs(rows[f"evidence_change_{column}"].to_numpy(np.float64)).max())
    curvature = float(np.exp(np.abs(np.log(rows["eigenvalue_ratio"])).max()))
    detail = (
        f"largest |ΔE| in nats over {len(rows)} reparameterizations, the prior {prior}; the top eigenvalue changes by a "
        f"factor of up to {curvature:.3g}"
    )
    return Measured(worst, worst, worst, len(set(rows["seed"])), detail)
