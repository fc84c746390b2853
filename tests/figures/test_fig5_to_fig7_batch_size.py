"""Figures are checked by their data, scales, labels and bytes, on synthetic tables shaped like measured ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from figure_checks import GRID, SWEEPS, axes, bars, cells_table, inside, render, rendered, tables, with_phases, words
from matplotlib.figure import Figure

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import common as figure_parts
from bayes_sgd.figures import fig1_fig2_linear as figures_linear
from bayes_sgd.figures import fig5_to_fig7_batch_size as figures
from bayes_sgd.figures import style
from bayes_sgd.figures.fig4_batch_size import fig4

FIGURES: dict[str, Callable[..., figures.Drawn]] = {
    "learning_rate": figures.fig5,
    "training_set_size": figures.fig6,
    "momentum": figures.fig7,
}


def linear_table(seeds: int = 6, per_decade: int = 4) -> pd.DataFrame:
    """λ from 1e-5 to 1e4 with curves like the measured ones: E > 0 on random labels, a well at λ = 0.3 on true ones."""
    rng = np.random.default_rng(0)
    l2 = 10.0 ** np.linspace(-5, 4, 9 * per_decade + 1)
    fitted = 1 / (1 + l2 / 30)
    rows = []
    for seed in range(seeds):
        for labels in ("random", "real"):
            real = labels == "real"
            loss = 0.69 * (1 - 0.993 * fitted) + 0.001 * np.maximum(-np.log10(l2 / 0.1), 0) if real else 34 * fitted**2 + 0.69
            rows.append(
                pd.DataFrame(
                    {
                        "labels": labels,
                        "l2": l2,
                        "seed": seed,
                        "train_accuracy": 1 - (0.002 if real else 0.4) * (1 - fitted),
                        "test_accuracy": (0.998 if real else 0.5) + rng.normal(0, 0.001 if real else 0.01, len(l2)),
                        "margin": (0.6 if real else 0.4) * (1 + 1.5 * np.log10(l2 / l2[0]) / 9) + rng.normal(0, 0.01),
                        "train_loss": 0.69 * (1 - fitted) + 1e-6,
                        "test_loss": loss * np.exp(rng.normal(0, 0.05)),
                        "log_evidence_ratio_per_example": (
                            -0.66 * np.exp(-((np.log10(l2 / 0.3) / 2.5) ** 2)) if real else 0.13 * np.log(1 + 1e4 / l2)
                        )
                        + rng.normal(0, 0.01),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def draw(experiment: str, cells: pd.DataFrame) -> figures.Drawn:
    return FIGURES[experiment](cells, *tables(experiment, cells))


@pytest.fixture(scope="module")
def sweeps() -> dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]]:
    drawn = {}
    for name in SWEEPS:
        cells = cells_table(name)
        drawn[name] = (cells, *draw(name, cells))
    return drawn


# ------------------------------------------------------------------------------------------------ means over seeds


def test_over_seeds_is_the_groupby_of_the_input() -> None:
    cells = cells_table("learning_rate", seeds=3)
    table = figure_parts.over_seeds(cells, ["learning_rate", "batch_size"], ["test_accuracy"])
    expected = cells.groupby(["learning_rate", "batch_size"])["test_accuracy"].agg(["mean", "sem", "count"]).reset_index()
    np.testing.assert_allclose(table["value"], expected["mean"])
    np.testing.assert_array_equal(table["seeds"], expected["count"])
    np.testing.assert_allclose(table["ci_high"] - table["value"], 4.302652729911275 * expected["sem"])  # t, 2 degrees
    np.testing.assert_allclose(table["ci_low"] + table["ci_high"], 2 * table["value"])
    assert set(table["interval"]) == {"95 % t-interval over seeds"}


def test_over_seeds_leaves_nan_out_and_gives_one_seed_no_interval() -> None:
    rows = pd.DataFrame({"k": [1, 1, 2, 3], "seed": [0, 1, 0, 0], "y": [0.5, np.nan, 0.25, np.nan]})
    table = figure_parts.over_seeds(rows, ["k"], ["y"])
    np.testing.assert_array_equal(table["value"], [0.5, 0.25, np.nan])
    assert table["seeds"].tolist() == [1, 1, 0]
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)


# ------------------------------------------------------------------------------------------------ the linear model


@pytest.mark.parametrize(
    ("draw_linear", "quantities", "labels"),
    [
        (
            figures_linear.fig1,
            {"train_accuracy", "test_accuracy", "margin"},
            ("accuracy (%)", "mean margin (units of the input)"),
        ),
        (
            figures_linear.fig2,
            {"train_loss", "test_loss", "log_evidence_ratio_per_example"},
            ("cross-entropy (nats per example)", "log evidence ratio E / N\n(nats per example)"),
        ),
    ],
)
def test_linear_figures(draw_linear: Callable[..., figures.Drawn], quantities: set[str], labels: tuple[str, str]) -> None:
    linear = linear_table()
    figure, data = draw_linear(linear)
    panels = axes(figure)
    assert set(panels) == {"a top", "a bottom", "b top", "b bottom"}
    assert (panels["a top"].get_ylabel(), panels["a bottom"].get_ylabel()) == labels
    for panel in "ab":
        assert panels[f"{panel} bottom"].get_xscale() == "log"
        assert "λ" in panels[f"{panel} bottom"].get_xlabel()
        assert all(len(panels[f"{panel} {half}"].collections) >= 1 for half in ("top", "bottom"))  # the bands
    assert "random" in panels["a top"].get_title(loc="left")
    assert "informative" in panels["b top"].get_title(loc="left")
    assert "means over 6 seeds; bands: 95 % t-interval" in words(figure)
    assert set(data["quantity"]) == quantities
    for (panel, quantity, l2), rows in data.groupby(["panel", "quantity", "l2"]):
        own = linear[(linear["labels"] == {"a": "random", "b": "real"}[str(panel)]) & (linear["l2"] == l2)]
        assert rows["value"].item() == pytest.approx(own[str(quantity)].mean())


def test_fig1_draws_percent_and_enlarges_the_true_labels() -> None:
    figure, data = figures_linear.fig1(linear_table())
    panels = axes(figure)
    line = next(line for line in panels["a top"].lines if line.get_label() == "test accuracy")
    own = data[(data["panel"] == "a") & (data["quantity"] == "test_accuracy")]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), 100 * own["value"])
    (inset,) = panels["b top"].child_axes
    assert inset.get_ylim()[0] > 98
    assert panels["a bottom"].get_yscale() == panels["b bottom"].get_yscale() == "log"


def test_fig2_marks_zero_chance_and_the_lowest_points() -> None:
    figure, data = figures_linear.fig2(linear_table())
    panels = axes(figure)
    lines = {str(line.get_label()): line for line in panels["b bottom"].lines}
    assert set(lines["0: above it the null model is better"].get_ydata()) == {0}
    assert lines["−ln 2: the lowest possible"].get_ydata()[0] == pytest.approx(-np.log(2))
    chance = next(line for line in panels["a top"].lines if "chance" in str(line.get_label()))
    assert chance.get_ydata()[0] == pytest.approx(np.log(2))
    own = data[(data["panel"] == "b") & (data["quantity"] == "log_evidence_ratio_per_example")]
    assert lines["lowest mean"].get_xdata()[0] == own.loc[own["value"].idxmin(), "l2"]
    assert panels["a top"].get_yscale() == "log"
    assert panels["a bottom"].get_yscale() == "linear"
    (inset,) = panels["b bottom"].child_axes
    assert np.max(inset.lines[0].get_xdata()) <= 10 * lines["lowest mean"].get_xdata()[0]


# ------------------------------------------------------------------------------------------------ figure 4


def test_fig4_has_a_series_for_each_batch_size_and_every_seed() -> None:
    cells = cells_table("learning_rate", seeds=4, records=5, values=(0.1,))
    figure, data = fig4(cells)
    panels = axes(figure)
    labels = [bar.get_label() for bar in bars(panels["a peak"]) if str(bar.get_label()).startswith("B =")]
    assert labels == [f"B = {size}" for size in GRID]
    assert panels["a full"].get_xlabel() == "updates"
    assert panels["b full"].get_xscale() == "log"
    assert panels["b full"].get_xlabel() == "batch size B (examples)"
    assert panels["b peak"].get_ylabel() == "test accuracy (%)"
    assert panels["b full"].get_ylim()[0] == 0
    assert panels["b peak"].get_ylim()[0] > 85  # the peak fills the panel
    low = panels["b peak"].get_ylim()[0]
    flagged = next(line for line in panels["b peak"].lines if line.get_marker() == "v").get_xdata()
    ends = data[(data["panel"] == "b") & (data["quantity"] == "test_accuracy") & data["seed"].isna()]
    assert list(flagged) == ends.loc[100 * ends["value"] < low, "batch_size"].tolist() != []
    last = cells[cells["update"] == 4000].groupby("batch_size")["test_accuracy"].mean()
    np.testing.assert_allclose(ends["value"], last)
    single = data[data["seed"].notna()]
    assert len(single) == 4 * len(GRID)
    curve = data[data["panel"] == "a"]
    np.testing.assert_allclose(curve["value"], cells.groupby(["batch_size", "update"])["test_accuracy"].mean())


def test_fig4_takes_one_learning_rate() -> None:
    cells = cells_table("learning_rate", seeds=2)
    assert "ε = 0.1," in words(fig4(cells)[0])
    assert "ε = 0.4," in words(fig4(cells, 0.4)[0])
    with pytest.raises(UserError, match=r"no rows with learning_rate 0\.3; there are 0\.025, 0\.05"):
        fig4(cells, 0.3)


# ------------------------------------------------------------------------------------------------ figures 5 to 7


@pytest.mark.parametrize("name", SWEEPS)
def test_sweep_axes_series_and_bars(name: str, sweeps: dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]]) -> None:
    cells, figure, data = sweeps[name]
    axis, optima = SWEEPS[name]
    panels = axes(figure)
    series = bars(panels["a peak"])
    assert len(series) == len(optima) == len({str(bar.get_label()) for bar in series})
    assert all(bar.has_yerr for bar in series)
    looks = [(matplotlib.colors.to_hex(bar.lines[0].get_color()), bar.lines[0].get_marker()) for bar in series]
    assert len({color for color, _ in looks}) == len({marker for _, marker in looks}) == len(optima)
    grey = [np.dot(matplotlib.colors.to_rgb(color), (0.299, 0.587, 0.114)) for color, _ in looks]
    assert np.diff(grey).min() > 0.03  # told apart in grey, in order
    assert panels["a full"].get_xscale() == "log"
    assert panels["a full"].get_xlabel() == "batch size B (examples)"
    assert panels["b"].get_xscale() == panels["b"].get_yscale() == "log"
    assert panels["b"].get_xlabel() == style.LABELS[axis]
    assert panels["b"].get_ylabel() == "optimal batch size B (examples)"
    text = words(figure)
    assert "4000 updates" in text
    assert "means over 6 seeds; bars: 95 % t-interval" in text
    assert "bar: next batch sizes sampled" in text
    assert "bar: 95 % t-interval of ln B over seeds" in text
    assert len(re.findall(r"exponent \d\.\d\d, 95 % \[", text)) == 2

    counted = data[(data["quantity"] == "test_accuracy") & (data["treatment"] == "included")]
    below = data[data["quantity"] == "accuracy_below_best"]
    assert (len(below) > 0) == (axis == "n_train"), "curves of several N share a scale"
    assert (below.groupby(axis)["value"].max() == 0).all()
    expected = cells.groupby([axis, "batch_size"])["test_accuracy"].mean()
    np.testing.assert_allclose(counted.sort_values([axis, "batch_size"])["value"], expected)


def test_excluded_means_leave_failed_runs_out_and_need_half_of_them(
    sweeps: dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]],
) -> None:
    cells, _, data = sweeps["learning_rate"]
    kept = cells[~cells["diverged"] & (cells["train_accuracy"] >= 0.5)]
    expected = kept.groupby(["learning_rate", "batch_size"])["test_accuracy"].agg(["mean", "size"])
    expected = expected[expected["size"] >= 3]["mean"]
    trained = data[(data["panel"] == "a") & (data["treatment"] == "excluded")]
    np.testing.assert_allclose(trained.sort_values(["learning_rate", "batch_size"])["value"], expected)


def test_optima_are_those_of_the_table_with_the_papers_bar(
    sweeps: dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]],
) -> None:
    cells, figure, data = sweeps["learning_rate"]
    optimum, scaling = tables("learning_rate", cells)
    table = optimum[optimum["treatment"] == "included"]
    shown = data[(data["quantity"] == "b_opt") & (data["treatment"] == "included")]
    for estimator, low, high in (("argmax", "grid_low", "grid_high"), ("cubic", "ci_low", "ci_high")):
        own, drawn = (part[part["estimator"] == estimator] for part in (table, shown))
        np.testing.assert_array_equal(drawn["value"], own["b_opt"])
        np.testing.assert_array_equal(drawn[["ci_low", "ci_high"]], own[[low, high]])
    exponents = data[data["quantity"] == "exponent"].set_index(["treatment", "estimator"])["value"]
    scaling = scaling[scaling["estimator"].isin(["argmax", "cubic"])]
    np.testing.assert_array_equal(exponents, scaling.set_index(["treatment", "estimator"])["exponent"])
    line = data[data["quantity"] == "proportional"]
    assert np.polyfit(np.log(line["x"]), np.log(line["value"]), 1)[0] == pytest.approx(1)
    assert len(bars(axes(figure)["b"])) == 2


def test_cooled_and_averaged_networks_stand_beside_in_hollow() -> None:
    cells = with_phases(cells_table("learning_rate", seeds=3))
    optimum, _ = tables("learning_rate", cells)
    figure, data = draw("learning_rate", cells)
    assert set(data["phase"]) == {"constant", "iterate_average", "after_cooldown"}
    assert "4000 updates" in words(figure)  # 4500 with the cooldown, which is no part of the budget
    series = {str(bar.get_label()): bar for bar in bars(axes(figure)["b"])}
    assert len(series) == 4
    for phase, name in figures.PHASE_NAMES.items():
        (bar,) = (bar for label, bar in series.items() if label.startswith(f"cubic fit, {name}") and "exponent" in label)
        assert bar.lines[0].get_markerfacecolor() == "none"
        own = optimum[(optimum["phase"] == phase) & (optimum["treatment"] == "included") & (optimum["estimator"] == "cubic")]
        np.testing.assert_array_equal(np.asarray(bar.lines[0].get_ydata()), own["b_opt"].dropna())
        shown = data[(data["phase"] == phase) & (data["panel"] == "a")].sort_values(["learning_rate", "batch_size"])
        expected = cells[cells["phase"] == phase].groupby(["learning_rate", "batch_size"])["test_accuracy"].mean()
        np.testing.assert_allclose(shown["value"], expected)
    thin = [line for line in axes(figure)["a full"].lines if line.get_markerfacecolor() == "none"]
    assert len(thin) == 5
    figure, data = fig4(cells)
    assert set(data["phase"]) == {"constant", "iterate_average", "after_cooldown"}
    assert {f"test, {name}" for name in figures.PHASE_NAMES.values()} <= {
        str(bar.get_label()) for bar in bars(axes(figure)["b peak"])
    }


def test_shares_of_the_budget_are_not_drawn() -> None:
    cells = cells_table("learning_rate", seeds=2, records=2)
    optimum, scaling = tables("learning_rate", cells)
    early = optimum.assign(budget_fraction=0.5, b_opt=1.0), scaling.assign(budget_fraction=0.5, exponent=9.0)
    _, data = figures.fig5(cells, pd.concat([optimum, early[0]]), pd.concat([scaling, early[1]]))
    _, expected = figures.fig5(cells, optimum, scaling)
    pd.testing.assert_frame_equal(data, expected)


def test_momentum_is_drawn_against_one_over_one_minus_m(
    sweeps: dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]],
) -> None:
    _, figure, data = sweeps["momentum"]
    shown = data[data["quantity"] == "b_opt"]
    np.testing.assert_allclose(shown["x"], 1 / (1 - shown["momentum"]))
    (upper,) = axes(figure)["b"].child_axes
    assert upper.get_xlabel() == "momentum coefficient m"
    assert [tick.get_text() for tick in upper.get_xticklabels()] == ["0", "0.5", "0.8", "0.9", "0.95"]


def test_each_value_ends_at_its_own_budget() -> None:
    cells = cells_table("learning_rate", seeds=2, records=2)
    cells = cells[(cells["learning_rate"] != 0.4) | (cells["update"] == 2000)]
    figure, data = draw("learning_rate", cells)
    assert "2000 to 4000 updates" in words(figure)
    budgets = data[data["quantity"] == "b_opt"].groupby("learning_rate")["update"].unique()
    assert budgets[0.4].tolist() == [2000]
    assert budgets[0.1].tolist() == [4000]


def test_censored_optima_are_open_triangles_and_no_interior_points() -> None:
    cells = cells_table("learning_rate", seeds=3)
    cells = cells[(cells["learning_rate"] != 0.4) | (cells["batch_size"] <= 90)]
    cells = cells[(cells["learning_rate"] != 0.025) | (cells["batch_size"] >= 8)]
    figure, data = draw("learning_rate", cells)
    ax = axes(figure)["b"]
    for bar, estimator in zip(bars(ax), ("argmax", "cubic"), strict=True):
        rows = data[(data["quantity"] == "b_opt") & (data["treatment"] == "included") & (data["estimator"] == estimator)]
        assert len(bar.lines[0].get_xdata()) == (rows["edge"] == "").sum() < len(rows) == 5
        assert f"{(rows['edge'] == '').sum()} of 5 inside the grid" in str(bar.get_label())
    for marker, edge in (("^", "above"), ("v", "below")):
        lines = [line for line in ax.lines if line.get_label() == f"_{edge}"]
        assert all(line.get_marker() == marker and line.get_markerfacecolor() == "none" for line in lines)
        assert sum(len(line.get_xdata()) for line in lines) == 2  # one for each estimator
    assert "censored: this B or above" in words(figure)
    assert "censored: this B or below" in words(figure)


def test_all_censored_draws_no_line_and_says_so() -> None:
    cells = cells_table("momentum", seeds=3)
    cells = cells[cells["batch_size"] >= 64]
    figure, data = draw("momentum", cells)
    text = words(figure)
    assert "no optimum inside the grid" in text
    assert text.count("exponent: no estimate") == 2
    assert "proportional" not in set(data["quantity"])
    assert not any(len(bar.lines[0].get_xdata()) for bar in bars(axes(figure)["b"]))


@pytest.mark.parametrize("missing", ["rows", "experiment"])
def test_missing_optima_leave_panel_b_empty(missing: str) -> None:
    cells = cells_table("training_set_size", seeds=2)
    optimum, scaling = tables("training_set_size", cells)
    if missing == "rows":
        optimum, scaling = optimum.iloc[:0], scaling.iloc[:0]
    else:
        optimum, scaling = (table.assign(experiment="other") for table in (optimum, scaling))
    figure, data = figures.fig6(cells, optimum, scaling)
    assert set(data["panel"]) == {"a"}
    assert "no optimum inside the grid" in words(figure)


@pytest.mark.parametrize("name", SWEEPS)
def test_one_seed_and_one_value_of_the_axis(name: str) -> None:
    value = next(iter(reversed(SWEEPS[name][1])))
    cells = cells_table(name, seeds=1, values=(value,))
    figure, data = draw(name, cells)
    assert "means over 1 seed;" in words(figure)
    assert data.loc[data["panel"] == "a", "ci_low"].isna().all()
    render(figure)


def test_one_seed_and_nan_in_every_figure(tmp_path: Path) -> None:
    linear = linear_table(seeds=1, per_decade=1)
    linear.loc[3, ["test_accuracy", "test_loss", "margin", "log_evidence_ratio_per_example"]] = np.nan
    cells = cells_table("learning_rate", seeds=3, records=3)
    cells.loc[cells["batch_size"] == 23, "test_accuracy"] = np.nan
    cells.loc[cells["seed"] == 1, "test_accuracy"] = np.nan
    for drawn, _ in (figures_linear.fig1(linear), figures_linear.fig2(linear), fig4(cells)):
        render(drawn)
    figure, data = draw("learning_rate", cells)
    assert data.loc[(data["batch_size"] == 23) & (data["treatment"] == "included"), "value"].isna().all()
    figure_parts.save(figure, data, tmp_path / "sweep")


def test_nothing_trains() -> None:
    cells = cells_table("learning_rate", seeds=2).assign(test_accuracy=0.1, train_accuracy=0.1, diverged=True)
    figure, data = draw("learning_rate", cells)
    low, high = axes(figure)["a peak"].get_ylim()
    assert low < 10 < high
    assert set(data.loc[data["panel"] == "a", "treatment"]) == {"included"}


# ------------------------------------------------------------------------------------------------ bad input


def test_bad_tables_are_named() -> None:
    cells = cells_table("learning_rate", seeds=2)
    optimum, scaling = tables("learning_rate", cells)
    with pytest.raises(UserError, match=r"Figure 1\..*: the table has no column margin"):
        figures_linear.fig1(linear_table(1, 1).drop(columns="margin"))
    with pytest.raises(UserError, match=r"Figure 2\..*: the table has no rows with real or random labels"):
        figures_linear.fig2(linear_table(1, 1).assign(labels="random-0.2"))
    with pytest.raises(UserError, match="figure 4: the table has no rows"):
        fig4(cells.iloc[:0])
    with pytest.raises(UserError, match="figure 5: two runs with the same learning_rate, batch_size and seed"):
        figures.fig5(pd.concat([cells, cells.assign(momentum=0.5, test_accuracy=0.7)]), optimum, scaling)
    with pytest.raises(UserError, match="figure 5: optimum: the table has no column grid_low"):
        figures.fig5(cells, optimum.drop(columns="grid_low"), scaling)
    with pytest.raises(UserError, match="figure 5: the table has no column phase"):
        figures.fig5(cells.drop(columns="phase"), optimum, scaling)
    with pytest.raises(UserError, match="figure 4: the table has no rows"):
        fig4(cells.assign(phase="after_cooldown"))
    with pytest.raises(UserError, match="figure 5: scaling: the table has no column exponent"):
        figures.fig5(cells, optimum, scaling.drop(columns="exponent"))


# ------------------------------------------------------------------------------------------------ files


def test_save_is_deterministic_and_writes_the_data(tmp_path: Path) -> None:
    cells = cells_table("momentum", seeds=2)
    drawn = [draw("momentum", cells) for _ in range(2)]
    for name, (figure, data) in zip(("first", "second"), drawn, strict=True):
        figure_parts.save(figure, data, tmp_path / name / "fig7")
    first, second = tmp_path / "first", tmp_path / "second"
    assert sorted(path.name for path in first.iterdir()) == ["fig7.csv", "fig7.json", "fig7.png", "fig7.svg"]
    for path in (path for path in first.iterdir() if path.suffix != ".json"):  # which holds the date
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    svg = (first / "fig7.svg").read_text()
    assert "<dc:date>" not in svg
    assert "Matplotlib" not in svg
    figure, data = drawn[0]
    back = pd.read_csv(first / "fig7.csv")
    assert back.columns[0] == "panel"
    np.testing.assert_array_equal(back["value"], data["value"])
    header = (first / "fig7.png").read_bytes()[16:24]
    assert int.from_bytes(header[:4]) >= 150 * figure.get_size_inches()[0], "dots per inch"


def test_text_stays_inside_the_figure(sweeps: dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]]) -> None:
    assert all(inside(figure) for _, figure, _ in sweeps.values())


@pytest.mark.parametrize(
    ("value", "text"), [(60000, "60\u2009000"), (1000, "1000"), (0.025, "0.025"), (1e-5, "1e-05"), (0.0, "0")]
)
def test_number(value: float, text: str) -> None:
    assert style.number(value) == text


# ------------------------------------------------------------------------------------------------ captions


@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 7])
def test_captions_print_the_values_used(number: int) -> None:
    keys = {1: "data seeds n_train n_test l2", 2: "data seeds n_train n_test l2", 4: "networks seeds cooldown"}
    keys = keys.get(number, "networks seeds estimators panels").split()
    item = {key: "- " if key in ("networks", "estimators") else "" for key in keys}  # of a list
    caption_values = {key: f"{item[key]}the {key} used" for key in keys}
    params = SimpleNamespace(caption_values={f"fig{number}": caption_values})
    html = rendered(f"fig{number}.rst", SimpleNamespace(params=params, config={}))
    assert f"Figure {number}." in html
    for fact in caption_values.values():
        assert fact.removeprefix("- ") in html
    assert "t-intervals over seeds" in html


def test_workflow_text_prints_the_config() -> None:
    config = {"run": "quick", "seeds": 8, "cell": {"momentum": 0.9}, "experiments": {"momentum": {}, "l2": {}}}
    html = rendered("workflow.rst", SimpleNamespace(config=config))
    assert "quick" in html
    assert "seeds of each cell" in html
    assert "momentum, l2" in html
    assert "initial weights" not in html
    assert "quick" in rendered("workflow.rst", SimpleNamespace(config={"run": "quick"}))
