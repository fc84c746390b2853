"""How a stretch of updates is executed: by compiled loops, update by update with torch, or as a CUDA graph.

Takes the initial layers of a stack, its data and its batches; an `Execution` advances them. All follow one rule and give the
same networks but for the order of sums; `execution_name` is the one place that picks.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.convolutional import ConvolutionalPasses, averaged_pool
from bayes_sgd.training.gradient_penalty import PenalizedPasses
from bayes_sgd.training.labelled_data import LabelledBatches, LabelledData
from bayes_sgd.training.momentum import MomentumRule
from bayes_sgd.training.passes import StackedPasses, aligned_columns

STRETCH = 64  # updates whose batches are drawn in one go
ExecutionName = Literal["compiled", "direct", "graph"]
# compiled loops skip zeros, but with large batches a dense product makes some 2.5 times as many multiplications a second
_DENSE_GAIN = 2.5
_SMALL_BATCH = 32  # up to it torch pays for its calls and for its passes over the weights, whatever the images


class Execution(Protocol):
    """Advances a stack of networks."""

    def advance(self, update: int, until: int) -> int:
        """Train on from `update` to the end of a stretch, or to `until` if that is earlier; gives the update reached."""
        ...

    def scale_learning_rate(self, factor: float) -> None:
        """Change ε by a factor, from the update reached on."""
        ...

    def layers(self, index: int) -> list[Tensor]:
        """The layers of one network at the update reached, (fan_in + 1, fan_out); the first may have rows of zeros below."""
        ...


class DirectExecution:
    """Update by update."""

    def __init__(self, passes: StackedPasses, batches: LabelledBatches, classes: int) -> None:
        self._passes, self._batches = passes, batches
        self._one_hot = torch.eye(classes, dtype=passes.inputs.dtype, device=passes.inputs.device)
        self._update = 0

    def advance(self, update: int, until: int) -> int:
        """See `Execution`."""
        steps, count = self._passes.rule.steps, min(STRETCH // self._passes.rule.steps, until - update)
        images, labels = self._batches.draw(update * steps, count * steps)
        self._run(images, self._one_hot[labels], update * steps)
        self._update = update + count
        return self._update

    def _run(self, images: Tensor, targets: Tensor, step: int) -> None:
        for number in range(len(images)):
            self._passes.update(images[number], targets[number], first=step + number == 0)

    def scale_learning_rate(self, factor: float) -> None:
        """See `Execution`."""
        self._passes.rule.scale_learning_rate(factor, self._passes.steps, self._update)

    def layers(self, index: int) -> list[Tensor]:
        """See `Execution`."""
        return [layer[index] for layer in self._passes.layers]


class GraphExecution(DirectExecution):
    """Whole stretches as one CUDA graph, captured when it is first needed; update by update for the rest."""

    def __init__(self, passes: StackedPasses, batches: LabelledBatches, classes: int) -> None:
        super().__init__(passes, batches, classes)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._static: tuple[Tensor, ...] = ()  # what the graph reads: images and targets of its stretch

    def _run(self, images: Tensor, targets: Tensor, step: int) -> None:
        if step == 0 or len(images) < STRETCH:
            super()._run(images, targets, step)
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


def compiler() -> str:
    """What compiles the loops of CPU training, with its version; "none" if torch trains alone."""
    return "none" if find_spec("numba") is None else f"numba {version('numba')}"


def execution_name(data: LabelledData, cell: Cell) -> ExecutionName:
    """The fastest execution for images, the shape of a network and B; the same on every machine that has numba, or has none.

    The compiled loops know fully connected ReLU networks alone, and one gradient an update; a graph holds no autograd.
    """
    if cell.gradient_penalty:
        return "direct"
    if data.train_inputs.device.type == "cuda":
        return "graph"
    if find_spec("numba") is None or not _is_compiled(cell):
        return "direct"
    if cell.batch_size <= _SMALL_BATCH:
        return "compiled"
    widths = [*cell.hidden_sizes, data.classes]
    above = 3 * sum(below * width for below, width in pairwise(widths))  # outputs, their derivatives, and the weights'
    first = 2 * widths[0]
    sparse, dense = data.nonzero_pixels * first + above, data.active_inputs.numel() * first + above
    return "compiled" if _DENSE_GAIN * sparse <= dense else "direct"


def _is_compiled(cell: Cell) -> bool:
    return (cell.activation, cell.svag, cell.architecture, cell.gradient_penalty) == ("relu", 1, "mlp", 0)


def choose_execution(
    initial: Sequence[Tensor],
    data: LabelledData,
    batches: LabelledBatches,
    cell: Cell,
    rule: MomentumRule,
    name: ExecutionName | None = None,
) -> Execution:
    """Set up a stack at update 0.

    Args:
        initial: layers (networks, fan_in + 1, fan_out), of which that of the pixels has the rows of the active inputs.
        data: images and labels.
        batches: of the stack's networks.
        cell: shape and B.
        rule: the update rule of the networks.
        name: of the execution; as `execution_name` picks if not given.

    Raises:
        ValueError: compiled loops are asked for, and they do not know the cell.
    """
    name = name or execution_name(data, cell)
    if name == "compiled":
        if not _is_compiled(cell):
            arm = f"{cell.activation}, svag {cell.svag}, {cell.architecture}, gradient_penalty {cell.gradient_penalty:g}"
            raise ValueError(f"compiled loops are of SGD on fully connected ReLU networks, not of {arm}")
        from bayes_sgd.training.compiled import CompiledExecution  # numba takes a third of a second to import

        return CompiledExecution(initial, data.sparse_inputs, batches, cell.batch_size, rule)
    examples = 2 * cell.batch_size if cell.svag > 1 else cell.batch_size
    if cell.architecture == "lenet":
        inputs = aligned_columns(averaged_pool(data.train_inputs.to(initial[0].dtype)))
        passes = ConvolutionalPasses(initial, inputs, examples, rule, cell.activation)
    else:
        inputs = aligned_columns(data.train_inputs[:, data.active_inputs].to(initial[0].dtype))
        penalized = cell.gradient_penalty > 0
        passes = (
            PenalizedPasses(initial, inputs, cell, rule)
            if penalized
            else StackedPasses(initial, inputs, examples, rule, cell.activation)
        )
    return (GraphExecution if name == "graph" else DirectExecution)(passes, batches, data.classes)
