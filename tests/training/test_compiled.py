"""Compiled loops: rows without a gradient, threads, and when they are taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training import CELL, SEEDS, bits, torch_trained

from bayes_sgd.training import compiled, execution
from bayes_sgd.training.execution import execution_name
from bayes_sgd.training.sgd import NetworkStack


@pytest.mark.parametrize("fields", [{}, {"l2": 2.0, "dampening": 0.5}, {"momentum": 0.0, "l2": 1.0}], ids=str)
def test_rows_without_a_gradient_are_made_up_for_however_long_they_wait(data, fields, monkeypatch):
    monkeypatch.setattr(compiled, "_POWERS", 2)
    cell = replace(CELL, batch_size=1, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64, execution="compiled")
    stack.run(cell.updates)
    for index, seed in enumerate(SEEDS):
        for layer, witness in zip(stack.network(index), torch_trained(cell, data, seed, "lecun_normal"), strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)


def test_threads_change_no_bit(data):
    networks, before, results = [(CELL, seed) for seed in (0, 1, 2)], torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            stack = NetworkStack(networks, data, execution="compiled")
            stack.run(80)
            results.append([bits(stack, index) for index in range(3)])
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1]


def test_looking_at_a_network_changes_nothing(data):
    watched, alone = (NetworkStack([(CELL, 0)], data, execution="compiled") for _ in range(2))
    for until in (1, 5, 30):
        watched.run(until)
        watched.network(0)
    alone.run(30)
    assert bits(watched, 0) == bits(alone, 0)


def test_dense_images_in_large_batches_and_python_without_numba_go_through_torch(data, monkeypatch):
    dense = replace(data, train_inputs=data.train_inputs + 1)
    large, small = replace(CELL, batch_size=64), replace(CELL, batch_size=32)
    assert [execution_name(dense, cell) for cell in (large, small)] == ["direct", "compiled"]
    rare = torch.zeros_like(data.train_inputs).repeat(1, 10)
    rare[:, -1] = 1
    rare[0] = 1
    assert execution_name(replace(data, train_inputs=rare), large) == "compiled"
    monkeypatch.setattr(execution, "find_spec", lambda name: None)
    assert execution_name(data, small) == "direct"
