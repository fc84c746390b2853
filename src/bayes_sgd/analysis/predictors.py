"""What predicts the optimum batch size of all axes with one constant: from arms to the table `predictors`.

A predictor says that some quantity of B_opt and the setting is the same in all arms: B_opt/B_fit, or the noise scale g. The
standard deviation of its logarithm over arms is the error of that law, in units of ln B but for g near B = N. B_opt and B_fit
come from different halves of the seeds, so that they share no noise. All choices here are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.analysis.fit_batch import THRESHOLDS, Arm
from bayes_sgd.analysis.intervals import Floats, Interval, jackknife_variance, proportion_interval, student_interval
from bayes_sgd.analysis.measured import UNKNOWN, Measured
from bayes_sgd.analysis.optimum import FITS
from bayes_sgd.analysis.prediction import STEP
from bayes_sgd.core.schema_predictors import PREDICTORS
from bayes_sgd.experiment.noise_scale import effective_learning_rate

LEVEL = 0.90  # of the prediction of one arm
# the law of extended_first in its table n_law_fit, B_opt = 8.3 + 15.2 N/T at ε' = 0.5; the first term is in proportion to ε'
EDGE, EPOCHS = 16.6, 15.2


class Setting(NamedTuple):
    """What laws depend on: ε' = ε(1 − dampening)/(1 − m), N, the updates T done, and what was measured."""

    rate: float
    n_train: float
    updates: float
    measured: Measured = UNKNOWN

    @classmethod
    def of(cls, fields: Mapping[str, Any], updates: float, measured: Measured = UNKNOWN) -> Setting:
        """From the fields of a cell."""
        rate = effective_learning_rate(fields["learning_rate"], fields["momentum"], fields["dampening"])
        return cls(rate, fields["n_train"], updates, measured)


@dataclass(frozen=True)
class Predictor:
    """A law of the optimum with one free constant; all logarithms of one shape.

    Attributes:
        name: what is constant, in words.
        constant: of a setting, ln B_opt and ln B_fit its logarithm; ±inf or NaN where there is none.
        log_b: of a setting, the logarithm of the constant and ln B_fit the predicted ln B_opt.
        threshold: of the training accuracy for B_fit.
    """

    name: str
    constant: Callable[[Setting, Floats, Floats], Floats]
    log_b: Callable[[Setting, Floats, Floats], Floats]
    threshold: float = FITS

    def constants(self, arm: Arm) -> Floats:
        """Logarithms of the constant of an arm, at all places of `Arm.log_b`."""
        with np.errstate(invalid="ignore"):  # censored on both sides
            return self.constant(_setting(arm), arm.log_b, arm.log_fit[self.threshold])

    def predicted(self, arm: Arm, constant: Floats) -> Floats:
        """Predicted ln B_opt of an arm from logarithms of the constant, both at the places of the halves (H,)."""
        with np.errstate(invalid="ignore"):
            log_fit = arm.log_fit[self.threshold][arm.split]
            return self.log_b(_setting(arm), constant, log_fit)


def _setting(arm: Arm) -> Setting:
    return Setting.of(arm.setting, arm.curve.updates, arm.measured)


def _factor(name: str, x: Callable[[Setting], float]) -> Predictor:
    """B_opt = constant · x."""
    return Predictor(
        name,
        lambda setting, log_b, log_fit: log_b - np.log(x(setting)),
        lambda setting, constant, log_fit: constant + np.log(x(setting)),
    )


def _fitted(threshold: float) -> Predictor:
    name = f"B_fit at {100 * threshold:g} %"
    return Predictor(name, lambda setting, log_b, log_fit: log_b - log_fit, lambda setting, c, log_fit: c + log_fit, threshold)


def _log_noise_scale(setting: Setting, log_b: Floats, log_fit: Floats) -> Floats:
    with np.errstate(divide="ignore", over="ignore"):
        return np.log(np.maximum(0.0, setting.rate * (setting.n_train / np.exp(log_b) - 1)))


def _of_noise_scale(setting: Setting, constant: Floats, log_fit: Floats) -> Floats:
    return np.log(setting.rate * setting.n_train) - np.log(np.exp(constant) + setting.rate)


REFERENCE = _fitted(FITS)
RATE = _factor("ε/(B(1 − m))", lambda setting: setting.rate)
NOISE_SCALE = Predictor("noise scale g", _log_noise_scale, _of_noise_scale)
EPOCHS_LAW = _factor("N/T law", lambda setting: EDGE * setting.rate + EPOCHS * setting.n_train / setting.updates)
TRIED = (
    *(REFERENCE if threshold == FITS else _fitted(threshold) for threshold in THRESHOLDS),
    *(_factor("B_opt itself", lambda setting: 1.0), RATE, NOISE_SCALE, EPOCHS_LAW),
)
# what a run with a large batch says; at the edge of stability B ∝ ε′ times the sharpness if all examples curve alike
MEASURED = (
    _factor("mean-square stability", lambda setting: setting.measured.stable_batch),
    _factor("B_simple", lambda setting: setting.measured.simple_noise_scale),
    _factor("sharpness", lambda setting: setting.rate * setting.measured.sharpness),
)


