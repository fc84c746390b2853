"""Grids of settings: what a block of an experiment's grid, and a range of λ, stand for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any


def combinations(base: Mapping[str, Any], block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of a block: each combination of its lists, over `base`, the last key changing fastest.

    `hidden_sizes` is a list itself; only a list of lists stands for several.
    """
    choices = []
    for key, value in block.items():
        several = isinstance(value, list) and (key != "hidden_sizes" or any(isinstance(v, list) for v in value))
        choices.append([(key, v) for v in value] if several else [(key, value)])
    for combination in product(*choices):
        yield dict(base) | dict(combination)


def l2_grid(low: float, high: float, per_decade: int) -> list[float]:
    """The grid of λ, increasing, equally spaced in its logarithm, both ends included; `per_decade` values in a decade."""
    first, last = math.log10(low), math.log10(high)
    steps = max(1, math.ceil((last - first) * per_decade - 1e-9))
    return [10.0 ** round(first + (last - first) * i / steps, 12) for i in range(steps + 1)]
