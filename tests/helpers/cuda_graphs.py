"""CUDA graphs without CUDA: a capture records what is called and does nothing, a replay does it.

As on a GPU, what a captured call gives lies in memory of the graph: filled at each replay, and before it undefined (here NaN).
A question to a tensor during a capture is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.sgd import Network, NetworkStack

aten = torch.ops.aten


class Graph:
    """In place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []
        self.replays = 0

    def replay(self) -> None:
        """Do what was recorded."""
        self.replays += 1
        for func, args, kwargs, memory in self.calls:
            result = func(*args, **kwargs)
            for target, value in zip(tree_leaves(memory), tree_leaves(result), strict=True):
                if target is not value:
                    target.copy_(value)


class _Capture(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (aten._local_scalar_dense.default, aten.nonzero.default):
            raise RuntimeError(f"{func}: operation not permitted when stream is capturing")
        if func.namespace == "prim":
            return func(*args, **kwargs)  # a question about shape or device
        aliases = [returned.alias_info for returned in func._schema.returns]
        if aliases and all(alias is not None and not alias.is_write for alias in aliases):
            return func(*args, **kwargs)  # a view, which is no work for the GPU
        given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
        written = [
            given[argument.name]
            for argument in func._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given
        ]
        if written:
            memory = written[0] if len(written) == 1 else tuple(written)
        else:
            memory = tree_map(_undefined, func(*args, **kwargs))
        self._graph.calls.append((func, args, kwargs, memory))
        return memory


def _undefined(value: Any) -> Any:
    return value.fill_(float("nan")) if isinstance(value, Tensor) and value.is_floating_point() else value


class Stream:
    """In place of `torch.cuda.Stream`."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine, self.name = machine, name

    def wait_stream(self, other: Stream) -> None:
        """Noted."""
        self._machine.events.append(f"{self.name} waits for {other.name}")


class Machine:
    """What was asked of the GPU: its graphs, and events in order."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.events: list[str] = []
        self.stream = Stream(self, "main")

    def new_graph(self) -> Graph:
        """In place of `torch.cuda.CUDAGraph`."""
        self.graphs.append(Graph())
        return self.graphs[-1]

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """In place of `torch.cuda.stream`."""
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def capture(self, graph: Graph) -> Iterator[None]:
        """In place of `torch.cuda.graph`."""
        self.events.append("capture")
        with self.on(Stream(self, "capture")), _Capture(graph):
            yield


def install(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Put a machine in the place of CUDA's graphs and streams."""
    machine = Machine()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", machine.new_graph)
    monkeypatch.setattr(torch.cuda, "graph", machine.capture)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: Stream(machine, "side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: machine.stream)
    monkeypatch.setattr(torch.cuda, "stream", machine.on)
    return machine


def network_stack(networks: Sequence[Network], data: LabelledData, graphs: bool) -> NetworkStack:
    """A stack that trains by graphs, or update by update, wherever its data are."""
    return NetworkStack(networks, data, execution="graph" if graphs else "direct")
