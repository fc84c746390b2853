"""Figures 5-7 of the paper: takes the tables cells, optimum and scaling, gives a figure and the data in it.

Nothing is estimated here: figures show means over seeds with 95 % t-intervals, and optima and exponents from the tables.
Networks are trained at a constant ε; hollow markers show the phases `after_cooldown` and `iterate_average`, where the run has
them. The data has a row for each point: `panel`, the columns that name the point, `quantity`, `value`, `ci_low`, `ci_high`,
`interval` (what the bar is), `phase`. Accuracies are in [0, 1] in the data and in % on paper.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT, TREATMENTS, headline
from bayes_sgd.analysis.optimum import whole_budget
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import OPTIMUM, SCALING
from bayes_sgd.figures import style
from bayes_sgd.figures.common import (
    EDGES,
    EXPONENT_95,
    OPTIMUM_95,
    PAIRED_95,
    SEEDS_95,
    Drawn,
    below_best,
    edges,
    legend,
    need,
    over_seeds,
    span,
    two_parts,
)
from bayes_sgd.figures.style import BLUE, GREEN, GREY, LABELS, PURPLE, VERMILION, Look, below_scale, number, points, two_scales

BARS = {"argmax": "next batch sizes sampled", HEADLINE: OPTIMUM_95}
NAMES = {"argmax": "grid argmax", HEADLINE: "cubic fit"}
LOOKS = {"argmax": Look(BLUE, "o", ""), HEADLINE: Look(VERMILION, "D", "")}
BESIDE = {"argmax": 0.97, HEADLINE: 1.03, "iterate_average": 0.91, "after_cooldown": 1.09}  # factors: marks side by side
PHASES = {"iterate_average": Look(PURPLE, "s", ":"), "after_cooldown": Look(GREEN, "o", ":")}
PHASE_NAMES = {"iterate_average": "iterate average", "after_cooldown": "after cooldown"}


BELOW_BEST = 2.5  # points of accuracy below each series' best that figure 6 shows enlarged


class Sweep(NamedTuple):
    """What distinguishes figures 5, 6 and 7."""

    number: int
    experiment: str
    axis: str
    symbol: str


LEARNING_RATE = Sweep(5, "learning_rate", "learning_rate", "ε")
TRAINING_SET_SIZE = Sweep(6, "training_set_size", "n_train", "N")
MOMENTUM = Sweep(7, "momentum", "momentum", "m")


def _estimators(table: pd.DataFrame, sweep: Sweep, phase: str) -> pd.DataFrame:
    """The rows of `optimum` or `scaling` that a figure shows: both estimators at a constant ε, else the cubic fit."""
    rows = headline(table.loc[table["experiment"] == sweep.experiment], phase=phase, treatment=None, estimator=None)
    return rows.loc[rows["estimator"].isin(list(NAMES) if phase == PHASE else [HEADLINE])]


def final_rows(cells: pd.DataFrame, axis: str, what: str, phase: str = PHASE) -> pd.DataFrame:
    """The rows of a phase at its end (`whole_budget`). Only `constant` must be there."""
    columns = [axis, "batch_size", "update", "seed", "train_accuracy", "test_accuracy", "diverged", "phase"]
    need(cells, columns, what)
    cells = cells.loc[cells["phase"] == phase]
    if cells.empty and phase == PHASE:
        raise UserError(f"{what}: the table has no rows for it")
    rows = cells.loc[cells["update"] == whole_budget(cells, axis), columns].drop_duplicates()
    if rows.duplicated([axis, "batch_size", "seed"]).any():
        raise UserError(f"{what}: two runs with the same {axis}, batch_size and seed; give the cells of one experiment")
    return rows


def window(table: pd.DataFrame, series: str) -> tuple[float, float]:
    """Limits in % that show every peak and what lies at larger B; the failures at small B would flatten them all."""
    table = table.loc[np.isfinite(table["value"])].sort_values("batch_size")
    best = table["value"].max()
    right = [g.loc[g["value"].idxmax() :, "value"] for _, g in table.groupby(series)]
    right = [values for values in right if values.iloc[0] > best / 2]
    if not right:
        return 0.0, 100.0
    low, high = 100 * min(values.min() for values in right), 100 * best
    return max(0.0, low - 0.25 * (high - low) - 0.3), min(100.5, high + 0.2 * (high - low) + 0.3)


def fig5(cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """Learning rates: (a) test accuracy against batch size, (b) the optimum against ε, both axes logarithmic."""
    return _draw(LEARNING_RATE, cells, optimum, scaling, failed_below)


def fig6(cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """Training set sizes: (a) test accuracy against batch size, (b) the optimum against N, both axes logarithmic."""
    return _draw(TRAINING_SET_SIZE, cells, optimum, scaling, failed_below)


def fig7(cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """Momentum: (a) test accuracy against batch size, (b) the optimum against 1/(1 − m), both axes logarithmic."""
    return _draw(MOMENTUM, cells, optimum, scaling, failed_below)


def _optima(rows: pd.DataFrame, optimum: pd.DataFrame, sweep: Sweep, phase: str = PHASE) -> pd.DataFrame:
    """The optima of the cells on show in a phase; a censored one stands at the best batch size sampled, `edge`: its side."""
    need(optimum, OPTIMUM.names, f"figure {sweep.number}: optimum")
    shown = rows.loc[:, [sweep.axis, "update"]].drop_duplicates().astype(float)
    table = (
        _estimators(optimum, sweep, phase)
        .astype({"axis_value": float, "updates": float})
        .merge(shown, left_on=["axis_value", "updates"], right_on=[sweep.axis, "update"])
    )
    table = table.rename(columns={"b_opt": "value", "scaling_variable": "x"}).assign(panel="b", quantity="b_opt")
    table["edge"] = table["censored_side"].fillna("").astype(str)
    table["interval"] = table["estimator"].map(BARS.__getitem__)
    table["value"] = table["value"].where(table["edge"] == "", table["argmax"])
    for bound in ("low", "high"):
        table[f"ci_{bound}"] = table[f"ci_{bound}"].mask(table["estimator"] == "argmax", table[f"grid_{bound}"])
    columns = ["panel", sweep.axis, "update", "x", "treatment", "estimator", "quantity", "value", "ci_low", "ci_high"]
    return table.loc[:, [*columns, "edge", "interval", "phase"]].sort_values(["treatment", "estimator", "x"])


def _proportional(optima: pd.DataFrame) -> pd.DataFrame:
    """The line of slope 1 through the interior optima of the cubic fit (of the grid argmax if it has none)."""
    inside = optima.loc[(optima["edge"] == "") & (optima["treatment"] == TREATMENT) & np.isfinite(optima["value"])]
    for estimator in (HEADLINE, "argmax"):
        rows = inside.loc[inside["estimator"] == estimator]
        if len(rows):
            ends = np.array([optima["x"].min(), optima["x"].max()])
            values = ends * np.exp(np.log(rows["value"] / rows["x"]).mean())
            return pd.DataFrame({"panel": "b", "x": ends, "quantity": "proportional", "value": values, "phase": PHASE})
    return pd.DataFrame()


def _exponents(rows: pd.DataFrame, scaling: pd.DataFrame, sweep: Sweep, phase: str = PHASE) -> pd.DataFrame:
    need(scaling, SCALING.names, f"figure {sweep.number}: scaling")
    table = _estimators(scaling, sweep, phase).rename(columns={"exponent": "value"})
    names = ["treatment", "estimator", "value", "ci_low", "ci_high", "phase"]
    last = table.loc[table["updates"] == rows["update"].max(), names]
    return last.assign(panel="b", quantity="exponent", interval=EXPONENT_95)


class SweepData(NamedTuple):
    """What figures 5 to 7 show: means over seeds (all runs, without failed ones), optima, the line of slope 1, exponents."""

    all_runs: pd.DataFrame
    successful: pd.DataFrame
    phases: dict[str, pd.DataFrame]
    optima: pd.DataFrame
    line: pd.DataFrame
    exponents: pd.DataFrame
    updates: np.ndarray
    any_failed: bool
    relative: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """One row for each point that is drawn."""
        parts = (self.all_runs, self.relative, self.successful, *self.phases.values(), self.optima, self.line, self.exponents)
        return pd.concat([part for part in parts if len(part)])


def sweep_data(
    sweep: Sweep, cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float
) -> SweepData:
    """Choose and average what a sweep's figure shows; the arguments are those of `fig5`."""
    keys, figure = [sweep.axis, "batch_size"], f"figure {sweep.number}"
    rows = final_rows(cells, sweep.axis, figure)
    all_runs = over_seeds(rows, keys, ["test_accuracy"]).assign(panel="a", treatment=TREATMENT)
    failed = rows["diverged"].astype(bool) | (rows["train_accuracy"] < failed_below)
    successful = over_seeds(rows.loc[~failed], keys, ["test_accuracy"]).assign(panel="a", treatment="excluded")
    runs = successful.merge(all_runs, on=keys)["seeds_y"]
    successful = successful.loc[2 * successful["seeds"] >= runs]  # the mean over a minority says how lucky it was
    optima, exponents = _optima(rows, optimum, sweep), _exponents(rows, scaling, sweep)
    line = _proportional(optima)
    phases: dict[str, pd.DataFrame] = {}
    for phase in PHASES:
        last = final_rows(cells, sweep.axis, figure, phase)
        if len(last):
            phases[phase] = over_seeds(last, keys, ["test_accuracy"]).assign(panel="a", treatment=TREATMENT, phase=phase)
            optima = pd.concat([optima, _optima(last, optimum, sweep, phase)])
            exponents = pd.concat([exponents, _exponents(last, scaling, sweep, phase)])
    all_runs, successful = all_runs.assign(phase=PHASE), successful.assign(phase=PHASE)
    relative = pd.DataFrame()
    if sweep.axis == "n_train":  # heights differ with N, and a scale for all of them would hide the peaks
        trains = np.asarray(~failed.groupby([rows[name] for name in keys]).transform("any"), dtype=bool)
        relative = below_best(rows, sweep.axis, trains).assign(panel="a", treatment=TREATMENT, phase=PHASE)
    updates = rows["update"].to_numpy()
    return SweepData(all_runs, successful, phases, optima, line, exponents, updates, bool(np.any(failed)), relative)


