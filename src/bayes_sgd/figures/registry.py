"""Which figures a configuration can draw, from which tables, and the values that their captions print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.evidence_plan import commonest_packs
from bayes_sgd.experiment.feeds import DISPUTES, EQUAL_EPOCHS, SIMPLE_NOISE, feeding, feeds, l2_shown
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.experiment.packs import experiment_plans, experiment_rows, make_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CaptionValues = dict[str, str]


_NETWORKS = """\
- data: {data}, labels: {labels}, N = {n_train}; hidden layers: {hidden_sizes}
- learning rate ε = {learning_rate}, momentum m = {momentum}, {more}
- batch sizes: {batch_size}"""
"""What captions say of the networks, as items of a list; `networks` in the caption's values."""
_EVALUATION = """\
- values of λ: {l2}; prior centred at: {prior_centre}; points of evaluation: {points}
- "sgd": the weights as SGD left them, which are no minimum of the cost
- "linearized": the minimum of the model that is linear in its weights there
- "minimum": where the descent on the network's own cost ends that starts there"""
"""What captions of the evidence say besides; `evaluation` in the caption's values."""
_ESTIMATORS = """\
- grid argmax, the paper's estimator: the batch size of the highest mean. Its bar reaches to the next batch sizes sampled and is
  no confidence interval
- cubic fit: the top of a cubic in ln B near the best batch size. Its bar is the 95 % t-interval of ln B over seeds, drawn to
  the edge of the panel where the data set no bound
- exponents, in the legend of (b): the slope of ln B against the logarithm of the horizontal axis, with 95 %
  t-intervals from the seeds and the scatter of the points
- open triangles: censored optima, which lie at this B or beyond. They enter neither the line nor the exponents"""
_COOLED = """
- after cooldown (hollow): the same networks after {cooldown} more updates in which ε falls to 0; in (a) with thin lines
- iterate average (hollow, in (b) alone): the mean of their iterates over as many updates before. Neither is subject to the
  noise of a constant ε; both have optima by the cubic fit, with exponents of their own"""
"""How figures 5 to 7 show optima, the second where networks are cooled down; `estimators` in the caption's values."""
_PANELS = """\
Failed runs count with the accuracy that they reached. The dotted lines in (a) and the crosses in (b) leave them out, where that
makes a difference. The large panel of (a) shows the peaks; triangles on its lower edge stand for means below the scale. The
small panel shows the same points from 0 to 100 %: the left edge of each series is a failure to train."""
"""What else figures 5 to 7 have in common; `panels` in the caption's values."""


def _linear_caption(config: Config) -> CaptionValues | None:
    if not config.linear.seeds:
        return None
    return {
        "data": config.data.name,
        "seeds": str(len(seed_range(config.linear.seeds))),
        "n_train": str(config.linear.n_train),
        "n_test": f"at most {config.linear.n_test}",
        "l2": f"{config.linear.l2_low:g} to {config.linear.l2_high:g}, {config.linear.l2_per_decade} a decade",
    }


def _cell_caption(config: Config, experiments: Iterable[str]) -> CaptionValues:
    plans = [plan for name in experiments for plan in experiment_plans(config, name)]
    columns = [plan.cell.columns() for plan in plans]
    caption_values = {key: _listed(row[key] for row in columns) for key in columns[0] if key != "noise_scale"} | {
        "data": config.data.name,
        "seeds": _listed(len(plan.seeds) for plan in plans),
        "cooldown": _listed(plan.cooldown for plan in plans),
        "recorded": _listed(update for plan in plans for update in plan.record),
    }
    details = "λ = {l2}, batches: {sampling}; updates: {updates}".format(**caption_values)
    return caption_values | {"networks": _NETWORKS.format(**caption_values, more=details)}


def _fed(*keys: str) -> Callable[[Config], CaptionValues | None]:
    """The caption values of the experiments that feed these, if there are any."""

    def caption_values(config: Config) -> CaptionValues | None:
        fed = feeds(config)
        names = dict.fromkeys(fed[key] for key in keys if key in fed)
        return _cell_caption(config, names) if names else None

    return caption_values


def _optima_fed(key: str) -> Callable[[Config], CaptionValues | None]:
    """The caption values of figures 5 to 7: those of the experiment that feeds the figure, and what all three say."""

    def caption_values(config: Config) -> CaptionValues | None:
        values = _fed(key)(config)
        if values is None:
            return None
        cooled = _COOLED.format(**values) if values["cooldown"] != "0" else ""
        return values | {"estimators": _ESTIMATORS + cooled, "panels": _PANELS}

    return caption_values


def _one_constant_caption(config: Config) -> CaptionValues | None:
    names = feeding(config, "one_constant")
    return _cell_caption(config, names) if names else None


