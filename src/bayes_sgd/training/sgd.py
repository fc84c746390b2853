"""Training: stacks of networks of equal shape follow the update rule in lock-step, and are measured on the way.

Takes labelled data, cells that agree in shape and momentum, and seeds; gives a measurement and the layers for each (cell,
seed, recorded update). The parts: `momentum` has the rule (paper, appendix D), `execution` how a stretch of
updates is run (`compiled` on a CPU, else `passes`), `measurement` what is recorded.

Pixels that are zero in every training image of the pool take no part in the passes. Their gradient is always zero, and under L2
a scalar recursion gives their weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.execution import ExecutionName, choose_execution
from bayes_sgd.training.hardware import stack_bytes, stack_size
from bayes_sgd.training.labelled_data import LabelledBatches, LabelledData
from bayes_sgd.training.measurement import IterateAverage, Measurement, measure
from bayes_sgd.training.mlp import weights_of_cell
from bayes_sgd.training.momentum import MomentumRule, cooldown_stages

Network = tuple[Cell, int]
"""A cell and a seed."""


class NetworkStack:
    """Networks that differ in ε, λ, initial weights and seed alone, trained in lock-step.

    Attributes:
        networks: cells and seeds.
        update: how many updates are done.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        data: LabelledData,
        initialization: str = "lecun_normal",
        dtype: torch.dtype = torch.float32,
        execution: ExecutionName | None = None,
    ) -> None:
        """Set up networks at update 0.

        Args:
            networks: cells and seeds.
            data: images and labels, on the device where the networks are to train.
            initialization: as in `mlp.initial_weights`.
            dtype: of weights and activations.
            execution: how stretches of updates are run; by default as `execution_name` picks.

        Raises:
            UserError: the data have fewer training images than N, or a batch more than N.
        """
        cell, seeds = networks[0][0], [seed for _, seed in networks]
        data = data.with_pixels_times(cell.pixel_scale)
        data.check(cell)
        self.networks, self.update = networks, 0
        self._data, device = data, data.train_inputs.device
        initial = [weights_of_cell(c, seed, data.pixels, data.classes, initialization) for c, seed in networks]
        first, *above = [torch.stack(layers).to(device, dtype) for layers in zip(*initial, strict=True)]
        self._initial_first = first
        # a convolution's weights are of no pixel: all of them train
        self._active = torch.arange(first.shape[1], device=device) if cell.architecture == "lenet" else data.active_inputs
        self._rule = MomentumRule([c for c, _ in networks], dtype, device)
        batches = LabelledBatches(data, seeds, cell)
        self._execution = choose_execution([first[:, self._active], *above], data, batches, cell, self._rule, execution)

    def run(self, until: int) -> None:
        """Train on to update `until`."""
        while self.update < until:
            self.update = self._execution.advance(self.update, until)

    def cool(self, updates: int) -> None:
        """Train on for `updates` more while ε falls to 0, see `cooldown_stages`."""
        start = self.update
        for factor, done in cooldown_stages(updates):
            self._execution.scale_learning_rate(factor)
            self.run(start + done)

    def network(self, index: int) -> list[Tensor]:
        """The layers of one network, with all pixels; each (fan_in + 1, fan_out), bias last."""
        first = self._initial_first[index] * self._rule.factor_without_gradient(index, self.update)
        active, *above = self._execution.layers(index)
        first[self._active] = active[: self._active.numel()]
        return [first, *above]

    def measure(self, index: int, layers: list[Tensor] | None = None) -> Measurement:
        """Measure one network, or `layers` in its place."""
        cell, seed = self.networks[index]
        return measure(layers or self.network(index), self._data, seed, cell.n_train, cell.activation, cell.architecture)


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Velocities of dead units shrink for ever, and denormal numbers are a hundred times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


Record = tuple[tuple[int, str], Network, Measurement, list[Tensor]]
"""(update, phase), the network, what was measured of it, its layers."""


def train(
    networks: Sequence[Network],
    record: Sequence[int],
    data: LabelledData,
    initialization: str = "lecun_normal",
    stack: int | None = None,
    cooldown: int = 0,
) -> Iterator[Record]:
    """Train networks that can share a stack, up to the last recorded update.

    Args:
        networks: cells and seeds; the cells agree in all but ε, λ and initial weights.
        record: updates, ascending.
        data: images and labels, on the device where the networks are to train.
        initialization: as in `mlp.initial_weights`.
        stack: networks that train in lock-step; as many as the machine does best if not given. No number depends on it.
        cooldown: see `Plan`.

    Gives a `Record` for every network and every one of `Plan.points`.
    """
    size = stack or stack_size(*stack_bytes(networks[0][0], data), data.train_inputs.device)
    for start in range(0, len(networks), size):
        yield from _train_stack(NetworkStack(networks[start : start + size], data, initialization), record, cooldown)


def _train_stack(stack: NetworkStack, record: Sequence[int], cooldown: int) -> Iterator[Record]:
    def current(phase: str) -> Iterator[Record]:
        for index, network in enumerate(stack.networks):
            yield (stack.update, phase), network, stack.measure(index), stack.network(index)

    last = record[-1]
    average = IterateAverage(max(0, last - cooldown), last) if cooldown else None
    for update in sorted({*record, *(average.updates if average else ())}):
        with _without_denormals():
            stack.run(update)
            if average and update in average.updates:
                average.add([stack.network(index) for index in range(len(stack.networks))])
        if update in record:
            yield from current("constant")
    if average:
        for index, network in enumerate(stack.networks):
            layers = average.network(index)
            yield (last, "iterate_average"), network, stack.measure(index, layers), layers
        with _without_denormals():
            stack.cool(cooldown)
        yield from current("after_cooldown")
