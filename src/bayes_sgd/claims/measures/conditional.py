"""Measures of what competes with the evidence of all data: evidence of new data given old, and the speed of training.

Takes the tables `network_evidence`, or cells; gives the value behind each claim on them. E in nats, accuracies in [0, 1].

Method: docs/evidence.md, Evidence of networks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import Floats, rank_correlation
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select
from bayes_sgd.claims.measures.evidence import ranked
from bayes_sgd.claims.measures.networks import RANKED, Point, at_best, at_point, at_worst, complete, stationary, where_all_fit
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.evidence_plan import KIND, commonest_kind, of_kind

EARLY = 0.02  # share of the budget before which a sum over the training must begin (our choice)


def _conditional(tables: Tables, point: Point, at_least: int) -> tuple[Floats, Floats, Floats, int, int, str]:
    """Evidence of the examples from N₁ to N given those before, for networks trained at the same ε, B and updates on N₁ and N.

    A seed's subsets are nested, so that ln P(D₂ | D₁) = ln P(D₁, D₂) − ln P(D₁) at one prior (Lotfi et al. 2022 call it the
    conditional evidence). That prior must not know D₂: λ is the best for N₁; it is centred at 0. N is the largest with a
    partner N₁, and N₁ its largest. Full batches are matched with full batches. Only real labels, and batch sizes at which
    every seed fits both training sets.

    Returns:
        Batch sizes (K,), at N; (E_N − E_N₁)/(N − N₁) (K, S); the test accuracy of the network trained on N (K, S); N₁; N;
        how many searches for the point on N ended, in words.
    """
    rows = at_point(tables.frame("network_evidence"), point, "real")
    rows = rows.assign(size=np.where(rows["batch_size"] == rows["n_train"], np.inf, rows["batch_size"]))
    kind = [name for name in KIND if name in rows and name != "n_train"]
    first = at_best(rows)
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
    pairs = where_all_fit(pairs, "size", trained)
    sizes, (conditional, accuracy) = complete(pairs, ["conditional", "sgd_test_accuracy"], at_least)
    return sizes, conditional, accuracy, before, n, stationary(pairs)


@measure
@in_units("nats per example")
def conditional_evidence(tables: Tables, point: Point) -> Measured:
    """E per example of new data given old, at the batch size where it is highest; below 0 the network beats the null model."""
    sizes, values, _, first, n, ended = _conditional(tables, point, at_least=1)
    worst, at = at_worst(values, sizes)
    detail = (
        f"E per example in nats of examples {first} to {n} given those before, at the {point} point, B = {at:g} in the median, "
        f"the worst of {len(sizes)} batch sizes by the other seeds{ended}"
    )
    return Measured.of(worst, detail)


@measure
@in_units("rank correlation")
def conditional_evidence_rank(tables: Tables, point: Point) -> Measured:
    """Rank correlation over batch sizes of minus the conditional E with test accuracy, within seeds, mean over seeds."""
    sizes, values, accuracy, first, n, _ = _conditional(tables, point, at_least=RANKED)
    interval, words = ranked(lambda kept: rank_correlation(-values[kept], accuracy[kept]), len(sizes))
    detail = (
        f"rank correlation with test accuracy of the evidence of examples {first} to {n} given those before, at the {point} "
        f"point over {len(sizes)} batch sizes, {sizes[0]:g} to {sizes[-1]:g}{words}"
    )
    return Measured.of(interval, detail)


@measure
@in_units("rank correlation")
def training_speed_rank(tables: Tables, experiment: str) -> Measured:
    """Rank correlation over batch sizes of training speed with the final test accuracy, within seeds, mean over seeds.

    Training speed is minus the sum over updates of the training loss, at equal numbers of updates, by the trapezoidal rule over
    the recorded ones, the first of which must come before `EARLY` of them: most of the sum is there. After Lyle et al. 2020,
    whose sum is over examples, each scored before it is learned. Only batch sizes at which every seed fits its training set.
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
    trained = where_all_fit(last.reset_index(), "batch_size", ["train_accuracy"])
    sizes, (speed, accuracy) = complete(trained, ["speed", "test_accuracy"], RANKED)
    interval, words = ranked(lambda kept: rank_correlation(speed[kept], accuracy[kept]), len(sizes))
    detail = (
        f"rank correlation with test accuracy of minus the sum of the training loss from update {updates[0]:g} to "
        f"{updates[-1]:g}, over {len(sizes)} batch sizes, {sizes[0]:g} to {sizes[-1]:g}{words}"
    )
    return Measured.of(interval, detail)
