"""What the interactive figures draw: accuracy against batch size and the optimum along an experiment's axis, for each phase.

Takes a run; gives plain data. Curves are `response_curves`, optima and exponents those of the run's tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import headline, scaling_variable
from bayes_sgd.analysis.intervals import mean_interval
from bayes_sgd.analysis.optimum import ResponseCurve, response_curves
from bayes_sgd.analysis.tables import PHASES, experiments
from bayes_sgd.core.columns import CELL
from bayes_sgd.report.html.run import Run
from bayes_sgd.report.html.tables import constants
from bayes_sgd.report.text import interval, number

WORDS = {"constant": "constant ε", "iterate_average": "average of the iterates", "after_cooldown": "after cooldown of ε to 0"}
LEAST = 3  # batch sizes of a curve worth looking at


def curves(run: Run) -> list[dict[str, Any]]:
    """The experiments of a run that have curves, each with its phases, those with the most curves first."""
    cells = run.tables.get("cells")
    if cells is None or cells.empty:
        return []
    entries: dict[str, dict[str, Any]] = {}
    for phase in PHASES:
        for name, experiment in experiments(run.config, cells.loc[cells["phase"] == phase], phase).items():
            rows, axis = experiment["rows"], experiment["axis"]
            if rows.empty or not pd.api.types.is_numeric_dtype(rows[axis]):
                continue
            drawn = response_curves(rows, axis, failed_below=run.config.statistics.failed_below)
            if max(len(curve.batch_sizes) for curve in drawn) < LEAST:
                continue
            entry = entries.setdefault(name, {"name": name, "axis": axis, "variable": _variable(axis), "phases": []})
            entry["phases"].append(
                {
                    "phase": phase,
                    "words": WORDS.get(phase, phase.replace("_", " ")),
                    "cell": _cell(rows, axis),
                    "series": [_series(curve, axis) for curve in drawn],
                    "optima": _optima(run, name, axis, phase),
                    "exponent": _exponent(run, name, phase),
                }
            )
    # the longest axis first: it is what the paper is about
    return sorted(entries.values(), key=lambda entry: -max(len(phase["series"]) for phase in entry["phases"]))


def _variable(axis: str) -> str:
    return "1/(1 − momentum)" if axis == "momentum" else axis.replace("_", " ")


def _cell(rows: pd.DataFrame, axis: str) -> str:
    """What all cells of an experiment share, in words, without what has its default."""
    fields = {column.name: column.default for column in CELL if column.name in rows and column.name not in ("batch_size", axis)}
    shared = {name: value for name, value in constants(rows.loc[:, [*fields]]).items() if value not in (None, fields[name])}
    words = {name: number(value) if isinstance(value, float) else str(value) for name, value in shared.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())


def _series(curve: ResponseCurve, axis: str) -> dict[str, Any]:
    """One curve: means over seeds with 95 % t-intervals in percent, seeds and failed runs of each batch size."""
    means = [mean_interval(accuracy) for accuracy in curve.accuracy]
    return {
        "name": f"{axis.replace('_', ' ')} {curve.axis_value:g}",
        "updates": curve.updates,
        "batch_size": [int(size) for size in curve.batch_sizes],
        "accuracy": [_percent(mean.value) for mean in means],
        "low": [_percent(mean.low) for mean in means],
        "high": [_percent(mean.high) for mean in means],
        "seeds": [mean.n for mean in means],
        "failed": [int(failed.sum()) for failed in curve.failed],
    }


def _percent(value: float) -> float | None:
    return round(100 * value, 4) if np.isfinite(value) else None


def _of(table: pd.DataFrame | None, name: str, phase: str) -> list[dict[str, Any]]:
    """The headline's rows of an experiment and a phase."""
    if table is None:
        return []
    rows = headline(table, phase=phase)
    return rows.loc[rows["experiment"] == name].to_dict("records")


def _optima(run: Run, name: str, axis: str, phase: str) -> list[dict[str, Any]]:
    """The optimum at each value of the axis; one that is censored has the side on which it lies, and no value."""
    rows = []
    for row in _of(run.tables.get("optimum"), name, phase):
        ends = [float(row[key]) if np.isfinite(row[key]) else None for key in ("ci_low", "ci_high")]
        rows.append(
            {
                "x": float(scaling_variable(axis, np.array([row["axis_value"]]))[0]),
                "value": float(row["axis_value"]),
                "b": None if pd.isna(row["b_opt"]) else float(row["b_opt"]),
                "low": ends[0],
                "high": ends[1],
                "side": "" if pd.isna(row["censored_side"]) else str(row["censored_side"]),
                "best": None if pd.isna(row["argmax"]) else float(row["argmax"]),
                "updates": int(row["updates"]),
                "seeds": int(row["seeds"]),
            }
        )
    return rows


def _exponent(run: Run, name: str, phase: str) -> str:
    rows = _of(run.tables.get("scaling"), name, phase)
    return interval(rows[0], "exponent") if rows and pd.notna(rows[0]["exponent"]) else ""
