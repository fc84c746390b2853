"""Which figures a configuration can draw, from which tables, and the facts that their captions print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.evidence_plan import commonest_packs
from bayes_sgd.experiment.feeds import feeds, l2_shown
from bayes_sgd.experiment.packs import experiment_plans, experiment_rows, make_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Facts = dict[str, str]


def _linear_facts(config: Config) -> Facts | None:
    if not config.linear.seeds:
        return None
    return {
        "data": config.data.name,
        "seeds": str(config.linear.seeds),
        "n_train": str(config.linear.n_train),
        "n_test": f"at most {config.linear.n_test}",
        "l2": f"{config.linear.l2_low:g} to {config.linear.l2_high:g}, {config.linear.l2_per_decade} a decade",
    }


def _cell_facts(config: Config, experiments: Iterable[str]) -> Facts:
    plans = [plan for name in experiments for plan in experiment_plans(config, name)]
    columns = [plan.cell.columns() for plan in plans]
    return {key: _listed(row[key] for row in columns) for key in columns[0] if key != "noise_scale"} | {
        "data": config.data.name,
        "seeds": _listed(plan.seeds for plan in plans),
        "cooldown": _listed(plan.cooldown for plan in plans),
        "recorded": _listed(update for plan in plans for update in plan.record),
    }


def _fed(*keys: str) -> Callable[[Config], Facts | None]:
    """The facts of the experiments that feed these, if there are any."""

    def facts(config: Config) -> Facts | None:
        fed = feeds(config)
        names = dict.fromkeys(fed[key] for key in keys if key in fed)
        return _cell_facts(config, names) if names else None

    return facts


def _l2_fed(key: str) -> Callable[[Config], Facts | None]:
    """The facts of the experiment that feeds a figure of L2, if it has one of the λ that the figure shows."""

    def facts(config: Config) -> Facts | None:
        name = feeds(config).get(key)
        if name is None or not l2_shown(key, (plan.cell for plan in experiment_plans(config, name))):
            return None
        return _cell_facts(config, [name])

    return facts


def _noise_facts(config: Config) -> Facts | None:
    if not config.noise.seeds:
        return None
    cell = make_cell(config.cell)
    columns = cell.columns()
    shown = ("n_train", "hidden_sizes", "learning_rate", "momentum", "labels")
    return {key: _listed([columns[key]]) for key in shown} | {
        "data": config.data.name,
        "seeds": str(config.noise.seeds),
        "updates": _listed(config.noise.updates),
        "batch_size": _listed(size for size in config.noise.batch_sizes if size <= cell.n_train),
        "draws": str(config.noise.draws),
    }


def _evidence_facts(config: Config) -> Facts | None:
    """Facts of the kind of network that the figures show, that of which most are weighed."""
    own = [plan for plans in commonest_packs(config).values() for plan in plans]
    if not own:
        return None
    columns = [plan.cell.columns() for plan in own]
    chosen = config.network_evidence
    keys = ("n_train", "hidden_sizes", "learning_rate", "momentum", "updates", "batch_size", "labels")
    return {key: _listed(row[key] for row in columns) for key in keys} | {
        "data": config.data.name,
        "seeds": _listed(plan.seeds for plan in own),
        "l2": _listed(chosen.prior_precision),
        "points": ", ".join(chosen.points),
        "prior_centre": "zero" if "zero" in chosen.prior_centres else chosen.prior_centres[0],
    }


def _minimum_facts(config: Config) -> Facts | None:
    return _evidence_facts(config) if {"linearized", "minimum"} & set(config.network_evidence.points) else None


def _laplace_facts(config: Config) -> Facts | None:
    if not config.network_evidence.laplace_vs_ais:
        return None
    return {"data": config.data.name, "initialization": config.initialization}


def _spectra_facts(config: Config) -> Facts | None:
    return _evidence_facts(config) if config.network_evidence.spectra else None


@dataclass(frozen=True)
class _Figure:
    """A figure: the tables it is drawn from, in the order of the function's arguments, and when, with which facts.

    `fed`: keys of `FEEDS`, of whose experiments it gets the rows; `failures`: whether it is given what a failed run is.
    """

    tables: tuple[str, ...]
    facts: Callable[[Config], Facts | None]
    fed: tuple[str, ...] = ()
    failures: bool = False


# figures of an axis, and the name under which their functions look for the rows
_SWEEPS = {"fig5": "learning_rate", "fig7": "momentum", "fig6": "training_set_size"}


def _sweep(key: str) -> _Figure:
    return _Figure(("cells", "optimum", "scaling"), _fed(key), (key,), failures=True)


_FIGURES = {
    "fig1": _Figure(("linear",), _linear_facts),
    "fig2": _Figure(("linear",), _linear_facts),
    "fig3": _Figure(("cells",), _l2_fed("fig3"), ("fig3",)),
    "fig4": _Figure(("cells",), _fed("fig4"), ("fig4",)),
    "fig5": _sweep("fig5"),
    "headline": _sweep("fig5"),
    "fig6": _sweep("fig6"),
    "fig7": _sweep("fig7"),
    "fig8": _Figure(("cells",), _l2_fed("fig8"), ("fig8",)),
    "fig9": _Figure(("gradients", "gradient_noise"), _noise_facts),
    "noise": _Figure(("gradient_noise",), _noise_facts),
    "noise_scale": _Figure(("cells",), _fed(*_SWEEPS), tuple(_SWEEPS), failures=True),
    "n_law": _Figure(("optimum", "scaling", "laws"), _fed("fig6"), ("fig6",)),
    "prediction": _Figure(("prediction",), _fed(*_SWEEPS)),
    "evidence": _Figure(("network_evidence",), _evidence_facts),
    "evidence_l2": _Figure(("network_evidence",), _minimum_facts),
    "sharpness": _Figure(("network_evidence",), _evidence_facts),
    "spectra": _Figure(("spectra",), _spectra_facts),
    "laplace": _Figure(("laplace_vs_ais",), _laplace_facts),
}


def figure_facts(config: Config) -> dict[str, Facts]:
    """The figures of a run by name, each with the values that its caption prints, as text."""
    found = {name: figure.facts(config) for name, figure in _FIGURES.items()}
    return {name: facts for name, facts in found.items() if facts is not None}


def figure_tables(name: str) -> list[str]:
    """The tables that a figure is drawn from, by their names under tables/."""
    return list(_FIGURES[name].tables)


def _renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The table with the names that the figure's function looks for in place of those of the experiments."""
    if "experiment" not in table or all(name == experiment for experiment, name in names.items()):
        return table
    return table.assign(experiment=table["experiment"].replace(dict(names)))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(set(values)))


