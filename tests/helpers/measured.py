"""Tables as runs measure them, with known answers: for tests of measures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from synthetic import make_cells

from bayes_sgd.analysis.optimum import SweepRows

UPDATES = (100, 500, 2000, 6000)


def l2_rows(gap: float, gap_with: float, rise: float, rise_with: float, seeds: int = 4) -> SweepRows:
    """Small batch and full batch with four λ: accuracy differs by a gap, the test loss falls and then rises by a factor."""
    generator = np.random.default_rng(0)
    rows = []
    for l2 in (0.0, 0.1, 3.0, 100.0):
        for b in (30, 1000):
            for seed in range(seeds):
                shared = generator.normal(0, 0.0005)
                for update in UPDATES:
                    late = {100: 1.5, 500: 1.0, 2000: 1.02, 6000: rise if l2 == 0 else rise_with}[update]
                    won = (gap if l2 == 0 else gap_with) if b == 30 else 0.0
                    rows.append(
                        {
                            "l2": l2,
                            "batch_size": b,
                            "seed": seed,
                            "update": update,
                            "updates": 6000,
                            "test_accuracy": 0.9 + won + shared,
                            "train_accuracy": 1.0,
                            "diverged": False,
                            "test_loss": 0.4 * late * (1 - 2 * won) + shared,
                        }
                    )
    return {"axis": "l2", "rows": pd.DataFrame(rows)}


def noise_table(skewness: float, excess_kurtosis: float) -> pd.DataFrame:
    """Noise of gradients: its shape at B = 30, which falls with B; after some updates it is twice as far from a Gaussian."""
    generator = np.random.default_rng(1)
    return pd.DataFrame(
        [
            {
                "n_train": 1000,
                "update": update,
                "seed": seed,
                "sampling": sampling,
                "batch_size": b,
                "skewness": later * skewness * (30 / b) ** 0.5 if sampling == "independent" else np.nan,
                "excess_kurtosis": later * excess_kurtosis * (30 / b) * (1 + generator.normal(0, 0.02)),
            }
            for update, later in ((0, 1), (300, 2))
            for sampling in ("independent", "shuffle")
            for seed in range(4)
            for b in (1, 3, 10, 30, 100)
        ]
    )


def evidence_rows(
    sense: float, real: float, random: float, seeds: int = 5, n: int = 500, flat: float | None = None
) -> pd.DataFrame:
    """E falls (sense > 0) or rises with accuracy, which is best at B = 32; λ has a good and a bad value.

    B = 8 does not fit its training set. `flat`: the sense of the largest eigenvalue, that of E if not given.
    """
    flat = sense if flat is None else flat
    generator = np.random.default_rng(2)
    rows = []
    for labels in ("real", "random"):
        for b in (8, 11, 16, 23, 32, 45, 64, 90, 128, n):
            accuracy = 0.3 if b == 8 else 0.9 - 0.01 * abs(np.log2(b / 32))
            for seed in range(seeds):
                for point in ("sgd", "linearized", "minimum"):
                    for l2, best in ((0.1, True), (10.0, False)):
                        level = real if labels == "real" else random
                        e = n * (level - sense * 10 * (accuracy - 0.88) * (b > 8)) + 900 * (not best) + 400 * (b == 8)
                        rows.append(
                            {
                                "labels": labels,
                                "batch_size": b,
                                "learning_rate": 0.1,
                                "seed": seed,
                                "point": point,
                                "prior_centre": "zero",
                                "prior_precision": l2,
                                "best_prior_precision": best,
                                "n_train": n,
                                "hidden_sizes": "200",
                                "updates": 4000,
                                "log_evidence_ratio": e + generator.normal(0, 0.5),
                                "test_accuracy": accuracy,
                                "train_accuracy": 0.3 if b == 8 else 1.0,
                                "weight_norm": generator.normal(20, 1),
                                "top_eigenvalue": 10.0 - flat * 20 * (accuracy - 0.88),
                                "test_loss": 1.5 - accuracy,
                                "log_permutations": 863.0,
                                "converged": True,
                            }
                        )
    return pd.DataFrame(rows)


def two_training_sets(sense: float, real: float, random: float, flat: float | None = None) -> pd.DataFrame:
    """`evidence_rows` at N = 500 and, with a seed less, at N = 250."""
    sets = [evidence_rows(sense, real, random, flat=flat), evidence_rows(sense, real, random, seeds=4, n=250, flat=flat)]
    return pd.concat(sets, ignore_index=True)


def training_losses(sense: float, seeds: int = 4) -> SweepRows:
    """Networks that test better have the smaller (sense > 0) or the larger area under the training loss; B = 4 does not train.

    The order of the losses at the first and at the last update, and of their plain sums, is that of the other sense.
    """
    updates = (1, 10, 20, 100, 200, 500)
    curves = [np.array([2 - 0.1 * k, 2 - 0.1 * k, 1, 0.2, 0.2 + 0.02 * k, 0.1 - 0.005 * k]) for k in range(6)]
    order = range(6) if sense > 0 else range(5, -1, -1)
    rows = [
        {
            "learning_rate": 0.1,
            "batch_size": b,
            "seed": seed,
            "update": update,
            "updates": 500,
            "diverged": False,
            "train_accuracy": 0.1 if b == 4 else 1.0,
            "test_accuracy": (0.95 if b == 4 else 0.9 - 0.01 * k) + 0.001 * seed,
            "train_loss": loss,
        }
        for k, curve, b in zip(range(6), (curves[i] for i in order), (4, 8, 16, 32, 64, 128), strict=True)
        for seed in range(seeds)
        for update, loss in zip(updates, curve, strict=True)
    ]
    return {"axis": "learning_rate", "rows": pd.DataFrame(rows)}


def invariance_table(change: float) -> pd.DataFrame:
    """The evidence of reparameterized networks, which changes by `change`."""
    return pd.DataFrame(
        {
            "seed": [0, 1],
            "evidence_change_prior_transformed": [change, -change],
            "evidence_change_prior_fixed": [3.0, 5.0],
            "eigenvalue_ratio": [0.1, 9.0],
        }
    )


def thresholds(literal: float, dampened: float) -> SweepRows:
    """Networks without and with dampening that fail at these batch sizes and below."""
    grid = (4.0, 8.0, 11.0, 16.0, 32.0, 64.0, 128.0, 256.0)
    parts = []
    for value, edge in ((0.0, literal), (0.9, dampened)):
        rows = make_cells(values=(0.1,), grid=grid, seeds=4).assign(dampening=value)
        failed = rows["batch_size"] <= edge
        parts.append(rows.assign(train_accuracy=np.where(failed, 0.1, 1.0), diverged=failed))
    return {"axis": "dampening", "rows": pd.concat(parts)}
