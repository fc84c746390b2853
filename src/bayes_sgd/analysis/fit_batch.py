"""The smallest batch size that fits the training set, beside the best one: from cells to the table `fit_batch`.

An arm is one setting but for its batch size, after so many updates. B_fit is the smallest batch at which the mean training
accuracy over seeds reaches a threshold, interpolated in ln B. B_opt is the headline optimum of `exponent`. B_fit is our
addition, found on the cells of the extended run. Batch sizes in examples, accuracies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT, optima_of
from bayes_sgd.analysis.intervals import Floats, optimum_interval, seed_counts
from bayes_sgd.analysis.measured import SETTING, UNKNOWN, Measured
from bayes_sgd.analysis.optimum import FITS, ResponseCurve, SweepRows, fitting_batch, response_curves, side_of_grid
from bayes_sgd.core.schema_predictors import FIT_BATCH
from bayes_sgd.experiment.cell import with_defaults

THRESHOLDS = (0.95, 0.98, FITS, 0.995, 0.999)
_SPLITS = 252  # halves of 10 seeds; of more, so many are drawn


@dataclass(frozen=True)
class Arm:
    """One setting with its optimum and its fitting batch sizes, in the sample, in halves of the seeds and in replicates.

    Attributes:
        experiment: it belongs to.
        axis: that the experiment follows.
        setting: the fields of its cells but batch size and updates.
        curve: accuracies (K, S).
        log_b: ln B_opt of all seeds, of each half of them (H), of each replicate (R): (1 + H + R,); ±inf where censored.
        log_fit: by threshold ln B_fit, alike; of a half's place it is that of the other half.
        halves: H.
        phase: of the training.
        measured: along a run with a large batch.
    """

    experiment: str
    axis: str
    setting: Mapping[str, Any]
    curve: ResponseCurve
    log_b: Floats
    log_fit: Mapping[float, Floats]
    halves: int
    phase: str = PHASE
    measured: Measured = UNKNOWN

    @property
    def split(self) -> slice:
        """The places of the halves."""
        return slice(1, 1 + self.halves)

    @property
    def replicates(self) -> slice:
        """The places of the bootstrap's replicates."""
        return slice(1 + self.halves, None)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What says whether two experiments hold the same arm."""
        return *self.setting.values(), self.curve.updates, self.phase


def halves(seeds: int) -> Floats:
    """Halves of so many seeds as columns of 0 and 1, (S, H): every split in two, both ways; of many seeds a drawn part."""
    if seeds < 2:
        return np.zeros((seeds, 0))
    if seeds <= 10:
        sizes = {seeds // 2, seeds - seeds // 2}
        chosen = [places for size in sorted(sizes) for places in combinations(range(seeds), size)]
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(seeds), (_SPLITS // 2, 1)), axis=1)
        chosen = [part for order in orders for part in (order[: seeds // 2], order[seeds // 2 :])]
    columns = np.zeros((seeds, len(chosen)))
    for number, places in enumerate(chosen):
        columns[list(places), number] = 1
    return columns


def arms(
    experiments: Mapping[str, SweepRows],
    *,
    failed_below: float = 0.5,
    n_replicates: int = 2000,
    rng: int = 0,
    phase: str = PHASE,
) -> list[Arm]:
    """The arms of experiments, each once, with three batch sizes or more; of an arm that two experiments hold, the first's.

    Args:
        experiments: rows of cells at every recorded update.
        failed_below: as in `response_curves`.
        n_replicates: R, of the bootstrap over seeds.
        rng: its seed.
        phase: of the rows.
    """
    by_identity: dict[tuple[Any, ...], Arm] = {}
    for name, experiment in experiments.items():
        rows = experiment["rows"]
        rows = with_defaults(pd.DataFrame(rows[rows["update"] > 0]))
        for _, group in rows.groupby([*SETTING, "update"], sort=True):
            group = pd.DataFrame(group[~group.duplicated(["batch_size", "seed"])])
            (curve,) = response_curves(group, "n_train", failed_below=failed_below)
            complete = np.isfinite(curve.accuracy).all(axis=1)
            curve = replace(
                curve,
                batch_sizes=curve.batch_sizes[complete],
                accuracy=curve.accuracy[complete],
                train_accuracy=curve.train_accuracy[complete],
                failed=curve.failed[complete],
            )
            if len(curve.batch_sizes) >= 3:
                setting = {field: group[field].iloc[0] for field in SETTING}
                arm = _arm(name, experiment["axis"], setting, curve, seed_counts(len(curve.seeds), n_replicates, rng), phase)
                by_identity.setdefault(arm.identity, arm)
    return list(by_identity.values())


def _arm(name: str, axis: str, setting: Mapping[str, Any], curve: ResponseCurve, counts: Floats, phase: str) -> Arm:
    half = halves(len(curve.seeds))
    (sample,), drawn = optima_of([curve], TREATMENT, HEADLINE, np.hstack([half, counts]))
    draws = np.hstack([np.ones((len(curve.seeds), 1)), 1 - half, counts])
    trained = curve.train_accuracy @ draws / draws.sum(axis=0)
    log_fit = {threshold: fitting_batch(np.log(curve.batch_sizes), trained, threshold) for threshold in THRESHOLDS}
    return Arm(name, axis, setting, curve, np.concatenate([[sample], drawn[0]]), log_fit, half.shape[1], phase)


def fit_batch_table(arms: list[Arm]) -> pd.DataFrame:
    """A row for each arm and threshold. Intervals are Student's over seeds, on the logarithm; see `optimum_interval`."""
    rows = []
    for arm in arms:
        n = len(arm.curve.seeds)
        for threshold, log_fit in arm.log_fit.items():
            with np.errstate(invalid="ignore"):  # censored on both sides
                log_ratio = arm.log_b - log_fit
            columns: dict[str, Any] = {}
            for column, values in (("b_opt", arm.log_b), ("b_fit", log_fit), ("ratio", log_ratio)):
                inside = bool(np.isfinite(values[0]))
                drawn = values[arm.replicates]
                ends = optimum_interval(values[0], drawn, n) if inside else (np.nan, np.nan)
                low, high = f"{column}_low", f"{column}_high"
                columns |= {column: float(np.exp(values[0])) if inside else np.nan, low: ends[0], high: ends[1]}
            rows.append(
                {"experiment": arm.experiment, "axis": arm.axis, "axis_value": str(arm.setting[arm.axis])}
                | dict(arm.setting)
                | {"update": arm.curve.updates, "phase": arm.phase, "threshold": threshold, "seeds": n}
                | columns
                | {"b_opt_side": side_of_grid(arm.log_b[0]), "b_fit_side": side_of_grid(log_fit[0])}
            )
    return pd.DataFrame(rows, columns=list(FIT_BATCH.names))


def normal_variance(low: float, high: float, seeds: int) -> float:
    """Variance of a logarithm from its 95 % interval in this table, Student's over seeds; infinite where it is open."""
    if not (low > 0 and np.isfinite(high)):
        return np.inf
    return float((np.log(high / low) / 2 / stdtrit(seeds - 1, 0.975)) ** 2)
