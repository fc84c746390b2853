"""Figures 3, 8 and 9 of the paper, and our own on noise, noise scale, the law in N and prediction: takes tables, gives figures.

As in `figures`, nothing is estimated here: means over seeds with 95 % t-intervals, and optima, exponents and predictions as the
tables give them; each figure comes with its data, a row for each point. Accuracies are in [0, 1] in the data and in % on paper,
cross-entropies in nats per example, traces in units of what is predicted.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_sgd import style
from bayes_sgd.errors import UserError
from bayes_sgd.figures import BOOTSTRAP_95, EDGES, SEEDS_95, Drawn, band, edges, legend, need, over_seeds, span, two_parts
from bayes_sgd.statistics import HEADLINE
from bayes_sgd.style import BLACK, BLUE, GREEN, GREY, LABELS, VERMILION, Look, number, points
from bayes_sgd.tables import OPTIMUM, SCALING

SIZES = {"small": Look(VERMILION, "o", "-"), "large": Look(BLUE, "s", "-")}  # the ends of the batch sizes
SAMPLERS = {"independent": Look(BLUE, "o", ""), "replacement": Look(VERMILION, "s", ""), "shuffle": Look(GREEN, "^", "")}
SHAPES = {
    "skewness": (Look(BLUE, "o", "-"), "|skewness|", -0.5),
    "excess_kurtosis": (Look(VERMILION, "s", "-"), "excess kurtosis", -1.0),
}
EXPERIMENTS = {"learning_rate": "learning_rate", "momentum": "momentum", "training_set_size": "n_train"}  # and their axes
SYMBOLS = {"learning_rate": "ε", "momentum": "m", "n_train": "N"}
PREDICTED_90 = "90 % prediction interval"
BINS = 60
CLEAR = 1.5  # units: where two standard errors of a mean are wider, nothing can be seen

# --- figures 3 and 8: small batch and full batch -----------------------------------------------------------------------------


def fig3(cells: pd.DataFrame) -> Drawn:
    """Test accuracy and cross-entropy against updates without L2, smallest against largest batch size.

    `cells`: rows of the experiment `l2`, all recorded updates.
    """
    what = "Figure 3. Small and large batches during training, λ = 0"
    rows = _trained(cells, what)
    own = rows.loc[rows["l2"] == 0]
    if own.empty:
        raise UserError(f"{what}: the table has no rows with l2 0")
    data = _curves(own)
    with rc_context(style.RC):
        figure = Figure(figsize=(9.6, 4.8), layout="constrained")
        figure.suptitle(f"{what}\n{_means(data)}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, 2)
        peak, full = style.two_scales(figure.add_subfigure(grid[0]), "a", "accuracy", (0, 100))
        full.set_xlabel(LABELS["update"])
        loss = figure.add_subfigure(grid[1]).subplots()
        loss.set(title="(b) cross-entropy", xlabel=LABELS["update"], label="b")
        _draw_curves(peak, full, loss, data)
        legend(figure, loss, 5)
    return figure, data.assign(panel=np.where(data["quantity"].str.endswith("accuracy"), "a", "b"))


def fig8(cells: pd.DataFrame) -> Drawn:
    """Figure 3 with L2: λ = 0.1 of the sum cost, and beside it 0.1 of the mean loss, which is 0.1 N of the sum cost."""
    what = "Figure 8. Small and large batches during training, with L2"
    rows = _trained(cells, what)
    readings = {"a": ("0.1 of the sum cost", 0.1), "b": ("0.1 of the mean loss", 0.1 * rows["n_train"].iloc[0])}
    parts = {panel: _curves(rows.loc[np.isclose(rows["l2"], l2)]) for panel, (_, l2) in readings.items()}
    parts = {panel: table for panel, table in parts.items() if len(table)}
    if not parts:
        wanted = " or ".join(number(l2) for _, l2 in readings.values())
        raise UserError(f"{what}: the table has no rows with l2 {wanted}")
    data = pd.concat([table.assign(panel=panel, l2=readings[panel][1]) for panel, table in parts.items()])
    with rc_context(style.RC):
        figure = Figure(figsize=(9.6, 6.8), layout="constrained")
        figure.suptitle(f"{what}\n{_means(data)}", x=0.01, ha="left")
        axes = figure.subplots(3, len(parts), sharex=True, squeeze=False, height_ratios=(2.4, 1, 2.2))
        for column, (panel, table) in zip(axes.T, parts.items(), strict=True):
            words, l2 = readings[panel]
            column[0].set(title=f"({panel}) λ = {number(l2)}: {words}", ylabel=LABELS["test_accuracy"], label=f"{panel} peak")
            column[1].set(ylim=(0, 103), yticks=(0, 50, 100), ylabel="full range", label=f"{panel} full")
            column[2].set(xlabel=LABELS["update"], label=f"{panel} loss")
            peak, full, loss = column
            _draw_curves(peak, full, loss, table)
        legend(figure, axes[-1, 0], 5)
    return figure, data


def _trained(cells: pd.DataFrame, what: str) -> pd.DataFrame:
    quantities = ["train_accuracy", "test_accuracy", "train_loss", "test_loss"]
    need(cells, ["l2", "n_train", "batch_size", "update", "seed", "phase", *quantities], what)
    rows = cells.loc[(cells["phase"] == "constant") & (cells["update"] > 0)]  # the axis of updates is logarithmic
    if rows.empty:
        raise UserError(f"{what}: the table has no rows for it")
    if rows["n_train"].nunique() > 1:
        raise UserError(f"{what}: rows of more than one n_train; give the cells of one experiment")
    if rows.duplicated(["l2", "batch_size", "update", "seed"]).any():
        raise UserError(f"{what}: two runs with the same l2, batch_size and seed; give the cells of one experiment")
    return rows


def _curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds at each recorded update of the smallest and the largest batch size."""
    rows = rows.loc[rows["batch_size"].isin([rows["batch_size"].min(), rows["batch_size"].max()])]
    return over_seeds(rows, ["batch_size", "update"], ["train_accuracy", "test_accuracy", "train_loss", "test_loss"])


