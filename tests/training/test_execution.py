"""No number depends on how updates are executed: on stack, stretches, a diverged neighbour or the device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from training import CELL, EXECUTIONS, SEEDS, bits

from bayes_sgd.training.execution import execution_name
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.measurement import diverged
from bayes_sgd.training.sgd import NetworkStack


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("batch_size", [1, 3, 5, 8, 20, 24])
@pytest.mark.parametrize("hidden_sizes", [(200,), (33, 17), (12,), ()])
def test_a_network_does_not_depend_on_its_stack_bit_for_bit(data, batch_size, hidden_sizes, execution):
    torch.set_num_threads(1)
    cell = replace(CELL, batch_size=batch_size, hidden_sizes=hidden_sizes)
    faster = replace(cell, learning_rate=0.2, l2=0.1 if batch_size > 4 else 0.0)
    together = NetworkStack([(c, s) for c in (cell, faster) for s in (0, 1, 2)], data, execution=execution)
    together.run(50)
    for index, network in enumerate([(c, s) for c in (cell, faster) for s in (0, 1, 2)]):
        alone = NetworkStack([network], data, execution=execution)
        for until in (7, 8, 50):
            alone.run(until)
        assert bits(alone, 0) == bits(together, index)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("fields", [{"l2": 0.3}, {"batch_size": 1}, {"batch_size": 3}], ids=str)
def test_updates_do_not_depend_on_the_stretches_in_which_they_are_run(data, fields, execution):
    cell = replace(CELL, dampening=0.9, **fields)
    at_once, by_and_by = (NetworkStack([(cell, 0)], data, execution=execution) for _ in range(2))
    at_once.run(300)
    for until in (1, 2, 63, 64, 65, 200, 300):
        by_and_by.run(until)
    assert bits(at_once, 0) == bits(by_and_by, 0)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_diverged_network_is_finite_in_the_table_and_harms_no_other(data, execution):
    wild = replace(CELL, learning_rate=1e30)
    stack = NetworkStack([(wild, 0), (CELL, 0)], data, execution=execution)
    stack.run(50)
    assert stack.measure(0) == diverged(3)
    alone = NetworkStack([(CELL, 0)], data, execution=execution)
    alone.run(50)
    assert stack.measure(1) == alone.measure(0)
    assert not stack.measure(1).diverged


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: graph capture and CPU against GPU need one")
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("fields", [{}, {"l2": 0.3, "dampening": 0.9}, {"hidden_sizes": (7, 5)}], ids=str)
def test_cuda_equals_cpu(data, graphs, fields):
    cell = replace(CELL, learning_rate=0.02, **fields)
    on_gpu = LabelledData(
        **{
            name: value.to("cuda") if isinstance(value, Tensor) else value
            for name, value in vars(data).items()
            if name != "active_inputs"
        }
    )
    gpu = NetworkStack([(cell, seed) for seed in SEEDS], on_gpu, execution="graph" if graphs else "direct")
    cpu = NetworkStack([(cell, seed) for seed in SEEDS], data)
    for stack in (gpu, cpu):
        stack.run(200)
    for index in range(len(SEEDS)):
        assert gpu.measure(index).train_loss == pytest.approx(cpu.measure(index).train_loss, rel=1e-4)


def test_compiled_loops_refuse_another_activation_than_relu(data):
    cell = replace(CELL, activation="softplus", batch_size=1)
    with pytest.raises(ValueError, match="not of softplus"):
        NetworkStack([(cell, 0)], data, execution="compiled")
    assert execution_name(data, cell) == "direct"
