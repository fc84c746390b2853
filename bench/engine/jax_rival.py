"""JAX: jit of a scan over updates of vmap over networks of the gradient. float32, one thread.

One network goes without vmap, which is up to a quarter faster.

Import this before anything else imports jax: the number of threads is fixed at its first use.
"""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import torch
from bench.common.problem import Problem, shuffled
from bench.engine.rivals import Method
from torch import Tensor

Layers = list[tuple[Any, Any]]


def _loss(layers: Layers, x: Any, targets: Any) -> Any:
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return -(jax.nn.log_softmax(x @ weight + bias) * targets).sum() / len(targets)


def _of_one(layers: Layers, x: Any, targets: Any) -> Any:
    slopes = jax.grad(_loss)(jax.tree.map(lambda value: value[0], layers), x[0], targets[0])
    return jax.tree.map(lambda value: value[None], slopes)


class Jax(Method):
    """A compiled loop of `multiple` updates; `compile_s` is the first call's seconds."""

    name = "jax"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        drawn = [problem.layers(index) for index in range(problem.networks)]
        stacked = [torch.stack(layers).numpy() for layers in zip(*drawn, strict=True)]
        self.state = jax.tree.map(jnp.array, [((s[:, :-1], s[:, -1]), (0 * s[:, :-1], 0 * s[:, -1])) for s in stacked])
        self.images, self.subsets, self.labels = (
            jnp.asarray(array.numpy()) for array in (problem.images, problem.subsets.int(), problem.labels.int())
        )
        self.draws = shuffled(problem.networks, problem.n_train, problem.batch_size)
        first, others = problem.parameters(problem.images.shape[1])
        work = 4 * problem.batch_size * (first + others) * problem.networks
        self.multiple = 50 if work < 1e8 else 10 if work < 1e9 else 2
        rate, momentum, classes = problem.rate, problem.momentum, problem.data.classes
        gradients = jax.vmap(jax.grad(_loss)) if problem.networks > 1 else _of_one

        def loop(state: Any, images: Any, subsets: Any, labels: Any, positions: Any) -> Any:
            def step(state: Any, batch: Any) -> tuple[Any, None]:
                x = images[jnp.take_along_axis(subsets, batch, 1)]
                y = jax.nn.one_hot(jnp.take_along_axis(labels, batch, 1), classes)
                slopes = gradients([layer for layer, _ in state], x, y)
                velocities = jax.tree.map(lambda v, g: momentum * v + g, [v for _, v in state], slopes)
                layers = jax.tree.map(lambda w, v: w - rate * v, [layer for layer, _ in state], velocities)
                return list(zip(layers, velocities, strict=True)), None

            return jax.lax.scan(step, state, positions)[0]

        shape = jax.ShapeDtypeStruct((self.multiple, problem.networks, problem.batch_size), jnp.int32)
        started = time.perf_counter()
        lowered = jax.jit(loop, donate_argnums=0).lower(self.state, self.images, self.subsets, self.labels, shape)
        self.loop = lowered.compile()
        self.compile_s = time.perf_counter() - started

    def follow(self, positions: Tensor) -> None:
        """In pieces of `multiple` updates, so their number must be a multiple of it."""
        for piece in positions.int().split(self.multiple):
            self.state = self.loop(self.state, self.images, self.subsets, self.labels, jnp.asarray(piece.numpy()))
        jax.block_until_ready(self.state)

    def advance(self, updates: int) -> None:
        """Batches of shuffled epochs, drawn by torch."""
        for _ in range(updates // self.multiple):
            self.follow(torch.stack(list(islice(self.draws, self.multiple))))

    def layers(self, index: int) -> list[Tensor]:
        """As torch tensors."""
        pairs = [(torch.tensor(jax.device_get(w[index])), torch.tensor(jax.device_get(b[index]))) for (w, b), _ in self.state]
        return [torch.cat([weight, bias[None]]) for weight, bias in pairs]
