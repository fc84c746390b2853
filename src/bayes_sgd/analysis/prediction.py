"""Takes optima with their bootstrap replicates; predicts the optimum batch size where it was not used or not measured.

`prediction_table` leaves one axis value out at a time and scores the power law through the others against what was measured
there; `advice_table` gives a batch size for a learning rate, a momentum and a training set size that a user names, or says
why it gives none. All of it is our choice: the paper has the law and predicts nothing. Batch sizes in examples; intervals of
90 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bayes_sgd.analysis.exponent import SWEPT, Optima, budget_words, scaling_variable
from bayes_sgd.analysis.intervals import Floats
from bayes_sgd.analysis.optimum import Experiment, ResponseCurve

LEVEL = 0.90
STEP = np.log(2) / 2  # of the grid of batch sizes, ratio √2


@dataclass(frozen=True)
class Line:
    """Least squares of ln B on ln x over J points, in the sample and in each bootstrap replicate (R,)."""

    x: Floats
    intercept: Floats
    slope: Floats
    residual: float
    spread: float

    @classmethod
    def through(cls, x: Floats, log_b: Floats, replicates: Floats) -> Line:
        """Through `x` (J,), `log_b` (J,), `replicates` (J, R); where a replicate censors a point, that of the sample."""
        draws = np.hstack([log_b[:, None], np.where(np.isfinite(replicates), replicates, log_b[:, None])])
        centred = np.log(x) - np.log(x).mean()
        spread = float((centred**2).sum())
        slope = centred @ draws / spread
        intercept = draws.mean(axis=0)
        left = draws[:, 0] - intercept[0] - slope[0] * centred
        freedom = len(x) - 2
        return cls(x, intercept, slope, float(np.sqrt((left**2).sum() / freedom)) if freedom > 0 else np.inf, spread)

    def at(self, x: float) -> tuple[Floats, float]:
        """Ln B at `x`, (1 + R,), and the residual standard deviation of a new point there."""
        shift = np.log(x) - np.log(self.x).mean()
        return self.intercept + self.slope * shift, self.residual * np.sqrt(1 + 1 / len(self.x) + shift**2 / self.spread)


def _points(o: Optima) -> tuple[Floats, Floats, Floats]:
    x = scaling_variable(o.axis, np.array([curve.axis_value for curve in o.curves]))
    used = np.isfinite(o.log_b) & (x > 0)
    return x[used], o.log_b[used], o.replicates[used]


def prediction_table(optima: Sequence[Optima]) -> pd.DataFrame:
    """One row per experiment and axis value with an optimum inside the grid, where at least three others have one.

    The line goes through the others; the half-width of the interval is Student's t with their degrees of freedom times the
    larger of the line's residual spread for a new point and the bootstrap's spread of predicted minus measured. `steps`: how
    many steps of the grid, of ratio √2, lie between predicted and measured; `extrapolated`: the value lies outside the others.
    """
    rows: list[dict[str, Any]] = []
    for o in optima:
        x, log_b, replicates = _points(o)
        values = np.array([curve.axis_value for curve in o.curves])[np.isfinite(o.log_b)]
        for j in range(len(x) if len(x) >= 4 else 0):
            rest = np.arange(len(x)) != j
            predicted, residual = Line.through(x[rest], log_b[rest], replicates[rest]).at(x[j])
            apart = predicted[1:] - np.where(np.isfinite(replicates[j]), replicates[j], log_b[j])
            half = stats.t.ppf(0.5 + LEVEL / 2, rest.sum() - 2) * max(residual, float(apart.std(ddof=1)))
            low, high = predicted[0] - half, predicted[0] + half
            rows.append(
                {
                    "axis": o.axis,
                    "axis_value": values[j],
                    "b_opt_measured": float(np.exp(log_b[j])),
                    "b_opt_predicted": float(np.exp(predicted[0])),
                    "ci_low": float(np.exp(low)),
                    "ci_high": float(np.exp(high)),
                    "extrapolated": bool(j in (x.argmin(), x.argmax())),
                    "experiment": o.experiment,
                    "estimator": o.estimator,
                    "updates": o.curves[j].updates,
                    "inside": bool(low <= log_b[j] <= high),
                    "steps": float(abs(predicted[0] - log_b[j]) / STEP),
                }
            )
    return pd.DataFrame(rows, columns=PREDICTION_COLUMNS)


PREDICTION_COLUMNS = [
    *("axis", "axis_value", "b_opt_measured", "b_opt_predicted", "ci_low", "ci_high", "extrapolated"),
    *("experiment", "estimator", "updates", "inside", "steps"),
]
NETWORK = ("data", "labels", "hidden_sizes", "dampening", "l2", "sampling")  # what a batch size holds for, beside the wish
ADVICE_COLUMNS = [
    *PREDICTION_COLUMNS[:7],
    *SWEPT, "updates", "budget", "measured_updates", *NETWORK, "why",
]  # fmt: skip
CLOSE = 1e-9  # relative; settings that are equal but for rounding
NEEDED = 3  # optima inside the grid, for a line along an axis with one degree of freedom


@dataclass(frozen=True)
class Track:
    """The optima of one experiment, followed along one axis while the rest of its setting is fixed.

    `setting`: the fixed fields, of `SWEPT` and `NETWORK`. `x` (J,) ascending, `log_b` (J,), `replicates` (J, R): the optima
    inside the grid.
    """

    optima: Optima
    setting: dict[str, Any]
    x: Floats
    log_b: Floats
    replicates: Floats

    @property
    def network(self) -> dict[str, Any]:
        """The fields of `NETWORK`; dampening as a word, for its number is that of the momentum."""
        return {name: self.setting[name] for name in NETWORK}

    def log_updates(self, x: float) -> float:
        """Ln of the updates at an scaling_variable: exact where they are constant, or constant in product with it."""
        curves = self.optima.curves
        places = np.log(scaling_variable(self.optima.axis, np.array([curve.axis_value for curve in curves])))
        return float(_interpolated(places, np.log([[curve.updates] for curve in curves]), np.log(x))[0])

    def beyond(self, value: float) -> str:
        """Where a value of the axis lies if no optimum inside the grid bounds it; empty if some do."""
        at = _at(self.optima.axis, value)
        if self.x[0] * (1 - CLOSE) <= at <= self.x[-1] * (1 + CLOSE):
            return ""
        found = [
            curve.axis_value for curve, log_b in zip(self.optima.curves, self.optima.log_b, strict=True) if np.isfinite(log_b)
        ]
        return f"{self.optima.axis} {value:g} lies outside {found[0]:g} to {found[-1]:g}, where optima were found"


def _at(axis: str, value: float) -> float:
    return float(scaling_variable(axis, np.array([value]))[0])


def _tracks(optima: Sequence[Optima], experiments: Mapping[str, Experiment]) -> list[Track]:
    """The experiments that follow one axis of `SWEPT` while every other field is fixed."""
    tracks = []
    for o in optima:
        if o.axis not in SWEPT:
            continue
        rows = experiments[o.experiment]["rows"]
        damped = rows.loc[rows["momentum"] > 0, "dampening"] > 0
        fields = rows.assign(dampening="m" if len(damped) and damped.all() else "mixed" if damped.any() else "0")
        setting = {name: fields[name].unique().tolist() for name in (*SWEPT, *NETWORK) if name != o.axis}
        if all(len(values) == 1 for values in setting.values()) and setting["dampening"] != ["mixed"]:
            tracks.append(Track(o, {name: values[0] for name, values in setting.items()}, *_points(o)))
    return tracks


def advice_table(
    optima: Sequence[Optima], wanted: Sequence[Mapping[str, float]], experiments: Mapping[str, Experiment]
) -> pd.DataFrame:
    """A batch size for each wanted (learning_rate, momentum, n_train), or the reason why there is none.

    From the line of the learning rate at the wanted ε, moved by the line of the momentum and, between the sampled training set
    sizes, by interpolation in ln N (beyond them by the last slope): what a law does not bend into one is not forced into one.
    Where a wish differs from the experiment along the learning rate in an axis that no experiment follows (with three optima
    inside the grid, and the same network), there is no number. Nor is there one outside 1 to N, and intervals end there.

    Beyond the optima of an axis the interval is wider by `_model_error`. `b_opt_measured`: the optimum of a cell that was
    trained at the wish. `updates`, `budget` and the fields of `NETWORK` say for what the batch size holds; `measured_updates`
    for what the measured one does. `why`: in words, what the number rests on, or what is missing.

    Args:
        optima: one for each experiment, of one estimator; those along learning_rate, momentum and n_train are used, of each
            the first that has enough optima.
        wanted: what is asked for, all three keys in each.
        experiments: the cells of each experiment by its name.
    """
    tracks = _tracks(optima, experiments)
    rows = [{"axis": "advise", "axis_value": number} | _advise(tracks, wish) for number, wish in enumerate(wanted)]
    table = pd.DataFrame(rows, columns=ADVICE_COLUMNS)
    return table.astype({"updates": "Int64", "measured_updates": "Int64"})


def _advise(tracks: Sequence[Track], wish: Mapping[str, float]) -> dict[str, Any]:
    base = _usable(tracks, "learning_rate")
    network = base.network if base else next((track.network for track in tracks), None)
    same = [track for track in tracks if track.network == network]
    measured, said = _measured(([base] if base else []) + same, wish)
    row = dict(wish) | measured
    if network:
        row |= network | {"dampening": wish["momentum"] if network["dampening"] == "m" else 0.0}
    if base is None:
        return row | {"why": "; ".join([*said, _missing(tracks, "learning_rate")])}
    used = {"learning_rate": base}
    lacking = []
    for axis in ("momentum", "n_train"):
        if not np.isclose(wish[axis], base.setting[axis], rtol=CLOSE, atol=0):
            if (track := _usable(same, axis)) is None:
                lacking.append(f"{axis} {wish[axis]:g} is not this run's {base.setting[axis]:g}, and {_missing(same, axis)}")
            else:
                used[axis] = track
    if lacking:
        return row | {"why": "; ".join([*said, *lacking])}
    return row | _number(used, wish, said)


def _number(used: Mapping[str, Track], wish: Mapping[str, float], said: Sequence[str]) -> dict[str, Any]:
    """The batch size at a wish, from the track of the learning rate and of each other axis in which the wish differs."""
    center, variance, log_updates = 0.0, 0.0, 0.0
    outside, budgets = [], []
    setting = used["learning_rate"].setting
    for axis, track in used.items():
        there, here = _at(axis, wish[axis]), _at(axis, setting[axis]) if axis in setting else None
        change, beside = _change(track, there, here)
        center += float(change[0])
        variance += beside + float(change[1:].var(ddof=1))
        log_updates += track.log_updates(there) - (0.0 if here is None else track.log_updates(here))
        values = [wish[axis], *([setting[axis]] if axis in setting else [])]
        outside += [words for value in values if (words := track.beyond(value))]
        budgets.append(budget_words(track.optima) + (f" along {axis}" if axis in setting else ""))
    freedom = min(len(track.x) - 2 for axis, track in used.items() if axis != "n_train")
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom) * np.sqrt(variance))
    b, low, high = (float(np.exp(center + shift)) for shift in (0.0, -half, half))
    n = float(wish["n_train"])
    row = {
        "extrapolated": bool(outside),
        "updates": max(1, round(float(np.exp(log_updates)))),
        "budget": "; ".join(budgets),
    }
    said = [*said, *(["extrapolated", *outside] if outside else [f"between optima found along {', '.join(used)}"])]
    if 1 <= b <= n:
        return row | {"b_opt_predicted": b, "ci_low": max(1.0, low), "ci_high": min(n, high), "why": "; ".join(said)}
    limit = f"more than N = {n:g}: full batch" if b > n else "less than one example: even B = 1 is too large"
    return row | {"why": "; ".join([*said, f"B would be {b:.3g} [{low:.3g}, {high:.3g}], {limit}"])}


def _change(track: Track, there: float, here: float | None) -> tuple[Floats, float]:
    """Ln B at an scaling_variable, or its change from another one, (1 + R,), and the variance that replicates do not hold."""
    if track.optima.axis == "n_train" and here is not None:
        at_there, at_here = (_interpolated(np.log(track.x), _draws(track), np.log(x)) for x in (there, here))
        change, residual, predict = at_there - at_here, 0.0, _by_last_slope
    else:
        line, predict = Line.through(track.x, track.log_b, track.replicates), _by_line
        change, residual = line.at(there) if here is None else (line.slope * np.log(there / here), line.residual)
    return change, residual**2 + sum(_model_error(track, x, predict) ** 2 for x in (there, here) if x is not None)


def _usable(tracks: Sequence[Track], axis: str) -> Track | None:
    return next((track for track in tracks if track.optima.axis == axis and len(track.x) >= NEEDED), None)


def _measured(tracks: Sequence[Track], wish: Mapping[str, float]) -> tuple[dict[str, Any], list[str]]:
    """The optimum of the cells that were trained at a wish, if there are, and what to say of it."""
    censored: list[str] = []
    for track in tracks:
        o = track.optima
        for curve, log_b in zip(o.curves, o.log_b, strict=True):
            setting = track.setting | {o.axis: curve.axis_value}
            if all(np.isclose(setting[axis], wish[axis], rtol=CLOSE, atol=0) for axis in SWEPT):
                if np.isfinite(log_b):
                    return {"b_opt_measured": float(np.exp(log_b)), "measured_updates": curve.updates}, ["measured here"]
                censored = censored or [f"trained here, where the optimum is {_censored([curve], float(log_b))}"]
    return {}, censored


def _censored(curves: Sequence[ResponseCurve], log_b: float) -> str:
    """Why the optima of some curves, all at `log_b`, have no number, and what would give one."""
    if np.isnan(log_b):
        return "unknown, for no batch size trains"
    end, extreme, side, pick = (-1, "largest", "above", max) if log_b > 0 else (0, "smallest", "below", min)
    sizes = [float(curve.batch_sizes[end]) for curve in curves]
    which = f"{sizes[0]:g}" if len(set(sizes)) == 1 else f"{min(sizes):g} to {max(sizes):g}"
    return f"censored {side} (the {extreme} batch size is {which}): add batch sizes {side} {pick(sizes):g}"


def _missing(tracks: Sequence[Track], axis: str) -> str:
    """Why there is no line along an axis, and what would give one."""
    along = [track.optima for track in tracks if track.optima.axis == axis]
    if not along:
        return f"no experiment follows {axis} with this network and all else fixed: add one with {NEEDED} or more values"
    o = max(along, key=lambda o: int(np.isfinite(o.log_b).sum()))
    total, inside = len(o.curves), int(np.isfinite(o.log_b).sum())
    said = [f"{inside} of {total} optima along {axis} lie inside the batch sizes tried, {NEEDED} are needed"]
    for side in (np.inf, -np.inf, np.nan):
        curves = [curve for curve, at in zip(o.curves, o.log_b, strict=True) if np.array_equal(at, side, equal_nan=True)]
        if curves:
            said.append(f"{len(curves)} of {total} {'is' if len(curves) == 1 else 'are'} {_censored(curves, side)}")
    if total < NEEDED:
        said.append(f"add values of {axis}")
    return ", ".join(said)


def _by_line(x: Floats, log_b: Floats, at: float) -> float:
    return float(Line.through(x, log_b, np.empty((len(x), 0))).at(at)[0][0])


def _by_last_slope(x: Floats, log_b: Floats, at: float) -> float:
    return float(_interpolated(np.log(x), log_b[:, None], np.log(at))[0])


def _model_error(track: Track, at: float, predict: Callable[[Floats, Floats, float], float]) -> float:
    """Standard deviation, in ln B, of what a law may do beyond the optima of an axis; 0 between them.

    How far `at` lies from the nearest optimum in ln x, times the larger of two errors per unit of ln x: those with which each
    end of the axis is predicted from the others in the same way. Our choice: replicates say how well the slope is known where
    it was measured, and only the run's own ends say how much it changes from there.
    """
    x, log_b = track.x, track.log_b
    distance = max(0.0, float(np.log(x[0] / at)), float(np.log(at / x[-1])))
    if distance <= CLOSE:
        return 0.0
    errors = [
        abs(predict(x[rest], log_b[rest], float(x[end])) - log_b[end]) / abs(np.log(x[end] / x[next_to]))
        for end, next_to, rest in ((0, 1, slice(1, None)), (-1, -2, slice(None, -1)))
    ]
    return distance * float(max(errors))


def _draws(track: Track) -> Floats:
    """The optima and their replicates, (J, 1 + R); where a replicate censors a point, that of the sample."""
    points = track.log_b[:, None]
    return np.hstack([points, np.where(np.isfinite(track.replicates), track.replicates, points)])


def _interpolated(x: Floats, draws: Floats, at: float) -> Floats:
    """Piecewise linear through (x, draws) at one place, (1 + R,), continued by the slope at the ends; x (J,) ascending."""
    right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return draws[right - 1] * (1 - share) + draws[right] * share
