"""SGD with momentum on stacks of networks of equal shape, in lock-step, by hand-written passes.

Takes the labelled data, cells that agree in shape and momentum, and seeds; gives a row for each (cell, seed, recorded update).
The update is torch's form of momentum (paper, appendix D) on the mean cross-entropy plus λ‖ω‖²/2N:

    v ← m v + (1 − dampening) (∇L + λω/N),    ω ← ω − εv        (no dampening at the first update, as in torch)

What is kept is u = εv, so that cells of different ε and λ can share a stack. Three things make it fast and change no result: no
gradient for the inputs; momentum inside the matrix product, so that no gradient is ever stored (at small B the first layer
goes further, see `delayed`); and pixels that are zero in
every training image of the pool are left out, because their weights never move (under L2 they shrink by a factor that a scalar
recursion gives).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.deferred import LARGEST_BATCH, LINE, DelayedLayer, aligned
from bayes_sgd.training.hardware import stack_size
from bayes_sgd.training.minibatches import Batches
from bayes_sgd.training.mlp import forward, initial_weights, layer_shapes

_DRAWN_TOGETHER = 64  # updates whose batches are drawn in one go
_COOLDOWN_STAGES = 16  # ε falls in so many equal steps: linear, but for one update of the rates in each stage
_AVERAGED = 16  # every so many updates an iterate enters the mean: neighbours differ little, each costs a copy


@dataclass(frozen=True)
class LabelledData:
    """Images and the labels that one labelling gives them in each seed; all on one device.

    Args:
        train_inputs: the pool, (n_pool, d + 1), pixels and a column of ones.
        test_inputs: (n_test, d + 1).
        train_labels, test_labels: int64 (seeds, n_pool) and (seeds, n_test).
        subsets: int64 (seeds, n): the order in which a seed takes images from the pool; the first N are its training subset.
        classes: C.
    """

    train_inputs: Tensor
    test_inputs: Tensor
    train_labels: Tensor
    test_labels: Tensor
    subsets: Tensor
    classes: int

    @cached_property
    def live(self) -> Tensor:
        """Columns that are not zero throughout the pool, int64; the ones are the last."""
        return (self.train_inputs != 0).any(0).nonzero()[:, 0]


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


class _DeadPixels:
    """The weights of pixels that are zero in the whole pool: ω = factor · ω₀, moved by L2 and momentum alone."""

    def __init__(self, decay: float, momentum: float, dampening: float) -> None:
        self.decay, self.momentum, self.dampening = decay, momentum, dampening
        self.factor, self.step, self.update = 1.0, 0.0, 0

    def run(self, until: int) -> None:
        """Follow the update of the trained weights, with no gradient."""
        while self.update < until:
            kept = 1.0 if self.update == 0 else 1.0 - self.dampening
            self.step = self.momentum * self.step + kept * self.decay * self.factor
            self.factor -= self.step
            self.update += 1


class Stack:
    """Networks (a cell and a seed each) of equal shape, N, B, sampling, momentum and dampening, trained in lock-step."""

    def __init__(
        self,
        networks: Sequence[tuple[Cell, int]],
        data: LabelledData,
        initialization: str = "lecun_normal",
        dtype: torch.dtype = torch.float32,
        graphs: bool | None = None,
    ) -> None:
        """Set up networks at update 0.

        Args:
            networks: cells and seeds.
            data: images and labels, on the device where the networks are to train.
            initialization: as in `models.initial_weights`.
            dtype: of weights and activations.
            graphs: replay whole stretches of updates as CUDA graphs; by default, on a GPU.

        Raises:
            UserError: the data have fewer training images than N, or a batch more than N.
        """
        cell = networks[0][0]
        pool = data.subsets.shape[1]
        if not 1 <= cell.n_train <= pool:
            raise UserError(f"n_train: {cell.n_train} does not fit the data; allowed: 1 to {pool}, its training images")
        if not 1 <= cell.batch_size <= cell.n_train:
            raise UserError(f"batch_size: {cell.batch_size} does not fit n_train {cell.n_train}; allowed: 1 to n_train")
        seeds = [seed for _, seed in networks]
        device = data.train_inputs.device
        self.data, self.live, self.seeds, self.dtype = data, data.live, seeds, dtype
        self.momentum = cell.momentum
        self.update = 0
        self._graphs = device.type == "cuda" if graphs is None else graphs
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stretch: tuple[Tensor, ...] = ()
        self._batches = Batches(seeds, cell.n_train, cell.batch_size, cell.sampling, device)
        # columns of zeros up to a cache line, so that images are aligned too; their weights stay 0
        self._inputs = torch.nn.functional.pad(
            data.train_inputs[:, self.live].to(dtype), (0, -self.live.numel() % LINE)
        ).contiguous()
        rows = torch.tensor(seeds, device=device)
        self._subsets = data.subsets[rows, : cell.n_train]
        self._labels = data.train_labels[rows].gather(1, self._subsets)
        self._one_hot = torch.eye(data.classes, dtype=dtype, device=device)

        def by_network(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None, None]

        decays = [c.learning_rate * c.l2 / c.n_train for c, _ in networks]
        rates = [c.learning_rate / c.batch_size for c, _ in networks]
        kept = 1 - cell.dampening  # of the gradient; the first update keeps it whole
        self._rate, self._first_rate = by_network([rate * kept for rate in rates]), by_network(rates)
        self._decay, self._first_decay = by_network([decay * kept for decay in decays]), by_network(decays)
        self._dead = [_DeadPixels(decay, cell.momentum, cell.dampening) for decay in decays] if any(decays) else []

        initial = [
            initial_weights(data.train_inputs.shape[1] - 1, cell.hidden_sizes, data.classes, initialization, seed)
            for seed in seeds
        ]
        self._initial_first = torch.stack([layers[0] for layers in initial]).to(device, dtype)
        self.layers, self._steps = [], []
        for layer in zip(*initial, strict=True):
            live_rows = torch.stack(layer).to(device, dtype) if self.layers else self._initial_first[:, self.live]
            rows = live_rows.shape[1] if self.layers else self._inputs.shape[1]
            self.layers.append(aligned(len(networks), rows, live_rows.shape[2], live_rows))
            self.layers[-1][:, : live_rows.shape[1]] = live_rows
            self._steps.append(aligned(len(networks), rows, live_rows.shape[2], live_rows))  # zeros_like would be dense
        size = (len(networks), cell.batch_size)
        self._images = self._inputs.new_zeros(len(networks) * cell.batch_size, self._inputs.shape[1])
        self._hidden = [aligned(*size, width + 1, like=self._inputs) for width in cell.hidden_sizes]
        for hidden in self._hidden:
            hidden[..., -1] = 1
        # of each layer: its outputs, and the derivatives of the loss with respect to them
        widths = [*cell.hidden_sizes, data.classes]
        self._outputs = [aligned(*size, width, like=self._inputs) for width in widths]
        self._deltas = [aligned(*size, width, like=self._inputs) for width in widths]
        self._delayed: DelayedLayer | None = None
        self._stretch_targets = self._inputs.new_zeros(0)
        if cell.batch_size <= LARGEST_BATCH and device.type == "cpu" and not self._dead:
            self._delayed = DelayedLayer(self.layers[0], self._steps[0], cell.momentum, cell.batch_size)

    def run(self, until: int) -> None:
        """Train on to update `until`."""
        while self.update < until:
            if self._delayed:
                self._run_delayed(self._delayed, until)
                continue
            count = min(_DRAWN_TOGETHER, until - self.update)
            images, targets = self._draw(count)
            if self._graphs and self.update and count == _DRAWN_TOGETHER:
                self._replay(images, targets)
            else:
                for number in range(count):
                    self._step(images[number], targets[number], first=self.update + number == 0)
            self.update += count
        for dead in self._dead:
            dead.run(self.update)

    def cool(self, updates: int) -> None:
        """Train on for `updates` more while ε falls to 0 in equal steps (our choice), the momentum coefficient kept.

        The step is u = εv, so a change of ε by a factor changes what is left of u by the same factor.
        """
        start, rate = self.update, 1.0
        for stage in range(_COOLDOWN_STAGES):
            wanted = 1 - (stage + 1) / (_COOLDOWN_STAGES + 1)
            self._scale_rates(wanted / rate)
            rate = wanted
            self.run(start + updates * (stage + 1) // _COOLDOWN_STAGES)

    def _scale_rates(self, factor: float) -> None:
        if self._delayed:
            self._delayed.end()
        for tensor in (*self._steps, self._rate, self._decay):
            tensor.mul_(factor)
        for dead in self._dead:
            dead.decay *= factor
            dead.step *= factor

    def _run_delayed(self, delayed: DelayedLayer, until: int) -> None:
        """To the end of a stretch, or to `until`; stretches begin at multiples of their length, whatever is asked for."""
        if delayed.position == 0:
            images, self._stretch_targets = self._draw(delayed.updates)
            delayed.begin(self._inputs, images)
        for target in self._stretch_targets[delayed.position : delayed.position + until - self.update]:
            delayed.outputs(self._outputs[0])
            self._above_first(target, first=self.update == 0, first_delta=delayed.delta)
            delayed.position += 1
            self.update += 1
        if delayed.position == delayed.updates:
            delayed.end()

    def _draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Images, int64 (count, S, B) in the pool, and one-hot targets (count, S, B, C) of the next updates."""
        positions = self._batches.draw(self.update, count)
        images = self._subsets.expand(count, -1, -1).gather(2, positions)
        return images, self._one_hot[self._labels.expand(count, -1, -1).gather(2, positions)]

    def _replay(self, images: Tensor, targets: Tensor) -> None:
        """A whole stretch of updates as one CUDA graph, captured when it is first wanted."""
        if self._graph is None:
            self._stretch = images.clone(), targets.clone()
            before = [tensor.clone() for tensor in (*self.layers, *self._steps)]
            self._graph = torch.cuda.CUDAGraph()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # a first pass outside the capture, as cuBLAS wants it
                self._step(images[0], targets[0], first=False)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(self._graph):
                for number in range(_DRAWN_TOGETHER):
                    self._step(self._stretch[0][number], self._stretch[1][number], first=False)
            for tensor, value in zip((*self.layers, *self._steps), before, strict=True):
                tensor.copy_(value)
        for static, fresh in zip(self._stretch, (images, targets), strict=True):
            static.copy_(fresh)
        self._graph.replay()

    def _step(self, images: Tensor, targets: Tensor, first: bool) -> None:
        """One update: images int64 (S, B) in the pool, targets one-hot (S, B, C)."""
        torch.index_select(self._inputs, 0, images.view(-1), out=self._images)
        below = self._images.view(*images.shape, -1)
        torch.bmm(below, self.layers[0], out=self._outputs[0])
        self._above_first(targets, first, self._deltas[0])
        self._change(0, below, self._deltas[0], first)

    def _above_first(self, targets: Tensor, first: bool, first_delta: Tensor) -> None:
        """The pass through all but the first layer, their update, and the derivatives with respect to the first's outputs.

        Takes the first layer's outputs in `_outputs[0]`, gives the derivatives, times the rate, in `first_delta`.
        """
        for number, hidden in enumerate(self._hidden):
            torch.clamp_min(self._outputs[number], 0, out=hidden[..., :-1])
            torch.bmm(hidden, self.layers[number + 1], out=self._outputs[number + 1])
        delta = torch.softmax(self._outputs[-1], dim=-1, out=self._deltas[-1] if self._hidden else first_delta)
        delta.sub_(targets).mul_(self._first_rate if first else self._rate)
        for number in range(len(self._hidden), 0, -1):
            below, back = self._hidden[number - 1], self._outputs[number - 1]
            torch.bmm(delta, self.layers[number][:, :-1].transpose(1, 2), out=back)
            self._change(number, below, delta, first)
            delta = first_delta if number == 1 else self._deltas[number - 1]
            torch.ops.aten.threshold_backward.grad_input(back, below[..., :-1], 0, grad_input=delta)

    def _change(self, number: int, below: Tensor, delta: Tensor, first: bool) -> None:
        """Momentum and weights of one layer, from its inputs and the derivatives with respect to its outputs."""
        layer, step = self.layers[number], self._steps[number]
        step.baddbmm_(below.transpose(1, 2), delta, beta=self.momentum)
        if self._dead:
            step.add_(layer * (self._first_decay if first else self._decay))
        layer.sub_(step)

    def network(self, index: int) -> list[Tensor]:
        """The layers of one network, dead pixels included; each (fan_in + 1, fan_out)."""
        first = self._initial_first[index] * (self._dead[index].factor if self._dead else 1.0)
        live = self._delayed.current(index) if self._delayed else self.layers[0][index]
        first[self.live] = live[: self.live.numel()]
        return [first, *(layer[index] for layer in self.layers[1:])]

    def measure(self, index: int, layers: list[Tensor] | None = None) -> Measurement:
        """Losses and accuracies on training subset and test set of one network, or of `layers` in its place."""
        layers, seed, data = layers or self.network(index), self.seeds[index], self.data
        squares = sum(float(layer.double().square().sum()) for layer in layers)
        subset = self._subsets[index]
        logits, hidden = forward(layers, data.train_inputs[subset].to(self.dtype))
        train_loss, train_accuracy = loss_and_accuracy(logits, self._labels[index])
        alive = [float((layer > 0).any(0).double().mean()) * layer.shape[1] for layer in hidden]
        logits, _ = forward(layers, data.test_inputs.to(self.dtype))
        test_loss, test_accuracy = loss_and_accuracy(logits, data.test_labels[seed])
        if not (math.isfinite(squares) and math.isfinite(train_loss) and math.isfinite(test_loss)):
            return diverged(data.classes)
        dead_units = 1 - sum(alive) / sum(layer.shape[1] for layer in hidden) if hidden else 0.0
        return Measurement(train_loss, test_loss, train_accuracy, test_accuracy, math.sqrt(squares), dead_units, diverged=False)


