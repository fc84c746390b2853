"""Takes the replicates of a run and the claims with their limits; draws for each claim its replicates as a forest plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_sgd.claims.claims import Claim
from bayes_sgd.claims.verdicts import VERDICTS, judge
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures.common import Drawn
from bayes_sgd.figures.style import BLACK, BLUE, GREY, RC, VERMILION

COLORS: dict[str, str] = dict(zip(VERDICTS, (BLUE, VERMILION, GREY, BLACK), strict=True))
MARKERS = {"seeds": "o", "rounding": "s", "halves": "D"}
WORDS = {
    "seeds": "set of seeds (the first: the run itself)",
    "rounding": "other rounding of the same seeds",
    "halves": "half of the seeds",
}
COLUMNS = 6
SHADES = 300  # places along a panel at which the verdict on an exact value is asked for


def forest(table: pd.DataFrame, claims: Sequence[Claim]) -> Drawn:
    """A panel for each claim that has values; its replicates from top to bottom, as in the table.

    The ground shows what an exact value would be judged: blue reproduces the claim, red does not.

    Args:
        table: the table `replication`.
        claims: with their limits.

    Raises:
        UserError: no claim has a value.
    """
    valued = table.loc[table["value"].notna()]
    shown = [claim for claim in claims if claim.id in set(valued["claim"])]
    if not shown:
        raise UserError("replication: no claim has a value in any replicate")
    replicates = list(dict.fromkeys(table["replicate"]))
    lines = -(-len(shown) // COLUMNS)
    with rc_context(RC):
        figure = Figure(figsize=(2.25 * COLUMNS, 0.9 + lines * (0.55 + 0.085 * len(replicates))), layout="constrained")
        axes = np.atleast_1d(figure.subplots(lines, COLUMNS, squeeze=False).ravel())
        for ax, claim in zip(axes, shown, strict=False):
            rows = valued.loc[valued["claim"] == claim.id]
            _panel(ax, rows, claim, {name: -place for place, name in enumerate(replicates)})
        for ax in axes[len(shown) :]:
            ax.set_axis_off()
        figure.suptitle(
            "Claims in replicates of a run: value and 95 % interval, coloured by verdict. Ground: blue, an exact value that "
            "reproduces the claim; red, one that does not",
            x=0.01, ha="left",
        )  # fmt: skip
        figure.legend(handles=_handles(table), loc="outside lower left", ncols=4)
    return figure, _data(valued)


def _panel(ax: Axes, rows: pd.DataFrame, claim: Claim, places: dict[str, int]) -> None:
    low, high = _span(rows)
    x = np.linspace(low, high, SHADES)
    verdicts = np.array([judge(claim.reproduced, value, value, value) for value in x])
    for verdict in ("reproduced", "not reproduced"):
        ax.fill_between(
            x, 0, 1, where=verdicts == verdict, transform=ax.get_xaxis_transform(), color=COLORS[verdict], alpha=0.13, lw=0
        )
    for row in rows.to_dict("records"):
        y, color = places[row["replicate"]], COLORS[row["verdict"]]
        ends = np.clip(np.nan_to_num([row["low"], row["high"]], nan=row["value"]), low, high)
        ax.plot(ends, [y, y], "-", color=color, lw=1.1)
        ax.plot(row["value"], y, MARKERS[row["kind"]], color=color, ms=3.2)
    ax.set(xlim=(low, high), ylim=(min(places.values()) - 0.7, 0.7), yticks=[], title=f"{claim.id}")
    ax.locator_params(axis="x", nbins=4)
    ax.tick_params(labelsize=7)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useOffset=False)
    ax.xaxis.get_offset_text().set_fontsize(7)


def _span(rows: pd.DataFrame) -> tuple[float, float]:
    """What a panel shows: all values, and intervals but for their wildest ends, with a margin."""
    values = rows["value"].to_numpy(float)
    ends = rows[["low", "high"]].to_numpy(float).ravel()
    ends = ends[np.isfinite(ends)]
    finite = np.concatenate([values, np.quantile(ends, [0.03, 0.97])]) if len(ends) else values
    low, high = float(finite.min()), float(finite.max())
    margin = 0.08 * (high - low) or max(0.05 * abs(high), 1e-3)
    return low - margin, high + margin


def _handles(table: pd.DataFrame) -> list[Line2D | Patch]:
    kinds = [kind for kind in MARKERS if kind in set(table["kind"])]
    marks = [Line2D([], [], color=BLACK, marker=MARKERS[kind], ls="", ms=4, label=WORDS[kind]) for kind in kinds]
    verdicts = [verdict for verdict in VERDICTS if verdict in set(table.loc[table["value"].notna(), "verdict"])]
    return [*marks, *(Patch(color=COLORS[v], label="reported only" if v == "not tested" else v) for v in verdicts)]


def _data(valued: pd.DataFrame) -> pd.DataFrame:
    """What is drawn, a row for each point."""
    return valued.rename(columns={"low": "ci_low", "high": "ci_high"}).assign(
        panel=valued["claim"], quantity="value", interval="95 % interval"
    )
