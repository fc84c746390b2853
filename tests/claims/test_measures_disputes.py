"""Measures of the disputes on cells of known answers: tuned and scaled learning rates, two arms, exponents along any axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from project import ROOT
from synthetic import make_cells

from bayes_sgd.analysis.intervals import paired_difference
from bayes_sgd.analysis.optimum import SweepRows
from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.disputes import arm_ratio, penalty_share, scaled_change, tuned_accuracy, tuned_gain
from bayes_sgd.claims.measures.n_law import axis_exponent
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import CELLS

SEEDS = 6


def cells(accuracy: dict[tuple[int, float], float], noise: float = 0.001) -> SweepRows:
    """Final accuracies of (B, ε), with noise by the seed that all share and noise of their own."""
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 0.01, SEEDS)
    rows = [
        {"batch_size": b, "learning_rate": rate, "seed": seed, "update": 10, "updates": 10}
        | {"test_accuracy": mean + shared[seed] + rng.normal(0, noise)}
        for (b, rate), mean in accuracy.items()
        for seed in range(SEEDS)
    ]
    return {"axis": "learning_rate", "rows": pd.DataFrame(rows)}


def tuned(largest: float) -> dict[tuple[int, float], float]:
    """At each B the best ε is in the middle; B = 32 is the best but for the largest, which reaches `largest`."""
    tops = {8: 0.90, 32: 0.92, 128: 0.91, 512: largest}
    return {(b, k * b / 100): top - 0.02 * (k != 2) for b, top in tops.items() for k in (1, 2, 4)}


@pytest.mark.parametrize(("largest", "gain"), [(0.90, 0.02), (0.92, 0.0), (0.95, -0.03)])
def test_a_tuned_gain_is_that_of_the_best_batch_at_its_best_learning_rate(largest: float, gain: float) -> None:
    found = tuned_gain(Tables(experiments={"a": cells(tuned(largest))}), "a")
    assert found.low < gain < found.high
    assert found.high - found.low < 0.01
    assert "B = 32 minus that at 512, ε tuned for each: 8 at 0.16, 32 at 0.64, 128 at 2.56, 512 at 10.24" in found.detail


def test_a_learning_rate_at_the_end_of_its_grid_is_not_tuned() -> None:
    best_is_last = {key: mean for key, mean in tuned(0.9).items() if key != (128, 128 * 4 / 100)}
    with pytest.raises(NotMeasuredError, match="best learning rate at B = 128 is at the end of its grid"):
        tuned_gain(Tables(experiments={"a": cells(best_is_last)}), "a")


def test_a_seed_does_not_choose_its_own_learning_rate() -> None:
    index = pd.MultiIndex.from_product([[8], [0.1, 0.2, 0.4]], names=["batch_size", "learning_rate"])
    accuracy = pd.DataFrame([[0.5, 0.5, 0.5], [0.6, 0.9, 0.6], [0.7, 0.2, 0.7]], index=index)
    values, rates = tuned_accuracy(accuracy, np.arange(3))
    np.testing.assert_allclose(values, [[0.6, 0.2, 0.6]], err_msg="the others' means are best at 0.2, 0.4, 0.2")
    np.testing.assert_allclose(rates, [0.2])


def test_scaled_learning_rates_are_compared_with_the_small_batch_and_with_each_other() -> None:
    scaled = {(16, 0.05): 0.92, (128, 0.1414): 0.915, (128, 0.4): 0.905}
    tables = Tables(experiments={"a": cells(scaled)})
    linear, over_root = (scaled_change(tables, "a", rule) for rule in ("linear", "linear_over_root"))
    assert linear.low < -0.015 < linear.high < -0.01
    assert over_root.low < -0.01 < over_root.high < -0.007
    with pytest.raises(NotMeasuredError, match="does not scale ε with √B and with B"):
        scaled_change(Tables(experiments={"a": cells({(16, 0.05): 0.9, (128, 0.2): 0.9, (128, 0.4): 0.9})}), "a", "linear")
    with pytest.raises(NotMeasuredError, match="does not scale ε with √B and with B"):
        scaled_change(Tables(experiments={"a": cells({(16, 0.05): 0.9, (128, 0.4): 0.9})}), "a", "linear")


def test_the_page_states_what_linear_scaling_loses_in_the_extended_run() -> None:
    folder = ROOT / "results" / "published" / "extended" / "tables"
    rows = read_csv(folder / "cells.csv", CELLS)
    rows = rows[(rows["phase"] == "constant") & (rows["update"] == rows["updates"]) & (rows["labels"] == "real")]
    rows = rows[(rows["n_train"] == 1000) & (rows["momentum"] == 0.9) & (rows["l2"] == 0) & (rows["hidden_sizes"] == "200")]
    small, large = (
        rows[(rows["learning_rate"] == rate) & (rows["batch_size"] == b) & (rows["updates"] * b == 128_000)]
        .set_index("seed")["test_accuracy"]
        .sort_index()
        for rate, b in ((0.1, 32), (0.8, 256))
    )
    assert list(small.index) == list(large.index)
    value, low, high, n = paired_difference(small.to_numpy(float), large.to_numpy(float))
    stated = f"{100 * value:.2f} [{100 * low:.2f}, {100 * high:.2f}] points ({n} paired seeds"
    assert stated in (ROOT / "docs" / "disputes.md").read_text(encoding="utf-8")


def arm(name: str, centre: float, rng: int) -> pd.DataFrame:
    return make_cells("n_train", values=(1000,), centre=centre, rng=rng, noise=0.3).assign(activation=name)


@pytest.mark.parametrize("of", ["optimum", "left_edge"])
def test_two_arms_differ_by_the_logarithm_of_their_batch_sizes(of: str) -> None:
    rows = pd.concat([arm("relu", 23.0, 1), arm("softplus", 46.0, 2)], ignore_index=True)
    tables = Tables(experiments={"a": {"axis": "activation", "rows": rows}}, n_replicates=200)
    found = arm_ratio(tables, "a", "softplus", "relu", of)
    assert found.low < np.log(2) < found.high
    assert arm_ratio(tables, "a", "relu", "softplus", of).value == pytest.approx(-found.value)
    with pytest.raises(NotMeasuredError, match="not both activation leaky_relu and relu"):
        arm_ratio(tables, "a", "leaky_relu", "relu", of)
    beyond = Tables(experiments={"a": {"axis": "activation", "rows": rows[rows["batch_size"] >= 45]}}, n_replicates=50)
    with pytest.raises(NotMeasuredError, match="lies beyond the batch sizes"):
        arm_ratio(beyond, "a", "softplus", "relu", of)


@pytest.mark.parametrize(
    ("axis", "values", "exponent"),
    [
        ("momentum", (0.5, 0.8, 0.9, 0.95), 1.0),
        ("pixel_scale", (0.5, 1.0, 2.0), 2.0),
        ("hidden_sizes", (50.0, 200.0, 800.0), 0.0),
    ],
)
def test_an_exponent_is_along_any_axis(axis: str, values: tuple[float, ...], exponent: float) -> None:
    rows = make_cells(axis, values=values, exponent=exponent, rng=5, noise=0.3)
    if axis == "hidden_sizes":
        rows[axis] = [f"{value:g}" for value in rows[axis]]
    tables = Tables(experiments={"a": {"axis": axis, "rows": rows}}, n_replicates=200)
    for of in ("optimum", "left_edge"):
        found = axis_exponent(tables, "a", of)
        assert found.low < exponent < found.high
        assert found.high - found.low < 0.6
        assert ("1/(1 - momentum)" in found.detail) == (axis == "momentum")


def penalized(gains: dict[float, float], small: float = 0.02) -> SweepRows:
    """Accuracies over that of the full batch: of a small batch, and of the full batch with each κ."""
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 0.01, 12)
    arms = [(16, 0.0, small), (512, 0.0, 0.0), *((512, penalty, gain) for penalty, gain in gains.items())]
    rows = [
        {"batch_size": b, "gradient_penalty": penalty, "seed": seed, "update": 10, "updates": 10}
        | {"test_accuracy": 0.85 + gain + shared[seed] + rng.normal(0, 0.001)}
        for b, penalty, gain in arms
        for seed in range(12)
    ]
    return {"axis": "gradient_penalty", "rows": pd.DataFrame(rows)}


@pytest.mark.parametrize(("gain", "share"), [(0.0, 0.0), (0.01, 0.5), (0.02, 1.0)])
def test_a_penalty_gives_back_its_share_of_the_gain_of_the_small_batch(gain: float, share: float) -> None:
    tables = Tables(experiments={"a": penalized({0.1: gain, 0.4: gain / 2 - 0.005})})
    found, best = penalty_share(tables, "a", penalty=0.1), penalty_share(tables, "a")
    assert found.low < share < found.high
    assert found.high - found.low < 0.15
    assert "by κ = 0.1 over the small batch's gain, 2 points" in found.detail
    assert best.value == pytest.approx(found.value), "0.1 is the better one for every seed"
    half = penalty_share(tables, "a", penalty=0.4)
    assert half.low < (gain / 2 - 0.005) / 0.02 < half.high
    with pytest.raises(NotMeasuredError, match=r"no κ = 0\.2"):
        penalty_share(tables, "a", penalty=0.2)
    with pytest.raises(NotMeasuredError, match="two batch sizes are wanted"):
        penalty_share(Tables(experiments={"a": penalized({})}), "a")
