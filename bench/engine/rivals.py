"""The methods that are compared: ours, and how else one trains these networks with torch; JAX is in jax_rival.py.

Every method starts from the problem's initial weights and makes SGD updates with momentum on the mean cross-entropy. `follow`
takes given batches, for the check that all methods compute the same; `advance` draws its own, and is what is timed. Ours draws
independent batches from its counter-based stream; the others take what is cheapest for them, shuffled epochs.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

import torch
from bench.common.problem import Problem, shuffled
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.training.hardware import stack_bytes, stack_size
from bayes_sgd.training.sgd import NetworkStack

Layers = list[tuple[Tensor, Tensor]]  # (weight (fan_out, fan_in), bias (fan_out,)) as nn.Linear keeps them


class Method(ABC):
    """One way to train the networks of a problem."""

    name = ""
    note = ""
    compile_s = float("nan")
    multiple = 1  # `advance` makes updates in multiples of this

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def follow(self, positions: Tensor) -> None:
        """Train on given batches, positions in the training subsets, int64 (updates, networks, B)."""

    @abstractmethod
    def advance(self, updates: int) -> None:
        """Make so many updates of every network, drawing of the batches included."""

    @abstractmethod
    def layers(self, index: int) -> list[Tensor]:
        """The layers of one network as they are now, (fan_in + 1, fan_out), all 784 pixels."""


class Ours(Method):
    """The product's stacks, executed as `training.train` executes them."""

    name = "ours"

    def __init__(self, problem: Problem, size: int | None = None) -> None:
        super().__init__(problem)
        size = size or stack_size(*stack_bytes(problem.cell, problem.data), torch.device("cpu"))
        networks = [(problem.cell, seed) for seed in range(problem.networks)]
        self.stacks = [NetworkStack(networks[start : start + size], problem.data) for start in range(0, len(networks), size)]

    def follow(self, positions: Tensor) -> None:
        """Its own batches are the check's."""
        self.advance(len(positions))

    def advance(self, updates: int) -> None:
        """Go on in its own stream of batches."""
        for stack in self.stacks:
            stack.run(stack.update + updates)

    def layers(self, index: int) -> list[Tensor]:
        """Constant-zero inputs are put back."""
        networks = [(stack, place) for stack in self.stacks for place in range(len(stack.networks))]
        stack, place = networks[index]
        return stack.network(place)


def joined(layers: Layers) -> list[Tensor]:
    """Weights and biases as the product keeps them."""
    return [torch.cat([weight.T, bias[None]]).detach() for weight, bias in layers]