def exponent_text(exponents: pd.DataFrame, estimator: str, phase: str = PHASE) -> str:
    """The exponent of one estimator with its interval, as a legend has it."""
    chosen = (exponents["treatment"] == TREATMENT) & (exponents["phase"] == phase) & (exponents["estimator"] == estimator)
    rows = exponents.loc[chosen]
    for value, low, high in rows.loc[np.isfinite(rows["value"]), ["value", "ci_low", "ci_high"]].to_numpy(float):
        return f"exponent {value:.2f}, 95 % [{low:.2f}, {high:.2f}]"
    return "exponent: no estimate"


def draw_optima(ax: Axes, rows: pd.DataFrame, beside: float, look: Look, name: str, words: str, hollow: bool = False) -> None:
    """The optima of one estimator in one phase, censored ones as open triangles; `name` and `words` go to the legend."""
    inside = rows.loc[(rows["edge"] == "") & np.isfinite(rows["value"])]
    count = f"; {len(inside)} of {len(rows)} inside the grid" if len(inside) < len(rows) else ""
    points(ax, inside["x"] * beside, inside, look, f"{name}{count}\n{words}", hollow=hollow)
    edges(ax, rows, beside, look.color)


def _draw_without_failed(ax: Axes, rows: pd.DataFrame, included: pd.DataFrame, estimator: str) -> None:
    """Crosses where an optimum moves once failed runs are left out."""
    rows = rows.loc[rows["edge"] == ""].merge(included.loc[:, ["x", "value", "edge"]], on="x", suffixes=("", "_all"))
    rows = rows.loc[~np.isclose(rows["value"], rows["value_all"], rtol=0.01) | (rows["edge_all"] != "")]
    if len(rows):
        label = f"{NAMES[estimator]} without the failed runs, where it differs (no bar)"
        color = LOOKS[estimator].color
        ax.plot(rows["x"] * BESIDE[estimator] ** 3, rows["value"], "x", color=color, alpha=0.6, label=label)


