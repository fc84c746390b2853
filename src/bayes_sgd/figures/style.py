"""How figures look: takes axes, points and the number of series, gives colours, axis labels, ticks and drawn points.

Ordered series (ε, N, B, m) take a sequence of growing lightness, so that it survives colour blindness and grey print;
unordered ones take Okabe and Ito's colours. Markers and line styles differ as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

BLACK, BLUE, VERMILION, GREY = "#000000", "#0072B2", "#D55E00", "#767676"  # Okabe and Ito (2008), and a grey
GREEN, PURPLE, ORANGE, SKY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"  # Okabe and Ito
MARKERS = ("o", "s", "^", "D", "P", "X", "p", "<", "*", ">", "h", "d")
LINES = ("-", "--", "-.")

RC: dict[Any, Any] = {
    "font.size": 9, "axes.titlesize": 9.5, "figure.titlesize": 10.5, "legend.fontsize": 8,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e4e4e4",
    "legend.frameon": False, "legend.handlelength": 2.6,
    "lines.linewidth": 1.3, "lines.markersize": 4.5, "errorbar.capsize": 2, "savefig.dpi": 160,
    "svg.hashsalt": "bayes-sgd",  # ids in the SVG depend on the drawing alone, so that a rerun gives equal bytes
}  # fmt: skip

LABELS = {
    "batch_size": "batch size B (examples)",
    "learning_rate": "learning rate ε (per update, mean loss)",
    "n_train": "training set size N (examples)",
    "momentum": "1/(1 − m)",
    "update": "updates",
    "accuracy": "accuracy (%)",
    "test_accuracy": "test accuracy (%)",
    "l2": "λ of the sum cost H + λ‖ω‖²/2",
    "margin": "mean margin (units of the input)",
    "loss": "cross-entropy (nats per example)",
    "log_evidence_ratio_per_example": "log evidence ratio E / N\n(nats per example)",
    "b_opt": "optimal batch size B (examples)",
}


class Look(NamedTuple):
    """What tells one series from the next."""

    color: str
    marker: str
    line: str


def ordered(count: int) -> list[Look]:
    """Looks of `count` ordered series, from dark to light, all dark enough for white paper."""
    colors = [to_hex(colormaps["viridis"](0.85 * i / max(1, count - 1))) for i in range(count)]
    return [Look(c, MARKERS[i % len(MARKERS)], LINES[i % len(LINES)]) for i, c in enumerate(colors)]


def unordered(count: int) -> list[Look]:
    """Looks of `count` series without an order, no line between their points."""
    colors = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
    return [Look(colors[i % len(colors)], MARKERS[i % len(MARKERS)], "") for i in range(count)]


def number(value: float) -> str:
    """A number as people write it: 60 000, 0.025, 1e-05."""
    if float(value).is_integer() and 10_000 <= abs(value) < 1e9:
        return f"{int(value):,}".replace(",", "\u2009")
    return f"{value:.4g}"


def plain_log(axis: Axis, subs: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Ticks at 1, 2, 5, 10, ... in plain numbers, for a logarithmic axis of a few decades; `subs`: where in a decade."""
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def points(
    ax: Axes, x: ArrayLike, table: pd.DataFrame, look: Look, label: str = "", scale: float = 1.0, hollow: bool = False
) -> None:
    """Draw `value` against `x` (rows,) with bars from `ci_low` to `ci_high`; on a fixed scale no bar of a point below it."""
    x = np.asarray(x, dtype=float)
    shown = np.isfinite(table["value"].to_numpy(float)) & np.isfinite(x)
    value, low, high = scale * table.loc[:, ["value", "ci_low", "ci_high"]].to_numpy(float)[shown].T
    bars = np.nan_to_num(np.stack([value - low, high - value])).clip(min=0)
    if not ax.get_autoscaley_on():
        bars = bars * (value >= ax.get_ylim()[0])
    color, marker, line = look
    face = "none" if hollow else color
    ax.errorbar(x[shown], value, yerr=bars, label=label, color=color, marker=marker, mfc=face, ls=line, elinewidth=0.9)


def two_scales(part: SubFigure, panel: str, title: str, limits: tuple[float, float]) -> tuple[Axes, Axes]:
    """A large panel around the peaks, and below it a small one from 0 to 100 %, which shows what failed to train."""
    top, full = part.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.set(title=f"({panel}) {title}", ylabel=LABELS["test_accuracy"], ylim=limits, label=f"{panel} peak")
    full.set(ylim=(0, 103), yticks=(0, 50, 100), ylabel="full range", label=f"{panel} full")
    return top, full


def below_scale(ax: Axes, x: pd.Series, table: pd.DataFrame) -> None:
    """Mark the accuracies that lie below the axis by triangles on its lower edge."""
    below = x.loc[100 * table["value"] < ax.get_ylim()[0]]
    if len(below):  # unclipped and empty, it would count as a point in the corner of the figure
        low = np.full(len(below), ax.get_ylim()[0])
        ax.plot(below, low, "v", ms=5.5, mfc="white", mec=GREY, clip_on=False, zorder=5, label="below the scale")