def _means(data: pd.DataFrame) -> str:
    return f"lines: means over {span(data['seeds'], 'seed')}; bands: {SEEDS_95}; thin lines: training set"


def _draw_curves(peak: Axes, full: Axes, loss: Axes, data: pd.DataFrame) -> None:
    """Test accuracies enlarged, all accuracies, all cross-entropies."""
    sizes = sorted(data["batch_size"].unique())
    looks = list(SIZES.values()) if len(sizes) == 2 else [SIZES["small"]]
    for ax, quantity, scale in ((peak, "accuracy", 100), (full, "accuracy", 100), (loss, "loss", 1)):
        ax.set_xscale("log")
        style.plain_log(ax.xaxis, (1.0,))
        for size, look in zip(sizes, looks, strict=True):
            own = data.loc[data["batch_size"] == size]
            tested = band(ax, own, f"test_{quantity}", look, f"B = {number(size)}, test", scale, "update")
            trained = own.loc[own["quantity"] == f"train_{quantity}"]
            label = f"B = {number(size)}, training"
            if ax is not peak:
                ax.plot(trained["update"], scale * trained["value"], color=look.color, lw=0.7, ls="--", label=label)
            if ax is loss:
                star = tested.nsmallest(1, "value")
                ax.plot(star["update"], star["value"], "*", ms=12, mfc="none", mec=look.color, label="lowest mean of the test")
    loss.set(ylabel=LABELS["loss"])
    loss.set_ylim(bottom=0)
    tests = data.loc[(data["quantity"] == "test_accuracy") & np.isfinite(data["value"])]
    if len(tests):
        ends = 100 * tests.loc[tests["update"] == tests["update"].max(), "value"].to_numpy(float)
        best = 100 * float(tests["value"].max())
        spread = best - float(ends.min())
        peak.set_ylim(float(ends.min()) - 0.15 * spread - 1.5, best + 0.15 * spread + 0.5)


