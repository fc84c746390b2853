"""Measures a `Calibration` of this machine: the trainer itself on made-up images, in less than two seconds after the imports.

python -m bayes_sgd.training.timing         measure, keep and print as JSON
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module

import torch

from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.shapes import weights_of
from bayes_sgd.training.calibration import Calibration, keep
from bayes_sgd.training.hardware import stack_bytes, stack_size
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.sgd import NetworkStack

PIXELS, CLASSES, POOL = 784, 10, 300
NONZERO = 0.19  # of the pixels, as in MNIST; the trainer skips the others
HIDDEN, BATCH_SIZES, NETWORKS = (25, 100, 400), (1, 8, 64, 256), (1, 8)  # in between, logarithms are interpolated
_AT_LEAST = 0.02  # seconds that a measurement lasts


def measure() -> Calibration:
    """Time imports, updates and a float64 product, in CPU seconds, so that it hardly matters what else the machine does."""
    import_module("bayes_sgd.training.runner")  # a training job imports it, so its start counts
    start = time.process_time()
    torch.set_num_threads(1)
    data = _made_up()
    seconds = tuple(tuple(tuple(_update(data, h, b, n) for n in NETWORKS) for b in BATCH_SIZES) for h in HIDDEN)
    square = torch.rand(600, 600, dtype=torch.float64)
    flops = 2 * len(square) ** 3 / _seconds(lambda count: [square @ square for _ in range(count)])
    weights = tuple(weights_of(PIXELS, [hidden], CLASSES) for hidden in HIDDEN)
    return Calibration(start, flops, weights, BATCH_SIZES, NETWORKS, seconds)


def _made_up() -> LabelledData:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(POOL, PIXELS, generator=generator)
    images = with_ones(torch.where(torch.rand(POOL, PIXELS, generator=generator) < NONZERO, values, 0.0))
    labels = (torch.arange(POOL) % CLASSES).expand(max(NETWORKS), -1)
    return LabelledData(images, images, labels, labels, torch.arange(POOL).expand(max(NETWORKS), -1), CLASSES)


def _update(data: LabelledData, hidden: int, batch_size: int, networks: int) -> float:
    """Seconds of an update of so many networks, trained in stacks as large as the machine trains them."""
    cell = Cell("real", (hidden,), POOL, batch_size, 1e-4, 0.9, 0.0, 0.0, "independent", 1)
    size = min(networks, stack_size(*stack_bytes(cell, data), data.train_inputs.device))
    stack = NetworkStack([(cell, seed) for seed in range(size)], data)
    return _seconds(lambda count: stack.run(stack.update + count)) * networks / size


def _seconds(work: Callable[[int], object]) -> float:
    """CPU seconds of one of many."""
    work(1)
    count = 1
    while True:
        started = time.process_time()
        work(count)
        if (seconds := time.process_time() - started) >= _AT_LEAST:
            return seconds / count
        count = max(2 * count, min(10 * count, round(1.2 * count * _AT_LEAST / max(seconds, 1e-9))))


def main() -> int:
    """Measure, keep, print."""
    measured = measure()
    keep(measured)
    print(json.dumps(asdict(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
