"""Figures of the benchmark: takes the tables engine.csv and growth.csv as frames, gives figures in the product's style."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bayes_sgd.core.io import write_atomically
from bayes_sgd.figures import style
from bayes_sgd.figures.style import BLACK, BLUE, GREY, LABELS, VERMILION, Look

# Okabe and Ito's colours; ours is black
LOOKS = {
    "ours": Look(BLACK, "o", "-"),
    "dataloader": Look(VERMILION, "s", "--"),
    "indexed": Look("#E69F00", "^", "--"),
    "compile": Look("#009E73", "D", "-."),
    "vmap": Look("#CC79A7", "P", "-."),
    "jax": Look(BLUE, "X", "-"),
    "floor": Look(GREY, "", ":"),
}
NAMES = {
    "dataloader": "DataLoader",
    "indexed": "x[batch]",
    "compile": "torch.compile",
    "jax": "JAX",
    "floor": "floor of dense products",
}


def engine_figure(table: pd.DataFrame) -> Figure:
    """Time per update against batch size: a panel for each network (columns) and number of networks (rows)."""
    hiddens, counts = list(dict.fromkeys(table["hidden"])), sorted(set(table["networks"]))
    with rc_context(style.RC):
        figure = Figure(figsize=(2.9 * len(hiddens) + 0.6, 2.5 * len(counts) + 0.8), layout="constrained")
        grid = figure.subplots(len(counts), len(hiddens), sharex=True, sharey=True, squeeze=False)
        for across, hidden in enumerate(hiddens):
            for down, networks in enumerate(counts):
                ax = grid[down][across]
                rows = table[(table["hidden"] == hidden) & (table["networks"] == networks)]
                _methods(ax, rows)
                many = "1 network" if networks == 1 else f"{networks} networks"
                ax.set_title(f"784-{hidden.replace('x', '-')}-10, {many}")
                if down == len(counts) - 1:
                    ax.set_xlabel(LABELS["batch_size"])
                if across == 0:
                    ax.set_ylabel("ms per update of one network")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        machine = table.iloc[0]
        figure.suptitle(
            f"Training speed, one thread of an {machine['processor']}; bars: extremes of {machine['repeats']} trials",
            x=0.01,
            ha="left",
        )
    return figure


def _methods(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set(xscale="log", yscale="log")
    for method, (color, marker, line) in LOOKS.items():
        mine = rows[rows["method"] == method].sort_values("batch_size").dropna(subset=["ms_per_update"])
        if mine.empty:
            continue
        value = mine["ms_per_update"].to_numpy()
        bars = [value - mine["ms_low"].to_numpy(), mine["ms_high"].to_numpy() - value]
        label = NAMES.get(method, method)
        width = 1.8 if method == "ours" else 1.1
        ax.errorbar(mine["batch_size"], value, bars, color=color, marker=marker, ls=line, lw=width, label=label)
    sizes = sorted(set(rows["batch_size"]))
    ax.set_xticks(sizes, [style.number(size) for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    style.plain_log(ax.yaxis)


PANELS = (
    ("stack size, ", "an update, by stack size", "networks in the stack", "ms per update of one network"),
    ("N, ", "an update, 8 networks, by N", LABELS["n_train"], "ms per update of one network"),
    ("planning", "a dry run, by cells", "cells, a job each", "seconds to plan"),
    ("updates, ", "a job's memory, by updates", LABELS["update"], "peak memory of a job (MB)"),
)


def growth_figure(table: pd.DataFrame) -> Figure:
    """Time of an update against stack size and N, planning against cells, memory against updates."""
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        for ax, letter, (series, title, across, up) in zip(figure.subplots(2, 2).flat, "abcd", PANELS, strict=True):
            rows = table[table["series"].str.startswith(series)]
            for (name, mine), look in zip(
                rows.groupby("series", sort=False), (Look(BLUE, "o", "-"), Look(VERMILION, "s", "--")), strict=False
            ):
                mine = mine.sort_values("x")
                bars = [mine["value"] - mine["low"], mine["high"] - mine["value"]]
                label = str(name).removeprefix(series)
                ax.errorbar(mine["x"], mine["value"], bars, color=look.color, marker=look.marker, ls=look.line, label=label)
            ax.set(xscale="log", xlabel=across, ylabel=up, title=f"({letter}) {title}")
            if len(rows):
                ax.set_ylim(0, 1.1 * rows["high"].max())
                ax.set_xticks(sorted(set(rows["x"])), [style.number(x) for x in sorted(set(rows["x"]))])
                ax.minorticks_off()
                if rows["series"].nunique() > 1:
                    ax.legend()
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.png and .svg, each whole or not at all."""
    with rc_context(style.RC):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            write_atomically(
                stem.with_name(f"{stem.name}.{kind}"),
                lambda file, kind=kind, metadata=metadata: figure.savefig(file, format=kind, metadata=metadata),
            )
