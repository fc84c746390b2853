"""How many networks should train in lock-step on this machine: what its cache, or its GPU's memory, holds.

Takes bytes, gives a count. Only speed depends on it, no number does.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.shapes import IMAGE_SIDES, KERNEL, layer_shapes, weights_of
from bayes_sgd.training.execution import STRETCH
from bayes_sgd.training.labelled_data import LabelledData

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNKNOWN_SHARE = 16 * 2**20  # where the system does not tell: a usual share of a last-level cache
# measured for 784-H-10, H = 100 to 800: the stack that fills half of a core's share is the fastest, or within 5 % of it
_FILLED = 0.5
_GPU_FILLED = 0.8
_EXAMPLE_BYTES = 9 * 8  # of a training example: its place in the subset, its label, an epoch's order and what drawing it takes


@cache
def cache_share(caches: Path = _CACHES) -> int:
    """Bytes of the last-level cache divided by the processors that share it."""
    try:
        last = max(caches.glob("index*"), key=lambda index: int((index / "level").read_text()))
        size = (last / "size").read_text().strip()
        sharing = _count((last / "shared_cpu_list").read_text().strip())
        return int(size.removesuffix("K")) * 1024 // sharing
    except (OSError, ValueError):
        return _UNKNOWN_SHARE


def _count(cpus: str) -> int:
    """How many processors a list like "0-3,8" names."""
    ends = [part.partition("-")[::2] for part in cpus.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, last in ends)


def stack_size(bytes_kept: int, bytes_used: int, device: torch.device) -> int:
    """Networks to train in lock-step, at least 1.

    Args:
        bytes_kept: of one network, what a CPU reads at every update: weights and momentum.
        bytes_used: of all that one network needs, which a GPU has to hold.
        device: where they train.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, int(_GPU_FILLED * free) // bytes_used)
    return max(1, int(_FILLED * cache_share()) // bytes_kept)


def stack_bytes(cell: Cell, data: LabelledData) -> tuple[int, int]:
    """Bytes of one float32 network: of weights and momentum of active inputs, and of all that its training holds.

    Of a lenet the activations count among the first, for they are more than its weights.
    """
    (rows, columns), *_ = layer_shapes(data.pixels, cell.hidden_sizes, data.classes, cell.architecture)
    weights = weights_of(data.pixels, cell.hidden_sizes, data.classes, cell.architecture)
    widths = [data.train_inputs.shape[1], *(3 * width for width in (*cell.hidden_sizes, data.classes))]
    if cell.gradient_penalty:
        # derivatives of derivatives, of one network at a time
        widths += [4 * width for width in widths] + [6 * cell.penalty_batch_size * (len(cell.hidden_sizes) + 1)]
    if cell.architecture == "lenet":
        widths += _convolution_widths(*cell.hidden_sizes[:2])
    else:
        weights -= (rows - data.active_inputs.numel()) * columns
    batches = cell.batch_size * (sum(widths) + 3 * STRETCH * (data.classes + 2))
    # weights and momentum, both once more while a graph is captured, and what L2 adds to the momentum; initial weights
    layers = 5 * weights + rows * columns
    kept = 2 * weights + (cell.batch_size * sum(widths) if cell.architecture == "lenet" else 0)
    return 4 * kept, 4 * (layers + batches) + _EXAMPLE_BYTES * cell.n_train


def _convolution_widths(first: int, second: int) -> list[int]:
    """Numbers that an update of a lenet holds of one image for its convolutions, beside those of `layer_shapes`."""
    image, middle, last = (side**2 for side in IMAGE_SIDES)
    # the averaged image; patches, and derivatives with respect to those of the second; outputs, activations and derivatives
    return [image, (KERNEL**2 + 1) * middle, 2 * (KERNEL**2 * first + 1) * last, 6 * first * middle, 5 * second * last]
