"""The search for the optimum batch size of one setting: takes a function that measures batch sizes, gives the optimum.

Where a batch size fits the training set, the smallest that does is found by bisection, without a test image, and the optimum is
looked for around a fixed multiple of it. Else the search goes from coarse steps to fine ones. All of it is our choice. Batch
sizes in examples, accuracies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, optima_of
from bayes_sgd.analysis.intervals import Floats, optimum_interval, paired_difference, seed_counts
from bayes_sgd.analysis.optimum import FITS, ResponseCurve, fitting_batch, side_of_grid
from bayes_sgd.analysis.prediction import LEVEL

Measure = Callable[[Sequence[int], int], ResponseCurve]
"""Batch sizes, ascending, and a number of seeds: their accuracies. What was measured before costs nothing."""

CONSTANT = 1.6  # B_opt/B_fit: 1.59 of 38 optima in results/published/one_constant, 1.70 of 7 in one_constant_fashion
LOSS = 0.003  # of test accuracy, that a batch size of the plateau loses at most
FEW = 3  # seeds of the first steps
START = 32  # the batch size that is tried first
COARSE = 4  # sizes of the grid in a coarse step, a factor of 4
AROUND = 3  # sizes of the grid on each side of the best one that all seeds measure, a factor of 2.8
_GAIN = 0.005  # of training accuracy by a batch 4 times as large; where it is less, no batch fits


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        curve: accuracies at all batch sizes that all seeds measured, (K, S).
        b_opt: the optimum, a real number; NaN where no batch size trains. If it is censored: 1, or the largest batch size
            measured, which is N or one at which accuracy has `levelled_off`.
        low: lower end of its 90 % interval.
        high: upper end.
        side: of the batch sizes measured on which it is censored: `above`, `below`, or empty.
        inside: share of the bootstrap's replicates whose optimum lies inside the batch sizes measured.
        plateau: smallest and largest batch size around the optimum that lose less than `LOSS`; None if that is sure of none.
        b_fit: the smallest batch size that fits the training set; NaN if none does.
    """

    curve: ResponseCurve
    b_opt: float
    low: float
    high: float
    side: str
    inside: float
    plateau: tuple[int, int] | None
    b_fit: float

    @property
    def batch_size(self) -> int | None:
        """The optimum, rounded; None where no batch size trains."""
        return None if np.isnan(self.b_opt) else round(self.b_opt)


def grid(n_train: int) -> list[int]:
    """Batch sizes from 1 to N in steps of √2, rounded, and N."""
    return sorted({round(2 ** (k / 2)) for k in range(int(2 * np.log2(n_train) + 1e-9) + 1)} - {n_train + 1} | {n_train})


def search(measure: Measure, n_train: int, seeds: int, *, failed_below: float = 0.5, replicates: int = 2000) -> Found:
    """The optimum batch size of one setting; no batch size outside 1 to N is measured.

    Args:
        measure: accuracies at batch sizes.
        n_train: N.
        seeds: S, 2 or more, of the measurement that the answer rests on; the first steps take `FEW`.
        failed_below: training accuracy below which a network has failed to train.
        replicates: of the bootstrap over seeds.
    """
    sizes = grid(n_train)
    few = min(FEW, seeds)
    b_fit = _fitting_size(measure, sizes, few, failed_below)
    middle = _nearest(sizes, CONSTANT * b_fit) if np.isfinite(b_fit) else _coarse_top(measure, sizes, few)
    counts = seed_counts(seeds, replicates, 0)
    first, last = max(0, middle - AROUND), min(len(sizes) - 1, middle + AROUND)
    while True:
        curve = measure(sizes[first : last + 1], seeds)
        (log_b,), (drawn,) = optima_of([curve], TREATMENT, HEADLINE, counts)
        low, high = _wanted(curve, float(log_b), first, last)
        if log_b == np.inf and levelled_off(curve):
            high = last
        low, high = max(0, min(low, first)), min(len(sizes) - 1, max(high, last))
        if (low, high) == (first, last):
            return _found(curve, float(log_b), drawn, n_train, b_fit)
        first, last = low, high


def _wanted(curve: ResponseCurve, log_b: float, first: int, last: int) -> tuple[int, int]:
    """The part of the grid that should be measured, from what was measured of `first` to `last`; may reach beyond the grid."""
    if np.isnan(log_b):  # none trains: larger batches have less noise
        return first, last + COARSE
    if np.isinf(log_b):
        return (first - 2, last) if log_b < 0 else (first, last + 2)
    top = first + int(curve.accuracy.mean(axis=1).argmax())
    return top - AROUND, top + AROUND


def _nearest(sizes: Sequence[int], b: float) -> int:
    return int(np.abs(np.log(np.array(sizes) / b)).argmin())


def _fitting_size(measure: Measure, sizes: Sequence[int], seeds: int, failed_below: float) -> float:
    """The smallest batch size that fits the training set, interpolated; NaN if none does, the smallest size if all do."""
    accuracies: dict[int, float] = {}

    def trained(place: int) -> float:
        if place not in accuracies:
            accuracies[place] = float(measure([sizes[place]], seeds).train_accuracy.mean())
        return accuracies[place]

    place = smallest_fitting(trained, len(sizes), _nearest(sizes, START), failed_below)
    if place is None:
        return np.nan
    if place == 0:
        return float(sizes[0])
    ends = np.log([sizes[place - 1], sizes[place]])
    between = fitting_batch(ends, np.array([[trained(place - 1)], [trained(place)]]))
    return float(np.exp(between[0]))