def _l2_fed(key: str) -> Callable[[Config], CaptionValues | None]:
    """The caption values of the experiment that feeds a figure of L2, if it has one of the λ that the figure shows."""

    def caption_values(config: Config) -> CaptionValues | None:
        name = feeds(config).get(key)
        if name is None or not l2_shown(key, (plan.cell for plan in experiment_plans(config, name))):
            return None
        return _cell_caption(config, [name])

    return caption_values


def _noise_caption(config: Config) -> CaptionValues | None:
    if not config.noise.seeds:
        return None
    cell = make_cell(config.cell)
    columns = cell.columns()
    shown = ("n_train", "hidden_sizes", "learning_rate", "momentum", "labels")
    caption_values = {key: _listed([columns[key]]) for key in shown} | {
        "data": config.data.name,
        "seeds": str(len(seed_range(config.noise.seeds))),
        "updates": _listed(config.noise.updates),
        "batch_size": _listed(size for size in config.noise.batch_sizes if size <= cell.n_train),
        "draws": str(config.noise.draws),
    }
    details = "frozen after so many updates: {updates}; batches for each mean: {draws}".format(**caption_values)
    return caption_values | {"networks": _NETWORKS.format(**caption_values, more=details)}


def _simple_noise_caption(config: Config) -> CaptionValues | None:
    caption_values = _fed(*SIMPLE_NOISE)(config) if config.simple_noise.experiments else None
    return caption_values and caption_values | {"losses": _listed(config.simple_noise.losses)}


def _evidence_caption(config: Config) -> CaptionValues | None:
    """Caption values of the kind of network that the figures show, that of which most have evidence."""
    members = [plan for plans in commonest_packs(config).values() for plan in plans]
    if not members:
        return None
    columns = [plan.cell.columns() for plan in members]
    chosen = config.network_evidence
    keys = ("n_train", "hidden_sizes", "learning_rate", "momentum", "updates", "batch_size", "labels")
    caption_values = {key: _listed(row[key] for row in columns) for key in keys} | {
        "data": config.data.name,
        "seeds": _listed(len(plan.seeds) for plan in members),
        "l2": _listed(chosen.prior_precision),
        "points": ", ".join(chosen.points),
        "prior_centre": "zero" if "zero" in chosen.prior_centres else chosen.prior_centres[0],
    }
    networks = _NETWORKS.format(**caption_values, more="updates: {updates}".format(**caption_values))
    return caption_values | {"networks": networks, "evaluation": _EVALUATION.format(**caption_values)}


def _minimum_caption(config: Config) -> CaptionValues | None:
    return _evidence_caption(config) if {"linearized", "minimum"} & set(config.network_evidence.points) else None


def _laplace_caption(config: Config) -> CaptionValues | None:
    if not config.network_evidence.laplace_vs_ais:
        return None
    return {"data": config.data.name, "initialization": config.initialization}


def _spectra_caption(config: Config) -> CaptionValues | None:
    return _evidence_caption(config) if config.network_evidence.spectra else None


@dataclass(frozen=True)
class _Figure:
    """A figure: where its function is, what that is drawn from, and when, with which caption values.

    Attributes:
        module: of this package; the function in it has the figure's name.
        tables: the function's arguments, in order.
        caption_values: what its caption prints; none where a configuration does not ask for the figure.
        fed: keys of `FEEDS`, of whose experiments it gets the rows.
        failures: whether the function gets the training accuracy below which a run has failed.
    """

    module: str
    tables: tuple[str, ...]
    caption_values: Callable[[Config], CaptionValues | None]
    fed: tuple[str, ...] = ()
    failures: bool = False


# figures of an axis, and the name under which their functions look for the rows
_SWEEPS = {"fig5": "learning_rate", "fig7": "momentum", "fig6": "training_set_size"}


def _sweep(module: str, key: str) -> _Figure:
    return _Figure(module, ("cells", "optimum", "scaling"), _optima_fed(key), (key,), failures=True)


