"""Simulated values of the measures that follow no optimum: ratios of gaps, ranks over batch sizes, thresholds, spreads.

Takes a truth and a number of seeds; gives the interval that the measure's own function makes of one simulated study. Sizes of
effects and noise are like those of the published runs; all of it is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayes_sgd.analysis.intervals import Floats, Interval, mean_rank_interval, rank_correlation, ratio_interval
from bayes_sgd.analysis.optimum import ResponseCurve
from bayes_sgd.claims.measures.noise import spread_interval
from bayes_sgd.claims.measures.optimum import threshold_interval

GAP, GAP_NOISE = 0.02, 0.004  # between the smallest and the largest batch, and of one run, in accuracy
SETTINGS = 9  # batch sizes of a rank correlation, as in the extended run
RANK_NOISE = 0.3  # of one network, against a standard deviation of 1 between batch sizes
THRESHOLD, WIDTH, CHAOS = 10.0, 0.35, 0.25  # batch size; standard deviations of its logarithm between seeds, and of each run
CURVES, POINTS, RUN_NOISE = 9, 21, 0.006  # of accuracy at equal noise scale, as in the extended run


@dataclass(frozen=True)
class Simulation:
    """One quantity: the claim whose limit judges it, its truths, and the interval of a study with a truth and so many seeds."""

    claim: str
    truths: tuple[float, ...]
    study: Callable[[float, int, np.random.Generator], Interval]


def gap_ratio(truth: float, seeds: int, rng: np.random.Generator) -> Interval:
    """The ratio of two gaps; a seed's subset and start move both alike by half of the noise."""
    shared = rng.normal(0, GAP_NOISE / np.sqrt(2), seeds)
    with_l2, without = rng.normal(0, GAP_NOISE / np.sqrt(2), (2, seeds))
    return ratio_interval(truth * GAP + shared + with_l2, GAP + shared + without)


def rank(truth: float, seeds: int, rng: np.random.Generator) -> Interval:
    """A rank correlation within seeds over fixed batch sizes, whose relation has the correlation `latent(truth)`."""
    return mean_rank_interval(_ranks_of_seeds(latent(truth), seeds, rng), SETTINGS)


def _ranks_of_seeds(correlation: float, seeds: int, rng: np.random.Generator) -> Floats:
    """Rank correlations (seeds,) of a predictor that grows evenly with the batch size and what it predicts, both with noise."""
    x = np.linspace(-1, 1, SETTINGS)
    bend = x**2 - (x**2).mean()
    y = correlation * x / x.std() + np.sqrt(1 - correlation**2) * bend / bend.std()
    a, b = (v[:, None] + RANK_NOISE * rng.normal(size=(SETTINGS, seeds)) for v in (x / x.std(), y))
    return rank_correlation(a, b)


def latent(truth: float) -> float:
    """The correlation between batch sizes for which the mean rank correlation within seeds is `truth`, by interpolation."""
    return float(np.interp(truth, RANKS, LATENT))


def _mean_rank(correlation: float, studies: int = 4000) -> float:
    return float(_ranks_of_seeds(correlation, 4 * studies, np.random.default_rng(0)).mean())


def threshold(truth: float, seeds: int, rng: np.random.Generator) -> Interval:
    """A batch size up to which training fails, geometric mean over seeds; on a grid with steps of √2 that is anywhere."""
    sizes = THRESHOLD * 2 ** (np.arange(-4, 9) / 2 + rng.uniform(-0.25, 0.25))
    log_threshold = np.log(truth) + rng.normal(0, WIDTH, seeds)
    failed = np.log(sizes)[:, None] < log_threshold + rng.normal(0, CHAOS, (len(sizes), seeds))
    accuracy = np.zeros(failed.shape)
    return threshold_interval(ResponseCurve(0.0, 1, sizes, accuracy, failed, np.arange(seeds), accuracy))


def spread(truth: float, seeds: int, rng: np.random.Generator) -> Interval:
    """The standard deviation between these curves at equal noise scale, each of which departs smoothly from their mean."""
    curves = rng.normal(size=(CURVES, 2)) @ np.array([np.ones(POINTS), np.linspace(-1.7, 1.7, POINTS)])
    curves *= truth / np.sqrt(curves.var(axis=0, ddof=1).mean())
    return spread_interval(curves[..., None] + rng.normal(0, RUN_NOISE, (CURVES, POINTS, seeds)))


LATENT = np.array([-0.98, -0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9, 0.98])
RANKS = np.array([-0.922, -0.828, -0.459, -0.216, 0.0, 0.216, 0.459, 0.828, 0.922])
SIMULATIONS = {
    "gap_ratio": Simulation("19a", (0.0, 0.4, 0.8, 1.0), gap_ratio),
    "rank over batch sizes": Simulation("23a", (0.0, 0.3, 0.6, 0.75), rank),
    "failure_threshold": Simulation("13c", (8.0, 10.0, 15.0, 18.0), threshold),
    "noise_scale_collapse": Simulation("22a", (0.0, 0.001, 0.002, 0.004), spread),
}
