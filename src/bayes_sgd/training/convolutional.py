"""A convolutional network of LeNet-5's form (LeCun, Bottou, Bengio, Haffner 1998), and a stack of such networks in lock-step.

Two convolutions of 5 x 5, each followed by the mean over 2 x 2 and the activation, as LeNet-5 subsamples before its squashing
function, then fully connected layers. A layer is a matrix as in `mlp`: of a convolution (channels below · 25 + 1, channels).

The mean over 2 x 2 of a convolution is a convolution with stride 2 of the image averaged over 2 x 2, which has a quarter of the
products. So the pool holds averaged images, and each convolution is one matrix product with its patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bayes_sgd.experiment.shapes import IMAGE_SIDES, KERNEL
from bayes_sgd.training.activations import ACTIVATIONS
from bayes_sgd.training.mlp import forward as dense_forward
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.momentum import MomentumRule
from bayes_sgd.training.passes import StackedPasses, aligned

_MEASURED = 2000  # images whose activations are held at a time


def forward(layers: Sequence[Tensor], inputs: Tensor, activation: str = "relu") -> tuple[Tensor, list[Tensor]]:
    """Logits (n, C) of one network and its hidden activations, for inputs (n, 785) with their ones.

    The activations are (n, units); of a convolution (n, channels), the largest of each channel.
    """
    parts = [_forward(layers, images, activation) for images in inputs.split(_MEASURED)]
    return torch.cat([logits for logits, _ in parts]), [torch.cat(same) for same in zip(*(h for _, h in parts), strict=True)]


def _forward(layers: Sequence[Tensor], inputs: Tensor, activation: str) -> tuple[Tensor, list[Tensor]]:
    side, largest = IMAGE_SIDES[0], []
    images = inputs[:, :-1].reshape(-1, 1, side, side)
    for layer in layers[:2]:
        kernel = layer[:-1].T.reshape(layer.shape[1], images.shape[1], KERNEL, KERNEL)
        convolved = functional.avg_pool2d(functional.conv2d(images, kernel, layer[-1]), 2)
        images = ACTIVATIONS[activation].function(convolved)
        largest.append(images.amax((2, 3)))
    logits, hidden = dense_forward(layers[2:], with_ones(images.flatten(1)), activation)
    return logits, largest + hidden


def averaged(images: Tensor) -> Tensor:
    """Images (..., height, width, n) averaged over all 2 x 2: (..., height − 1, width − 1, n)."""
    rows = images[..., :-1, :, :] + images[..., 1:, :, :]
    return (rows[..., :-1, :] + rows[..., 1:, :]).mul_(0.25)


def averaged_pool(inputs: Tensor) -> Tensor:
    """Inputs (n, 785) with their ones as averaged images (n, 729)."""
    side = IMAGE_SIDES[0]
    return averaged(inputs[:, :-1].reshape(-1, side, side, 1)).flatten(1)


def _patches(averages: Tensor, side: int) -> Tensor:
    """The patches of a convolution with stride 2, a view (networks, channels, 5, 5, side, side, n).

    `averages`: (networks, channels, height, width, n).
    """
    networks, channels, *_, n = averages.shape
    of_network, of_channel, of_row, of_column, of_image = averages.stride()
    shape = (networks, channels, KERNEL, KERNEL, side, side, n)
    strides = (of_network, of_channel, of_row, of_column, 2 * of_row, 2 * of_column, of_image)
    return averages.as_strided(shape, strides, averages.storage_offset())


class ConvolutionalPasses(StackedPasses):
    """Weights, momentum and activations of convolutional networks of equal shape, and one update of them.

    Images are the last dimension of all that belongs to convolutions, so that rows of memory are long.
    """

    def __init__(
        self, layers: Sequence[Tensor], inputs: Tensor, batch_size: int, rule: MomentumRule, activation: str = "relu"
    ) -> None:
        """As `StackedPasses`; `inputs` is the pool of averaged images, (n_pool, 729 and more)."""
        super().__init__(layers, inputs, batch_size, rule, activation)
        networks, self._batch_size = len(layers[0]), batch_size
        self._columns = aligned(networks, inputs.shape[1], batch_size, inputs)
        # of each convolution: the patches it takes, with a row of ones, its outputs, and the derivatives with respect to them
        self._taken, self._convolved, self._convolved_deltas = [], [], []
        for layer, side in zip(layers[:2], IMAGE_SIDES[1:], strict=True):
            places = side**2 * batch_size
            self._taken.append(aligned(networks, layer.shape[1], places, inputs))
            self._taken[-1][:, -1] = 1
            self._convolved.append(aligned(networks, layer.shape[2], places, inputs))
            self._convolved_deltas.append(aligned(networks, layer.shape[2], places, inputs))
        self._active = torch.zeros_like(self._convolved[0])
        self._back = aligned(networks, layers[1].shape[1] - 1, self._convolved[1].shape[2], inputs)

    def _first_rows_and_widths(self, layers: Sequence[Tensor]) -> tuple[int, list[int]]:
        _, second, *dense = layers
        return layers[0].shape[1], [IMAGE_SIDES[-1] ** 2 * second.shape[2], *(layer.shape[2] for layer in dense)]

    def update(self, images: Tensor, targets: Tensor, first: bool) -> None:
        """One update: images int64 (networks, B), rows of the pool; one-hot targets (networks, B, C)."""
        networks, n = images.shape
        side = IMAGE_SIDES[0] - 1
        torch.index_select(self.inputs, 0, images.view(-1), out=self._images)
        self._columns.copy_(self._images.view(networks, n, -1).transpose(1, 2))
        self._convolve(0, self._columns[:, : side**2].unflatten(1, (1, side, side)))
        self._activation.forward(self._convolved[0], self._active)
        self._convolve(1, averaged(self._as_images(self._active, 1)))
        by_channel = self._convolved[1].unflatten(2, (-1, n)).flatten(1, 2)  # (networks, 16 · channels, B)
        self._outputs[0].copy_(by_channel.transpose(1, 2))
        self._update_above_first(targets, first)
        self._convolved_deltas[1].unflatten(2, (-1, n)).flatten(1, 2).copy_(self._deltas[0].transpose(1, 2))
        torch.bmm(self.layers[1][:, :-1], self._convolved_deltas[1], out=self._back)
        self._apply(1, first)
        back = self._derivatives_of_active().view_as(self._active)
        self._activation.backward(back, self._active, self._convolved_deltas[0])
        self._apply(0, first)

    def _as_images(self, columns: Tensor, convolution: int) -> Tensor:
        """(networks, channels, places · B) as (networks, channels, side, side, B)."""
        side = IMAGE_SIDES[convolution]
        return columns.unflatten(2, (side, side, self._batch_size))

    def _convolve(self, number: int, averages: Tensor) -> None:
        patches = _patches(averages, IMAGE_SIDES[number + 1])
        self._taken[number][:, :-1].view_as(patches).copy_(patches)
        torch.bmm(self.layers[number].transpose(1, 2), self._taken[number], out=self._convolved[number])

    def _apply(self, number: int, first: bool) -> None:
        taken, deltas = self._taken[number].transpose(1, 2), self._convolved_deltas[number].transpose(1, 2)
        self.rule.apply(self.layers[number], self.steps[number], taken, deltas, first)

    def _derivatives_of_active(self) -> Tensor:
        """From the derivatives with respect to the second convolution's patches those with respect to the images below."""
        active = self._as_images(self._active, 1)
        side, steps = IMAGE_SIDES[2], 2 * IMAGE_SIDES[2] - 1
        back = self._back.unflatten(1, (-1, KERNEL, KERNEL)).unflatten(4, (side, side, -1))
        averages = torch.zeros_like(active[..., :-1, :-1, :], memory_format=torch.contiguous_format)
        for row in range(KERNEL):
            for column in range(KERNEL):
                averages[..., row : row + steps : 2, column : column + steps : 2, :] += back[:, :, row, column]
        derivatives = torch.zeros_like(active, memory_format=torch.contiguous_format)
        averages.mul_(0.25)
        for rows in (slice(None, -1), slice(1, None)):
            for columns in (slice(None, -1), slice(1, None)):
                derivatives[..., rows, columns, :] += averages
        return derivatives
