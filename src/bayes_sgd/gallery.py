"""Which figures a configuration can draw, from which tables, and the facts that their captions print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayes_sgd.config import Config
from bayes_sgd.sweep import experiment_plans, experiment_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_LINEAR = ("fig1", "fig2")


@dataclass(frozen=True)
class _OfCells:
    experiment: str
    optima: bool = True


_FIGURES = {
    "fig4": _OfCells("batch_size", optima=False),
    "fig5": _OfCells("learning_rate"),
    "fig6": _OfCells("training_set_size"),
    "fig7": _OfCells("momentum"),
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
                "cooling": _listed(plan.cooling for plan in plans),
            }
    return facts


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(set(values)))


def draw(name: str, config: Config, tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Draw one figure of `figure_facts`, from the tables `linear`, or `cells`, `optimum` and `scaling`."""
    from bayes_sgd import figures  # here, for the workflow asks for facts whenever it plans, and matplotlib takes a second

    function = getattr(figures, name)
    if name in _OF_LINEAR:
        return function(tables["linear"])
    figure = _FIGURES[name]
    phases = ("constant", *figures.PHASES)
    rows = pd.concat([experiment_rows(config, figure.experiment, tables["cells"], phase) for phase in phases])
    if not figure.optima:
        return function(rows)
    return function(rows, tables["optimum"], tables["scaling"], failed_below=config.statistics.failed_below)
