"""Whether the data have what a configuration asks for: every part of it, before anything runs.

Takes a `Config` and the sizes of its data, refuses in one line. Nothing here imports torch or loads an image: the
workflow calls it whenever it plans.
"""

from __future__ import annotations

from bayes_sgd.core.errors import UserError
from bayes_sgd.data.datasets import DataSizes
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.packs import experiment_plans
from bayes_sgd.experiment.shapes import IMAGE_SIDES, LENET_PIXELS

LAPLACE_EXAMPLES = 40  # as laplace_vs_ais.EXAMPLES, which cannot be imported here: it needs torch


def check_sizes(config: Config, sizes: DataSizes, file: str = "config") -> None:
    """Refuse a part of the configuration that wants more than the data have.

    Raises:
        UserError: one line with file, key, value and what is allowed.
    """
    pool, whose = sizes.pool, config.data.path or config.data.name
    too_many = f"is larger than the pool of {pool} training images of {whose}; allowed: 2 to {pool}"
    for name in config.experiments:
        for plan in experiment_plans(config, name):
            if plan.cell.n_train > pool:
                raise UserError(f"{file}: experiments.{name}: n_train {plan.cell.n_train} {too_many}")
            if plan.cell.architecture == "lenet" and not _square(sizes):
                have = " x ".join(map(str, sizes.shape)) if sizes.pixels == LENET_PIXELS else str(sizes.pixels)
                raise UserError(
                    f"{file}: experiments.{name}: architecture lenet takes images of 28 x 28 = {LENET_PIXELS} pixels, and "
                    f"those of {whose} have {have}; allowed: architecture mlp"
                )
    if config.noise.seeds and config.cell.n_train > pool:
        raise UserError(f"{file}: cell.n_train {config.cell.n_train} (of `noise`) {too_many}, or noise.seeds: 0")
    if config.linear.seeds:
        _check_linear(config.linear.n_train, sizes.digits, whose, file)
    if config.network_evidence.laplace_vs_ais and sizes.train_digits < LAPLACE_EXAMPLES:
        raise UserError(
            f"{file}: network_evidence.laplace_vs_ais: true needs {LAPLACE_EXAMPLES} training images of classes 0 and 1, "
            f"and {whose} has {sizes.train_digits}; allowed: false"
        )


def _square(sizes: DataSizes) -> bool:
    """Whether images are 28 x 28, or flat and may be."""
    sides = tuple(side for side in sizes.shape if side > 1)
    return sizes.pixels == LENET_PIXELS and sides in ((), (LENET_PIXELS,), (IMAGE_SIDES[0], IMAGE_SIDES[0]))


def _check_linear(n_train: int, digits: tuple[int, int], whose: str, file: str) -> None:
    # one image of each class is left to test on
    largest = 2 * (min(digits) - 1)
    if n_train > largest:
        allowed = f"4 to {largest}, or linear.seeds: 0" if largest >= 4 else "linear.seeds: 0"
        raise UserError(
            f"{file}: linear.n_train: {n_train} needs {n_train // 2} images each of classes 0 and 1 and one more to test on, "
            f"and {whose} has {digits[0]} and {digits[1]}; allowed: {allowed}"
        )