class _OneByOne(Method):
    """Networks that train one after the other, each for the whole number of updates."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.x = [problem.images[subset] for subset in problem.subsets]
        self.y = list(problem.labels)
        self.draws = [shuffled(1, problem.n_train, problem.batch_size) for _ in self.x]

    @abstractmethod
    def step(self, index: int, batch: Tensor) -> None:
        """One update of one network, on a batch int64 (B,)."""

    def follow(self, positions: Tensor) -> None:
        """One network after the other."""
        for index in range(self.problem.networks):
            for batch in positions[:, index]:
                self.step(index, batch)

    def advance(self, updates: int) -> None:
        """Batches of shuffled epochs."""
        for index, draws in enumerate(self.draws):
            for batch in islice(draws, updates):
                self.step(index, batch[0])


class Indexed(_OneByOne):
    """nn.Sequential, autograd and torch.optim.SGD without a loader: x[batch]. Fused SGD, the fastest of torch's on this CPU."""

    name = "indexed"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.models = [as_sequential(problem.layers(index)) for index in range(problem.networks)]
        self.optimizers = [
            torch.optim.SGD(model.parameters(), lr=problem.rate, momentum=problem.momentum, fused=True) for model in self.models
        ]

    def step(self, index: int, batch: Tensor) -> None:
        """Gather, then the update."""
        self.learn(index, self.x[index][batch], self.y[index][batch])

    def learn(self, index: int, x: Tensor, y: Tensor) -> None:
        """The five lines of every tutorial."""
        optimizer = self.optimizers[index]
        loss = cross_entropy(self.models[index](x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def layers(self, index: int) -> list[Tensor]:
        """From the module."""
        return joined([(part.weight, part.bias) for part in self.models[index] if isinstance(part, nn.Linear)])


class DataLoaderLoop(Indexed):
    """The loop of the tutorials: DataLoader over a TensorDataset, no workers, torch.optim.SGD as it comes.

    The last, smaller batch of an epoch is dropped, so that all updates have B examples.
    """

    name = "dataloader"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.optimizers = [torch.optim.SGD(m.parameters(), lr=problem.rate, momentum=problem.momentum) for m in self.models]
        self.data = [TensorDataset(x, y) for x, y in zip(self.x, self.y, strict=True)]
        self.epochs = [self._epochs(data) for data in self.data]

    def _epochs(self, data: TensorDataset) -> Iterator[list[Tensor]]:
        loader = DataLoader(data, batch_size=self.problem.batch_size, shuffle=True, drop_last=True)
        while True:
            yield from loader

    def follow(self, positions: Tensor) -> None:
        """The loader with a sampler that gives these batches."""
        for index, data in enumerate(self.data):
            for x, y in DataLoader(data, batch_sampler=positions[:, index].tolist()):
                self.learn(index, x, y)

    def advance(self, updates: int) -> None:
        """Epoch after epoch."""
        for index, epochs in enumerate(self.epochs):
            for x, y in islice(epochs, updates):
                self.learn(index, x, y)


def _loss(layers: Layers, x: Tensor, y: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        x = torch.relu(nn.functional.linear(x, weight, bias))
    return cross_entropy(nn.functional.linear(x, *layers[-1]), y)


def _whole_step(
    layers: Layers, velocities: Layers, images: Tensor, labels: Tensor, batch: Tensor, rate: float, momentum: float
) -> None:
    gradients, _ = grad_and_value(_loss)(layers, images[batch], labels[batch])
    for pair, steps, slopes in zip(layers, velocities, gradients, strict=True):
        for value, velocity, slope in zip(pair, steps, slopes, strict=True):
            velocity.mul_(momentum).add_(slope)
            value.sub_(velocity, alpha=rate)


class Compiled(_OneByOne):
    """The whole update, gather to momentum, as one graph under torch.compile; `compile_s` is its first call's seconds."""

    name = "compile"
    first_call: ClassVar[dict[tuple[tuple[int, ...], int], float]] = {}  # a shape met again comes from a cache on the disk

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        torch._dynamo.reset()  # graphs of other shapes, which would be searched at each call
        self.compiled = torch.compile(_whole_step, fullgraph=True, dynamic=False)
        self.weights = [
            [(layer[:-1].T.contiguous(), layer[-1].clone()) for layer in problem.layers(index)]
            for index in range(problem.networks)
        ]
        self.velocities = [[(torch.zeros_like(w), torch.zeros_like(b)) for w, b in layers] for layers in self.weights]
        started = time.perf_counter()
        copies = [[(w.clone(), b.clone()) for w, b in layers[0]] for layers in (self.weights, self.velocities)]
        self._call(*copies, 0, torch.arange(problem.batch_size))
        self.compile_s = self.first_call.setdefault((problem.hidden, problem.batch_size), time.perf_counter() - started)

    def _call(self, layers: Layers, velocities: Layers, index: int, batch: Tensor) -> None:
        problem = self.problem
        self.compiled(layers, velocities, self.x[index], self.y[index], batch.clone(), problem.rate, problem.momentum)

    def step(self, index: int, batch: Tensor) -> None:
        """One call of the graph."""
        self._call(self.weights[index], self.velocities[index], index, batch)

    def layers(self, index: int) -> list[Tensor]:
        """From the weights."""
        return joined(self.weights[index])


class Vmap(Method):
    """torch.func: vmap over the stacked networks of the gradient, momentum by hand with foreach operations."""

    name = "vmap"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        models = [as_sequential(problem.layers(index)) for index in range(problem.networks)]
        self.parameters, _ = stack_module_state(models)
        self.parameters = {name: value.detach() for name, value in self.parameters.items()}
        self.velocities = [torch.zeros_like(value) for value in self.parameters.values()]
        base = models[0]

        def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return cross_entropy(functional_call(base, parameters, (x,)), y)

        self.gradients = vmap(grad_and_value(loss))
        self.draws = shuffled(problem.networks, problem.n_train, problem.batch_size)

    def _step(self, batch: Tensor) -> None:
        problem = self.problem
        x, y = problem.images[problem.subsets.gather(1, batch)], problem.labels.gather(1, batch)
        gradients, _ = self.gradients(self.parameters, x, y)
        torch._foreach_mul_(self.velocities, problem.momentum)
        torch._foreach_add_(self.velocities, list(gradients.values()))
        torch._foreach_sub_(list(self.parameters.values()), self.velocities, alpha=problem.rate)

    def follow(self, positions: Tensor) -> None:
        """All networks at once."""
        for batch in positions:
            self._step(batch)

    def advance(self, updates: int) -> None:
        """Batches of shuffled epochs."""
        for batch in islice(self.draws, updates):
            self._step(batch)

    def layers(self, index: int) -> list[Tensor]:
        """From the stacked parameters, in the order weight, bias, weight, ..."""
        values = [value[index] for value in self.parameters.values()]
        return joined(list(zip(values[::2], values[1::2], strict=True)))