# --- figure 9 and the covariance of the noise --------------------------------------------------------------------------------


def fig9(gradients: pd.DataFrame, noise: pd.DataFrame) -> Drawn:
    """The gradient of one softmax weight over (a) examples and (b) batches, and (c) how its shape nears a Gaussian's with B.

    Args:
        gradients: columns batch_size (1 and one other), gradient.
        noise: the table `gradient_noise`.
    """
    what = "Figure 9. Distribution of gradients in the softmax layer"
    need(gradients, ["batch_size", "gradient"], f"{what}: gradients")
    need(noise, ["update", "seed", "sampling", "batch_size", *SHAPES], f"{what}: gradient_noise")
    if gradients.empty:
        raise UserError(f"{what}: the table has no rows for it")
    histograms = {
        float(str(size)): _histogram(own["gradient"].to_numpy(float)) for size, own in gradients.groupby("batch_size")
    }
    shapes = over_seeds(noise.loc[noise["sampling"] == "independent"], ["update", "batch_size"], list(SHAPES))
    shapes = shapes.loc[np.isfinite(shapes["value"])].assign(panel="c")
    parts = [table.assign(panel=panel, batch_size=size) for panel, (size, table) in zip("ab", histograms.items(), strict=False)]
    with rc_context(style.RC):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        seeds = f"means over {span(shapes['seeds'], 'seed')}; bars: {SEEDS_95}" if len(shapes) else "not measured"
        figure.suptitle(f"{what}\n(a), (b): one weight, seed 0; (c): all weights of the layer, {seeds}", x=0.01, ha="left")
        axes = figure.subplots(1, 3)
        for ax, table, panel in zip(axes, parts, "ab", strict=False):
            _draw_histogram(ax, table, panel)
        _draw_shapes(axes[2], shapes)
    return figure, pd.concat([*parts, shapes])


def _histogram(values: np.ndarray) -> pd.DataFrame:
    """Density in equal bins (rows `density`, x the middle of the bin), and the Gaussian of equal mean and variance there."""
    density, ends = np.histogram(values, bins=BINS, density=True)
    middle, deviation = (ends[1:] + ends[:-1]) / 2, values.std()
    scaled = (middle - values.mean()) / deviation if deviation > 0 else np.full(BINS, np.nan)
    gaussian = np.exp(-(scaled**2) / 2) / (np.sqrt(2 * np.pi) * deviation) if deviation > 0 else scaled
    same = {"x": middle, "x_low": ends[:-1], "x_high": ends[1:], "values": len(values)}
    return pd.concat(
        [pd.DataFrame(same | {"quantity": name, "value": y}) for name, y in (("density", density), ("gaussian", gaussian))],
        ignore_index=True,
    )


def _draw_histogram(ax: Axes, table: pd.DataFrame, panel: str) -> None:
    bars, line = (table.loc[table["quantity"] == name] for name in ("density", "gaussian"))
    size, values = table["batch_size"].iloc[0], table["values"].iloc[0]
    words = "single examples" if size == 1 else f"batches of {number(size)}"
    ax.set(title=f"({panel}) {words}, {number(values)} of them", xlabel="gradient of one weight (nats)", label=panel)
    ax.set_ylabel("density")
    ax.stairs(bars["value"], [*bars["x_low"], bars["x_high"].iloc[-1]], fill=True, color=BLUE, alpha=0.5, label="measured")
    ax.plot(line["x"], line["value"], color=BLACK, lw=0.9, label="Gaussian of equal\nmean and variance")
    if size == 1:
        ax.set_yscale("log")  # most examples hardly pull at one weight
        positive = bars.loc[bars["value"] > 0, "value"]
        ax.set_ylim(positive.min() / 3, positive.max() * 5)
    ax.legend(loc="upper left", handlelength=1.2)