def draw(name: str, config: Config, tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Draw one figure of `figure_facts`, from the tables that `figure_tables` names."""
    # here, for the workflow asks for facts whenever it plans, and matplotlib takes a second
    from bayes_sgd.figures.evidence import evidence, evidence_l2, laplace, sharpness, spectra
    from bayes_sgd.figures.fig1_fig2_linear import fig1, fig2
    from bayes_sgd.figures.fig3_fig8_training import fig3, fig8
    from bayes_sgd.figures.fig4_to_fig7_batch_size import PHASES, fig4, fig5, fig6, fig7
    from bayes_sgd.figures.fig9_gradient_noise import fig9, noise
    from bayes_sgd.figures.headline import headline
    from bayes_sgd.figures.laws import n_law, noise_scale, prediction

    functions: list[Callable[..., tuple[Figure, pd.DataFrame]]] = [
        *(fig1, fig2, fig3, fig4, fig5, fig6, fig7, fig8, fig9, noise, noise_scale, n_law, prediction),
        *(headline, evidence, evidence_l2, sharpness, spectra, laplace),
    ]
    figure = _FIGURES[name]
    arguments = []
    fed = feeds(config)
    names = {fed[key]: _SWEEPS.get(key, key) for key in figure.fed if key in fed}
    for table in figure.tables:
        if table != "cells":
            arguments.append(_renamed(tables[table], names))
            continue
        rows = [
            experiment_rows(config, experiment, tables["cells"], phase).assign(experiment=name)
            for experiment, name in names.items()
            for phase in ("constant", *PHASES)
        ]
        arguments.append(pd.concat([part for part in rows if len(part)]))
    more = {"failed_below": config.statistics.failed_below} if figure.failures else {}
    return {function.__name__: function for function in functions}[name](*arguments, **more)
