"""The update rule: its cooldown, and weights without a gradient."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from training import CELL, COOLED, EXECUTIONS, SEEDS, torch_trained

from bayes_sgd.training.momentum import MomentumRule, cooldown_stages
from bayes_sgd.training.sgd import NetworkStack


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("fields", COOLED, ids=str)
def test_cooling_equals_torch_with_a_falling_learning_rate_in_float64(data, fields, execution):
    cell = replace(CELL, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64, execution=execution)
    stack.run(cell.updates)
    stack.cool(41)
    for index, seed in enumerate(SEEDS):
        for layer, witness in zip(stack.network(index), torch_trained(cell, data, seed, "lecun_normal", 41), strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)


def test_the_learning_rate_falls_in_16_equal_steps():
    factors, ends = zip(*cooldown_stages(41), strict=True)
    rates = [math.prod(factors[: stage + 1]) for stage in range(16)]
    assert rates == pytest.approx([1 - stage / 17 for stage in range(1, 17)])
    assert ends == tuple(41 * stage // 16 for stage in range(1, 17))


@pytest.mark.parametrize("dampening", [0.0, 0.9])
def test_weights_without_a_gradient_follow_torch(dampening):
    cell = replace(CELL, l2=2.0, dampening=dampening)
    rule = MomentumRule([cell], torch.float64, torch.device("cpu"))
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    weight.grad = torch.zeros_like(weight)
    optimizer = torch.optim.SGD([weight], cell.learning_rate, cell.momentum, dampening, cell.l2 / cell.n_train)
    for update in range(1, 30):
        optimizer.step()
        if update in (1, 2, 29):  # asked for in leaps, as recorded updates are
            assert rule.factor_without_gradient(0, update) == pytest.approx(weight.item(), rel=1e-12)


@pytest.mark.parametrize("l2", [0.0, 2.0])
def test_an_update_of_one_layer_equals_torch(l2):
    cell = replace(CELL, l2=l2, dampening=0.5, batch_size=5)
    rule = MomentumRule([cell], torch.float64, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    start = torch.randn(1, 4, 3, generator=random, dtype=torch.float64)
    weights, step, witness = start.clone(), torch.zeros_like(start), torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([witness], cell.learning_rate, cell.momentum, cell.dampening, cell.l2 / cell.n_train)
    for update in range(5):
        inputs = torch.randn(1, 5, 4, generator=random, dtype=torch.float64)
        derivatives = torch.randn(1, 5, 3, generator=random, dtype=torch.float64)
        rule.apply(weights, step, inputs, derivatives * rule.rate(update == 0), first=update == 0)
        witness.grad = inputs.transpose(1, 2) @ derivatives / 5
        optimizer.step()
    torch.testing.assert_close(weights, witness.detach(), rtol=1e-12, atol=1e-12)
