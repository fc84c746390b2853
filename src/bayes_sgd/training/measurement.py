"""What is recorded of a network: losses and accuracies, its weight norm, dead units; and the average of its iterates.

Takes layers (fan_in + 1, fan_out) and labelled data; gives a `Measurement`, which is finite even if training diverged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_sgd.training import convolutional, mlp
from bayes_sgd.training.labelled_data import LabelledData

_AVERAGED = 16  # every so many updates an iterate enters the average: neighbours differ little, each costs a copy


@dataclass(frozen=True)
class Measurement:
    """What is recorded of one network at one update; losses in nats per example, finite even if the network diverged."""

    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float
    weight_norm: float
    dead_units: float
    diverged: bool


def diverged(classes: int) -> Measurement:
    """What is recorded of a network whose weights or losses are not finite: chance, all units dead (our choice)."""
    chance, largest = 1 / classes, torch.finfo(torch.float32).max
    return Measurement(math.log(classes), math.log(classes), chance, chance, largest, dead_units=1.0, diverged=True)


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats per example and accuracy, for logits (n, C) and labels int64 (n,)."""
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return float(losses.double().mean()), float((logits.argmax(1) == labels).double().mean())


def measure(
    layers: Sequence[Tensor],
    data: LabelledData,
    seed: int,
    n_train: int,
    activation: str = "relu",
    architecture: str = "mlp",
) -> Measurement:
    """Measure one network on the training subset of its seed, the first N images, and on the test set.

    A unit, or a channel of a convolution, is dead if it is above 0 for no image of the training subset; `dead_units` is their
    share of all hidden units.
    """
    forward = {"mlp": mlp.forward, "lenet": convolutional.forward}[architecture]
    dtype = layers[0].dtype
    squares = sum(float(layer.double().square().sum()) for layer in layers)
    inputs, labels = data.training_set(seed, n_train)
    logits, hidden = forward(layers, inputs.to(dtype), activation)
    train_loss, train_accuracy = loss_and_accuracy(logits, labels)
    active = [float((layer > 0).any(0).double().mean()) * layer.shape[1] for layer in hidden]
    logits, _ = forward(layers, data.test_inputs.to(dtype), activation)
    test_loss, test_accuracy = loss_and_accuracy(logits, data.labels_of_test_set(seed))
    if not (math.isfinite(squares) and math.isfinite(train_loss) and math.isfinite(test_loss)):
        return diverged(data.classes)
    dead_units = 1 - sum(active) / sum(layer.shape[1] for layer in hidden) if hidden else 0.0
    return Measurement(train_loss, test_loss, train_accuracy, test_accuracy, math.sqrt(squares), dead_units, diverged=False)


class IterateAverage:
    """The average of the iterates of a stack (Polyak and Ruppert), every 16th after update `first`, and the last.

    Attributes:
        updates: at which iterates are to be added, ascending.
    """

    def __init__(self, first: int, last: int) -> None:
        self.updates = (*range(first + _AVERAGED, last, _AVERAGED), last)
        self._sums: list[list[Tensor]] = []
        self._count = 0

    def add(self, iterates: Sequence[Sequence[Tensor]]) -> None:
        """Add the layers of each network of the stack."""
        self._sums = self._sums or [[torch.zeros_like(layer) for layer in layers] for layers in iterates]
        for sums, layers in zip(self._sums, iterates, strict=True):
            for total, layer in zip(sums, layers, strict=True):
                total += layer
        self._count += 1

    def network(self, index: int) -> list[Tensor]:
        """The average of one network's layers; each (fan_in + 1, fan_out)."""
        return [total / self._count for total in self._sums[index]]
