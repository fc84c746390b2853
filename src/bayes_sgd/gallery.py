"""Which figures a configuration can draw, from which tables, and the facts that their captions print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bayes_sgd import figures
from bayes_sgd.config import Config
from bayes_sgd.sweep import experiment_plans, experiment_rows

_OF_LINEAR = {"fig1": figures.fig1, "fig2": figures.fig2}


@dataclass(frozen=True)
class _OfCells:
    experiment: str
    draw: Callable[..., tuple[Figure, pd.DataFrame]]
    optima: bool = True


_FIGURES = {
    "fig4": _OfCells("batch_size", figures.fig4, optima=False),
    "fig5": _OfCells("learning_rate", figures.fig5),
    "fig6": _OfCells("training_set_size", figures.fig6),
    "fig7": _OfCells("momentum", figures.fig7),
}


def figure_facts(config: Config) -> dict[str, dict[str, str]]:
    """The figures of a run by name, each with the values that its caption prints, as text."""
    facts: dict[str, dict[str, str]] = {}
    if config.linear.seeds:
        linear = {
            "data": config.data.name,
            "seeds": str(config.linear.seeds),
            "n_train": str(config.linear.n_train),
            "n_test": f"at most {config.linear.n_test}",
            "l2": f"{config.linear.l2_low:g} to {config.linear.l2_high:g}, {config.linear.l2_per_decade} a decade",
        }
        facts |= dict.fromkeys(_OF_LINEAR, linear)
    for name, figure in _FIGURES.items():
        if figure.experiment in config.experiments:
            plans = experiment_plans(config, figure.experiment)
            columns = [plan.cell.columns() for plan in plans]
            facts[name] = {key: _listed(row[key] for row in columns) for key in columns[0] if key != "noise_scale"} | {
                "data": config.data.name,
                "seeds": _listed(plan.seeds for plan in plans),
            }
    return facts


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(set(values)))


def draw(name: str, config: Config, tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Draw one figure of `figure_facts`, from the tables `linear`, or `cells`, `optimum` and `scaling`."""
    if name in _OF_LINEAR:
        return _OF_LINEAR[name](tables["linear"])
    figure = _FIGURES[name]
    rows = experiment_rows(config, figure.experiment, tables["cells"])
    if not figure.optima:
        return figure.draw(rows)
    return figure.draw(rows, tables["optimum"], tables["scaling"], failed_below=config.statistics.failed_below)
