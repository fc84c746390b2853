"""Stretches as CUDA graphs, on a stand-in for CUDA: what a capture leaves, what a replay reads, and when there is none."""

from __future__ import annotations

from dataclasses import replace

import cuda_graphs
import pytest
import torch
from cuda_graphs import network_stack
from training import CELL, SEEDS, bits

from bayes_sgd.training.execution import STRETCH, GraphExecution
from bayes_sgd.training.momentum import MomentumRule
from bayes_sgd.training.passes import StackedPasses


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> cuda_graphs.Machine:
    """CUDA's stand-in, with each update in its events, by the stream on which it was called."""
    found, update = cuda_graphs.install(monkeypatch), StackedPasses.update

    def noted(self: StackedPasses, *args: torch.Tensor, **more: bool) -> None:
        found.events.append(f"update on {found.stream.name}")
        update(self, *args, **more)

    monkeypatch.setattr(StackedPasses, "update", noted)
    return found


FIELDS = [{}, {"l2": 0.3, "dampening": 0.9}, {"hidden_sizes": (7, 5), "l2": 0.3}, {"hidden_sizes": ()}, {"sampling": "shuffle"}]


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_graphs_give_what_updates_one_by_one_give(data, machine, fields):
    networks = [(replace(CELL, learning_rate=rate, **fields), seed) for rate in (0.1, 0.02) for seed in SEEDS]
    direct, graphs = (network_stack(networks, data, graphs=graphs) for graphs in (False, True))
    for stack in (direct, graphs):
        # the cooldown changes, between replays, what the graph reads
        stack.run(3 * STRETCH)
        stack.cool(16 * STRETCH)
        stack.run(stack.update + 5)
    for index in range(len(networks)):
        assert bits(graphs, index) == bits(direct, index)
    assert [graph.replays for graph in machine.graphs] == [2 + 16], (
        "captured once, replayed for all whole stretches but the first"
    )


@pytest.mark.parametrize("until", [(STRETCH,), (1, STRETCH), (10, 20, 60, 100)], ids=str)
def test_the_first_stretch_and_parts_of_stretches_run_update_by_update(data, machine, until):
    direct, graphs = (network_stack([(CELL, 0)], data, graphs=graphs) for graphs in (False, True))
    for stack in (direct, graphs):
        for update in until:
            stack.run(update)
    assert machine.graphs == []
    assert machine.events == ["update on main"] * (2 * until[-1])
    assert bits(graphs, 0) == bits(direct, 0)


def _passes() -> StackedPasses:
    random = torch.Generator().manual_seed(3)
    cell = replace(CELL, l2=0.3)
    layers = [torch.randn(2, *shape, generator=random) for shape in ((13, 7), (8, 3))]
    rule = MomentumRule([cell, cell], torch.float32, torch.device("cpu"))
    passes = StackedPasses(layers, torch.rand(30, 16, generator=random), cell.batch_size, rule)
    for step in passes.steps:
        step.copy_(0.01 * torch.randn(step.shape, generator=random))
    return passes


def _stretch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(30, (STRETCH, 2, CELL.batch_size), generator=random)
    return images, torch.nn.functional.one_hot(images % 3, 3).float()


def test_a_capture_changes_neither_weights_nor_momentum(machine):
    passes = _passes()
    before = [tensor.clone() for tensor in (*passes.layers, *passes.steps)]
    execution = GraphExecution.__new__(GraphExecution)
    execution._passes = passes
    execution._capture(*_stretch(0))
    for tensor, value in zip((*passes.layers, *passes.steps), before, strict=True):
        assert torch.equal(tensor, value)
    assert machine.events == [
        "side waits for main",
        "update on side",
        "main waits for side",
        "capture",
        *["update on capture"] * STRETCH,
    ]


def test_a_replay_reads_the_batches_of_its_own_stretch(machine):
    by_graph, one_by_one = _passes(), _passes()
    execution = GraphExecution.__new__(GraphExecution)
    execution._passes, execution._graph = by_graph, None
    for seed, update in ((0, STRETCH), (1, 2 * STRETCH), (2, 3 * STRETCH)):
        images, targets = _stretch(seed)
        execution._run(images.clone(), targets.clone(), update)
        for number in range(STRETCH):
            one_by_one.update(images[number], targets[number], first=False)
        for ours, theirs in zip((*by_graph.layers, *by_graph.steps), (*one_by_one.layers, *one_by_one.steps), strict=True):
            assert torch.equal(ours, theirs)
    assert [graph.replays for graph in machine.graphs] == [3]


def test_a_graph_that_reads_old_batches_or_the_host_is_caught(monkeypatch, data, machine):
    """What the stand-in is for: a stretch that is not copied into the graph, and a question inside a capture."""
    direct, stale = (network_stack([(CELL, 0)], data, graphs=graphs) for graphs in (False, True))

    def forgets(self: GraphExecution, images: torch.Tensor, targets: torch.Tensor, update: int) -> None:
        if self._graph is None:
            self._graph = self._capture(images, targets)
        self._graph.replay()

    direct.run(3 * STRETCH)
    stale.run(STRETCH)
    monkeypatch.setattr(GraphExecution, "_run", forgets)
    stale.run(3 * STRETCH)
    assert bits(stale, 0) != bits(direct, 0)
    monkeypatch.undo()
    cuda_graphs.install(monkeypatch)
    apply = MomentumRule.apply

    def asks(self: MomentumRule, weights: torch.Tensor, *args: object) -> None:
        assert float(weights.sum()) < 1e30
        apply(self, weights, *args)  # pyright: ignore[reportArgumentType]  (passed on as they are)

    monkeypatch.setattr(MomentumRule, "apply", asks)
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        network_stack([(CELL, 0)], data, graphs=True).run(2 * STRETCH)
