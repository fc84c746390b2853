"""Figures on the evidence, sharpness and spectra of trained networks: takes tables, gives figures.

The paper computes no evidence of a network; its figure 2 is of a linear model. Of `network_evidence` the networks of one kind
are shown, those of its column `main_series`, with the prior centred at 0 if it was. As in `figures`, nothing is estimated here
but means over seeds. Intervals over batch sizes are paired: each seed's mean over batch sizes is taken out, and what is left is
widened by √(K/(K − 1)) for K batch sizes (Morey 2008), so that they show differences between batch sizes. Spectra are of one
network each, and have no intervals. E in nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.evidence_plan import KIND, with_main_series
from bayes_sgd.figures import style
from bayes_sgd.figures.common import PAIRED_95, SEEDS_95, Drawn, band, legend, need, over_seeds, paired, span
from bayes_sgd.figures.style import BLACK, BLUE, GREEN, GREY, LABELS, VERMILION, Look, number, points

POINTS = {"sgd": Look(VERMILION, "o", "-"), "linearized": Look(GREEN, "^", "--"), "minimum": Look(BLUE, "s", "-.")}
POINT_NAMES = {
    "sgd": "where SGD stopped",
    "linearized": "linearized there, its minimum",
    "minimum": "end of the descent from there",
}
WORDS = {"real": "true labels", "random": "random labels"}
EVIDENCE = "log_evidence_ratio_per_example"
ONE_ORDER = "without_permutations"  # E / N less ln H! / N, for the orders of the hidden units
SHOWN = ("n_train", "hidden_sizes", "learning_rate", "updates")  # what titles say of the kind
RANKS_A_DECADE = 60  # of a spectrum that are drawn
SHARPNESS = {
    "top_eigenvalue": "largest eigenvalue of the GGN",
    "trace": "trace of the GGN",
    "effective_parameters": "effective parameters at the best λ",
}


def _chosen(table: pd.DataFrame, columns: Iterable[str], what: str) -> tuple[pd.DataFrame, str]:
    """The rows of the main series, with real and with random labels; and its kind in words."""
    need(
        table,
        ["labels", "batch_size", "seed", "point", "prior_centre", "prior_precision", "best_prior_precision", *SHOWN, *columns],
        what,
    )
    table = with_main_series(table)
    table = table.loc[table["main_series"] & table["labels"].isin(list(WORDS)) & table["point"].isin(list(POINTS))]
    if table.empty:
        raise UserError(f"{what}: the table has no rows with real or random labels")
    centre = "zero" if "zero" in set(table["prior_centre"]) else table["prior_centre"].iloc[0]
    n, hidden, rate, updates = table.loc[:, list(SHOWN)].iloc[0]
    words = f"N = {number(n)}, hidden layers {hidden}, ε = {number(rate)}, {number(updates)} updates"
    table = table.loc[table["prior_centre"] == centre]
    return table.assign(
        best_prior_precision=table["best_prior_precision"].fillna(value=False).astype(bool)
    ), f"{words}; prior centred at {centre}"


def _of_labels(table: pd.DataFrame, order: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    parts = {labels: table.loc[table["labels"] == labels] for labels in order}
    return {labels: part for labels, part in parts.items() if len(part)}


def evidence(network_evidence: pd.DataFrame) -> Drawn:
    """Test accuracy of the SGD networks, their E / N at the best λ of each, and that λ, against B; true and random labels.

    The scale of the accuracies is that of networks that fit their training set; E / N also less ln H! / N, for the orders of
    the hidden units, and beside the least that any evidence can be. Hollow: where most descents were cut short.
    """
    what = "Evidence of trained networks against batch size"
    columns = ["test_accuracy", "train_accuracy", EVIDENCE, "log_permutations", "cost", "occam_penalty", "log_evidence_ratio"]
    table, words = _chosen(network_evidence, columns, what)
    table = table.assign(log10_prior_precision=np.log10(table["prior_precision"]))
    table[ONE_ORDER] = table[EVIDENCE] - table["log_permutations"] / table["n_train"]
    null = (table["cost"] + table["occam_penalty"] - table["log_evidence_ratio"]) / table["n_train"]
    chance = float(np.median(np.asarray(null, dtype=float)))  # ln of the number of classes
    best = table.loc[table["best_prior_precision"]]
    if best.empty:
        raise UserError(f"{what}: no row is marked in the column best_prior_precision")
    parts = {}
    for labels, rows in _of_labels(best, ("real", "random")).items():
        of_sgd = table.loc[(table["labels"] == labels) & (table["point"] == "sgd")]
        of_sgd = of_sgd.loc[of_sgd["prior_precision"] == of_sgd["prior_precision"].min()]  # the network is the same at every λ
        lowest = of_sgd.groupby("batch_size")["train_accuracy"].min()
        fitting = list(lowest.index[lowest == 1])
        tables = [_accuracies(of_sgd, of_sgd["batch_size"].isin(fitting)).assign(point="sgd", panel="top")]
        for point in POINTS:
            at_point = rows.loc[rows["point"] == point]
            for column, panel in ((EVIDENCE, "middle"), ("log10_prior_precision", "bottom")):
                tables.append(paired(at_point, column).assign(point=point, panel=panel))
        at_end = rows.loc[rows["point"] == "minimum"]
        tables.append(paired(at_end, ONE_ORDER).assign(point="minimum", panel="middle"))
        part = pd.concat([part for part in tables if len(part)]).assign(labels=labels)
        ended = at_end.groupby("batch_size")["converged"].mean().to_dict() if "converged" in at_end else {}
        cut_short = (part["point"] == "minimum") & part["batch_size"].isin(
            [size for size, share in ended.items() if share < 0.5]
        )
        parts[labels] = part.assign(fits=part["batch_size"].isin(fitting), cut_short=cut_short)
    data = pd.concat(parts.values())
    with rc_context(style.RC):
        figure = Figure(figsize=(10, 7), layout="constrained")
        means = f"points: means over {span(data['seeds'], 'seed')}; bars: {PAIRED_95}"
        figure.suptitle(f"{what}\n{words}\n{means}", x=0.01, ha="left")
        axes = figure.subplots(3, len(parts), sharex=True, squeeze=False, height_ratios=(1.3, 2, 0.8))
        for place, ((labels, part), (top, middle, bottom)) in enumerate(zip(parts.items(), axes.T, strict=True)):
            top.set(xscale="log", title=f"({'ab'[place]}) {WORDS[labels]}", label=f"{labels} top")
            middle.set_label(f"{labels} middle")
            bottom.set(xlabel=LABELS["batch_size"], label=f"{labels} bottom")
            top.set_ylabel("test accuracy of\nthe SGD network (%)")
            middle.set_ylabel(LABELS[EVIDENCE])
            bottom.set_ylabel("log₁₀ of\nthe best λ")
            for ax, panel, scale in ((top, "top", 100), (middle, "middle", 1), (bottom, "bottom", 1)):
                for point, look in POINTS.items():
                    rows = part.loc[(part["panel"] == panel) & (part["point"] == point) & (part["quantity"] != ONE_ORDER)]
                    points(ax, rows["batch_size"], rows, look, POINT_NAMES[point], scale)
            _draw_bounds(middle, part, chance)
            _scale_to_fitting(top, part)
            style.plain_log(bottom.xaxis)
        handles = [handle for ax in (*axes[1, 1:], axes[0, 0]) for handle in ax.get_legend_handles_labels()[0]]
        legend(figure, axes[1, 0], 3, handles)
    return figure, data


def _accuracies(of_sgd: pd.DataFrame, fits: pd.Series) -> pd.DataFrame:
    """Test accuracies at all batch sizes; those whose networks fit their training set are paired among themselves."""
    table = paired(of_sgd, "test_accuracy")
    among = paired(of_sgd.loc[fits], "test_accuracy") if fits.any() else table
    rest = table.loc[~table["batch_size"].isin(among["batch_size"])]
    return pd.concat([part for part in (rest, among) if len(part)]).sort_values("batch_size")


def _draw_bounds(ax: Axes, part: pd.DataFrame, chance: float) -> None:
    """E / N less ln H! / N where the descent ends, what was cut short, 0, and the least that an evidence can be."""
    less = part.loc[part["quantity"] == ONE_ORDER]
    points(
        ax,
        less["batch_size"],
        less,
        Look(BLUE, "s", ":"),
        "the same, less ln H! for the orders of the hidden units",
        1,
        hollow=True,
    )
    cut = part.loc[(part["quantity"] == EVIDENCE) & part["cut_short"]]
    if len(cut):
        ax.plot(
            cut["batch_size"], cut["value"], "s", mfc="white", mec=BLUE, ms=5, zorder=5, label="most descents were cut short"
        )
    ax.axhline(-chance, color=GREY, ls="--", lw=0.9, zorder=1, label=f"−{chance:.2f}, ln of the classes: no evidence is lower")
    low, high = ax.get_ylim()
    if low < 0 < high:
        ax.axhline(0, color=BLACK, lw=0.9, zorder=1, label="0: above it the null model is better")


def _scale_to_fitting(ax: Axes, part: pd.DataFrame) -> None:
    """The scale of the accuracies of batch sizes whose networks fit their training set; triangles for others below it."""
    accuracy = part.loc[part["panel"] == "top"]
    fits = accuracy.loc[accuracy["fits"].astype(bool)]
    if fits.empty:
        return
    low = 100 * float(fits["ci_low"].fillna(fits["value"]).min())
    high = 100 * float(accuracy["ci_high"].fillna(accuracy["value"]).max())
    margin = 0.1 * (high - low) + 0.1
    ax.set_ylim(low - margin, high + margin)
    style.below_scale(ax, accuracy["batch_size"], accuracy)


def evidence_l2(network_evidence: pd.DataFrame) -> Drawn:
    """Figure 2 for the network: test cross-entropy and E / N against λ at a middle batch size, random and true labels."""
    what = "Evidence and cross-entropy of the network against λ"
    table, words = _chosen(network_evidence, ["test_loss", EVIDENCE, "cost", "occam_penalty", "log_evidence_ratio"], what)
    table = table.loc[table["point"].isin(["linearized", "minimum"])]
    if table.empty:
        raise UserError(f"{what}: the table has no rows at a minimum")
    of_real = table.loc[table["labels"] == "real"] if "real" in set(table["labels"]) else table
    sizes = sorted(of_real["batch_size"].unique())
    size = sizes[len(sizes) // 2]
    table = table.loc[table["batch_size"] == size]
    # ln of the number of classes: what a null model loses on each example
    chance = float(((table["cost"] + table["occam_penalty"] - table["log_evidence_ratio"]) / table["n_train"]).median())
    data = over_seeds(table, ["labels", "point", "prior_precision"], ["test_loss", EVIDENCE])
    parts = _of_labels(data, ("random", "real"))
    data = pd.concat([part.assign(panel="ab"[i]) for i, part in enumerate(parts.values())])
    with rc_context(style.RC):
        figure = Figure(figsize=(9.6, 6), layout="constrained")
        means = f"lines: means over {span(data['seeds'], 'seed')}; bands: {SEEDS_95}"
        figure.suptitle(f"{what}, B = {number(size)}\n{words}\n{means}", x=0.01, ha="left")
        axes = figure.subplots(2, len(parts), sharex=True, sharey="row", squeeze=False)
        for place, ((labels, part), (top, bottom)) in enumerate(zip(parts.items(), axes.T, strict=True)):
            top.set(xscale="log", title=f"({'ab'[place]}) {WORDS[labels]}", label=f"{labels} top")
            bottom.set(xlabel=LABELS["l2"], label=f"{labels} bottom")
            for point in ("linearized", "minimum"):
                rows = part.loc[part["point"] == point]
                for ax, quantity in ((top, "test_loss"), (bottom, EVIDENCE)):
                    drawn = band(ax, rows, quantity, POINTS[point], POINT_NAMES[point], x="prior_precision")
                    star = drawn.loc[np.isfinite(drawn["value"])].nsmallest(1, "value")
                    ax.plot(
                        star["prior_precision"],
                        star["value"],
                        "*",
                        ms=13,
                        mfc="none",
                        mec=POINTS[point].color,
                        label="lowest mean",
                    )
            top.axhline(chance, color=GREY, ls=":", lw=1.2, label="chance")
            bottom.axhline(0, color=BLACK, lw=0.9, label="0: above it the null model is better")
        axes[0, 0].set_ylabel(f"test {LABELS['loss']}")
        axes[0, 0].set_yscale("log")
        style.plain_log(axes[0, 0].yaxis)
        axes[1, 0].set_ylabel(LABELS[EVIDENCE])
        legend(figure, axes[0, 0], 5, axes[1, 0].get_legend_handles_labels()[0])
    return figure, data


def sharpness(network_evidence: pd.DataFrame) -> Drawn:
    """Largest eigenvalue, trace and effective parameters against B, at the best λ of each network, true and random labels."""
    what = "Curvature of trained networks against batch size"
    table, words = _chosen(network_evidence, list(SHARPNESS), what)
    best = table.loc[table["best_prior_precision"]]
    if best.empty:
        raise UserError(f"{what}: no row is marked in the column best_prior_precision")
    logs = best.assign(**{name: np.log(best[name].where(best[name] > 0)) for name in SHARPNESS})
    tables = []
    for labels, rows in _of_labels(logs, ("real", "random")).items():
        for point in POINTS:
            at_point = rows.loc[rows["point"] == point]
            tables += [paired(at_point, name).assign(labels=labels, point=point) for name in SHARPNESS if len(at_point)]
    data = pd.concat([table for table in tables if len(table)])
    data = data.assign(**{end: np.exp(data[end]) for end in ("value", "ci_low", "ci_high")})
    data["panel"] = ["abc"[list(SHARPNESS).index(name)] for name in data["quantity"]]
    with rc_context(style.RC):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        means = f"points: geometric means over {span(data['seeds'], 'seed')}; bars: {PAIRED_95}, of logarithms"
        figure.suptitle(f"{what}\n{words}\n{means}", x=0.01, ha="left")
        axes = figure.subplots(1, 3)
        for ax, (quantity, name), panel in zip(axes, SHARPNESS.items(), "abc", strict=True):
            ax.set(xscale="log", yscale="log", title=f"({panel}) {name}", xlabel=LABELS["batch_size"], label=panel)
            ax.set_ylabel("dimensionless" if quantity == "effective_parameters" else "nats per squared weight")
            for labels in WORDS:
                for point, look in POINTS.items():
                    rows = data.loc[(data["labels"] == labels) & (data["point"] == point) & (data["quantity"] == quantity)]
                    label = f"{POINT_NAMES[point]}, {WORDS[labels]}" if len(rows) else ""
                    points(ax, rows["batch_size"], rows, look, label, hollow=labels == "random")
            style.plain_log(ax.xaxis)
            _plain_if_short(ax)
        legend(figure, axes[0], 3)
    return figure, data


def _plain_if_short(ax: Axes) -> None:
    low, high = ax.get_ylim()
    if low > 0 and high / low < 1e3:
        style.plain_log(ax.yaxis)


def spectra(spectra: pd.DataFrame) -> Drawn:
    """Eigenvalues of GGN and Hessian against rank, a line for each batch size, true and random labels.

    Left out are ranks between those drawn (`RANKS_A_DECADE`), and eigenvalues of the GGN below the resolution of float64.
    """
    what = "Eigenvalues of the curvature of trained networks"
    need(spectra, ["labels", "batch_size", "seed", "matrix", "index", "eigenvalue", "train_accuracy", *SHOWN], what)
    table = spectra.loc[spectra["labels"].isin(list(WORDS)) & np.isfinite(spectra["eigenvalue"])]
    if table.empty:
        raise UserError(f"{what}: the table has no rows with real or random labels")
    if len(table.loc[:, [*(name for name in KIND if name in table), "seed"]].drop_duplicates()) > 1:
        raise UserError(f"{what}: the table has networks of several kinds or seeds")
    n, hidden, rate, updates, seed = table.loc[:, [*SHOWN, "seed"]].iloc[0]
    last = max(1, int(table["index"].max()))
    ranks = np.unique(np.geomspace(1, last, 1 + int(RANKS_A_DECADE * np.log10(last))).round())
    top = table.groupby(["labels", "batch_size", "matrix"])["eigenvalue"].transform("max")
    resolved = table["eigenvalue"] > top * last * np.finfo(float).eps
    hessian = table["matrix"] == "hessian"
    data = table.loc[hessian | (table["index"].isin(ranks) & resolved)].rename(columns={"eigenvalue": "value"})
    data = data.loc[:, ["labels", "batch_size", "matrix", "index", "value", "train_accuracy"]]
    data = data.assign(quantity="eigenvalue", ci_low=np.nan, ci_high=np.nan, interval="none: one network")
    parts = _of_labels(data, ("real", "random"))
    data = pd.concat([part.assign(panel="ab"[place]) for place, part in enumerate(parts.values())])
    with rc_context(style.RC):
        figure = Figure(figsize=(10, 5.2), layout="constrained")
        words = f"N = {number(n)}, hidden layers {hidden}, ε = {number(rate)}, {number(updates)} updates, seed {seed}"
        figure.suptitle(f"{what}\n{words}; where SGD stopped, summed cross-entropy, without λ", x=0.01, ha="left")
        axes = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
        sizes = sorted(data["batch_size"].unique())
        looks = dict(zip(sizes, style.ordered(len(sizes)), strict=True))
        for ax, (labels, part), panel in zip(axes, parts.items(), "ab", strict=False):
            ax.set(xscale="log", yscale="log", title=f"({panel}) {WORDS[labels]}", xlabel="rank of the eigenvalue", label=panel)
            _draw_spectra(ax, part, looks)
        axes[0].set_ylabel("eigenvalue (nats per squared weight)")
        legend(figure, axes[0], 3)
    return figure, data


def _draw_spectra(ax: Axes, part: pd.DataFrame, looks: Mapping[int, Look]) -> None:
    lines = ["smallest of the Hessian:"]
    for size, (color, marker, line) in looks.items():
        spectrum = part.loc[part["batch_size"] == size]
        of_ggn = spectrum.loc[spectrum["matrix"] == "gauss_newton"]
        ax.plot(of_ggn["index"], of_ggn["value"], color=color, ls=line, label=f"GGN, B = {number(size)}")
        of_hessian = spectrum.loc[(spectrum["matrix"] == "hessian") & (spectrum["index"] > 0) & (spectrum["value"] > 0)]
        hollow = {"ls": "", "marker": marker, "mfc": "none", "mec": color, "ms": 6}
        ax.plot(of_hessian["index"], of_hessian["value"], **hollow, label=f"Hessian, B = {number(size)}")
        for row in spectrum.loc[(spectrum["matrix"] == "hessian") & (spectrum["index"] < 0)].to_dict("records"):
            lines.append(f"B = {number(size)}: {row['value']:.2g} (training accuracy {100 * row['train_accuracy']:.3g} %)")
    if len(lines) > 1:
        ax.text(0.03, 0.03, "\n".join(lines), transform=ax.transAxes, fontsize=8, va="bottom")
