"""Which figures a configuration can draw, from which tables, and the facts that their captions print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.evidence_plan import commonest_packs
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


def _of(*names: str) -> Callable[[Config], Facts | None]:
    """The facts of those of the experiments that there are, if there are any."""

    def facts(config: Config) -> Facts | None:
        there = [name for name in names if name in config.experiments]
        return _cell_facts(config, there) if there else None

    return facts


_SWEPT = {"learning_rate": "learning_rate", "momentum": "momentum", "training_set_size": "n_train"}
_SWEPT_FIGURES = {"learning_rate": "fig5", "momentum": "fig7", "training_set_size": "fig6"}
_ELSEWHERE = ("batch_size", "l2")  # names of experiments that feed other figures


def _candidates(config: Config, sweep: str) -> list[str]:
    """The experiments that could be a sweep of `_SWEPT`: that of its name, or else all that follow its axis."""
    axis = _SWEPT[sweep]
    along = [name for name, experiment in config.experiments.items() if experiment.axis == axis]
    if sweep in config.experiments:
        return [sweep] if sweep in along else []
    taken = {*_ELSEWHERE, *config.network_evidence.experiments}
    return [
        name
        for name in along
        if name not in taken and len({getattr(plan.cell, axis) for plan in experiment_plans(config, name)}) > 1
    ]


def sweeps(config: Config) -> dict[str, str]:
    """Sweeps of the paper, each with the experiment that is drawn as it.

    That is the experiment of the sweep's name (`learning_rate`, `momentum`, `training_set_size`), if it follows that axis;
    where no experiment has the name, the only one that takes several values along the axis.
    """
    found = {sweep: _candidates(config, sweep) for sweep in _SWEPT}
    return {sweep: names[0] for sweep, names in found.items() if len(names) == 1}


def figure_notes(config: Config) -> list[str]:
    """A line for each sweep that has no figure because several experiments could be it."""
    found = {sweep: _candidates(config, sweep) for sweep in _SWEPT}
    return [
        f"note: no {_SWEPT_FIGURES[sweep]}: experiments {', '.join(names)} all follow {_SWEPT[sweep]}; "
        f"the one that is called {sweep} is drawn"
        for sweep, names in found.items()
        if len(names) > 1
    ]


def _along(*names: str) -> Callable[[Config], Facts | None]:
    """The facts of those of the sweeps that there are, if there are any."""

    def facts(config: Config) -> Facts | None:
        there = [experiment for sweep, experiment in sweeps(config).items() if sweep in names]
        return _cell_facts(config, there) if there else None

    return facts


def _l2_facts(wanted: Callable[[int], list[float]]) -> Callable[[Config], Facts | None]:
    """The experiment `l2`, if it has one of the λ that are wanted at its N."""

    def facts(config: Config) -> Facts | None:
        if "l2" not in config.experiments:
            return None
        cells = [plan.cell for plan in experiment_plans(config, "l2")]
        there = any(abs(cell.l2 - l2) <= 1e-6 * l2 for cell in cells for l2 in wanted(cell.n_train))
        return _cell_facts(config, ["l2"]) if there else None

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

    `experiments`: whose rows of the table of cells it gets, or which sweeps'; `failures`: whether
    it is told what a failed run is.
    """

    tables: tuple[str, ...]
    facts: Callable[[Config], Facts | None]
    experiments: tuple[str, ...] = ()
    failures: bool = False


def _sweep(name: str) -> _Figure:
    return _Figure(("cells", "optimum", "scaling"), _along(name), (name,), failures=True)


_FIGURES = {
    "fig1": _Figure(("linear",), _linear_facts),
    "fig2": _Figure(("linear",), _linear_facts),
    "fig3": _Figure(("cells",), _l2_facts(lambda n: [0.0]), ("l2",)),
    "fig4": _Figure(("cells",), _of("batch_size"), ("batch_size",)),
    "fig5": _sweep("learning_rate"),
    "headline": _sweep("learning_rate"),
    "fig6": _sweep("training_set_size"),
    "fig7": _sweep("momentum"),
    "fig8": _Figure(("cells",), _l2_facts(lambda n: [0.1, 0.1 * n]), ("l2",)),
    "fig9": _Figure(("gradients", "gradient_noise"), _noise_facts),
    "noise": _Figure(("gradient_noise",), _noise_facts),
    "noise_scale": _Figure(("cells",), _along(*_SWEPT), tuple(_SWEPT), failures=True),
    "n_law": _Figure(("optimum", "scaling", "laws"), _along("training_set_size"), ("training_set_size",)),
    "prediction": _Figure(("prediction",), _along(*_SWEPT)),
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
    """The table with the sweeps' names in place of those of the experiments that are drawn as them."""
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
    given = []
    drawn = sweeps(config)
    own = {drawn.get(name, name): name for name in figure.experiments}
    for table in figure.tables:
        if table != "cells":
            given.append(_renamed(tables[table], own))
            continue
        rows = [
            experiment_rows(config, experiment, tables["cells"], phase).assign(experiment=name)
            for experiment, name in own.items()
            if experiment in config.experiments
            for phase in ("constant", *PHASES)
        ]
        given.append(pd.concat([part for part in rows if len(part)]))
    more = {"failed_below": config.statistics.failed_below} if figure.failures else {}
    return {function.__name__: function for function in functions}[name](*given, **more)
