"""What no method with dense matrices can beat here: its arithmetic at the speed of a product, or its bytes at that of memory.

FLOP of an update of one network: 2·B·P forward, 2·B·P for the gradient of the weights, 2·B·P' for the derivatives of what the
layers above the first take in (P' are the parameters of those; no gradient of the images is needed). P counts the parameters of
the pixels that are not zero in the whole pool; the floor with all 784 pixels is given too. Ours skips the zeros of each image,
so it may lie below; its own floor, `sparse_ms`, counts the nonzero pixels of an image, and the rows that a batch touches.

Bytes: weights and velocities are read once and written once, 16 bytes a parameter in float32. The working set is that of one
network, since nothing keeps a method from training them one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from bench.common.problem import Problem

SIZES = (256, 512, 1024)  # of the square matrices whose product is timed


class Floor(NamedTuple):
    """Milliseconds per update of one network; the floor is the larger of the first two; and floors of other methods."""

    flop_ms: float
    byte_ms: float
    all_pixels_ms: float
    sparse_ms: float

    @property
    def ms(self) -> float:
        """The floor."""
        return max(self.flop_ms, self.byte_ms)


def best_seconds(work: Callable[[], object], times: int = 5, calls: int = 1) -> float:
    """Shortest time of one call, of `times` trials of `calls` calls each."""
    work()
    shortest = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        shortest = min(shortest, (time.perf_counter() - started) / calls)
    return shortest


def product_speed() -> float:
    """FLOP per second of torch's float32 matrix product, the best of a few sizes."""
    speeds = []
    for size in SIZES:
        left, right, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
        seconds = best_seconds(lambda left=left, right=right, out=out: torch.mm(left, right, out=out))
        speeds.append(2 * size**3 / seconds)
    return max(speeds)


def memory_speed(numbers: int) -> float:
    """Bytes per second, read and written, of passes over a working set of so many float32 numbers: the better of two."""
    one, two = torch.rand(numbers), torch.rand(numbers // 2)
    half = torch.empty_like(two)
    calls = max(1, 2_000_000 // numbers)
    in_place = 8 * numbers / best_seconds(lambda: one.neg_(), calls=calls)
    copied = 8 * (numbers // 2) / best_seconds(lambda: half.copy_(two), calls=calls)
    return max(in_place, copied)


def measure(problem: Problem) -> Floor:
    """The floor of a problem at today's, this moment's, speeds."""
    active = problem.data.active_inputs.numel() - 1  # the ones are not a pixel
    speed = product_speed()

    def milliseconds(multiplied: float, touched: float) -> tuple[float, float]:
        others, units = problem.parameters(active)[1], problem.hidden[0]
        flop = problem.batch_size * (4 * multiplied * units + 6 * others)
        numbers = int(touched * units + others)
        return 1e3 * flop / speed, 1e3 * 16 * numbers / memory_speed(2 * numbers)

    all_pixels = problem.images.shape[1] + 1
    share = (problem.data.train_inputs != 0).double().mean(0)  # of the images in which a pixel is not zero; 1 for the ones
    touched = float((1 - (1 - share) ** problem.batch_size).sum())
    return Floor(
        *milliseconds(active + 1, active + 1),
        max(milliseconds(all_pixels, all_pixels)),
        max(milliseconds(float(share.sum()), touched)),
    )
