"""Predictors of the optimum, in worlds where one of them is the law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from arms import arm_cells, of_axis
from synthetic import GRID

from bayes_sgd.analysis.fit_batch import arms
from bayes_sgd.analysis.measured import with_measured
from bayes_sgd.analysis.predictors import axis_difference, predictors_table, relative_spread, spread, spread_interval
from bayes_sgd.core.schema import PREDICTORS

RATES = (0.05, 0.07, 0.1, 0.14, 0.2)
SIZES = (500, 1000, 2000, 4000)


def world(law: str, noise: float = 0.0) -> pd.DataFrame:
    """Optima at a noise scale g of 40 (`noise scale`), or at twice a fitting batch size that follows ε/(1 − m) alone."""
    parts: dict[str, list[pd.DataFrame]] = {"rates": [], "sizes": [], "widths": []}
    fit_of = dict(zip(SIZES, (0.3, -0.3, 0.2, -0.2), strict=True))
    settings = [
        *(("rates", {"learning_rate": rate}) for rate in RATES),
        *(("sizes", {"n_train": size}) for size in SIZES if size != 1000),
        *(("widths", {"hidden_sizes": width}) for width in ("50", "100", "400")),
    ]
    for number, (axis, fields) in enumerate(settings):
        rate, size = 10 * fields.get("learning_rate", 0.1), fields.get("n_train", 1000)
        fit = np.log(15 * rate)
        opt = fit + np.log(2)
        if law == "noise scale":
            opt = np.log(rate * size / (40 + rate))
            fit = opt - np.log(2) + fit_of[size] + (0.3 if number % 2 else -0.3)
        parts[axis].append(arm_cells(fit, opt, noise=noise, rng=number, grid=GRID, **fields))
    axes = {"rates": "learning_rate", "sizes": "n_train", "widths": "hidden_sizes"}
    return predictors_table(arms({name: of_axis(axes[name], *cells) for name, cells in parts.items()}, n_replicates=100))


def row(table: pd.DataFrame, predictor: str) -> pd.Series:
    return table.set_index("predictor").loc[predictor]


def test_where_the_optimum_is_twice_what_fits_the_law_has_no_scatter() -> None:
    table = world("fit")
    assert tuple(table.columns) == PREDICTORS.names
    found = row(table, "B_fit at 99 %")
    assert found["n"] == 11
    assert found["axes"] == 3
    assert found["constant"] == pytest.approx(2)
    assert found["sd"] < 1e-6
    assert found["axis_difference"] < 1e-6
    assert found["within_step"] == 1
    assert found["within_step_low"] == pytest.approx(0.025 ** (1 / 11))
    assert row(table, "ε/(B(1 − m))")["sd"] < 1e-6
    assert row(table, "noise scale g")["sd"] > 0.3
    assert row(table, "noise scale g")["farthest_axis"] == "sizes"
    assert row(table, "B_fit at 98 %")["constant"] == pytest.approx(2 * np.exp(0.5))


def test_where_the_noise_scale_fixes_the_optimum_it_wins() -> None:
    found = row(world("noise scale"), "noise scale g")
    assert found["sd"] < 1e-6
    assert found["constant"] == pytest.approx(40)
    assert found["relative_sd"] < 1e-4
    assert found["held_out_error"] < 1e-6
    noisy = row(world("noise scale", noise=0.05), "noise scale g")
    assert 0 < noisy["relative_sd_low"] < noisy["relative_sd"] < noisy["relative_sd_high"] < 1


def test_noise_between_seeds_is_part_of_the_scatter_and_is_not_shared() -> None:
    found = row(world("fit", noise=0.1), "B_fit at 99 %")
    # of three seeds each for both, so the variance is 2/3 of that of one seed
    assert found["sd"] == pytest.approx(0.1 * np.sqrt(2 / 3), rel=0.4)
    assert found["sd_low"] < found["sd"] < found["sd_high"]
    assert found["inside"] > 0.8


def test_labels_that_are_partly_random_stand_apart() -> None:
    clean = [arm_cells(2.7, 3.4, l2=l2) for l2 in (0.0, 0.1, 1.0)]
    noisy = [arm_cells(2.7, 4.0, labels=f"random-{share}") for share in (0.1, 0.2, 0.5)]
    table = predictors_table(arms({"l2": of_axis("l2", *clean), "labels": of_axis("labels", *noisy)}, n_replicates=100))
    fitted = table[table["predictor"] == "B_fit at 99 %"].set_index("labels")
    assert fitted["n"].to_dict() == {"real": 3, "random-p": 3}
    assert np.log(fitted["constant"]).to_dict() == pytest.approx({"real": 0.7, "random-p": 1.3})


def test_no_arms_give_a_table_with_columns() -> None:
    assert tuple(predictors_table([]).columns) == PREDICTORS.names
    lone = predictors_table(arms({"a": of_axis("l2", arm_cells(2.7, 3.4))}, n_replicates=100))
    assert lone["sd"].isna().all()
    assert lone["axis_difference"].isna().all()


def test_the_interval_of_the_scatter_holds_the_truth() -> None:
    random = np.random.default_rng(3)
    axes = np.repeat(np.arange(10), 4)
    held = 0
    for _ in range(200):
        between = random.normal(0, 0.1, 10)[axes]
        found = spread_interval(between[:, None] + random.normal(0, 0.1, (40, 1)), axes)
        held += found.low <= np.sqrt(0.02) <= found.high
    assert held >= 180


def test_the_largest_difference_of_an_axis_has_an_interval_that_holds_it() -> None:
    random = np.random.default_rng(4)
    axes = np.repeat(np.array(list("abcde")), 4)
    truth = np.array([0.3, 0.0, 0.0, -0.1, -0.2])
    held = above = 0
    for _ in range(300):
        found, farthest = axis_difference(np.repeat(truth, 4) + random.normal(0, 0.1, 20), axes)
        held += found.low <= 0.3 <= found.high
        above += found.low > 0
        assert found.low <= found.value <= found.high
        assert farthest in "ae"
    assert held >= 285
    assert above >= 270, "a difference of three standard errors is seen"
    assert np.isnan(axis_difference(np.ones(3), np.array(["a", "a", "a"]))[0].value)


def test_relative_scatter_is_of_the_same_arms() -> None:
    random = np.random.default_rng(5)
    axes = np.arange(30) % 6
    one = random.normal(0, 0.1, (30, 2))
    found = relative_spread(3 * one, one, axes)
    assert found.value == pytest.approx(3)
    assert found.low == pytest.approx(3)
    assert np.isnan(spread(one[:2]))


def test_what_was_measured_is_a_law_beside_the_others() -> None:
    """B_opt is twice the measured stable batch and three times B_simple; B_fit and the sharpness follow neither."""
    rates = {rate: number for number, rate in enumerate((*RATES, 0.3))}
    parts: dict[str, list[pd.DataFrame]] = {"rates": [], "l2": []}
    for rate, number in rates.items():
        axis = "l2" if number % 2 else "rates"
        parts[axis].append(arm_cells(2.6 + 0.2 * (number % 3), np.log(20 + 5 * number), learning_rate=rate, grid=GRID))
    cells = pd.concat([part for rows in parts.values() for part in rows])
    measured = cells[cells["seed"] < 2].groupby(["learning_rate", "seed"]).last().reset_index()
    best = 20 + 5 * measured["learning_rate"].map(rates)
    twist = np.exp(0.1 * (2 * measured["seed"] - 1))  # the geometric mean over seeds is what counts
    measured = measured.assign(stable_batch=best / 2 * twist, simple_noise_scale=best / 3, sharpness=1.0, experiment="rates")
    found = arms({name: of_axis("learning_rate", *rows) for name, rows in parts.items()}, n_replicates=50)
    without = predictors_table(found)
    assert "sharpness" not in set(without["predictor"])
    table = predictors_table(with_measured(found, measured))
    pd.testing.assert_frame_equal(table[: len(without)], without)
    for name, constant in (("mean-square stability", 2), ("B_simple", 3)):
        assert row(table, name)["n"] == 6
        assert row(table, name)["constant"] == pytest.approx(constant)
        assert row(table, name)["sd"] < 1e-6
        assert row(table, name)["relative_sd"] < 1e-5
    assert row(table, "sharpness")["sd"] > 0.2
    some = predictors_table(with_measured(found, measured[measured["learning_rate"] != 0.3]))
    assert row(some, "B_simple")["n"] == 5
    assert row(some, "B_fit at 99 %")["n"] == 6