def _draw_shapes(ax: Axes, shapes: pd.DataFrame) -> None:
    ax.set(xscale="log", yscale="log", title="(c) distance from a Gaussian", xlabel=LABELS["batch_size"], label="c")
    ax.set_ylabel("mean over weights")
    positive = shapes.loc[shapes["value"] > 0]
    if positive.empty:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color=GREY)
        return
    low, high = positive["value"].min() / 2, positive["value"].max() * 2
    ax.set_ylim(low, high)
    updates = sorted(positive["update"].unique())
    for quantity, (look, words, slope) in SHAPES.items():
        for place, update in enumerate(updates):
            rows = positive.loc[(positive["quantity"] == quantity) & (positive["update"] == update)]
            rows = rows.assign(ci_low=rows["ci_low"].clip(lower=low))
            at = "initial" if update == 0 else f"after {number(update)} updates"
            points(
                ax,
                rows["batch_size"],
                rows,
                look if place == 0 else look._replace(line=":"),
                f"{words}, {at}",
                hollow=place > 0,
            )
            if place == 0 and len(rows):
                start = rows.nsmallest(1, "batch_size").iloc[0]
                x = np.array([start["batch_size"], rows["batch_size"].max()], dtype=float)
                label = f"slope {'−1/2' if slope == -0.5 else '−1'}"
                y = 1.5 * start["value"] * (x / x[0]) ** slope  # beside the points, which would hide it
                ax.plot(x, y, color=look.color, ls="--", lw=0.8, zorder=1, label=label)
    style.plain_log(ax.xaxis)
    ax.legend(loc="lower left", fontsize=7)


def noise(gradient_noise: pd.DataFrame) -> Drawn:
    """(a) Measured over predicted trace of the noise's covariance; (b) covariance of a batch with the next, in −tr S₁/N."""
    what = "Noise of minibatch gradients on frozen networks"
    columns = ["n_train", "update", "seed", "sampling", "batch_size", "trace_predicted", "ratio", "next_batch", "next_batch_se"]
    need(gradient_noise, columns, f"{what}: gradient_noise")
    rows = gradient_noise.loc[gradient_noise["sampling"].isin(list(SAMPLERS))]
    if rows.empty:
        raise UserError(f"{what}: the table has no rows for it")
    keys = ["sampling", "update", "batch_size"]
    # tr S₁, from what is predicted with replacement: that is there at every batch size
    n, total = rows["n_train"], _total(rows)
    rows = rows.assign(next_in_units=-rows["next_batch"] * n / total, next_error=rows["next_batch_se"] * n / total)
    data = over_seeds(rows, keys, ["ratio", "next_in_units"])
    data["panel"] = np.where(data["quantity"] == "ratio", "a", "b")
    errors = rows.groupby(keys)["next_error"].agg(lambda e: np.sqrt((e**2).mean() / e.count())).rename("error").reset_index()
    data = data.loc[np.isfinite(data["value"])].merge(errors, on=keys, how="left")
    unclear = (data["panel"] == "b") & ~(2 * data["error"] <= CLEAR)
    data = data.assign(drawn=~unclear).drop(columns="error")
    shown = data.loc[data["drawn"]]
    updates = sorted(data["update"].unique())
    with rc_context(style.RC):
        means = f"points: means over {span(data['seeds'], 'seed')}; bars: {SEEDS_95}"
        figure = Figure(figsize=(10.4, 4.8), layout="constrained")
        figure.suptitle(f"{what}\n{means}", x=0.01, ha="left")
        left, right = figure.subplots(1, 2, sharex=True)
        left.set(title="(a) size of the noise", ylabel="measured / predicted trace of the covariance", label="a")
        right.set(title="(b) a batch and the next one", ylabel="their covariance, in units of −tr S₁ / N", label="b")
        for ax, panel in ((left, "a"), (right, "b")):
            ax.set(xscale="log", xlabel=LABELS["batch_size"])
            _draw_noise(ax, shown.loc[shown["panel"] == panel], updates)
        left.axhline(1, color=BLACK, lw=0.9, zorder=1, label="predicted")
        right.axhline(1, color=GREEN, lw=0.9, ls="--", zorder=1, label="predicted for shuffled epochs")
        right.axhline(0, color=BLACK, lw=0.9, zorder=1)
        style.plain_log(left.xaxis)
        legend(figure, left, 4, right.get_legend_handles_labels()[0])
    return figure, data