def smallest_fitting(trained: Callable[[int], float], count: int, start: int, failed_below: float) -> int | None:
    """The first of `count` places on the grid at which the training accuracy is `FITS`, by steps of `COARSE`, then bisection.

    None where the last place does not fit, or where the accuracy of networks that train no longer grows.
    """
    low, high = -1, min(start, count - 1)
    while trained(high) < FITS:
        low, high = high, min(high + COARSE, count - 1)
        stalled = trained(low) >= failed_below and trained(high) < min(FITS, trained(low) + _GAIN)
        if low == high or stalled:
            return None
    while high - low > 1:
        middle = max(0, high - COARSE) if low < 0 else (low + high) // 2
        if trained(middle) >= FITS:
            high = middle
        else:
            low = middle
    return high


def _coarse_top(measure: Measure, sizes: Sequence[int], seeds: int) -> int:
    """The place of the best test accuracy in coarse steps, which go on while it lies at an end; then in half steps."""
    start = _nearest(sizes, START)
    places = {place for step in (-2, -1, 0, 1, 2) if 0 <= (place := start + step * COARSE) < len(sizes)} | {start}
    while True:
        ordered = sorted(places)
        curve = measure([sizes[place] for place in ordered], seeds)
        top = ordered[int(curve.accuracy.mean(axis=1).argmax())]
        mean = curve.accuracy.mean(axis=1)
        if curve.failed.all():
            beyond = ordered[-1] + COARSE
        elif top == ordered[-1]:
            if len(ordered) > 1 and mean[-1] - mean[-2] < LOSS:  # the rest of the search sees whether it has levelled off
                return ordered[-2]
            beyond = top + COARSE
        elif top == ordered[0]:
            beyond = top - COARSE
        else:
            beyond = top
        wanted = places | {min(max(beyond, 0), len(sizes) - 1)}
        if wanted == places:
            break
        places = wanted
    half = {place for place in (top - COARSE // 2, top, top + COARSE // 2) if 0 <= place < len(sizes)}
    ordered = sorted(half)
    return ordered[int(measure([sizes[place] for place in ordered], seeds).accuracy.mean(axis=1).argmax())]


def _found(curve: ResponseCurve, log_b: float, drawn: Floats, n_train: int, b_fit: float) -> Found:
    inside = float(np.isfinite(drawn).mean())
    if np.isnan(log_b):
        return Found(curve, np.nan, np.nan, np.nan, "", inside, None, b_fit)
    largest = n_train if np.isfinite(log_b) else curve.batch_sizes[-1]
    b_opt, low, high = measured_interval(log_b, drawn, len(curve.seeds), largest)
    return Found(curve, b_opt, low, high, side_of_grid(log_b), inside, plateau(curve, b_opt), b_fit)


def measured_interval(log_b: float, drawn: Floats, seeds: int, largest: float) -> tuple[float, float, float]:
    """A measured optimum with its 90 % interval, from 1 to a largest batch size.

    Args:
        log_b: its logarithm, ±inf where it is censored.
        drawn: the same of the bootstrap's replicates (R,).
        seeds: S.
        largest: N, or the largest batch size measured.
    """
    if np.isfinite(log_b):
        low, high = optimum_interval(log_b, drawn, seeds, level=LEVEL)
    else:  # an end counts as a number there
        draws = np.clip(np.exp(drawn[~np.isnan(drawn)]), 1, largest)
        low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    b_opt, low, high = (float(np.clip(b, 1, largest)) for b in (np.exp(log_b), low, high))
    return b_opt, low, high


def levelled_off(curve: ResponseCurve) -> bool:
    """Whether the largest batch size gains less than `LOSS` on the one of half its size, with 95 % confidence (our choice).

    Without enough updates accuracy rises with the batch size up to N, ever more slowly, and what a batch costs rises with it.
    """
    half = _nearest(curve.batch_sizes.astype(int).tolist(), curve.batch_sizes[-1] / 2)
    gain = paired_difference(curve.accuracy[-1], curve.accuracy[half])
    return not curve.failed[half].any() and gain.high < LOSS


def losses(curve: ResponseCurve) -> Floats:
    """What each batch size loses against any other at most, (K,): the upper end of a 95 % interval, a fraction.

    The largest upper end over all other batch sizes, paired over seeds (Student). It bounds the loss against the best one
    whichever that is: a batch size whose bound is below a limit has passed the test against every other, so that no correction
    for the choice of the best is wanted (intersection-union test, Berger 1982).
    """
    count, seeds = curve.accuracy.shape
    bounds = np.zeros(count)
    factor = float(stdtrit(seeds - 1, 0.975)) / np.sqrt(seeds)
    for k, mine in enumerate(curve.accuracy):
        differences = np.delete(curve.accuracy - mine, k, axis=0)
        if len(differences):
            bounds[k] = max(0.0, float((differences.mean(axis=1) + factor * differences.std(axis=1, ddof=1)).max()))
    return bounds


def plateau(curve: ResponseCurve, b_opt: float) -> tuple[int, int] | None:
    """Ends of the batch sizes without a gap, around the measured one next to `b_opt`, whose `losses` are below `LOSS`."""
    near = losses(curve) < LOSS
    k = _nearest(curve.batch_sizes.astype(int).tolist(), b_opt)
    if not near[k]:
        return None
    first = next((j + 1 for j in range(k, -1, -1) if not near[j]), 0)
    last = next((j - 1 for j in range(k, len(near)) if not near[j]), len(near) - 1)
    return int(curve.batch_sizes[first]), int(curve.batch_sizes[last])