class IterateMean:
    """The mean of the iterates of a stack (Polyak and Ruppert), every 16th between two updates and the last."""

    def __init__(self, stack: Stack, first: int, last: int) -> None:
        self._stack, self._count = stack, 0
        self._wanted = [*range(first + _AVERAGED, last, _AVERAGED), last]
        self._sums: list[list[Tensor]] = []

    def run(self, until: int) -> None:
        """Train the stack on to update `until`, and add the iterates that are wanted on the way."""
        for update in self._wanted:
            if self._stack.update < update <= until:
                self._stack.run(update)
                self._add()
        self._stack.run(until)

    def _add(self) -> None:
        iterates = [self._stack.network(index) for index in range(len(self._stack.seeds))]
        self._sums = self._sums or [[torch.zeros_like(layer) for layer in layers] for layers in iterates]
        for sums, layers in zip(self._sums, iterates, strict=True):
            for total, layer in zip(sums, layers, strict=True):
                total += layer
        self._count += 1

    def network(self, index: int) -> list[Tensor]:
        """The mean of one network's layers; each (fan_in + 1, fan_out)."""
        return [total / self._count for total in self._sums[index]]


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Velocities of units that died shrink for ever, and denormal numbers are a hundred times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def diverged(classes: int) -> Measurement:
    """What stands for a network whose weights or losses are no longer finite: chance, no live unit (our choice)."""
    chance, largest = 1 / classes, torch.finfo(torch.float32).max
    return Measurement(math.log(classes), math.log(classes), chance, chance, largest, dead_units=1.0, diverged=True)


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats per example and accuracy, for logits (n, C) and labels int64 (n,)."""
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return float(losses.double().mean()), float((logits.argmax(1) == labels).double().mean())


def stack_bytes(cell: Cell, data: LabelledData) -> tuple[int, int]:
    """Bytes of one float32 network: of weights and momentum of live pixels, and of all that its training holds."""
    shapes = layer_shapes(data.train_inputs.shape[1] - 1, cell.hidden_sizes, data.classes)
    (rows, columns), *above = shapes
    first, whole = data.live.numel() * columns, rows * columns
    kept = 2 * (first + sum(a * b for a, b in above))
    widths = [data.train_inputs.shape[1], *(3 * width for width in (*cell.hidden_sizes, data.classes))]
    return 4 * kept, 4 * (kept + whole + cell.batch_size * sum(widths) + 3 * _DRAWN_TOGETHER * cell.batch_size * data.classes)


def train(
    networks: Sequence[tuple[Cell, int]],
    record: Sequence[int],
    data: LabelledData,
    initialization: str = "lecun_normal",
    stack: int | None = None,
    cooldown: int = 0,
) -> Iterator[tuple[tuple[int, str], tuple[Cell, int], Measurement, list[Tensor]]]:
    """Train networks that can share a stack, up to the last recorded update.

    Args:
        networks: cells and seeds, of equal shape, N, B, sampling, momentum and dampening.
        record: updates, ascending.
        data: images and labels, on the device where the networks are to train.
        initialization: as in `models.initial_weights`.
        stack: networks that train in lock-step; as many as the machine does best if not given. No number depends on it.
        cooldown: see `Plan`.

    Gives ((update, phase), (cell, seed), what was measured, its layers) for every network and every one of `Plan.points`.
    """
    size = stack or stack_size(*stack_bytes(networks[0][0], data), data.train_inputs.device)
    for start in range(0, len(networks), size):
        part = Stack(networks[start : start + size], data, initialization)
        members = list(enumerate(networks[start : start + size]))
        averaged_from = max(0, record[-1] - cooldown)
        mean = IterateMean(part, averaged_from, record[-1])
        for update in record:
            with _without_denormals():
                part.run(min(update, averaged_from))
                mean.run(update)
            for index, network in members:
                yield (update, "constant"), network, part.measure(index), part.network(index)
        if cooldown:
            for index, network in members:
                layers = mean.network(index)
                yield (record[-1], "iterate_average"), network, part.measure(index, layers), layers
            with _without_denormals():
                part.cool(cooldown)
            for index, network in members:
                yield (part.update, "after_cooldown"), network, part.measure(index), part.network(index)