def _total(rows: pd.DataFrame) -> np.ndarray:
    """The trace of S₁ behind each row: what the prediction for its sampler and batch size was made of, (rows,)."""
    n, b = rows["n_train"], rows["batch_size"]
    share = pd.Series(np.where(rows["sampling"] == "replacement", (1 - 1 / n) / b, 1 / b - 1 / n), rows.index)
    total = rows["trace_predicted"] / share.where(share > 0)
    return np.asarray(total.groupby([rows["n_train"], rows["update"], rows["seed"]]).transform("median"))


def _draw_noise(ax: Axes, rows: pd.DataFrame, updates: list[float]) -> None:
    for place, (sampling, look) in enumerate(SAMPLERS.items()):
        for later, update in enumerate(updates):
            own = rows.loc[(rows["sampling"] == sampling) & (rows["update"] == update)]
            beside = 1.06 ** (2 * place - 2 + 0.8 * later)
            at = "initial" if update == 0 else f"after {number(update)} updates"
            points(ax, own["batch_size"] * beside, own, look, f"{sampling}, {at}", hollow=later > 0)


# --- the law in N ------------------------------------------------------------------------------------------------------------


def n_law(optimum: pd.DataFrame, scaling: pd.DataFrame, laws: pd.DataFrame) -> Drawn:
    """(a) Optimal batch size against N, a line for each budget of updates; (b) the exponent in N against the budget.

    Rows of the experiment `training_set_size` in the phases `constant` and `cooled`; failed runs count.
    """
    what = "How the optimal batch size grows with the training set, and what the number of updates does to that"
    extra = ["censored_side", "argmax", "grid_low", "grid_high", "phase", "budget_fraction"]
    need(optimum, [*OPTIMUM, *extra], f"{what}: optimum")
    need(scaling, [*SCALING, "phase", "budget_fraction"], f"{what}: scaling")
    need(laws, ["experiment", "updates", "phase", "treatment", "law", "favoured"], f"{what}: laws")
    optima, exponents, favoured = (_in_n(table) for table in (optimum, scaling, laws))
    optima = optima.loc[optima["estimator"].isin([HEADLINE, "argmax"])]
    if optima.empty:
        raise UserError(f"{what}: the table of optima has no rows for it")
    optima = optima.assign(panel="a", quantity="b_opt", edge=optima["censored_side"].fillna("").astype(str))
    optima["value"] = optima["b_opt"].where(optima["edge"] == "", optima["argmax"])
    for end in ("low", "high"):
        optima[f"ci_{end}"] = optima[f"ci_{end}"].mask(optima["estimator"] == "argmax", optima[f"grid_{end}"])
    optima["interval"] = np.where(optima["estimator"] == "argmax", "next batch sizes sampled", BOOTSTRAP_95)
    exponents = exponents.loc[exponents["estimator"].isin([HEADLINE, "collapse"])]
    exponents = (
        exponents.rename(columns={"exponent": "value"})
        .astype({"value": float})
        .assign(panel="b", quantity="exponent", interval=BOOTSTRAP_95)
    )
    favoured = favoured.loc[favoured["favoured"].astype(bool)].assign(panel="b", quantity="favoured law")
    names = [
        "panel",
        "phase",
        "updates",
        "budget_fraction",
        "axis_value",
        "estimator",
        "quantity",
        "value",
        "ci_low",
        "ci_high",
    ]
    data = pd.concat([optima, exponents, favoured]).reindex(columns=[*names, "edge", "law", "interval"])
    with rc_context(style.RC):
        means = f"optima: estimator B, bars: {BOOTSTRAP_95}; faint: estimator A, bars to the next batch sizes sampled"
        figure, left, right = two_parts(what, means, (1.1, 1), 5.4)
        ax = left.subplots()
        ax.set(xscale="log", yscale="log", xlabel=LABELS["n_train"], ylabel=LABELS["b_opt"], label="a")
        ax.set_title("(a) optimum against N")
        _draw_n(ax, optima)
        legend(left, ax, 2, _edge_handles(optima))
        ax = right.subplots()
        ax.set(xscale="log", xlabel="updates (with those of the cooling)", ylabel="exponent of B in N", label="b")
        ax.set_title("(b) the exponent against the budget")
        _draw_exponents(ax, exponents, favoured)
        legend(right, ax, 2)
    return figure, data


