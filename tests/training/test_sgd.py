"""The trainer as a whole against torch's autograd and torch.optim.SGD, in float64; whatever the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training import CELL, COOLED, EXECUTIONS, SEEDS, torch_trained

from bayes_sgd.training.mlp import initial_weights
from bayes_sgd.training.sgd import NetworkStack, train


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("sampling", ["independent", "replacement", "shuffle"])
@pytest.mark.parametrize("hidden_sizes", [(), (7,), (7, 5), (7, 5, 6)])
@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.0},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.9, "l2": 0.5},
        {"momentum": 0.5, "l2": 2.0},
        {"batch_size": 24},
        {"batch_size": 1},
        {"batch_size": 2, "dampening": 0.9},
        {"batch_size": 3, "momentum": 0.0},
        {"batch_size": 4, "l2": 0.5},
    ],
    ids=str,
)
def test_equals_torch_sgd_with_autograd(data, sampling, hidden_sizes, fields, execution):
    cell = replace(CELL, sampling=sampling, hidden_sizes=hidden_sizes, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64, execution=execution)
    stack.run(cell.updates)
    for index, seed in enumerate(SEEDS):
        ours = stack.network(index)
        moved = 0.0
        start = initial_weights(12, hidden_sizes, 3, "lecun_normal", seed)
        for layer, witness, initial in zip(ours, torch_trained(cell, data, seed, "lecun_normal"), start, strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)
            moved = max(moved, float((layer - initial).abs().max()))
        assert moved > 1e-2, "a network that does not move proves nothing"


@pytest.mark.parametrize("fields", COOLED, ids=str)
def test_cooled_and_averaged_networks_equal_those_of_torch(data, fields):
    cell, cooldown = replace(CELL, **fields), 41
    ends = {
        (phase, seed): (update, layers)
        for (update, phase), (_, seed), _, layers in train([(cell, s) for s in SEEDS], (20, 50), data, cooldown=cooldown)
    }
    for seed in SEEDS:
        for phase, wanted, update in (
            ("after_cooldown", torch_trained(cell, data, seed, "lecun_normal", cooldown), 91),
            ("iterate_average", torch_trained(cell, data, seed, "lecun_normal", mean_from=9), 50),
        ):
            assert ends[phase, seed][0] == update
            for layer, witness in zip(ends[phase, seed][1], wanted, strict=True):
                torch.testing.assert_close(layer.double(), witness, rtol=1e-4, atol=1e-5)
        constant, cooled = (ends[phase, seed][1][0] for phase in ("constant", "after_cooldown"))
        assert float((constant - cooled).abs().max()) > 1e-3


def test_constant_zero_inputs_leave_training_and_stay_in_testing(data):
    stack = NetworkStack([(replace(CELL, l2=0.3), 0)], data, dtype=torch.float64)
    stack.run(20)
    initial = initial_weights(12, (7,), 3, "lecun_normal", 0)[0]
    shrunk = stack.network(0)[0][3] / initial[3]
    assert 0.5 < float(shrunk[0]) < 0.95, "under L2 the weights of a constant-zero input shrink"
    torch.testing.assert_close(shrunk, shrunk[0].expand(7))


def test_train_gives_equal_bits_whatever_the_stack(data):
    networks = [(c, s) for c in (CELL, replace(CELL, learning_rate=0.03)) for s in (0, 1, 2)]

    def result(stack: int | None) -> dict:
        return {
            (point, network): (measured, [layer.numpy().tobytes() for layer in layers])
            for point, network, measured, layers in train(networks, (3, 50), data, stack=stack, cooldown=20)
        }

    whole = result(None)
    assert len(whole) == 24
    for stack in (1, 4, 100):
        assert result(stack) == whole