def predictors_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """A row for each predictor, labelling (`real`, or `random-p` for all shares together) and phase of the arms.

    All predictors are judged on the arms whose optimum and B_fit at 99 % lie inside the grid, those of other thresholds on such
    of them where these do. `MEASURED` have rows where arms were measured, and are judged on these.
    """
    rows = []
    groups: dict[tuple[str, str], list[Arm]] = {}
    for arm in arms:
        if _is_inside(REFERENCE.constants(arm), arm):
            labels = "real" if arm.setting["labels"] == "real" else "random-p"
            groups.setdefault((labels, arm.phase), []).append(arm)
    for (labels, phase), members in groups.items():
        measured = bool(np.isfinite([arm.measured for arm in members]).any())
        for predictor in (*TRIED, *MEASURED) if measured else TRIED:
            rows.append({"predictor": predictor.name, "labels": labels, "phase": phase} | _row(predictor, members))
    return pd.DataFrame(rows, columns=list(PREDICTORS.names))


def _row(predictor: Predictor, members: Sequence[Arm]) -> dict[str, Any]:
    used = [arm for arm in members if _is_inside(predictor.constants(arm), arm)]
    constants, baseline = (_constants(p, used) for p in (predictor, REFERENCE))
    axes = np.array([arm.experiment for arm in used])
    spread = spread_interval(constants, axes)
    relative = (
        relative_spread(constants, baseline, axes)
        if predictor is not REFERENCE
        else Interval(np.nan, np.nan, np.nan, len(used))
    )
    difference, farthest = axis_difference(np.nanmean(constants, axis=1) if used else np.empty(0), axes)
    error, within, inside = held_out(predictor, used, constants, axes)
    return {
        "axes": len(set(axes.tolist())),
        "n": len(used),
        "constant": float(np.exp(np.nanmean(constants))) if used else np.nan,
        **_ends("sd", spread),
        **_ends("relative_sd", relative),
        **_ends("axis_difference", difference),
        "farthest_axis": farthest,
        "held_out_error": error,
        **_ends("within_step", within),
        "inside": inside,
    }


def _is_inside(constant: Floats, arm: Arm) -> bool:
    return bool(np.isfinite(constant[0]) and np.isfinite(constant[arm.split]).any())


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _constants(predictor: Predictor, used: Sequence[Arm]) -> Floats:
    """Logarithms of the constant, (arms, H), NaN where a half is censored; arms of other numbers of seeds have H repeated."""
    values = [predictor.constants(arm)[arm.split] for arm in used]
    most = max((len(row) for row in values), default=0)
    table = np.array([np.resize(row, most) for row in values]).reshape(len(used), most)
    return np.where(np.isfinite(table), table, np.nan)


def spread(constants: Floats) -> float:
    """Standard deviation over arms of logarithms (arms, H): the root of the mean variance over halves; NaN below 3 arms."""
    constants = constants[:, np.isfinite(constants).sum(axis=0) >= 3]
    return float(np.sqrt(np.nanvar(constants, axis=0, ddof=1).mean())) if constants.size else np.nan


def spread_interval(constants: Floats, axes: np.ndarray) -> Interval:
    """`spread` with Student's interval of its logarithm, by the larger of two jackknifes: over arms, and over whole axes."""
    return _log_interval(lambda kept: spread(constants[kept]), axes)


def relative_spread(constants: Floats, reference: Floats, axes: np.ndarray) -> Interval:
    """`spread` over that of a reference, both (arms, H), of the same arms; interval as `spread_interval`."""

    def ratio(kept: np.ndarray) -> float:
        below = spread(reference[kept])
        return spread(constants[kept]) / below if below > 0 else np.nan

    return _log_interval(ratio, axes)


def _log_interval(statistic: Callable[[np.ndarray], float], axes: np.ndarray) -> Interval:
    n = len(axes)
    value = statistic(np.ones(n, dtype=bool))
    if np.isnan(value) or value <= 0:
        return Interval(value, np.nan, np.nan, n)
    groups = [np.arange(n), *([np.unique(axes, return_inverse=True)[1]] if len(set(axes.tolist())) > 2 else [])]
    variances = []
    for group in groups:
        left_out = np.array([statistic(group != g) for g in np.unique(group)])
        if not (left_out > 0).all():
            return Interval(value, np.nan, np.nan, n)
        variances.append(jackknife_variance(np.log(left_out)))
    # each has its own degrees of freedom: the wider interval counts
    ends = [student_interval(float(np.log(value)), variance) for variance in variances]
    low, high = np.exp(max(ends, key=lambda both: both[1] - both[0]))
    return Interval(value, float(low), float(high), n)


