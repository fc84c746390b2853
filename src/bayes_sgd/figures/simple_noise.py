"""The figure of the simple noise scale beside the optimum, against N (docs/disputes.md); takes `optimum` and `simple_noise`.

Optima are as the table gives them. A noise scale is the mean of tr Σ over the mean of |G|², both over seeds. The figure comes
with its data, a row for each point.
"""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT
from bayes_sgd.analysis.intervals import jackknife_interval
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import OPTIMUM_95, SEEDS_95, Drawn, need
from bayes_sgd.figures.style import BLACK, GREY, LABELS, Look, number, points

TITLES = {"simple_updates": "equal updates", "simple_epochs": "equal epochs"}
OPTIMUM = "best batch size"
_COLUMNS = ["panel", "experiment", "series", "n_train", "quantity", "value", "ci_low", "ci_high", "edge", "seeds", "interval"]


def simple_noise(optimum: pd.DataFrame, measured: pd.DataFrame) -> Drawn:
    """Best batch size, and B_simple at each training loss, against N: (a) at equal updates, (b) at equal epochs.

    Args:
        optimum: the table `optimum`, experiments by the keys that they feed.
        measured: the table `simple_noise`, likewise.
    """
    what = "The best batch size and the simple noise scale B_simple = tr Σ/|G|² against N"
    need(optimum, ["experiment", "phase", "treatment", "estimator", "axis_value", "updates", "b_opt"], f"{what}: optimum")
    need(measured, ["experiment", "loss", "n_train", "seed", "trace", "mean_square"], f"{what}: simple_noise")
    shown = [name for name in TITLES if name in set(measured["experiment"])]
    if not shown:
        raise UserError(f"{what}: no rows for it")
    data = pd.concat([_optima(optimum, name) for name in shown] + [_noise_scales(measured, name) for name in shown])
    data["panel"] = [ascii_lowercase[shown.index(name)] for name in data["experiment"]]
    with rc_context(style.RC):
        figure = Figure(figsize=(5.2 * len(shown), 4.4), layout="constrained")
        figure.suptitle(f"{what}\nbars: {OPTIMUM_95}; dashed: slope 1, proportional to N", x=0.01, ha="left")
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False).ravel()
        low, high = _extent(data)
        # an open interval has an end at 0 or infinity, which a logarithmic axis cannot show
        within = data.assign(ci_low=data["ci_low"].clip(lower=low / 10), ci_high=data["ci_high"].clip(upper=10 * high))
        for ax, name, letter in zip(panels, shown, ascii_lowercase, strict=False):
            ax.set(label=letter, title=f"({letter}) {TITLES[name]}")
            _draw(ax, within.loc[within["experiment"] == name])
            ax.set_ylim(low, high)
        panels[0].legend(loc="upper center")
    return figure, data.reindex(columns=_COLUMNS)


def _optima(optimum: pd.DataFrame, name: str) -> pd.DataFrame:
    """The optima of one experiment at its last update; those beyond the grid have no value."""
    rows = optimum.loc[
        (optimum["experiment"] == name)
        & (optimum["phase"] == PHASE)
        & (optimum["treatment"] == TREATMENT)
        & (optimum["estimator"] == HEADLINE)
        & (optimum["budget_fraction"] == 1)
    ]
    rows = rows.rename(columns={"axis_value": "n_train", "b_opt": "value"})
    return rows.assign(n_train=rows["n_train"].astype(float), series=OPTIMUM, quantity="b_opt", interval=OPTIMUM_95)


def _noise_scales(measured: pd.DataFrame, name: str) -> pd.DataFrame:
    """B_simple of one experiment at each N and loss, with a jackknife's interval of its logarithm."""
    rows = []
    for (loss, n), part in measured.loc[measured["experiment"] == name].groupby(["loss", "n_train"]):
        trace, square = (part[column].to_numpy(float) for column in ("trace", "mean_square"))

        def log_ratio(seeds: np.ndarray, trace: np.ndarray = trace, square: np.ndarray = square) -> float:
            return float(np.log(trace[seeds].mean() / square[seeds].mean())) if square[seeds].mean() > 0 else np.nan

        value, low, high, seeds = jackknife_interval(log_ratio, len(part))
        ends = {"value": np.exp(value), "ci_low": np.exp(low), "ci_high": np.exp(high), "seeds": seeds}
        rows.append({"n_train": float(n), "series": f"B_simple at a loss of {number(loss)}"} | ends)
    return pd.DataFrame(rows).assign(experiment=name, quantity="b_simple", interval=SEEDS_95)


def _extent(data: pd.DataFrame) -> tuple[float, float]:
    """The smallest and the largest value and end of an interval that a logarithmic axis can show, with room about them."""
    ends = data[["value", "ci_low", "ci_high"]].to_numpy(float)
    shown = ends[np.isfinite(ends) & (ends > 0)]
    return (shown.min() / 1.2, 1.2 * shown.max()) if len(shown) else (1.0, 10.0)


def _draw(ax: Axes, table: pd.DataFrame) -> None:
    """Both against N; the dashed line of slope 1 goes through the middle of the optima."""
    ax.set(xscale="log", yscale="log", xlabel=LABELS["n_train"], ylabel="batch size (examples)")
    scales = [name for name in dict.fromkeys(table["series"]) if name != OPTIMUM]
    for name, look in [(OPTIMUM, Look(BLACK, "o", "-")), *zip(scales, style.ordered(len(scales)), strict=True)]:
        part = table.loc[table["series"] == name].sort_values("n_train")
        points(ax, part["n_train"], part, look._replace(line="-" if name == OPTIMUM else ":"), name)
    optima = table.loc[(table["series"] == OPTIMUM) & table["value"].notna()]
    if len(optima):
        n, b = optima["n_train"].to_numpy(float), optima["value"].to_numpy(float)
        ends = np.array([n.min(), n.max()])
        ax.plot(ends, np.exp(np.log(b).mean() - np.log(n).mean()) * ends, color=GREY, ls="--", lw=1, zorder=1, label="_slope 1")
    style.plain_log(ax.xaxis)
    style.plain_log(ax.yaxis)
