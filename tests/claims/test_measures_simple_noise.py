"""Measures of the simple noise scale on tables of known answers: its exponent in N, and the optimum's beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic import make_cells

from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.n_law import axis_exponent
from bayes_sgd.claims.measures.simple_noise import noise_scales, simple_noise_exponent, simple_noise_gap

SIZES, SEEDS = (250, 1000, 4000), 8


def gradients(exponent: float, noise: float = 0.0, loss: float = 0.1) -> pd.DataFrame:
    """B_simple = 20 (N/250)^exponent; seeds differ in tr Σ and |G|², by a factor that both share and by noise of their own."""
    rng = np.random.default_rng(1)
    rows = [
        {"experiment": "a", "n_train": n, "seed": seed, "loss": loss}
        | {"trace": (1 + seed) * 20 * (n / 250) ** exponent * rng.lognormal(0, noise), "mean_square": 1.0 + seed}
        for n in SIZES
        for seed in range(SEEDS)
    ]
    return pd.DataFrame(rows)


def tables(frame: pd.DataFrame, optimum: float = 0.5) -> Tables:
    cells = {"axis": "n_train", "rows": make_cells("n_train", values=SIZES, exponent=optimum, seeds=SEEDS)}
    return Tables(frames={"simple_noise": frame}, experiments={"a": cells})


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
def test_without_noise_the_exponent_is_the_true_one(exponent: float) -> None:
    found = simple_noise_exponent(tables(gradients(exponent)), "a", 0.1)
    assert (found.value, found.low, found.high) == pytest.approx((exponent,) * 3, abs=1e-12)
    assert found.n == SEEDS
    assert "B_simple at a training loss of 0.1: 20, " in found.detail


def test_a_noise_scale_is_the_ratio_of_means_over_seeds() -> None:
    frame = gradients(0.5, noise=0.4)
    means = frame.groupby("n_train")[["trace", "mean_square"]].mean()
    found = noise_scales(tables(frame), "a", 0.1)
    np.testing.assert_allclose(np.exp(found.log_b[:, 0]), means["trace"] / means["mean_square"], rtol=1e-12)
    exponent = simple_noise_exponent(tables(frame), "a", 0.1)
    assert exponent.low < 0.5 < exponent.high


def test_the_gap_is_the_optimums_exponent_less_that_of_the_noise_scale() -> None:
    of_optimum = axis_exponent(tables(gradients(0.3)), "a", "optimum")
    gap = simple_noise_gap(tables(gradients(0.3)), "a", 0.1)
    assert gap.value == pytest.approx(of_optimum.value - 0.3, abs=1e-12)
    assert gap.high - gap.low == pytest.approx(of_optimum.high - of_optimum.low, rel=1e-9), "B_simple has no noise here"
    noisy = simple_noise_gap(tables(gradients(0.3, noise=0.5)), "a", 0.1)
    assert noisy.high - noisy.low > 1.1 * (gap.high - gap.low)


def test_what_cannot_be_measured_is_said() -> None:
    frame = gradients(0.5)
    for measured in (simple_noise_exponent, simple_noise_gap):
        with pytest.raises(NotMeasuredError, match=r"no rows in simple_noise\.csv"):
            measured(Tables(), "a", 0.1)
        with pytest.raises(
            NotMeasuredError, match=r"fewer than three N or seeds of a have a simple noise scale at a loss of 0\.2"
        ):
            measured(tables(frame), "a", 0.2)
        with pytest.raises(NotMeasuredError, match=r"not every network of a comes to a training loss of 0\.1"):
            measured(tables(frame.iloc[1:]), "a", 0.1)
        with pytest.raises(NotMeasuredError, match=r"show no mean beyond their noise at a loss of 0\.1"):
            measured(tables(frame.assign(mean_square=-1.0)), "a", 0.1)
    with pytest.raises(NotMeasuredError, match="have different seeds"):
        simple_noise_gap(tables(frame.query("seed > 0")), "a", 0.1)
