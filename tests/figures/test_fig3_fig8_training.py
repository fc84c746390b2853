"""The figures of training, noise, noise scale, the law in N and prediction, on synthetic tables shaped like measured ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_checks import axes, bars, cells_table, inside, render, words

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import common as figure_parts
from bayes_sgd.figures import fig3_fig8_training as figures_learning
from bayes_sgd.figures import fig5_to_fig7_batch_size as figures
from bayes_sgd.figures import fig9_gradient_noise as figures_noise
from bayes_sgd.figures import laws as figures_laws
from bayes_sgd.figures import n_law as figures_n_law

RECORDED = (1, 10, 20, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 6000)


def n_law_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Optima at N/T = 1.6 and after 2000 updates, one beyond its grid, some cooled; and their laws."""
    rows = [
        {
            "experiment": name, "phase": phase, "data": "mnist", "hidden_sizes": "200", "learning_rate": 0.05, "momentum": 0.9,
            "n_train": n, "updates": t, "n_over_t": n / t, "b_opt": np.nan if b > 256 else b, "b_opt_low": b / 1.2,
            "b_opt_high": np.inf if n == 60000 else 1.2 * b, "b_opt_side": "above" if b > 256 else "", "left_edge": b / 2,
            "grid_low": 8.0, "grid_high": 256.0, "seeds": 8,
        }
        for name, phase, times in (
            ("long", "constant", (2500, 10000, 37500)), ("fixed", "constant", (2000, 2000, 2000)),
            ("long", "after_cooldown", (3000, 10500, 38000)),
        )
        for n, t, b in ((n, t, 8.3 + 15.2 * n / t) for n, t in zip((4000, 16000, 60000), times, strict=True))
    ]  # fmt: skip
    fits = [
        {
            "experiment": "all along N", "phase": phase, "learning_rate": 0.05, "law": law, "offset": offset, "slope": slope,
            "scatter": 0.2,
        }
        for phase, offset, slope in (("constant", 8.3, 15.2), ("after_cooldown", 10.9, 10.2))
        for law in ("B_e + c N/T", "B_e + c N")
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(fits)


def l2_table(seeds: int = 4, l2: tuple[float, ...] = (0.0, 0.1, 100.0)) -> pd.DataFrame:
    """Small batches learn slower and end better; cross-entropy rises again without L2."""
    rng = np.random.default_rng(2)
    rows = []
    for penalty in l2:
        for size, speed, end, rise in ((30, 60, 0.908, 0.006), (64, 50, 0.9, 0.01), (1000, 40, 0.888, 0.02)):
            for seed in range(seeds):
                for update in RECORDED:
                    done = 1 - np.exp(-update / speed)
                    loss = 2.3 - (2.3 - (0.33 if penalty < 1 else 0.5)) * done
                    rows.append(
                        {
                            "l2": penalty, "batch_size": size, "n_train": 1000, "seed": seed, "update": update,
                            "phase": "constant",
                            "train_accuracy": 0.1 + (0.9 if penalty < 1 else 0.84) * done,
                            "test_accuracy": 0.1 + (end - 0.1) * done + rng.normal(0, 0.001),
                            "train_loss": 2.3 * np.exp(-update / speed) + 0.3 * (penalty > 1),
                            "test_loss": loss + (rise * np.log1p(update) * (penalty < 1)) + rng.normal(0, 0.002),
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def noise_table(seeds: int = 4, n: int = 1000) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for update in (0, 300):
        for seed in range(seeds):
            total = 50 + seed
            for sampling in figures_noise.SAMPLERS:
                for b in (1, 3, 10, 30, 100, 1000):
                    share = (1 - 1 / n) / b if sampling == "replacement" else 1 / b - 1 / n
                    error, per_epoch = total / b / 60, n // b
                    expected = -total / n if sampling == "shuffle" and per_epoch > 1 else 0.0
                    exact = share * total
                    rows.append(
                        {
                            "n_train": n, "update": update, "seed": seed, "sampling": sampling, "batch_size": b,
                            "trace": exact * (1 + rng.normal(0, 0.01)), "trace_se": exact * 0.01,
                            "trace_predicted": exact,
                            "ratio": 1 + rng.normal(0, 0.01) if share > 0 else np.nan,
                            "next_batch": expected + rng.normal(0, error), "next_batch_se": error,
                            "next_batch_predicted": expected,
                        }
                        | (
                            {
                                "skewness": 2.0 * b**-0.5 * (1 + rng.normal(0, 0.02)) if share > 0 else np.nan,
                                "excess_kurtosis": 6 / b + rng.normal(0, 0.01) if share > 0 else np.nan,
                            }
                            if sampling == "independent"
                            else {}
                        )
                    )  # fmt: skip
    return pd.DataFrame(rows)


def gradients_table() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    single = np.where(rng.random(1000) < 0.1, -0.9, 0.1) * rng.gamma(2, 0.5, 1000)
    batches = rng.choice(single, (10_000, 30)).mean(1)
    parts = [pd.DataFrame({"batch_size": size, "gradient": g}) for size, g in ((1, single), (30, batches))]
    return pd.concat(parts, ignore_index=True)


def sweep_cells(seeds: int = 3) -> pd.DataFrame:
    """The three experiments, each with its noise scale."""
    parts = []
    for name in figures_laws.EXPERIMENTS:
        cells = cells_table(name, seeds=seeds, records=2)
        rate = cells["learning_rate"] / (1 - cells["momentum"])
        parts.append(cells.assign(experiment=name, noise_scale=rate * (cells["n_train"] / cells["batch_size"] - 1)))
    return pd.concat(parts, ignore_index=True)


def prediction_rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    values = {
        "learning_rate": ("learning_rate", (0.025, 0.05, 0.1, 0.2, 0.4), 230.0),
        "momentum": ("momentum", (0.0, 0.5, 0.8, 0.9, 0.95), 2.2),
        "training_set_size": ("n_train", (500, 1000, 4000, 16000, 60000), 0.004),
    }
    rows = []
    for name, (axis, along, factor) in values.items():
        for j, value in enumerate(along):
            x = 1 / (1 - value) if axis == "momentum" else value
            best = factor * x ** (1 if axis != "n_train" else 0.9)
            off = float(np.exp(rng.normal(0, 0.2)))
            rows.append(
                {
                    "axis": axis, "axis_value": value, "b_opt_measured": best, "b_opt_predicted": best * off,
                    "ci_low": best * off / 1.6, "ci_high": best * off * 1.6, "extrapolated": j in (0, len(along) - 1),
                    "experiment": name, "estimator": "cubic", "updates": 4000, "inside": True, "steps": 0.5,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


DRAWN: dict[str, Callable[[], figures.Drawn]] = {
    "fig3": lambda: figures_learning.fig3(l2_table()),
    "fig8": lambda: figures_learning.fig8(l2_table()),
    "fig9": lambda: figures_noise.fig9(gradients_table(), noise_table()),
    "gradient_noise": lambda: figures_noise.gradient_noise(noise_table()),
    "optimum_vs_n": lambda: figures_n_law.optimum_vs_n(*n_law_rows()),
    "accuracy_vs_noise_scale": lambda: figures_laws.accuracy_vs_noise_scale(sweep_cells()),
    "prediction": lambda: figures_laws.prediction(prediction_rows()),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, figures.Drawn]:
    return {name: draw() for name, draw in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_lies_outside_and_axes_are_labelled(name: str, drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn[name]
    assert inside(figure)
    assert all(ax.get_ylabel() for ax in figure.axes)
    assert sum(bool(ax.get_xlabel()) for ax in figure.axes) >= 1
    assert {"panel", "quantity", "value"} <= set(data.columns)
    assert len(data)


@pytest.mark.parametrize("name", ["fig3", "optimum_vs_n"])
def test_drawn_again_it_has_equal_bytes(name: str, drawn: dict[str, figures.Drawn], tmp_path: Path) -> None:
    figure_parts.save(*DRAWN[name](), tmp_path / "once" / name)
    figure_parts.save(*DRAWN[name](), tmp_path / "again" / name)
    for kind in ("png", "svg", "csv"):
        assert (tmp_path / "once" / f"{name}.{kind}").read_bytes() == (tmp_path / "again" / f"{name}.{kind}").read_bytes()


# ------------------------------------------------------------------------------------------------ figures 3 and 8


def test_fig3_shows_the_smallest_and_the_largest_batch_without_l2(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["fig3"]
    table = l2_table()
    own = table[(table["l2"] == 0) & table["batch_size"].isin([30, 1000])]
    gaps = data[data["panel"] == "c"]
    by_size = own.pivot(index=["update", "seed"], columns="batch_size", values="test_accuracy")
    expected = (by_size[30] - by_size[1000]).groupby("update").mean()
    np.testing.assert_allclose(gaps["value"], expected)
    widths = gaps["ci_high"] - gaps["ci_low"]
    assert (widths < 0.02).all(), "seeds are paired"
    for (quantity, size, update), rows in data.groupby(["quantity", "batch_size", "update"]):
        expected = own.loc[(own["batch_size"] == size) & (own["update"] == update), str(quantity)].mean()
        assert rows["value"].item() == pytest.approx(expected)
    panels = axes(figure)
    assert all(panels[name].get_xscale() == "log" for name in ("a peak", "a full", "b"))
    lines = {str(line.get_label()): line for line in panels["a full"].lines}
    assert set(lines) == {f"B = {size}, {part}" for size in (30, 1000) for part in ("test", "training")}
    shown = data[(data["quantity"] == "test_accuracy") & (data["batch_size"] == 30)]
    np.testing.assert_allclose(np.asarray(lines["B = 30, test"].get_ydata(), float), 100 * shown["value"])
    assert len(panels["a peak"].collections) == len(panels["b"].collections) == 2  # the bands
    stars = [line for line in panels["b"].lines if line.get_marker() == "*"]
    lowest = data[data["quantity"] == "test_loss"].groupby("batch_size")["value"].min()
    assert sorted(float(np.asarray(star.get_ydata())[0]) for star in stars) == pytest.approx(sorted(lowest))
    low, high = panels["a peak"].get_ylim()
    assert low > 80
    assert high < 95


def test_fig3_uses_networks_at_a_constant_rate_alone() -> None:
    table = l2_table(seeds=2)
    cooled = table[table["update"] == 6000].assign(phase="after_cooldown", update=6500, test_accuracy=0.99)
    pd.testing.assert_frame_equal(figures_learning.fig3(pd.concat([table, cooled]))[1], figures_learning.fig3(table)[1])


def test_fig8_has_both_readings_of_lambda(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["fig8"]
    assert data.groupby("panel")["l2"].unique().map(list).to_dict() == {"a": [0.1], "b": [100.0], "c": [0.0, 0.1, 100.0]}
    last = l2_table()[lambda rows: rows["update"] == RECORDED[-1]].pivot(
        index=["l2", "seed"], columns="batch_size", values="test_accuracy"
    )
    np.testing.assert_allclose(data[data["panel"] == "c"]["value"], (last[30] - last[1000]).groupby("l2").mean())
    labels = [text.get_text() for text in axes(figure)["c"].get_xticklabels()]
    assert labels == ["0", "0.1", "100"]
    assert "half of the gap at λ = 0" in words(figure)
    text = words(figure)
    assert "(a) λ = 0.1: 0.1 of the sum cost" in text
    assert "(b) λ = 100: 0.1 of the mean loss" in text
    one, data = figures_learning.fig8(l2_table(seeds=1, l2=(0.0, 0.1)))
    assert set(data["panel"]) == {"a", "c"}
    assert "means over 1 seed;" in words(one)


# ------------------------------------------------------------------------------------------------ the noise


def test_fig9_histograms_are_densities_with_the_gaussian_of_equal_moments(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["fig9"]
    gradients = gradients_table()
    for panel, size in (("a", 1), ("b", 30)):
        values = gradients.loc[gradients["batch_size"] == size, "gradient"]
        bins = data[(data["panel"] == panel) & (data["quantity"] == "density")]
        assert (bins["value"] * (bins["x_high"] - bins["x_low"])).sum() == pytest.approx(1)
        line = data[(data["panel"] == panel) & (data["quantity"] == "gaussian")]
        z = (line["x"] - values.mean()) / values.std(ddof=0)
        np.testing.assert_allclose(line["value"], np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / values.std(ddof=0))
    noise = noise_table()
    shapes = data[(data["panel"] == "c") & (data["quantity"] == "skewness")]
    expected = noise.groupby(["update", "batch_size"])["skewness"].mean().dropna()
    np.testing.assert_allclose(shapes["value"], expected)
    ax = axes(figure)["c"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    for slope, name in ((-0.5, "slope −1/2"), (-1, "slope −1")):
        line = next(line for line in ax.lines if line.get_label() == name)
        x, y = (np.log(np.asarray(values, float)) for values in line.get_data())
        assert np.diff(y)[0] / np.diff(x)[0] == pytest.approx(slope)


def test_noise_ratio_is_the_tables_and_lag_is_in_units_of_the_prediction(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["gradient_noise"]
    noise = noise_table()
    ratio = data[data["quantity"] == "ratio"]
    expected = noise.groupby(["sampling", "update", "batch_size"])["ratio"].mean().dropna()
    np.testing.assert_allclose(ratio.set_index(["sampling", "update", "batch_size"])["value"].sort_index(), expected)
    own = noise[(noise["sampling"] == "shuffle") & (noise["update"] == 0) & (noise["batch_size"] == 100)]
    lag = data[(data["quantity"] == "next_in_units") & (data["sampling"] == "shuffle") & (data["update"] == 0)]
    value = lag.loc[lag["batch_size"] == 100, "value"].item()
    assert value == pytest.approx((own["next_batch"] / (-(50 + own["seed"]) / 1000)).mean())
    assert not data.loc[(data["panel"] == "b") & (data["batch_size"] == 1), "drawn"].any()  # nothing can be seen there
    assert len(bars(axes(figure)["a"])) == 6


def test_noise_at_one_update_and_with_one_seed() -> None:
    noise = noise_table(seeds=1)
    noise = noise[noise["update"] == 0]
    render(figures_noise.gradient_noise(noise)[0])
    figure, data = figures_noise.fig9(gradients_table().assign(gradient=0.0), noise.assign(skewness=np.nan))
    assert "skewness" not in set(data["quantity"])
    render(figure)


# ------------------------------------------------------------------------------------------------ the law in N


def test_optimum_vs_n_has_all_optima_against_both_and_the_law(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["optimum_vs_n"]
    optima, _ = n_law_rows()
    panels = axes(figure)
    series = [str(bar.get_label()) for bar in bars(panels["a"]) if "N =" in str(bar.get_label())]
    assert series == ["N = 4000", "N = 16\u2009000", "N = 60\u2009000"]
    assert {"8.3 + 15.2 N/T", "10.9 + 10.2 N/T, cooled"} <= {str(line.get_label()) for line in panels["a"].lines}
    lines = [str(bar.get_label()) for bar in bars(panels["b"]) if str(bar.get_label()).startswith(("T", "N/T"))]
    assert lines == ["N/T = 1.6", "T = 2000"]
    for panel in ("a", "b"):
        shown = data[(data["panel"] == panel) & (data["quantity"] == "b_opt")]
        assert len(shown) == len(optima)
        triangles = [line for line in panels[panel].lines if line.get_label() == "_above" and len(line.get_xdata())]
        assert [float(line.get_ydata()[0]) for line in triangles] == [256.0], "at the end of its grid"
    hollow = {bar.lines[0].get_markerfacecolor() == "none" for bar in bars(panels["a"])}
    assert hollow == {True, False}


def test_optimum_vs_n_of_one_size_has_a_law_for_each_learning_rate() -> None:
    optima, fits = n_law_rows()
    optima = optima.assign(n_train=16000, learning_rate=np.resize([0.025, 0.1], len(optima)))
    fits = pd.concat([fits.assign(learning_rate=rate) for rate in (0.025, 0.1)])
    figure, _ = figures_n_law.optimum_vs_n(optima, fits)
    labels = {str(line.get_label()) for line in axes(figure)["a"].lines}
    assert "ε = 0.025: 8.3 + 15.2 N/T" in labels
    render(figure)
    without, _ = figures_n_law.optimum_vs_n(optima, fits.iloc[:0].astype(object))
    render(without)


# ------------------------------------------------------------------------------------------------ noise scale, prediction


def test_noise_scale_draws_what_trains_at_the_end_against_g(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["accuracy_vs_noise_scale"]
    cells = sweep_cells()
    panels = axes(figure)
    assert set(panels) == set(figures_laws.EXPERIMENTS)
    for name, axis in figures_laws.EXPERIMENTS.items():
        own = cells[(cells["experiment"] == name) & (cells["update"] == 4000)]
        failed = own["diverged"] | (own["train_accuracy"] < 0.5)
        trains = ~failed.groupby([own[axis], own["batch_size"]]).transform("any") & (own["noise_scale"] > 0)
        expected = own[trains].groupby([axis, "batch_size"])["test_accuracy"].mean()
        shown = data[data["panel"] == name].sort_values(["axis_value", "batch_size"])
        best = expected.groupby(level=0).transform("max") if axis == "n_train" else 0.0
        np.testing.assert_allclose(shown["value"], expected - best, atol=1e-12)
        assert panels[name].get_xscale() == "log"
        stars = [line for line in panels[name].lines if line.get_marker() == "*"]
        assert len(stars) == len(expected.index.unique(axis))


def test_noise_scale_of_two_experiments_has_a_title_that_fits() -> None:
    cells = sweep_cells(2)
    figure, _ = figures_laws.accuracy_vs_noise_scale(cells[cells["experiment"] != "training_set_size"])
    assert "paired" not in words(figure), "no panel is of training set sizes"
    assert inside(figure)


def test_noise_scale_where_nothing_trains_says_so() -> None:
    figure, data = figures_laws.accuracy_vs_noise_scale(sweep_cells(1).assign(diverged=True))
    assert "no batch size at which every network trains" in words(figure)
    assert data.empty


def test_prediction_stands_beside_the_identity(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["prediction"]
    table = prediction_rows()
    np.testing.assert_array_equal(data["value"], table["b_opt_predicted"])
    assert set(axes(figure)) == {"a", "b", "c"}, "a panel for each experiment"
    for panel, (_, rows) in zip("abc", table.groupby("experiment", sort=False), strict=True):
        ax = axes(figure)[panel]
        assert ax.get_xlim() == ax.get_ylim()
        drawn_points = {
            (float(x), float(y))
            for bar in bars(ax)
            for x, y in zip(*(np.asarray(values, float) for values in bar.lines[0].get_data()), strict=True)
        }
        assert drawn_points == set(zip(rows["b_opt_measured"], rows["b_opt_predicted"], strict=True))
        assert ax.get_ylim()[0] < rows["ci_low"].min() < rows["ci_high"].max() < ax.get_ylim()[1], "no bar is cut"
    text = words(figure)
    assert "90 % prediction intervals; 15 of 15 intervals hold" in text
    assert "values of N" in text
    assert "60\u2009000" in text
    empty, data = figures_laws.prediction(table.iloc[:0].astype(object))
    assert "nothing to predict" in words(empty)
    assert data.empty


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures_learning.fig3(l2_table(1).drop(columns="l2")), r"Figure 3\..*: the table has no column l2"),
        (lambda: figures_learning.fig3(l2_table(1, (0.1,))), r"Figure 3\..*: the table has no rows with l2 0"),
        (lambda: figures_learning.fig8(l2_table(1, (0.0,))), r"Figure 8\..*: the table has no rows with l2 0\.1 or 100"),
        (lambda: figures_learning.fig8(l2_table(1).iloc[:0]), r"Figure 8\..*: the table has no rows for it"),
        (
            lambda: figures_learning.fig3(pd.concat([l2_table(1), l2_table(1).assign(n_train=500)])),
            r"Figure 3\..*: rows of more than one n_train",
        ),
        (
            lambda: figures_noise.fig9(gradients_table().iloc[:0], noise_table(1)),
            r"Figure 9\..*: the table has no rows for it",
        ),
        (
            lambda: figures_noise.fig9(gradients_table(), noise_table(1).drop(columns="skewness")),
            r"Figure 9\..*: gradient_noise: the table has no column skewness",
        ),
        (lambda: figures_noise.gradient_noise(noise_table(1).iloc[:0]), "Noise of .*: the table has no rows"),
        (lambda: figures_noise.gradient_noise(noise_table(1).drop(columns="ratio")), "Noise of .* has no column ratio"),
        (lambda: figures_n_law.optimum_vs_n(n_law_rows()[0].iloc[:0], n_law_rows()[1]), "The optimal .*: the table of optima"),
        (
            lambda: figures_n_law.optimum_vs_n(n_law_rows()[0], n_law_rows()[1].drop(columns="offset")),
            "The optimal .*: n_law_fit: the table has no column offset",
        ),
        (
            lambda: figures_laws.accuracy_vs_noise_scale(sweep_cells(1).assign(experiment="other")),
            "Test accuracy .*: the table has no rows for it",
        ),
        (lambda: figures_learning.fig3(pd.concat([l2_table(1), l2_table(1)])), r"Figure 3\..*: two runs with the same l2"),
        (lambda: figures_laws.accuracy_vs_noise_scale(cells_table("momentum", 1)), "Test accuracy .* has no column experiment"),
        (lambda: figures_laws.prediction(prediction_rows().drop(columns="inside")), "Optimal .* has no column inside"),
    ],
)
def test_bad_tables_are_named_in_one_line(draw: Callable[[], figures.Drawn], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)