def axis_difference(means: Floats, axes: np.ndarray) -> tuple[Interval, str]:
    """The largest absolute difference between an axis' mean and the mean over axes, of one logarithm per arm (arms,).

    The scatter of arms inside their axes, pooled, gives the error of each difference. The upper end is the largest upper end of
    any axis, as an equivalence test wants it; the lower end is the largest lower end after Bonferroni.

    Gives the interval, and the axis with that difference. NaN with fewer than two axes, or no axis with two arms.
    """
    names, place, sizes = np.unique(axes, return_inverse=True, return_counts=True)
    n, k = len(means), len(names)
    if k < 2:
        return Interval(np.nan, np.nan, np.nan, n), ""
    by_axis = np.bincount(place, weights=means) / sizes
    differences = np.abs(by_axis - by_axis.mean())
    farthest = int(differences.argmax())
    if n == k:
        return Interval(float(differences.max()), np.nan, np.nan, n), str(names[farthest])
    pooled = float(((means - by_axis[place]) ** 2).sum()) / (n - k)
    error = np.sqrt(pooled * ((1 - 2 / k) / sizes + (1 / sizes).sum() / k**2))
    high = differences + float(stdtrit(n - k, 0.975)) * error
    low = differences - float(stdtrit(n - k, 1 - 0.025 / k)) * error
    return Interval(float(differences.max()), float(max(0.0, low.max())), float(high.max()), n), str(names[farthest])


def held_out(predictor: Predictor, used: Sequence[Arm], constants: Floats, axes: np.ndarray) -> tuple[float, Interval, float]:
    """Each arm predicted with the constant of the arms of other axes, in each half.

    Gives the root mean square error of ln B, the share of arms within one step of √2 (Clopper-Pearson), and the share inside
    the 90 % interval, Student's for one new arm.
    """
    squares, near, inside = [], [], []
    for arm, axis in zip(used, axes, strict=True):
        measured = arm.log_b[arm.split]
        centre, half = (values[: len(measured)] for values in _new_arm(constants[axes != axis]))
        low, middle, high = (predictor.predicted(arm, centre + side * half) for side in (-1, 0, 1))
        kept = np.isfinite(measured) & np.isfinite(middle)
        if kept.any():
            error = np.abs(measured - middle)[kept]
            squares.append(float((error**2).mean()))
            near.append(float((error <= STEP).mean()))
            inside.append(float(((measured >= np.minimum(low, high)) & (measured <= np.maximum(low, high)))[kept].mean()))
    if not squares:
        return np.nan, Interval(np.nan, np.nan, np.nan, len(used)), np.nan
    return float(np.sqrt(np.mean(squares))), proportion_interval(sum(near), len(near)), float(np.mean(inside))


def _new_arm(others: Floats) -> tuple[Floats, Floats]:
    """Mean of logarithms (arms, H), and half the 90 % interval of one more arm, both (H,); NaN with fewer than 3 arms."""
    counts = np.isfinite(others).sum(axis=0)
    enough = counts >= 3
    centre, half = np.full((2, len(counts)), np.nan)
    if enough.any():
        others, counts = others[:, enough], counts[enough]
        centre[enough] = np.nanmean(others, axis=0)
        factor = stdtrit(counts - 1, 0.5 + LEVEL / 2) * np.sqrt(1 + 1 / counts)
        half[enough] = factor * np.nanstd(others, axis=0, ddof=1)
    return centre, half


def predictions(fit_batch: pd.DataFrame, predictors: pd.DataFrame) -> pd.DataFrame:
    """Each optimum beside what predictors give for it, with their constants of arms with real labels at constant ε.

    Args:
        fit_batch: the table of that name.
        predictors: the table of that name.

    Returns:
        Rows of `fit_batch` at 99 % whose optimum and B_fit lie inside the grid, once for each of `REFERENCE`, `RATE`,
        `NOISE_SCALE`, `EPOCHS_LAW`, with `predictor` and `predicted`, a batch size.
    """
    rows = fit_batch.loc[(fit_batch["phase"] == PHASE) & np.isclose(fit_batch["threshold"], FITS) & fit_batch["ratio"].notna()]
    of_real = predictors.loc[(predictors["labels"] == "real") & (predictors["phase"] == PHASE)].set_index("predictor")
    parts = []
    for predictor in (REFERENCE, RATE, NOISE_SCALE, EPOCHS_LAW):
        constant = np.log(float(of_real["constant"].get(predictor.name, np.nan)))
        predicted = [
            float(np.exp(predictor.log_b(Setting.of(row, row["update"]), constant, np.log(row["b_fit"]))))
            for row in rows.to_dict("records")
        ]
        parts.append(rows.assign(predictor=predictor.name, predicted=predicted))
    return pd.concat(parts, ignore_index=True)