def _in_n(table: pd.DataFrame) -> pd.DataFrame:
    own = (table["experiment"] == "training_set_size") & (table["treatment"] == "imputed")
    return table.loc[own & table["phase"].isin(["constant", "cooled"])]


def _edge_handles(optima: pd.DataFrame) -> list[Line2D]:
    seen = [EDGES[edge] for edge in EDGES if edge in set(optima["edge"])]
    return [Line2D([], [], ls="", marker=m, mfc="none", mec=GREY, label=words) for m, words in seen]


def _draw_n(ax: Axes, optima: pd.DataFrame) -> None:
    sampled = optima.loc[:, ["grid_low", "value", "grid_high"]].to_numpy(float)
    low, high = float(np.nanmin(sampled)) / 1.3, float(np.nanmax(sampled)) * 1.3
    ax.set_ylim(low, high)
    optima = optima.assign(ci_low=optima["ci_low"].clip(lower=low), ci_high=optima["ci_high"].clip(upper=high))
    budgets = optima.loc[:, ["phase", "budget_fraction"]].drop_duplicates().sort_values(["phase", "budget_fraction"])
    constant = budgets.loc[budgets["phase"] == "constant", "budget_fraction"].tolist()
    looks = dict(zip(constant, style.ordered(len(constant)), strict=True))
    for place, (phase, share) in enumerate(budgets.itertuples(index=False)):
        rows = optima.loc[(optima["phase"] == phase) & (optima["budget_fraction"] == share)]
        rows = rows.assign(x=rows["axis_value"]).sort_values("x")
        look = looks[share] if phase == "constant" else Look(VERMILION, "D", ":")
        beside = 1.045 ** (place - (len(budgets) - 1) / 2)
        main, grid = (rows.loc[rows["estimator"] == name] for name in (HEADLINE, "argmax"))
        inside = main.loc[(main["edge"] == "") & np.isfinite(main["value"])]
        words = f"{span(rows['updates'], 'update')}{', cooled' if phase == 'cooled' else ''}"
        points(ax, inside["x"] * beside, inside, look, words, hollow=phase == "cooled")
        edges(ax, main, beside, look.color)
        bars = np.nan_to_num(np.abs(grid.loc[:, ["ci_low", "ci_high"]].to_numpy(float).T - grid["value"].to_numpy(float)))
        x = grid["x"] * beside * 1.015
        ax.errorbar(
            x, grid["value"], yerr=bars, color=look.color, alpha=0.35, marker=".", ls="", ms=5, elinewidth=0.7, capsize=0
        )
    x = np.array([optima["axis_value"].min(), optima["axis_value"].max()])
    middle = np.sqrt(low * high)
    ax.plot(x, middle * x / np.sqrt(x[0] * x[1]), color=GREY, ls="--", lw=1, zorder=1, label="slope 1: proportional to N")
    style.plain_log(ax.xaxis)
    style.plain_log(ax.yaxis)
    ax.tick_params(axis="x", rotation=30)