def optimum_panel(ax: Axes, sweep: Sweep, data: SweepData) -> pd.DataFrame:
    """Axes of the optimum against the swept variable, and the line of slope 1; gives the optima, bars cut at the frame."""
    sizes = data.all_runs["batch_size"].to_numpy(float)
    ax.set(xscale="log", yscale="log", xlabel=LABELS.get(sweep.axis, sweep.axis), ylabel=LABELS["b_opt"], label="b")
    ax.set_title(f"(b) optimum against {'1/(1 − m)' if sweep.axis == 'momentum' else sweep.symbol}")
    ax.set_ylim(sizes.min() / 1.4, sizes.max() * 1.4)
    if len(data.line):
        ax.plot(data.line["x"], data.line["value"], color=GREY, ls="--", lw=1, zorder=1, label="proportional: slope 1")
    else:
        ax.text(0.5, 0.5, "no optimum inside the grid", transform=ax.transAxes, ha="center", color=GREY)
    low, high = ax.get_ylim()  # an end of 0 or inf is drawn to the edge
    return data.optima.assign(ci_low=data.optima["ci_low"].clip(lower=low), ci_high=data.optima["ci_high"].clip(upper=high))


def edge_handles(optima: pd.DataFrame) -> list[Line2D]:
    """Legend entries of the kinds of censored optima that are there."""
    looks = [EDGES[edge] for edge in EDGES if edge in set(optima.loc[optima["treatment"] == TREATMENT, "edge"])]
    return [Line2D([], [], ls="", marker=m, mfc="none", mec=GREY, label=words) for m, words in looks]


