"""The search: near the top of any curve that it should find, never outside 1 to N, and no more sure than the seeds are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_sgd.analysis.optimum import FITS, ResponseCurve
from bayes_sgd.analysis.search import LOSS, grid, losses, plateau, search, smallest_fitting

SHAPE = np.random.default_rng(1).normal(0, 1, (400, 64))  # noise of each batch size, so that a size measured twice is the same


def world(log_top: float, noise: float, fits: bool = True, slope: float = 0.008, width: float = 0.4):
    """Accuracies with a cliff `width` left of the top and a gentle slope beyond; where `fits`, the cliff is that of fitting."""
    asked: list[tuple[int, int]] = []

    def measure(sizes, seeds: int) -> ResponseCurve:
        asked.extend((int(size), seeds) for size in sizes)
        b = np.array(sizes, dtype=float)
        u = (np.log(b) - log_top)[:, None]
        draws = noise * np.stack([SHAPE[int(size) % 400, :seeds] for size in sizes])
        test = 0.9 - np.where(u > 0, slope * u**2, 0.1 * u**2).clip(max=0.85) + draws
        train = (FITS + 0.05 * (u + width)).clip(0.1, 1.0 if fits else 0.9) + np.zeros_like(draws)
        return ResponseCurve(0.1, 100, b, test, train < 0.5, np.arange(seeds), train)

    return measure, asked


@settings(max_examples=60, deadline=None)
@given(
    log_top=st.floats(1.5, 7.5),
    n=st.integers(8, 3000),
    fits=st.booleans(),
    slope=st.floats(0.005, 0.05),
)
def test_the_advised_batch_size_is_nearly_the_best_and_no_other_than_1_to_n_is_measured(log_top, n, fits, slope):
    measure, asked = world(log_top, 1e-5, fits, slope)
    found = search(measure, n, 6, replicates=200)
    assert {1 <= size <= n for size, _ in asked} == {True}
    assert 1 <= found.low <= found.b_opt <= found.high <= n
    every = measure(range(1, n + 1), 6).accuracy.mean(axis=1)
    assert found.side == "above" or every.max() - every[found.batch_size - 1] < LOSS
    if 2 < np.exp(log_top) < n / 2:
        assert found.side == ""
    if 1.5 * n < np.exp(log_top) < 10 * n:
        assert found.side == "above"
        assert found.batch_size == n or every[found.batch_size - 1] - every[found.batch_size // 2 - 1] < LOSS


def test_where_a_batch_size_fits_few_are_measured_and_the_fitting_one_is_found():
    measure, asked = world(np.log(40), 1e-4)
    found = search(measure, 60_000, 6)
    assert found.b_fit == pytest.approx(40 * np.exp(-0.4), rel=0.02)
    assert max(size for size, _ in asked) <= 4 * 40
    assert len({size for size, _ in asked}) <= 16


def test_where_none_fits_the_search_does_not_go_to_n():
    measure, asked = world(np.log(40), 1e-4, fits=False)
    found = search(measure, 60_000, 6)
    assert np.isnan(found.b_fit)
    assert found.batch_size == pytest.approx(40, rel=0.2)
    assert max(size for size, _ in asked) <= 2048


def test_where_nothing_trains_there_is_no_batch_size():
    measure, asked = world(np.log(1e9), 1e-4)
    found = search(measure, 500, 6)
    assert (found.batch_size, found.plateau) == (None, None)
    assert max(size for size, _ in asked) == 500


@given(count=st.integers(1, 40), first=st.integers(0, 45), start=st.integers(0, 45))
def test_bisection_finds_the_first_that_fits_in_few_trainings(count, first, start):
    asked = set()

    def trained(place: int) -> float:
        assert 0 <= place < count
        asked.add(place)
        return 1.0 if place >= first else 0.1

    assert smallest_fitting(trained, count, start, 0.5) == (first if first < count else None)
    assert len(asked) <= 14


def test_accuracy_that_no_longer_grows_ends_the_bisection():
    asked = []
    assert smallest_fitting(lambda place: asked.append(place) or 0.8, 40, 10, 0.5) is None
    assert max(asked) < 20


@pytest.mark.parametrize("n", [1, 2, 3, 8, 90, 91, 500, 512, 2000])
def test_the_grid_has_steps_of_a_root_of_two_and_ends_at_n(n):
    sizes = grid(n)
    assert (sizes[0], sizes[-1]) == (1, n)
    assert sizes == sorted(set(sizes))
    assert all(later <= max(earlier + 1, 1.5 * earlier + 1) for earlier, later in pairwise(sizes))


def random_curve(rng: np.random.Generator, truth: np.ndarray, noise: float, seeds: int) -> ResponseCurve:
    accuracy = truth[:, None] + rng.normal(0, 0.01, seeds) + rng.normal(0, noise, (len(truth), seeds))
    sizes = np.array([4.0, 8, 16, 32, 64, 128])
    ones = np.ones_like(accuracy)
    return ResponseCurve(0.1, 100, sizes, accuracy, ones < 0, np.arange(seeds), ones)


def test_a_plateau_seldom_holds_a_batch_size_that_loses_more_whichever_is_the_best():
    rng = np.random.default_rng(0)
    truth = 0.9 - np.array([0.02, LOSS, 0.0, 0.0, LOSS, 0.02])
    wrong = [(losses(random_curve(rng, truth, 0.002, 12))[[1, 4]] < LOSS) for _ in range(1000)]
    assert np.mean(wrong) < 0.03


def test_the_plateau_grows_with_the_seeds_and_has_no_gap():
    rng = np.random.default_rng(0)
    truth = 0.9 - np.array([0.02, 0.001, 0.0, 0.001, 0.004, 0.0])
    assert plateau(random_curve(rng, truth, 0.003, 64), 20.0) == (8, 32)
    assert plateau(random_curve(rng, truth, 0.01, 6), 20.0) is None


def test_where_accuracy_rises_up_to_n_ever_more_slowly_the_search_ends_before_n():
    asked = []

    def measure(sizes, seeds: int) -> ResponseCurve:
        asked.extend(sizes)
        b = np.array(sizes, dtype=float)
        test = (0.9 - 1 / b)[:, None] + np.zeros(seeds)
        return ResponseCurve(0.1, 100, b, test, test < 0, np.arange(seeds), test)

    found = search(measure, 60_000, 6)
    assert found.side == "above"
    assert found.batch_size <= max(asked) <= 2048
    assert 1 / found.batch_size < LOSS