def _draw_exponents(ax: Axes, exponents: pd.DataFrame, favoured: pd.DataFrame) -> None:
    ax.axhline(1, color=GREY, ls="--", lw=1, zorder=1, label="1: proportional")
    ax.axhline(0, color=GREY, ls=":", lw=1, zorder=1, label="0: constant")
    known = exponents.loc[np.isfinite(exponents["value"])]
    ends = known.loc[:, ["value", "ci_low", "ci_high"]].to_numpy(float)
    ends = np.concatenate([ends[np.isfinite(ends)], [-0.1, 1.2]])
    low, high = float(ends.min()) - 0.1, float(ends.max()) + 0.1
    if known.empty:
        ax.text(0.5, 0.4, "no estimate of the exponent", transform=ax.transAxes, ha="center", color=GREY)
    ax.set_ylim(low, high + 0.6 * (high - low))  # room for the names of the laws
    words = {
        HEADLINE: ("through the optima", Look(VERMILION, "D", "-")),
        "collapse": ("through whole curves", Look(BLUE, "o", "-")),
    }
    for phase in ("constant", "cooled"):
        for place, (estimator, (name, look)) in enumerate(words.items()):
            rows = known.loc[(known["phase"] == phase) & (known["estimator"] == estimator)].sort_values("updates")
            cooled = phase == "cooled"
            beside = 1.02 ** (2 * place - 1) * (1.09 if cooled else 1)
            label = f"{name}{', cooled' if cooled else ''}" if len(rows) else ""
            points(ax, rows["updates"] * beside, rows, look, label, hollow=cooled)
    for phase, place in (("constant", 0.95), ("cooled", 0.8)):
        for row in favoured.loc[favoured["phase"] == phase].to_dict("records"):
            text = f"{'cooled: ' if phase == 'cooled' else ''}{row['law']}"
            ax.text(
                row["updates"], place, text.replace(" ", "\n"),
                transform=ax.get_xaxis_transform(), fontsize=7, ha="center", va="top",
            )  # fmt: skip
    if len(exponents):
        updates = exponents["updates"].to_numpy(float)
        ax.set_xlim(updates.min() / 1.6, updates.max() * 1.6)
    if len(favoured):
        ax.text(0.01, 0.99, "favoured law:", transform=ax.transAxes, fontsize=7, va="top", color=GREY)
    style.plain_log(ax.xaxis)


# --- one noise scale for all -------------------------------------------------------------------------------------------------


