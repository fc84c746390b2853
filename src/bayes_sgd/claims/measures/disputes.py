"""Measures that settle disputes about the noise scale: tuned learning rates, scaled ones, and edges of two kinds of arm.

Takes the cells of an experiment; gives the value behind each claim on them (docs/disputes.md). Accuracies in [0, 1], batch
sizes in examples. Seeds are paired; intervals are Student's, by a jackknife or a bootstrap over seeds.

Method: docs/disputes.md, How they are judged.
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
    bootstrap_variance,
    chosen_by_others,
    held_out,
    jackknife_interval,
    paired_difference,
    student_interval,
)
from bayes_sgd.analysis.n_law import LAW_REPLICATES, budget_optima
from bayes_sgd.analysis.prediction import STEP
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select


def last_accuracy(rows: pd.DataFrame, axis: str = "learning_rate") -> pd.DataFrame:
    """Test accuracy after the last update, a row for each batch size and value of the axis, and a column for each seed."""
    last = select(rows, np.asarray(rows["update"] == rows["updates"]))
    return last.pivot(index=["batch_size", axis], columns="seed", values="test_accuracy").sort_index()


def tuned_accuracy(accuracy: pd.DataFrame, seeds: Places) -> tuple[Floats, Floats]:
    """Accuracy of each seed at the ε that the other seeds choose for each batch size.

    Args:
        accuracy: as `last_accuracy` gives it.
        seeds: places of those that count.

    Returns:
        (K, S) accuracies, for K batch sizes ascending; (K,) the ε of the best mean over these seeds, NaN at an end of its grid.

    Raises:
        NotMeasuredError: one seed, which has no others.
    """
    if len(seeds) < 2:
        raise NotMeasuredError("one seed cannot choose a learning rate for another")
    tuned, chosen = [], []
    for _, block in accuracy.groupby(level="batch_size"):
        values, rates = block.to_numpy(np.float64)[:, seeds], block.index.get_level_values("learning_rate").to_numpy(np.float64)
        best = int(values.mean(axis=1).argmax())
        tuned.append(held_out(values, values))
        chosen.append(rates[best] if 0 < best < len(rates) - 1 else np.nan)
    return np.array(tuned), np.array(chosen)


@measure
@in_units("fraction")
def tuned_gain(tables: Tables, experiment: str) -> Measured:
    """Gain of the best batch size over the largest, ε tuned for each of them; the other seeds choose ε and batch size.

    An ε at the end of its grid is not tuned: then there is no value.
    """
    accuracy = last_accuracy(tables.experiment(experiment)["rows"])
    every = np.arange(accuracy.shape[1])
    if len(every) < 3:
        raise NotMeasuredError("a tuned learning rate needs three seeds")
    tuned, rates = tuned_accuracy(accuracy, every)
    sizes = sorted(set(accuracy.index.get_level_values("batch_size")))
    if np.isnan(rates).any():
        raise NotMeasuredError(
            f"the best learning rate at B = {sizes[int(np.isnan(rates).argmax())]} is at the end of its grid"
        )

    def gain(seeds: Places) -> float:
        values, _ = tuned_accuracy(accuracy, seeds)
        return float((held_out(values[:-1], values[:-1]) - values[-1]).mean())

    best = sizes[int(np.median(chosen_by_others(tuned[:-1])))]
    shown = ", ".join(f"{b:g} at {rate:g}" for b, rate in zip(sizes, rates, strict=True))
    detail = f"test accuracy at B = {best:g} minus that at {sizes[-1]:g}, ε tuned for each: {shown}"
    return Measured.of(jackknife_interval(gain, len(every), least=3), detail)


@measure
@in_units("fraction")
def scaled_change(tables: Tables, experiment: str, rule: Literal["linear", "linear_over_root"]) -> Measured:
    """Change of test accuracy when the batch size grows at equal epochs and ε with it, over paired seeds.

    Args:
        tables: of the run.
        experiment: with one (B, ε), and a larger B at ε times the root of the ratio of both B, and at ε times that ratio.
        rule: `linear`: ε ∝ B against the smaller batch; `linear_over_root`: ε ∝ B against ε ∝ √B, both at the larger batch.
    """
    accuracy = last_accuracy(tables.experiment(experiment)["rows"])
    sizes, rates = (accuracy.index.get_level_values(level).to_numpy(np.float64) for level in (0, 1))
    if len(rates) != 3 or not np.allclose(rates[1:] / rates[0], [(sizes[1] / sizes[0]) ** 0.5, sizes[2] / sizes[0]], rtol=0.01):
        raise NotMeasuredError(f"the experiment {experiment} does not scale ε with √B and with B")
    small, large, (base, root, linear) = sizes[0], sizes[2], rates
    first, by_root, by_ratio = accuracy.to_numpy(np.float64)
    other, words = {
        "linear": (first, f"that at B = {small:g}, ε = {base:g}"),
        "linear_over_root": (by_root, f"that at ε = {root:.3g}, scaled with √B"),
    }[rule]
    detail = f"test accuracy at B = {large:g}, ε = {linear:g} minus {words}, at equal epochs"
    return Measured.of(paired_difference(by_ratio, other), detail)


@measure
@in_units("natural logarithm")
def arm_ratio(tables: Tables, experiment: str, value: str, reference: str, of: Literal["optimum", "left_edge"]) -> Measured:
    """Logarithm of the optimum, or of its left edge, in one arm over that in another; seeds paired.

    The grid of batch sizes adds the rounding of both to the variance.

    Args:
        tables: of the run.
        experiment: its axis tells the arms apart.
        value: of the axis in one arm.
        reference: of the axis in the other.
        of: which batch size, as in `axis_exponent`.
    """
    source = tables.experiment(experiment)
    axis, rows = source["axis"], source["rows"]
    arms = select(rows, rows[axis].isin([value, reference]).to_numpy())
    if set(arms[axis]) != {value, reference}:
        raise NotMeasuredError(f"the experiment {experiment} has not both {axis} {value} and {reference}")
    arms = arms.assign(**{axis: (arms[axis] == value).astype(float)})
    options = {"failed_below": tables.failed_below, "n_replicates": min(tables.n_replicates, LAW_REPLICATES), "rng": tables.rng}
    optima = budget_optima(arms, axis, **options).last()
    data = {"optimum": optima.optimum, "left_edge": optima.edge}[of]
    with np.errstate(invalid="ignore"):  # both censored
        log_ratio = data.log_b[1] - data.log_b[0]
    if not np.isfinite(log_ratio[0]):
        raise NotMeasuredError(f"the {of.replace('_', ' ')} of {value} or {reference} lies beyond the batch sizes")
    grid = Variance(2 * STEP**2 / 12, np.inf)
    ends = student_interval(float(log_ratio[0]), bootstrap_variance(log_ratio[1:], optima.seeds), grid)
    b = np.exp(data.log_b[:, 0])
    detail = f"ln of B = {b[1]:.3g} over {b[0]:.3g}, the {of.replace('_', ' ')} with {axis} {value} and {reference}"
    return Measured.of(Interval(float(log_ratio[0]), *ends, optima.seeds), detail)


def penalized_accuracy(rows: pd.DataFrame) -> tuple[Floats, Floats, pd.DataFrame]:
    """Test accuracy after the last update: (S,) of the smallest batch, (S,) of the largest, both without a gradient penalty.

    Third comes that of the largest batch with a penalty: a row for each κ, ascending, a column for each seed.
    """
    accuracy = last_accuracy(rows, "gradient_penalty")
    sizes = accuracy.index.get_level_values("batch_size")
    largest: pd.DataFrame = accuracy.loc[sizes.max()]
    if sizes.min() == sizes.max() or len(largest) < 2 or largest.index[0] != 0:
        raise NotMeasuredError("two batch sizes are wanted, the larger with and without a gradient penalty")
    return accuracy.loc[(sizes.min(), 0)].to_numpy(np.float64), largest.iloc[0].to_numpy(np.float64), largest.iloc[1:]


@measure
@in_units("ratio")
def penalty_share(tables: Tables, experiment: str, penalty: float | None = None) -> Measured:
    """Gain of the largest batch by a gradient penalty over the gain of the smallest batch without one; jackknife over seeds.

    Args:
        tables: of the run.
        experiment: with one small batch, and a large one with and without penalties.
        penalty: κ; if not given, the other seeds choose the best one.
    """
    small, large, penalized = penalized_accuracy(tables.experiment(experiment)["rows"])
    by_penalty = penalized if penalty is None else penalized.loc[np.isclose(penalized.index.to_numpy(np.float64), penalty)]
    if by_penalty.empty or len(small) < 3:
        raise NotMeasuredError(
            f"the experiment {experiment} has no κ = {penalty:g}" if by_penalty.empty else "fewer than three seeds"
        )
    values = by_penalty.to_numpy(np.float64)

    def share(seeds: Places) -> float:
        sample = values[:, seeds]
        return float((held_out(sample, sample) - large[seeds]).mean() / (small[seeds] - large[seeds]).mean())

    chosen = float(by_penalty.index[int(np.median(chosen_by_others(values)))])
    gap = 100 * (small - large).mean()
    detail = f"gain in test accuracy by κ = {chosen:g} over the small batch's gain, {gap:.2g} points"
    return Measured.of(jackknife_interval(share, len(small), least=3), detail)
