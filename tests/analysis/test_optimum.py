"""Estimators of the optimum on curves with known maxima; the interior optimum on held-out seeds."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from synthetic import GRID, make_cells

from bayes_sgd.analysis.optimum import (
    ResponseCurve,
    aligned_accuracy,
    argmax_optimum,
    interior_optimum,
    polynomial_optimum,
    response_curves,
    whole_budget,
)


def test_quadratic_is_exact_for_a_parabola() -> None:
    log_b = np.log(np.array([4.0, 6, 8, 11, 16, 23, 32]))
    mean = 0.9 - 0.01 * (log_b - np.log(10)) ** 2
    for error, degree in itertools.product((0.0, 0.02), (2, 3)):
        found = polynomial_optimum(log_b, mean[:, None], np.full((7, 1), error), degree)
        assert found[0] == pytest.approx(np.log(10), abs=1e-4)


def test_cubic_finds_the_maximum_of_a_cubic() -> None:
    log_b = np.log(np.array([4.0, 6, 8, 11, 16, 23, 32]))
    z = log_b - np.log(10)
    mean = 0.9 - 0.01 * z**2 + 0.004 * z**3
    assert polynomial_optimum(log_b, mean[:, None], np.zeros((7, 1)), 3)[0] == pytest.approx(np.log(10), abs=1e-4)


def test_cubic_through_three_points_is_the_parabola() -> None:
    log_b, mean = np.log(np.array([4.0, 16, 64])), np.array([[0.88], [0.9], [0.895]])
    two, three = (polynomial_optimum(log_b, mean, np.zeros((3, 1)), degree) for degree in (2, 3))
    assert three == pytest.approx(two, abs=1e-3)


def test_quadratic_agrees_with_weighted_least_squares() -> None:
    generator = np.random.default_rng(0)
    log_b = np.log(np.array(GRID))
    curve = response_curves(make_cells(values=(0.1,)), "learning_rate")[0]
    mean, error = curve.accuracy.mean(axis=1), generator.uniform(0.001, 0.03, len(GRID))
    near = np.abs(log_b - log_b[mean.argmax()]) <= np.log(3)
    design = np.vander(log_b[near], 3)
    a, b, _ = sm.WLS(mean[near], design, weights=1 / (error[near] ** 2 + 0.004**2)).fit().params
    assert polynomial_optimum(log_b, mean[:, None], error[:, None])[0] == pytest.approx(-b / (2 * a))


def test_a_convex_top_and_a_vertex_outside_the_window_are_censored() -> None:
    log_b = np.log(np.array([1.0, 2, 4, 8, 16]))
    convex = np.array([0.9, 0.5, 0.91, 0.5, 0.9])
    assert np.isinf(polynomial_optimum(log_b, convex[:, None], np.zeros((5, 1)), window=20.0)).all()
    # Noise lifts one point of a steady rise: the parabola through the window still rises.
    rise = np.array([0.1, 0.2, 0.3, 0.61, 0.6, 0.7, 0.6])
    found = polynomial_optimum(np.log(2.0 ** np.arange(7)), rise[:, None], np.zeros((7, 1)), window=16.0)
    assert np.isinf(found[0]) or np.log(2) <= found[0] <= np.log(64)


def test_interior_optimum_beats_both_ends_only_if_there_is_one() -> None:
    peak = interior_optimum(response_curves(make_cells(values=(0.1,)), "learning_rate")[0])
    assert peak.over_largest.low > 0
    assert peak.over_smallest_fitting.low > 0
    assert (peak.fitting < peak.chosen).all()
    assert np.median(peak.chosen) == pytest.approx(23, rel=0.5)
    rising = make_cells(values=(0.1,), shape=lambda u: 0.8 + 0.02 * u)
    ends = interior_optimum(response_curves(rising, "learning_rate")[0])
    assert ends.over_largest.high < 0, "no intermediate batch size beats the largest"
    everywhere = interior_optimum(response_curves(rising.assign(train_accuracy=1.0), "learning_rate")[0])
    assert np.isnan(everywhere.over_smallest_fitting.value), "every batch size fits: none is the smallest"


def test_the_smallest_fitting_batch_size_does_not_jump() -> None:
    rows = make_cells(values=(0.1,))
    before = interior_optimum(response_curves(rows, "learning_rate")[0]).over_smallest_fitting
    cliff = (rows["batch_size"] == 16) & (rows["seed"] == 0)
    moved = rows.assign(train_accuracy=rows["train_accuracy"].where(~cliff, rows["train_accuracy"] - 1e-6))
    after = interior_optimum(response_curves(moved, "learning_rate")[0]).over_smallest_fitting
    assert after.value != before.value
    assert after[:3] == pytest.approx(before[:3], abs=1e-5)


def test_held_out_choice_has_no_selection_bias() -> None:
    gains = []
    for rng in range(200):
        noise = np.random.default_rng(rng).normal(0.9, 0.01, (10, 8))
        curve = ResponseCurve(0.1, 10, 2.0 ** np.arange(10), noise, np.zeros((10, 8), dtype=bool), np.arange(8), noise)
        gains.append(interior_optimum(curve).over_largest.value)
    assert abs(np.mean(gains)) < 4 * np.std(gains) / np.sqrt(len(gains))


def test_alignment_keeps_differences_of_means() -> None:
    curve = response_curves(make_cells(values=(0.1,)), "learning_rate")[0]
    means, aligned = curve.accuracy.mean(axis=1), aligned_accuracy(curve).mean(axis=1)
    np.testing.assert_allclose(np.diff(aligned), np.diff(means), atol=1e-12)


def test_argmax_at_the_ends() -> None:
    log_b = np.array([0.0, 1.0, 2.0])
    mean = np.array([[3.0, 1, 1], [2, 3, 2], [1, 1, 3]])
    assert argmax_optimum(log_b, mean).tolist() == [-np.inf, 1.0, np.inf]


def at_equal_epochs(cells: pd.DataFrame, epochs: float) -> pd.DataFrame:
    """The same cells, each recorded at half and at all of round(epochs / B) updates."""
    updates = (epochs / cells["batch_size"]).round().astype(int)
    return cells.assign(updates=updates, update=np.where(cells["update"] == 2000, updates, (updates / 2).round().astype(int)))


@pytest.mark.parametrize("epochs", [64_000, 1111])  # 1111: V/B has to be rounded for nearly every B
def test_at_equal_epochs_each_batch_size_counts_at_its_own_updates(epochs: float) -> None:
    cells = make_cells(values=(0.1, 0.2))
    for fraction in (1.0, 0.5):
        equal_updates = response_curves(cells, "learning_rate", fraction)
        equal_epochs = response_curves(at_equal_epochs(cells, epochs), "learning_rate", fraction)
        for one, other in zip(equal_updates, equal_epochs, strict=True):
            assert (one.batch_sizes == other.batch_sizes).all()
            assert (one.accuracy == other.accuracy).all()
            assert other.updates == round(fraction * round(epochs / min(GRID)))


def test_a_shorter_budget_of_larger_batches_is_not_at_equal_epochs() -> None:
    cells = make_cells(values=(0.1, 0.2))
    cells = cells[(cells["batch_size"] < 100) | (cells["update"] == 1000)]
    for curve in response_curves(cells, "learning_rate"):
        assert curve.updates == 2000
        assert curve.batch_sizes.max() < 100
    assert (whole_budget(cells, "learning_rate") == 2000).all()