def noise_scale(cells: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """Test accuracy at the end against the noise scale g, a panel for each experiment, a line for each value of its axis.

    Args:
        cells: rows of the experiments, named in a column `experiment`.
        failed_below: training accuracy below which a run has failed. Only batch sizes at which every seed trains are drawn.
    """
    what = "Test accuracy against the noise scale g"
    columns = ["batch_size", "noise_scale", "update", "seed", "train_accuracy", "test_accuracy", "diverged", "phase"]
    need(cells, ["experiment", *columns], what)
    cells = cells.loc[(cells["phase"] == "constant") & cells["experiment"].isin(list(EXPERIMENTS))]
    if cells.empty:
        raise UserError(f"{what}: the table has no rows for it")
    tables = []
    for name, axis in EXPERIMENTS.items():
        rows = cells.loc[cells["experiment"] == name]
        if rows.empty:
            continue
        rows = rows.loc[rows["update"] == rows.groupby(axis)["update"].transform("max")].rename(columns={axis: "axis_value"})
        failed = rows["diverged"].astype(bool) | (rows["train_accuracy"] < failed_below)
        trains = ~failed.groupby([rows["axis_value"], rows["batch_size"]]).transform("any") & (rows["noise_scale"] > 0)
        means = over_seeds(rows.loc[trains], ["axis_value", "batch_size", "noise_scale"], ["test_accuracy"])
        tables.append(means.assign(panel=name))
    tables = [table for table in tables if len(table)] or tables[:1]
    data = pd.concat(tables)
    with rc_context(style.RC):
        figure = Figure(figsize=(3.7 * max(2, len(tables)), 4.6), layout="constrained")
        seeds = span(data["seeds"], "seed") if len(data) else "seeds"
        means = f"points: means over {seeds}; bars: {SEEDS_95}; stars: the best of each line"
        figure.suptitle(f"{what}\n{means}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, len(tables))
        if data.empty:
            figure.text(0.5, 0.5, "no batch size at which every network trains", ha="center", color=GREY)
            return figure, data
        limits = data["noise_scale"].min() / 1.3, data["noise_scale"].max() * 1.3
        for column, table in enumerate(tables):
            name = table["panel"].iloc[0]
            part = figure.add_subfigure(grid[column])
            ax = part.subplots()
            ax.set(xscale="log", xlim=limits, xlabel="noise scale g = ε(N/B − 1)/(1 − m)", label=name)
            ax.set_title(f"({'abc'[column]}) {name.replace('_', ' ')}")
            ax.set_ylabel(LABELS["test_accuracy"])
            _draw_collapse(ax, table, SYMBOLS[EXPERIMENTS[name]])
            style.plain_log(ax.xaxis, (1.0,))
            legend(part, ax, 3)
    return figure, data


def _draw_collapse(ax: Axes, table: pd.DataFrame, symbol: str) -> None:
    values = sorted(table["axis_value"].unique())
    for value, look in zip(values, style.ordered(len(values)), strict=True):
        rows = table.loc[table["axis_value"] == value].sort_values("noise_scale")
        points(ax, rows["noise_scale"], rows, look, f"{symbol} = {number(value)}", 100)
        best = rows.nlargest(1, "value")
        ax.plot(best["noise_scale"], 100 * best["value"], "*", ms=13, mfc="none", mec=look.color, zorder=5)


# --- prediction --------------------------------------------------------------------------------------------------------------


def prediction(table: pd.DataFrame) -> Drawn:
    """Predicted against measured optimal batch size, each axis value left out in turn; bars: 90 % prediction intervals."""
    what = "Optimal batch size predicted from the other values of the axis"
    columns = ["experiment", "axis", "axis_value", "b_opt_measured", "b_opt_predicted", "ci_low", "ci_high", "extrapolated"]
    need(table, [*columns, "inside"], f"{what}: prediction")
    data = table.rename(columns={"b_opt_predicted": "value"}).assign(panel="a", quantity="b_opt", interval=PREDICTED_90)
    inside = f"{np.count_nonzero(data['inside'].astype(bool))} of {len(data)} intervals hold what was measured"
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        figure.suptitle(f"{what}\nbars: {PREDICTED_90}s; {inside}", x=0.01, ha="left")
        ax = figure.subplots()
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="measured optimum B (examples)",
            ylabel="predicted optimum B (examples)",
            label="a",
        )
        if data.empty:
            ax.text(0.5, 0.5, "nothing to predict: fewer than four optima\ninside the grid along every axis", ha="center",
                    transform=ax.transAxes, color=GREY)  # fmt: skip
            return figure, data
        values = data.loc[:, ["b_opt_measured", "value"]].to_numpy(float)
        ends = np.array([values.min() / 2, values.max() * 2])
        ax.set(xlim=ends, ylim=ends)
        data_shown = data.assign(ci_low=data["ci_low"].clip(lower=ends[0]), ci_high=data["ci_high"].clip(upper=ends[1]))
        ax.plot(ends, ends, color=BLACK, lw=0.9, zorder=1, label="predicted = measured")
        for factor in (2**-0.5, 2**0.5):
            ax.plot(ends, factor * ends, color=GREY, ls=":", lw=0.9, zorder=1, label="a step of the grid, √2, off")
        names = list(dict.fromkeys(data["experiment"]))
        for series, (name, look) in enumerate(zip(names, style.unordered(len(names)), strict=True)):
            side = "left" if series % 2 == 0 else "right"
            away = (5, -8) if side == "left" else (-5, 4)
            for outer in (False, True):
                own = data_shown.loc[(data["experiment"] == name) & (data["extrapolated"].astype(bool) == outer)]
                label = f"{str(name).replace('_', ' ')}{': an end of the axis, extrapolated' if outer else ''}"
                points(ax, own["b_opt_measured"], own, look, label if len(own) else "", hollow=outer)
                for row in own.to_dict("records"):
                    place = (row["b_opt_measured"], row["value"])
                    text = f"{SYMBOLS.get(row['axis'], row['axis'])} = {number(row['axis_value'])}"
                    ax.annotate(text, place, away, textcoords="offset points", fontsize=6.5, color=look.color, ha=side)
        style.plain_log(ax.xaxis)
        style.plain_log(ax.yaxis)
        legend(figure, ax, 2)
    return figure, data