def _draw_right(part: SubFigure, sweep: Sweep, data: SweepData) -> None:
    ax = part.subplots()
    optima = optimum_panel(ax, sweep, data)
    constant = optima["phase"] == PHASE
    included, excluded = (optima.loc[constant & (optima["treatment"] == name)] for name in TREATMENTS)
    for estimator, look in LOOKS.items():
        rows, without_failed = (table.loc[table["estimator"] == estimator] for table in (included, excluded))
        words = f"bar: {BARS[estimator]}; {exponent_text(data.exponents, estimator)}"
        draw_optima(ax, rows, BESIDE[estimator], look, NAMES[estimator], words)
        _draw_without_failed(ax, without_failed, rows, estimator)
    for phase in data.phases:
        rows = optima.loc[(optima["phase"] == phase) & (optima["treatment"] == TREATMENT)]
        if len(rows):
            name, words = f"{NAMES[HEADLINE]}, {PHASE_NAMES[phase]}", exponent_text(data.exponents, HEADLINE, phase)
            draw_optima(ax, rows, BESIDE[phase], PHASES[phase]._replace(line=""), name, words, hollow=True)
    style.plain_log(ax.xaxis)
    style.plain_log(ax.yaxis)
    legend(part, ax, 1, edge_handles(optima))
    if sweep.axis == "momentum":
        values = sorted(data.all_runs["momentum"].unique())
        upper = ax.secondary_xaxis("top", label="b top")
        upper.set_xticks([1 / (1 - m) for m in values], [number(m) for m in values])
        upper.tick_params(which="minor", top=False)
        upper.set_xlabel("momentum coefficient m")


def _draw_left(part: SubFigure, sweep: Sweep, data: SweepData) -> None:
    axis, cooled = sweep.axis, data.phases.get("after_cooldown")
    relative = len(data.relative) > 0
    top, full = two_scales(part, "a", "at the end", window(data.all_runs, axis))
    if relative:
        top.set(ylim=(-BELOW_BEST, 0.1 * BELOW_BEST), ylabel="test accuracy minus the series' own best (points)")
    full.set(xscale="log", xlabel=LABELS["batch_size"])
    style.plain_log(full.xaxis)
    values = sorted(data.all_runs[axis].unique())
    for value, look in zip(values, style.ordered(len(values)), strict=True):
        rows, successful = (table.loc[table[axis] == value] for table in (data.all_runs, data.successful))
        for ax in (top, full):
            shown, best = rows, 0.0
            if relative and ax is top:
                best = float(rows["value"].max())
                shown = data.relative.loc[data.relative[axis] == value]
            ax.plot(successful["batch_size"], 100 * (successful["value"] - best), color=look.color, ls=":", lw=0.8)
            if cooled is not None and not (relative and ax is top):
                size, height = cooled.loc[cooled[axis] == value, ["batch_size", "value"]].to_numpy(float).T
                ax.plot(size, 100 * height, look.marker, color=look.color, mfc="none", ms=4, mew=0.7, ls="-", lw=0.5)
            points(ax, shown["batch_size"], shown, look, f"{sweep.symbol} = {number(value)}", 100)
            if ax is top:
                below_scale(top, shown["batch_size"], shown)
    dotted = Line2D([], [], color=GREY, ls=":", lw=0.8, label="failed runs left out")
    thin = Line2D([], [], color=GREY, marker="o", mfc="none", ms=4, mew=0.7, lw=0.5, label=PHASE_NAMES["after_cooldown"])
    legend(part, top, 4, [dotted] * data.any_failed + [thin] * (cooled is not None))


def _draw(sweep: Sweep, cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float) -> Drawn:
    data = sweep_data(sweep, cells, optimum, scaling, failed_below)
    title = (
        f"Figure {sweep.number}. Optimal batch size and {sweep.experiment.replace('_', ' ')}, {span(data.updates, 'update')}"
    )
    bars = PAIRED_95 if len(data.relative) else SEEDS_95
    means = f"points in (a): means over {span(data.all_runs['seeds'], 'seed')}; bars: {bars}"
    with rc_context(style.RC):
        figure, left, right = two_parts(title, means, (1.15, 1), 6.4 if data.phases else 5.6)
        _draw_left(left, sweep, data)
        _draw_right(right, sweep, data)
    return figure, data.table()
