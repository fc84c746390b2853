"""A batch size for a learning rate, a momentum and a training set size that a user names, or the reason why there is none.

Takes the optima of a run and the queries of its configuration; gives the table `advice`. The batch size rests on the laws that
the run's own sweeps follow (section 5). How they are combined and extrapolated is our choice. Batch sizes in examples;
intervals of 90 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bayes_sgd.analysis.exponent import SWEPT, Optima, budget_words, scaling_variable
from bayes_sgd.analysis.intervals import Floats
from bayes_sgd.analysis.optimum import ResponseCurve, SweepRows
from bayes_sgd.analysis.prediction import LEVEL, PowerLaw, uncensored
from bayes_sgd.analysis.search import measured_interval
from bayes_sgd.core.schema import ADVICE
from bayes_sgd.experiment.cell import NETWORK_FIELDS, with_defaults

# a batch size holds for one value of each of these
NETWORK = ("data", *(name for name in NETWORK_FIELDS if name not in (*SWEPT, "batch_size", "updates")))
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
        """Ln of the updates at a value x of the scaling variable: exact where they, or their product with x, are constant."""
        curves = self.optima.curves
        measured = np.log(scaling_variable(self.optima.axis, np.array([curve.axis_value for curve in curves])))
        return float(_interpolated(measured, np.log([[curve.updates] for curve in curves]), np.log(x))[0])

    def beyond(self, value: float) -> str:
        """Where a value of the axis lies if no optimum inside the grid bounds it; empty if some do."""
        if self.x[0] * (1 - CLOSE) <= _variable(self.optima.axis, value) <= self.x[-1] * (1 + CLOSE):
            return ""
        curves = zip(self.optima.curves, self.optima.log_b, strict=True)
        inside = [curve.axis_value for curve, log_b in curves if np.isfinite(log_b)]
        return f"{self.optima.axis} {value:g} lies outside {inside[0]:g} to {inside[-1]:g}, where optima were found"


def _variable(axis: str, value: float) -> float:
    return float(scaling_variable(axis, np.array([value]))[0])


def _tracks(optima: Sequence[Optima], experiments: Mapping[str, SweepRows]) -> list[Track]:
    """The experiments that follow one axis of `SWEPT` while every other field is fixed."""
    tracks = []
    for o in optima:
        if o.axis not in SWEPT:
            continue
        rows = with_defaults(experiments[o.experiment]["rows"])
        damped = rows.loc[rows["momentum"] > 0, "dampening"] > 0
        fields = rows.assign(dampening="m" if len(damped) and damped.all() else "mixed" if damped.any() else "0")
        setting = {name: fields[name].unique().tolist() for name in (*SWEPT, *NETWORK) if name != o.axis}
        if all(len(values) == 1 for values in setting.values()) and setting["dampening"] != ["mixed"]:
            tracks.append(Track(o, {name: values[0] for name, values in setting.items()}, *uncensored(o)))
    return tracks


def advice_table(
    optima: Sequence[Optima], queries: Sequence[Mapping[str, float]], experiments: Mapping[str, SweepRows]
) -> pd.DataFrame:
    """A batch size for each query (learning_rate, momentum, n_train), or the reason why there is none.

    The power law along the learning rate gives B at the query's ε, and the law along the momentum moves it. Along N it is moved
    by interpolation in ln N between the sampled sizes, and by the last slope beyond them, since B need not follow one law
    there. There is no number where a query differs from the experiment along the learning rate in an axis that no experiment
    follows (with three optima inside the grid, and the same network). Nor is there one outside 1 to N, and intervals end there.

    Beyond the optima of an axis the interval is wider by `_model_error`. `b_opt_measured`: the optimum of a cell that was
    trained at the query. `updates`, `budget` and the fields of `NETWORK` say for what the batch size holds; `measured_updates`
    does so for the measured one. `why`: what the number rests on, or what is missing, in words.

    Args:
        optima: one for each experiment, of one estimator; those along learning_rate, momentum and n_train are used, of each
            the first that has enough optima.
        queries: what is asked for, all three keys in each.
        experiments: the cells of each experiment by its name.
    """
    tracks = _tracks(optima, experiments)
    rows = [{"axis": "advise", "axis_value": number} | _advise(tracks, query) for number, query in enumerate(queries)]
    table = pd.DataFrame(rows, columns=list(ADVICE.names))
    return table.astype({"updates": "Int64", "measured_updates": "Int64"})


def _advise(tracks: Sequence[Track], query: Mapping[str, float]) -> dict[str, Any]:
    base = _usable(tracks, "learning_rate")
    network = base.network if base else next((track.network for track in tracks), None)
    same = [track for track in tracks if track.network == network]
    measured, notes = _measured(([base] if base else []) + same, query)
    row = dict(query) | measured
    if network:
        row |= network | {"dampening": query["momentum"] if network["dampening"] == "m" else 0.0}
    if base is None:
        return row | {"why": "; ".join([*notes, _missing(tracks, "learning_rate")])}
    used = {"learning_rate": base}
    lacking = []
    for axis in ("momentum", "n_train"):
        if not np.isclose(query[axis], base.setting[axis], rtol=CLOSE, atol=0):
            if (track := _usable(same, axis)) is None:
                lacking.append(f"{axis} {query[axis]:g} is not this run's {base.setting[axis]:g}, and {_missing(same, axis)}")
            else:
                used[axis] = track
    if lacking:
        return row | {"why": "; ".join([*notes, *lacking])}
    return row | _number(used, query, notes)


def _number(used: Mapping[str, Track], query: Mapping[str, float], notes: Sequence[str]) -> dict[str, Any]:
    """The batch size at a query, from the track of the learning rate and of each other axis in which the query differs."""
    center, variance, log_updates = 0.0, 0.0, 0.0
    outside, budgets = [], []
    setting = used["learning_rate"].setting
    for axis, track in used.items():
        target, reference = _variable(axis, query[axis]), _variable(axis, setting[axis]) if axis in setting else None
        change, extra_variance = _change(track, target, reference)
        center += float(change[0])
        variance += extra_variance + float(change[1:].var(ddof=1))
        log_updates += track.log_updates(target) - (0.0 if reference is None else track.log_updates(reference))
        values = [query[axis], *([setting[axis]] if axis in setting else [])]
        outside += [words for value in values if (words := track.beyond(value))]
        budgets.append(budget_words(track.optima) + (f" along {axis}" if axis in setting else ""))
    freedom = min(len(track.x) - 2 for axis, track in used.items() if axis != "n_train")
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2) * np.sqrt(variance))
    b, low, high = (float(np.exp(center + shift)) for shift in (0.0, -half, half))
    n = float(query["n_train"])
    row = {
        "extrapolated": bool(outside),
        "updates": max(1, round(float(np.exp(log_updates)))),
        "budget": "; ".join(budgets),
    }
    notes = [*notes, *(["extrapolated", *outside] if outside else [f"between optima found along {', '.join(used)}"])]
    if 1 <= b <= n:
        return row | {"b_opt_predicted": b, "ci_low": max(1.0, low), "ci_high": min(n, high), "why": "; ".join(notes)}
    limit = f"more than N = {n:g}: full batch" if b > n else "less than one example: even B = 1 is too large"
    return row | {"why": "; ".join([*notes, f"B would be {b:.3g} [{low:.3g}, {high:.3g}], {limit}"])}


def _change(track: Track, target: float, reference: float | None) -> tuple[Floats, float]:
    """Ln B at `target`, or its change from `reference`, (1 + R,), and the variance that the replicates do not contain."""
    if track.optima.axis == "n_train" and reference is not None:
        at_target, at_reference = (_interpolated(np.log(track.x), _draws(track), np.log(x)) for x in (target, reference))
        change, residual, predict = at_target - at_reference, 0.0, _by_last_slope
    else:
        law, predict = PowerLaw.through(track.x, track.log_b, track.replicates), _by_law
        if reference is None:
            change, residual = law.at(target)
        else:
            change, residual = law.slope * np.log(target / reference), law.residual
    errors = [_model_error(track, x, predict) for x in (target, reference) if x is not None]
    return change, residual**2 + sum(error**2 for error in errors)


def _usable(tracks: Sequence[Track], axis: str) -> Track | None:
    return next((track for track in tracks if track.optima.axis == axis and len(track.x) >= NEEDED), None)


def _measured(tracks: Sequence[Track], query: Mapping[str, float]) -> tuple[dict[str, Any], list[str]]:
    """The optimum of the cells that were trained at a query, if there are, and a note on it."""
    censored: list[str] = []
    for track in tracks:
        o = track.optima
        for curve, log_b, drawn in zip(o.curves, o.log_b, o.replicates, strict=True):
            setting = track.setting | {o.axis: curve.axis_value}
            if all(np.isclose(setting[axis], query[axis], rtol=CLOSE, atol=0) for axis in SWEPT):
                if np.isfinite(log_b):
                    b, low, high = measured_interval(float(log_b), drawn, len(curve.seeds), query["n_train"])
                    ends = {"measured_low": low, "measured_high": high}
                    return {"b_opt_measured": b, "measured_updates": curve.updates} | ends, ["measured here"]
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
    notes = [f"{inside} of {total} optima along {axis} lie inside the batch sizes tried, {NEEDED} are needed"]
    for side in (np.inf, -np.inf, np.nan):
        curves = [curve for curve, at in zip(o.curves, o.log_b, strict=True) if np.array_equal(at, side, equal_nan=True)]
        if curves:
            notes.append(f"{len(curves)} of {total} {'is' if len(curves) == 1 else 'are'} {_censored(curves, side)}")
    if total < NEEDED:
        notes.append(f"add values of {axis}")
    return ", ".join(notes)


def _by_law(x: Floats, log_b: Floats, target: float) -> float:
    return float(PowerLaw.through(x, log_b, np.empty((len(x), 0))).at(target)[0][0])


def _by_last_slope(x: Floats, log_b: Floats, target: float) -> float:
    return float(_interpolated(np.log(x), log_b[:, None], np.log(target))[0])


def _model_error(track: Track, target: float, predict: Callable[[Floats, Floats, float], float]) -> float:
    """Standard deviation, in ln B, of the error of a law beyond the optima of an axis; 0 between them.

    The distance in ln x from `target` to the nearest optimum, times the larger of two errors per unit of ln x: those with which
    `predict` gives each end of the axis from the other optima. Our choice: replicates show how well the slope is known where it
    was measured, and only the ends of the axis show how much it changes from there.
    """
    x, log_b = track.x, track.log_b
    distance = max(0.0, float(np.log(x[0] / target)), float(np.log(target / x[-1])))
    if distance <= CLOSE:
        return 0.0
    errors = [
        abs(predict(x[others], log_b[others], float(x[end])) - log_b[end]) / abs(np.log(x[end] / x[neighbour]))
        for end, neighbour, others in ((0, 1, slice(1, None)), (-1, -2, slice(None, -1)))
    ]
    return distance * float(max(errors))


def _draws(track: Track) -> Floats:
    """The optima and their replicates, (J, 1 + R); where a replicate censors a point, that of the sample."""
    points = track.log_b[:, None]
    return np.hstack([points, np.where(np.isfinite(track.replicates), track.replicates, points)])


def _interpolated(x: Floats, draws: Floats, target: float) -> Floats:
    """Piecewise linear through (x, draws) at `target`, (1 + R,), continued by the slope at the ends; x (J,) ascending."""
    right = int(np.clip(np.searchsorted(x, target), 1, len(x) - 1))
    share = (target - x[right - 1]) / (x[right] - x[right - 1])
    return draws[right - 1] * (1 - share) + draws[right] * share
