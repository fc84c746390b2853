"""The tables `n_law` and `n_law_fit`: optima and left edges against N and T, and what laws say of them.

Takes the cells of the experiments that feed figures 5 to 7 and the claims at equal epochs; gives rows of the tables. Batch
sizes in examples, accuracies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.censored import Censored, LogFit, akaike, censored_fit, offset_law
from bayes_sgd.analysis.exponent import PHASE, scaling_variable
from bayes_sgd.analysis.intervals import Floats, Variance, bootstrap_variance, optimum_interval, student_interval
from bayes_sgd.analysis.n_law import BudgetOptima, budget_optima, exponent_in, held_out_errors
from bayes_sgd.analysis.optimum import SweepRows, side_of_grid
from bayes_sgd.core.schema import N_LAW, N_LAW_FIT
from bayes_sgd.experiment.feeds import EQUAL_EPOCHS

ALONG_N = ("fig6", *EQUAL_EPOCHS)
"""What experiments feed whose optima stand in the table `n_law`; the laws are of those with the same network, ε and m."""
_SETTING = ("data", "hidden_sizes", "learning_rate", "momentum")
_OTHERS = ("fig5", "fig7", "momentum_updates")  # whose left edges are compared


@dataclass(frozen=True)
class _Series:
    """Optima of one experiment, network, ε and m in one phase, and what they are fed to."""

    fed: str
    experiment: str
    axis: str
    phase: str
    setting: dict[str, Any]
    found: BudgetOptima


def n_law_tables(
    phases: Mapping[str, Mapping[str, SweepRows]], fed: Mapping[str, str], failed_below: float, n_replicates: int, rng: int
) -> dict[str, pd.DataFrame]:
    """Both tables.

    Args:
        phases: the cells of each experiment, by phase of training and by name.
        fed: the experiment that feeds each key of `FEEDS`.
        failed_below: as in `response_curves`.
        n_replicates: of the bootstrap.
        rng: its seed.
    """
    options = {"failed_below": failed_below, "n_replicates": n_replicates, "rng": rng}
    fits, along = [], []
    for phase, experiments in phases.items():
        for key in (*ALONG_N, *_OTHERS):
            if key not in fed or experiments[fed[key]]["rows"].empty:
                continue
            axis, rows = experiments[fed[key]]["axis"], experiments[fed[key]]["rows"]
            one = _series(key, fed[key], axis, phase, rows, options)
            fits += _exponent_rows(one)
            if key in ALONG_N:
                parts = [part for _, part in rows.groupby(list(_SETTING))]
                along += [_series(key, fed[key], "n_train", phase, part, options) for part in parts]
    optima = [row for one in along for row in _optimum_rows(one)]
    fits += [row for part in _joined(along) for row in _law_rows(*part)]
    return {
        "n_law": pd.DataFrame(optima, columns=list(N_LAW.names)),
        "n_law_fit": pd.DataFrame(fits, columns=list(N_LAW_FIT.names)),
    }


def _series(key: str, experiment: str, axis: str, phase: str, rows: pd.DataFrame, options: Mapping[str, Any]) -> _Series:
    optima = budget_optima(rows, axis, **options)
    # cells of fewer updates, which only some batch sizes have, are cooled after these
    optima = optima if phase == PHASE else optima.last()
    setting = {name: rows[name].iloc[0] for name in _SETTING if len(set(rows[name])) == 1}
    return _Series(key, experiment, axis, phase, setting, optima)


def _optimum_rows(one: _Series) -> Iterator[dict[str, Any]]:
    optima = one.found
    for j in range(len(optima.updates)):
        row = {"experiment": one.experiment, "phase": one.phase, **one.setting}
        row |= {"n_train": int(optima.n_train[j]), "updates": int(optima.updates[j]), "n_over_t": optima.ratio[j]}
        for name, data in (("b_opt", optima.optimum), ("left_edge", optima.edge)):
            value = data.log_b[j, 0]
            inside = bool(np.isfinite(value))
            ends = optimum_interval(value, data.log_b[j, 1:], optima.seeds) if inside else (np.nan, np.nan)
            row |= {name: float(np.exp(value)) if inside else np.nan}
            row |= dict(zip((f"{name}_low", f"{name}_high"), ends, strict=True))
            row[f"{name}_side"] = side_of_grid(value)
        ends = {"grid_low": float(np.exp(optima.optimum.low[j])), "grid_high": float(np.exp(optima.optimum.high[j]))}
        yield row | ends | {"seeds": optima.seeds}


def _exponent_rows(one: _Series) -> Iterator[dict[str, Any]]:
    """Exponents along the axis at the first, second, ... recorded update of each of its values, where all have as many."""
    optima = one.found
    values = sorted(set(optima.axis_values))
    updates = [sorted(optima.updates[optima.axis_values == value]) for value in values]
    if len(values) < 3:
        return
    for place in range(-min(map(len, updates)), 0):
        chosen = dict(zip(values, (some[place] for some in updates), strict=True))
        some = optima.at(np.array([chosen[v] == u for v, u in zip(optima.axis_values, optima.updates, strict=True)]))
        x = scaling_variable(one.axis, some.axis_values)
        for of, data in (("optimum", some.optimum), ("left_edge", some.edge)):
            if np.isnan(data.log_b[:, 0]).any() or (of == "optimum" and one.fed in _OTHERS):
                continue
            interval = exponent_in(x, data, optima.seeds)
            row = {"experiment": one.experiment, "phase": one.phase, **one.setting, "of": of, "law": f"power of {one.axis}"}
            row |= {"exponent": interval.value, "exponent_low": interval.low, "exponent_high": interval.high}
            yield row | _constant("updates", some.updates) | _constant("n_over_t", some.ratio) | _counts(data, optima.seeds)


def _constant(name: str, values: Floats) -> dict[str, float]:
    """The value of a column if it is one, to 1 %."""
    return {name: float(values[-1]) if np.ptp(values) <= 0.01 * values.max() else np.nan}


def _counts(data: Censored, seeds: int) -> dict[str, int]:
    return {"n_points": len(data.low), "n_censored": int(np.isinf(data.log_b[:, 0]).sum()), "seeds": seeds}


def _joined(series: list[_Series]) -> Iterator[tuple[_Series, BudgetOptima]]:
    """The optima of all experiments with the same network, ε, m and number of seeds, by phase."""
    groups: dict[tuple[Any, ...], list[_Series]] = {}
    for one in series:
        groups.setdefault((one.phase, one.found.seeds, *one.setting.values()), []).append(one)
    for group in groups.values():
        parts = [one.found for one in group]
        values, sizes, updates = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("axis_values", "n_train", "updates")
        )
        optimum, edge = (
            Censored(*(np.concatenate([getattr(part, of)[k] for part in parts]) for k in range(3)))
            for of in ("optimum", "edge")
        )
        yield group[0], BudgetOptima(values, sizes, updates, optimum, edge, parts[0].seeds)


def _law_rows(one: _Series, optima: BudgetOptima) -> Iterator[dict[str, Any]]:
    """The laws of the optimum: in N/T, in N alone, and in N/T with whatever power of N is left."""
    optima = optima.at(~np.isnan(optima.optimum.log_b[:, 0]))
    data, many = optima.optimum, len(set(optima.n_train)) >= 3
    laws: dict[str, tuple[Floats, tuple[Floats, ...]]] = {"B_e + c N/T": (optima.ratio, ())}
    if many and len(set(optima.updates)) > 1:  # with one T, N and N/T are the same
        laws |= {"B_e + c N": (optima.n_train, ()), "(B_e + c N/T) times a power of N": (optima.ratio, (optima.n_train,))}
    for name, (x, powers) in laws.items():
        if np.isfinite(data.log_b[:, 0]).sum() < 4 + len(powers) or np.ptp(optima.ratio) == 0:
            continue
        fit = censored_fit(data, offset_law(x, *powers))
        row = {"experiment": "all along N", "phase": one.phase, **one.setting, "of": "optimum", "law": name}
        row |= _parameters(fit, data, x, powers, optima.seeds) | {"scatter": float(fit.scatter[0])}
        row["aicc"] = akaike(float(fit.log_likelihood[0]), 2 + len(powers), len(data.low))
        if many and not powers:
            row["held_out_error"] = float(np.sqrt((held_out_errors(x, optima)[:, 0] ** 2).mean()))
        yield row | _counts(data, optima.seeds)


def _parameters(fit: LogFit, data: Censored, x: Floats, powers: tuple[Floats, ...], seeds: int) -> dict[str, float]:
    """The parameters of a law B_e + c x, with their intervals, those of B_e and c on the logarithm.

    Variances have two parts, as those of exponents do (`slope_variances`): by the seeds, and by the scatter of the optima about
    the law, of which half of what seeds scatter is taken out.
    """
    offset, slope, *exponents = fit.parameters
    share = slope[0] * x / (offset[0] + slope[0] * x)
    design = np.stack([1 - share, share, *map(np.log, powers)], axis=1)
    known = np.isfinite(data.log_b[:, 0])
    freedom = int(known.sum()) - design.shape[1]
    by_point = np.mean([bootstrap_variance(draws, seeds).value for draws in data.log_b[known, 1:]])
    squares = float((data.missed_by(fit.fitted)[known, 0] ** 2).sum())
    scatter = max(0.0, squares / freedom - by_point / 2)
    spread = np.linalg.pinv(design[known].T @ design[known]).diagonal()
    row: dict[str, float] = {}
    drawn = {"offset": np.log(offset), "slope": np.log(slope)} | dict(zip(("exponent",), exponents, strict=False))
    for (name, draws), one in zip(drawn.items(), spread, strict=True):
        value = float(draws[0])
        ends = student_interval(value, bootstrap_variance(draws[1:], seeds), Variance(scatter * float(one), freedom))
        shown = (value, *ends) if name == "exponent" else np.exp([value, *ends]).tolist()
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), shown, strict=True))
    return row
