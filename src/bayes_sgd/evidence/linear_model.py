"""The paper's section 3 (figures 1 and 2): logistic regression on the digits 0 and 1, with real and with random labels.

Takes images and labels, a list of λ and seeds; gives the table with a row for each (labels, seed, λ): accuracies,
margins, cross-entropies, and the log evidence ratio E = C(w0) + ½ Σ ln(λ_i/λ) − N ln 2 of the training set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.rng import generator
from bayes_sgd.core.schema import LINEAR
from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.evidence.logistic import Fit, active_features, evaluate, newton, row_space, spread, to_signs

LABELS = ("real", "random")


@np.errstate(over="ignore", invalid="ignore")
def sweep_l2(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    l2_values: Iterable[float],
    labels_name: str,
    seed: int,
    true_test_y: np.ndarray | None = None,
    tolerance: float = 1e-10,
) -> pd.DataFrame:
    """Fit and evaluate the model at every λ, from the largest to the smallest, each starting where the last tangent points.

    Never raises for a numerical failure: a λ that cannot be fitted has `converged` False and NaN for its results.

    Args:
        train_x: shape (N, d), pixels as the run's networks have them, in [0, 1] unless they are scaled; test_x likewise.
        train_y: 0 or 1, shape (N,), with any randomization already done; test_y likewise.
        test_x: see `train_x`.
        test_y: see `train_y`.
        l2_values: λ > 0, any order.
        labels_name: for the column `labels`: `real` or `random`.
        seed: for the column `seed`.
        true_test_y: test labels before randomization; None if they were not randomized.
        tolerance: see `fit_map`.

    Returns:
        A row per λ, rising, with the columns of `schema.LINEAR`.
    """
    grid = sorted(set(l2_values))
    fits = _fit_path(train_x, to_signs(train_y), grid, tolerance)
    weights = np.array([fit.weights for fit in fits.values()]).reshape(-1, train_x.shape[1] + 1)
    train, test = evaluate(weights, train_x, train_y), evaluate(weights, test_x, test_y)
    true = test if true_test_y is None else evaluate(weights, test_x, true_test_y)
    of_fits = ("cost", "occam_penalty", "gradient_norm", "iterations", "converged")
    columns = {name: np.array([getattr(fit, name) for fit in fits.values()], dtype=np.float64) for name in of_fits}
    ratio = log_evidence_ratio(columns["cost"], columns["occam_penalty"], len(train_y), 2)
    table = pd.DataFrame(columns, index=list(fits)).assign(
        train_accuracy=train.accuracy,
        test_accuracy=test.accuracy,
        test_accuracy_true_labels=true.accuracy,
        margin=train.margin,
        margin_absolute=train.margin_absolute,
        train_loss=train.loss,
        test_loss=test.loss,
        log_evidence_ratio=ratio,
        log_evidence_ratio_per_example=ratio / len(train_y),
        weight_norm=np.linalg.norm(weights[:, :-1], axis=1),
    )
    table = table.reindex(grid)
    # Explicit types, so that a λ without a fit changes none of them.
    table = table.assign(
        l2=table.index,
        labels=labels_name,
        seed=seed,
        iterations=table["iterations"].astype("Int64"),
        converged=table["converged"] == 1,
    )
    return table.reset_index(drop=True).reindex(columns=list(LINEAR.names))


def _fit_path(inputs: np.ndarray, signs: np.ndarray, grid: Sequence[float], tolerance: float) -> dict[float, Fit]:
    """The fits by λ of the ascending grid, from the largest to the smallest; a λ that cannot be fitted is left out."""
    features, active = active_features(inputs)
    features, basis = row_space(features)
    fits: dict[float, Fit] = {}
    start: np.ndarray | None = None
    for l2 in reversed(grid):
        if fits:
            last_l2, last = next(reversed(fits.items()))
            start = last.weights + last.tangent * np.log(l2 / last_l2)
        try:
            fits[l2] = newton(features, signs, l2, start, tolerance, max_iterations=100)
        except np.linalg.LinAlgError:
            continue
    return {l2: replace(fit, weights=spread(fit.weights, active, basis)) for l2, fit in fits.items()}


@dataclass(frozen=True)
class Split:
    """Inputs, float64, shape (N, d) and (N_test, d); labels 0 or 1, int64, shape (N,) and (N_test,)."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def split(images: np.ndarray, labels: np.ndarray, n_train: int = 800, n_test: int = 10_000, seed: int = 0) -> Split:
    """Draw balanced training and test sets of the digits 0 and 1 (section 3: 400 + 400 to train, 5000 + 5000 to test).

    The test images are what training leaves, so pass all images there are: MNIST's own test split has too few of them.

    Args:
        images: shape (n, d), of all classes; uint8, which are divided by 255, or floats, which are taken as they are.
        labels: their classes, shape (n,).
        n_train: N, even.
        n_test: at most so many test images; fewer where the data set has fewer, balanced all the same.
        seed: of the draw.

    Raises:
        UserError: N is odd or not positive, or the images do not suffice for N and two test images.
    """
    if n_train < 2 or n_train % 2 or n_test < 2:
        raise UserError(f"linear model: n_train = {n_train} must be even and positive, n_test = {n_test} at least 2")
    rng = generator(seed, "linear", "split")
    order = [rng.permutation(np.flatnonzero(labels == digit)) for digit in (0, 1)]
    available, half = min(map(len, order)), n_train // 2
    if available <= half:
        raise UserError(
            f"linear model: n_train = {n_train} needs {half} images each of the digits 0 and 1, and at least one more "
            f"for testing, but the data set has {len(order[0])} and {len(order[1])}: lower n_train"
        )
    test_half = min(n_test // 2, available - half)
    train = rng.permutation(np.concatenate([digit[:half] for digit in order]))
    test = rng.permutation(np.concatenate([digit[half : half + test_half] for digit in order]))
    unit = 255.0 if images.dtype == np.uint8 else 1.0

    def part(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[rows].astype(np.float64) / unit, labels[rows].astype(np.int64)

    return Split(*part(train), *part(test))


def randomize(data: Split, seed: int) -> Split:
    """Permute the training labels and, independently, the test labels (section 3); the classes stay balanced.

    The permutation has its own random stream, so real and random labels of one seed share their images.
    """
    rng = generator(seed, "linear", "labels")
    return replace(data, train_y=rng.permutation(data.train_y), test_y=rng.permutation(data.test_y))


def linear_table(
    images: np.ndarray,
    labels: np.ndarray,
    l2_values: Sequence[float],
    seeds: Sequence[int],
    labels_names: Sequence[str] = LABELS,
    n_train: int = 800,
    n_test: int = 10_000,
) -> pd.DataFrame:
    """`sweep_l2` for real and random labels and every seed; real and random labels share a seed's images.

    Args:
        images: see `split`.
        labels: see `split`.
        l2_values: λ > 0.
        seeds: each draws its own images and permutes its own labels.
        labels_names: `real`, `random` or both.
        n_train: see `split`.
        n_test: see `split`.

    Raises:
        UserError: an unknown name of labels, or see `split`.
    """
    tables = []
    for name in labels_names:
        if name not in LABELS:
            raise UserError(f"linear model: labels {name!r} unknown; allowed: {', '.join(LABELS)}")
        for seed in seeds:
            real = split(images, labels, n_train, n_test, seed)
            data = real if name == "real" else randomize(real, seed)
            tables.append(sweep_l2(data.train_x, data.train_y, data.test_x, data.test_y, l2_values, name, seed, real.test_y))
    return pd.concat(tables, ignore_index=True)
