"""How a stretch of updates is executed: one by one, with the first layer deferred, or as a CUDA graph.

Takes the passes of a stack and its batches; an `Execution` advances them. All follow one rule and give the same networks but
for the order of sums; `choose_execution` is the one place that picks.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bayes_sgd.training.deferred import LARGEST_BATCH, DeferredLayer
from bayes_sgd.training.labelled_data import LabelledBatches
from bayes_sgd.training.passes import StackedPasses

STRETCH = 64  # updates whose batches are drawn in one go


class Execution(Protocol):
    """Advances a stack of networks."""

    def advance(self, update: int, until: int) -> int:
        """Train on from `update` to the end of a stretch, or to `until` if that is earlier; gives the update reached."""
        ...

    def settle(self) -> None:
        """Make all pending changes, so that layers and steps of the passes are those of the update reached."""
        ...

    def first_layer(self, index: int) -> Tensor:
        """The first layer of one network at the update reached, (inputs, units), without `settle`."""
        ...


class DirectExecution:
    """Update by update."""

    def __init__(self, passes: StackedPasses, batches: LabelledBatches) -> None:
        self._passes, self._batches = passes, batches

    def advance(self, update: int, until: int) -> int:
        """See `Execution`."""
        images, targets = self._batches.draw(update, min(STRETCH, until - update))
        self._run(images, targets, update)
        return update + len(images)

    def _run(self, images: Tensor, targets: Tensor, update: int) -> None:
        for number in range(len(images)):
            self._passes.update(images[number], targets[number], first=update + number == 0)

    def settle(self) -> None:
        """Nothing is pending."""

    def first_layer(self, index: int) -> Tensor:
        """See `Execution`."""
        return self._passes.layers[0][index]


class GraphExecution(DirectExecution):
    """Whole stretches as one CUDA graph, captured when it is first needed; update by update for the rest."""

    def __init__(self, passes: StackedPasses, batches: LabelledBatches) -> None:
        super().__init__(passes, batches)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._static: tuple[Tensor, ...] = ()  # what the graph reads: images and targets of its stretch

    def _run(self, images: Tensor, targets: Tensor, update: int) -> None:
        if update == 0 or len(images) < STRETCH:
            super()._run(images, targets, update)
            return
        if self._graph is None:
            self._graph = self._capture(images, targets)
        for static, fresh in zip(self._static, (images, targets), strict=True):
            static.copy_(fresh)
        self._graph.replay()

    def _capture(self, images: Tensor, targets: Tensor) -> torch.cuda.CUDAGraph:
        passes = self._passes
        self._static = images.clone(), targets.clone()
        changed = (*passes.layers, *passes.steps)
        before = [tensor.clone() for tensor in changed]
        graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # a first pass outside the capture, as cuBLAS wants it
            passes.update(images[0], targets[0], first=False)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            for number in range(STRETCH):
                passes.update(self._static[0][number], self._static[1][number], first=False)
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        return graph


class DeferredExecution:
    """The first layer's changes a stretch at a time, see `deferred`; the other layers update by update."""

    def __init__(self, passes: StackedPasses, batches: LabelledBatches, batch_size: int) -> None:
        self._passes, self._batches = passes, batches
        self._layer = DeferredLayer(passes.layers[0], passes.steps[0], passes.rule.momentum, batch_size)
        self._targets = passes.inputs.new_zeros(0)

    def advance(self, update: int, until: int) -> int:
        """See `Execution`; a stretch that `until` cuts is gone on with, so that no sum depends on `until`."""
        layer, passes = self._layer, self._passes
        if layer.position == 0:
            images, self._targets = self._batches.draw(update, layer.updates)
            layer.begin(passes.inputs, images)
        for targets in self._targets[layer.position : layer.position + until - update]:
            layer.outputs(passes.outputs[0])
            passes.update_above_first(targets, first=update == 0, first_deltas=layer.deltas)
            layer.position += 1
            update += 1
        if layer.position == layer.updates:
            layer.end()
        return update

    def settle(self) -> None:
        """End the stretch."""
        self._layer.end()

    def first_layer(self, index: int) -> Tensor:
        """See `Execution`."""
        return self._layer.current(index)


def choose_execution(passes: StackedPasses, batches: LabelledBatches, batch_size: int, graphs: bool | None = None) -> Execution:
    """The fastest way that fits the device, B and the rule.

    Args:
        passes: of the stack.
        batches: of its networks.
        batch_size: B.
        graphs: whether to replay CUDA graphs; by default, on a GPU.
    """
    device = passes.inputs.device.type
    if device == "cpu" and batch_size <= LARGEST_BATCH and not passes.rule.has_l2:
        return DeferredExecution(passes, batches, batch_size)
    if device == "cuda" if graphs is None else graphs:
        return GraphExecution(passes, batches)
    return DirectExecution(passes, batches)
