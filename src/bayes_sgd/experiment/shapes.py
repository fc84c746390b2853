"""Shapes of a network's layers: each one matrix (fan_in + 1, fan_out) whose last row is the bias.

Takes the sizes of a cell and of its data. Of a convolution, fan_in is a patch of the image below, fan_out the channels. Nothing
here imports torch: the estimate of a run counts weights and products.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

KERNEL = 5  # of a convolution: 5 x 5, without padding
IMAGE_SIDES = (28, 12, 4)  # of a lenet: of its images, and after each convolution with its mean over 2 x 2
LENET_PIXELS = IMAGE_SIDES[0] ** 2


def layer_shapes(inputs: int, hidden_sizes: Sequence[int], classes: int, architecture: str = "mlp") -> list[tuple[int, int]]:
    """Shapes (fan_in + 1, fan_out) of the layers, biases included; `inputs` is d, the number of pixels."""
    if architecture == "lenet":
        first, second, *dense = hidden_sizes
        convolutions = [(KERNEL**2 + 1, first), (KERNEL**2 * first + 1, second)]
        return [*convolutions, *layer_shapes(IMAGE_SIDES[-1] ** 2 * second, dense, classes)]
    widths = [inputs, *hidden_sizes, classes]
    return [(a + 1, b) for a, b in pairwise(widths)]


def weights_of(inputs: int, hidden_sizes: Sequence[int], classes: int, architecture: str = "mlp") -> int:
    """W, the number of weights of a network, biases included; as `layer_shapes`."""
    return sum(a * b for a, b in layer_shapes(inputs, hidden_sizes, classes, architecture))


def products_of(inputs: int, hidden_sizes: Sequence[int], classes: int, architecture: str = "mlp") -> int:
    """Multiplications of a forward pass over one image: W, but that a convolution has each of its weights at every place."""
    shapes = layer_shapes(inputs, hidden_sizes, classes, architecture)
    places = [side**2 for side in IMAGE_SIDES[1:]] if architecture == "lenet" else []
    return sum(a * b * n for (a, b), n in zip(shapes, places + [1] * (len(shapes) - len(places)), strict=True))