FIGURES = {
    "fig1": _Figure("fig1_fig2_linear", ("linear",), _linear_caption),
    "fig2": _Figure("fig1_fig2_linear", ("linear",), _linear_caption),
    "fig3": _Figure("fig3_fig8_training", ("cells",), _l2_fed("fig3"), ("fig3",)),
    "fig4": _Figure("fig4_batch_size", ("cells",), _fed("fig4"), ("fig4",), failures=True),
    "fig5": _sweep("fig5_to_fig7_batch_size", "fig5"),
    "fig6": _sweep("fig5_to_fig7_batch_size", "fig6"),
    "fig7": _sweep("fig5_to_fig7_batch_size", "fig7"),
    "headline": _sweep("headline", "fig5"),
    "fig8": _Figure("fig3_fig8_training", ("cells",), _l2_fed("fig8"), ("fig8",)),
    "fig9": _Figure("fig9_gradient_noise", ("gradients", "gradient_noise"), _noise_caption),
    "gradient_noise": _Figure("fig9_gradient_noise", ("gradient_noise",), _noise_caption),
    "accuracy_vs_noise_scale": _Figure("laws", ("cells",), _fed(*_SWEEPS), tuple(_SWEEPS), failures=True),
    "optimum_vs_n": _Figure("n_law", ("n_law", "n_law_fit"), _fed("fig6", *EQUAL_EPOCHS)),
    "prediction": _Figure("laws", ("prediction",), _fed(*_SWEEPS)),
    "predictors": _Figure("predictors", ("fit_batch", "predictors"), _one_constant_caption),
    "simple_noise": _Figure("simple_noise", ("optimum", "simple_noise"), _simple_noise_caption, SIMPLE_NOISE),
    "disputes": _Figure("disputes", ("cells",), _fed(*DISPUTES), DISPUTES, failures=True),
    "evidence": _Figure("evidence", ("network_evidence",), _evidence_caption),
    "evidence_l2": _Figure("evidence", ("network_evidence",), _minimum_caption),
    "sharpness": _Figure("evidence", ("network_evidence",), _evidence_caption),
    "spectra": _Figure("evidence", ("spectra",), _spectra_caption),
    "laplace": _Figure("laplace", ("laplace_vs_ais",), _laplace_caption),
}
"""Every figure. A new one needs a function of its name in a module of this package, a line here, and a caption."""


STAGES = {
    "linear": ("linear",),
    "cells": ("cells",),
    "optima": ("optimum", "scaling", "laws", "n_law", "n_law_fit", "prediction", "fit_batch", "predictors"),
    "noise": ("gradients", "gradient_noise"),
    "simple_noise": ("simple_noise",),
    "evidence": ("network_evidence",),
    "spectra": ("spectra",),
    "laplace": ("laplace_vs_ais",),
}
"""The tables of figures by the stage of a run that makes them; a stage comes after those whose tables it reads."""


def captions(config: Config) -> dict[str, CaptionValues]:
    """The figures of a run by name, each with the values that its caption prints, as text."""
    values = {name: figure.caption_values(config) for name, figure in FIGURES.items()}
    return {name: caption_values for name, caption_values in values.items() if caption_values is not None}


def figure_groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Figures, those together whose tables are ready at one time, by the last of `STAGES` that they wait for."""
    groups: dict[str, list[str]] = {}
    for name in names:
        last = [stage for stage, tables in STAGES.items() if set(tables) & set(FIGURES[name].tables)][-1]
        groups.setdefault(last, []).append(name)
    return groups


def figure_tables(names: Iterable[str]) -> list[str]:
    """The tables that figures are drawn from, by their names under tables/."""
    return list(dict.fromkeys(table for name in names for table in FIGURES[name].tables))


def _renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The table with the names that the figure's function looks for in place of those of the experiments."""
    if "experiment" not in table or all(name == experiment for experiment, name in names.items()):
        return table
    return table.assign(experiment=table["experiment"].replace(dict(names)))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(set(values)))


def draw(name: str, config: Config, tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Draw one figure of `captions`, from the tables that `figure_tables` names."""
    # here, because the workflow asks for captions whenever it plans, and matplotlib takes a second to import
    from bayes_sgd.figures import (
        disputes,
        evidence,
        fig1_fig2_linear,
        fig3_fig8_training,
        fig4_batch_size,
        fig5_to_fig7_batch_size,
        fig9_gradient_noise,
        headline,
        laplace,
        laws,
        n_law,
        predictors,
        simple_noise,
    )

    modules = (
        *(
            disputes,
            evidence,
            fig1_fig2_linear,
            fig3_fig8_training,
            fig4_batch_size,
            fig5_to_fig7_batch_size,
            fig9_gradient_noise,
        ),
        *(headline, laplace, laws, n_law, predictors, simple_noise),
    )
    by_name = {module.__name__.rpartition(".")[2]: module for module in modules}
    figure = FIGURES[name]
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
            for phase in ("constant", *fig5_to_fig7_batch_size.PHASES)
        ]
        arguments.append(pd.concat([part for part in rows if len(part)]))
    options = {"failed_below": config.statistics.failed_below} if figure.failures else {}
    function: Callable[..., tuple[Figure, pd.DataFrame]] = getattr(by_name[figure.module], name)
    return function(*arguments, **options)
